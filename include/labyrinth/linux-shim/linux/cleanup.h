/* linux/cleanup.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_CLEANUP_H
#define LABYRINTH_SHIM_CLEANUP_H

#include <labyrinth/kernel/cleanup.h>

#endif
