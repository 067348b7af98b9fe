/* linux/sched/mm.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_SCHED_MM_H
#define LABYRINTH_SHIM_SCHED_MM_H

#include <labyrinth/kernel/mm.h>

#endif
