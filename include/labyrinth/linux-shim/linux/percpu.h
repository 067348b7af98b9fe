/* linux/percpu.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_PERCPU_H
#define LABYRINTH_SHIM_PERCPU_H

#include <labyrinth/kernel/percpu.h>

#endif
