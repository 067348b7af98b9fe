/* linux/mempool.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_MEMPOOL_H
#define LABYRINTH_SHIM_MEMPOOL_H

#include <labyrinth/kernel/mempool.h>
#include <labyrinth/kernel/noprof.h>

#endif
