/* linux/dmapool.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_DMAPOOL_H
#define LABYRINTH_SHIM_DMAPOOL_H

#include <labyrinth/kernel/dmapool.h>

#endif
