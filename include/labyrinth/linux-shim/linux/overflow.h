/* linux/overflow.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_OVERFLOW_H
#define LABYRINTH_SHIM_OVERFLOW_H

#include <labyrinth/kernel/overflow.h>

#endif
