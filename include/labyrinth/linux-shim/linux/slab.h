/* linux/slab.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_SLAB_H
#define LABYRINTH_SHIM_SLAB_H

#include <labyrinth/kernel/block.h>
#include <labyrinth/kernel/cache.h>
#include <labyrinth/kernel/cleanup.h>
#include <labyrinth/kernel/noprof.h>
#include <labyrinth/kernel/overflow.h>

#endif
