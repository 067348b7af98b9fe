/*
 * gfp.h - the Linux kernel's names for Labyrinth: to write user-space drivers in the kernel's style, and to compile,
 * run and fuzz kernel code in user space. Static inline functions over labyrinth.h; C11 and C++11. docs/gfp.md and
 * gfp(7) have the table: what each name does here, and how it differs from the kernel.
 *
 * Names, order of arguments, values of flags and failures are those of the kernel's documentation
 * (Documentation/core-api/memory-allocation.rst and mm-api.rst). "Atomic context" is here a signal handler, on any
 * thread, at any instruction.
 *
 * A name that is a macro already when this file is included is left alone, so that a program's own may stand: to keep a
 * function of its own called kmalloc it says `#define kmalloc kmalloc`. Nothing here calls by such a name what it
 * builds on. Kernel sources find linux/slab.h and its like with -I…/labyrinth/linux-shim.
 *
 * What differs:
 *   - GFP_KERNEL does not sleep, but over a limit (LABYRINTH_LIMIT), with __GFP_NOFAIL, and in mempool_alloc. It is
 *     safe in a handler too; what it is not there is bounded. In a handler that interrupted the only holder of a pool's
 *     elements, mempool_alloc(GFP_KERNEL) waits for ever, as in the kernel; in one that interrupted the allocator it
 *     gives NULL instead.
 *   - GFP_ATOMIC: at most 64 KiB (order 4). GFP_NOWAIT: what the thread's own heap holds, so that a thread's first one
 *     may fail.
 *   - struct page is the page itself: 4096 bytes without fields. `page + 1` is the next page.
 *   - kmem_cache_destroy of a cache with objects in use says how many there are, and leaves the cache as it was.
 * A program that is compiled with this header has 64 buffers of 2 KiB in the reserve, those of a receive ring, unless
 * the settings ask for another reserve.
 *
 * kfree_rcu and its like, and what SLAB_TYPESAFE_BY_RCU needs: labyrinth/rcu.h.
 */
#ifndef LABYRINTH_GFP_H
#define LABYRINTH_GFP_H

#include <labyrinth/kernel/block.h>
#include <labyrinth/kernel/cache.h>
#include <labyrinth/kernel/cleanup.h>
#include <labyrinth/kernel/devres.h>
#include <labyrinth/kernel/dmapool.h>
#include <labyrinth/kernel/flags.h>
#include <labyrinth/kernel/mempool.h>
#include <labyrinth/kernel/mm.h>
#include <labyrinth/kernel/noprof.h>
#include <labyrinth/kernel/overflow.h>
#include <labyrinth/kernel/page.h>
#include <labyrinth/kernel/percpu.h>
#include <labyrinth/kernel/shrinker.h>
#include <labyrinth/kernel/vmalloc.h>

#endif
