/*
 * rcu.h - blocks that are freed after a grace period of liburcu: liblabyrinth_rcu. C11 and C++11.
 *
 * A reader of a shared structure looks at a block between rcu_read_lock and rcu_read_unlock; a writer that has taken
 * the block out of the structure gives it to lab_free_rcu, which frees it when all readers that may have seen it have
 * ended. Readers and writers may be signal handlers, at any instruction of each other's.
 *
 * The library knows liburcu by the table of functions that each of its flavours has (struct rcu_flavor_struct,
 * urcu/flavor.h): the program links with the flavour of its choice, and this library with none. lab_rcu_start begins a
 * worker, which takes all blocks that wait, calls the flavour's synchronize_rcu, and frees them by lab_free: what
 * lab_free takes may be given here, objects of typed caches and blocks of the reserve included, but not exclusive
 * blocks, which their owner frees.
 *
 * Terms as in labyrinth.h. To give a block twice is to free it twice.
 * A frame that is left by a jump in lab_free_rcu or lab_free_rcu_head loses at most the block in its hand.
 */
#ifndef LABYRINTH_RCU_H
#define LABYRINTH_RCU_H

#include <labyrinth/labyrinth.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rcu_flavor_struct; /* liburcu's: urcu/flavor.h */

/* Room of two pointers in a block, as large as the struct rcu_head of liburcu and of the kernel. Readers do not look at
 * it; what is in it is this library's from lab_free_rcu_head on. */
struct lab_rcu_head {
	void *room[2];
};

/*
 * Makes the worker: with liburcu's headers, lab_rcu_start(&rcu_flavor). Blocks may be given before: they wait. True
 * also if it is there already. KERNEL contexts only.
 *
 * After a fork the child has no worker. Its blocks wait, those of the parent's worker included, until the child calls
 * this, lab_rcu_barrier or lab_free_rcu_wait, any of which makes one.
 *
 * False: EINVAL: flavour is NULL. EBUSY: there is one with another flavour. ENOTRECOVERABLE: in a child of a fork that
 * came while the parent's worker was inside of synchronize_rcu: liburcu's locks are held by a thread that does not
 * exist. (libc's fork waits for the worker up to a second, but not in a reader: docs/rcu.md.) EAGAIN: no thread.
 */
bool lab_rcu_start(const struct rcu_flavor_struct *flavour);

/*
 * Frees `block` after a grace period. NULL is allowed. Any context; never waits. `head` lies in the block: nothing is
 * allocated, no system call is made but one futex wake if the worker sleeps, as it does after a quiet 200 ms.
 * O(1) with a constant number of instructions and one compare-and-swap that is tried again if another push came first.
 */
void lab_free_rcu_head(void *block, struct lab_rcu_head *head);

/* The same for a block without a head. Takes 16 bytes of memory until then, by lab_malloc, in want of it from the
 * reserve, down to its last slot. False: there is neither; nothing was done. */
bool lab_free_rcu(void *block);

/* The same, and does not fail once there is a worker: without memory it waits for a grace period and frees the block
 * itself. While more bytes
 * wait than the mark it waits up to 100 ms for the worker, unless a grace period has lasted for a second already.
 * KERNEL contexts only, and not inside of rcu_read_lock. A qsbr reader is offline meanwhile. */
void lab_free_rcu_wait(void *block);

/*
 * Returns when all blocks that were given before the call have been freed. Says so on stderr when that takes longer
 * than a second. KERNEL contexts only. A qsbr reader is offline meanwhile. False: lab_rcu_start has not been called
 * (EINVAL) or fails (its errno); the caller is inside of rcu_read_lock (EDEADLK).
 */
bool lab_rcu_barrier(void);

/* How many bytes may wait before lab_free_rcu_wait waits, and before a grace period that lasts longer than a second is
 * worth a line on stderr: 16 MiB by default. Async-signal-safe. */
void lab_rcu_set_mark(size_t bytes);

struct lab_rcu_stats {
	size_t blocks;        /* that wait now, some pushes that are under way or were left by a jump included */
	size_t bytes;         /* in them, rounded up to their size class */
	size_t freed;         /* blocks so far */
	size_t grace_periods; /* so far */
	size_t waits;         /* calls of lab_free_rcu_wait that waited, so far */
	size_t stalls;        /* grace periods that lasted longer than a second, as far as they were noticed */
};
/* Figures of some instant. Async-signal-safe. */
void lab_rcu_stats_get(struct lab_rcu_stats *stats);

#ifdef __cplusplus
}
#endif

/* ---- the kernel's names ------------------------------------------------------------------------------------------ */

/* A name that a program has as a macro already stands. `member`: of the type of *p, at least two pointers large. */

#define LAB_RCU_THIRD(first, second, third, ...) third
#define LAB_RCU_FREE_MEMBER(p, member)                                                                                 \
	do {                                                                                                           \
		__typeof__(p) lab_rcu_p = (p);                                                                         \
		(void)sizeof(char[sizeof(lab_rcu_p->member) >= sizeof(struct lab_rcu_head) ? 1 : -1]);                 \
		if (lab_rcu_p)                                                                                         \
			lab_free_rcu_head((void *)(uintptr_t)lab_rcu_p,                                                \
			                  (struct lab_rcu_head *)(uintptr_t)&lab_rcu_p->member);                       \
	} while (0)

static inline void
lab_rcu_free_headless(const void *p)
{
	if ((uintptr_t)p > 16) /* NULL and kmalloc(0)'s ZERO_SIZE_PTR */
		lab_free_rcu_wait((void *)(uintptr_t)p);
}

/* kvfree_rcu(p, member): any context. kvfree_rcu(p): might sleep. */
#ifndef kvfree_rcu
#define kvfree_rcu(...) LAB_RCU_THIRD(__VA_ARGS__, LAB_RCU_FREE_MEMBER, lab_rcu_free_headless, 0)(__VA_ARGS__)
#endif
#ifndef kfree_rcu
#define kfree_rcu(...) kvfree_rcu(__VA_ARGS__)
#endif
#ifndef kvfree_rcu_mightsleep
#define kvfree_rcu_mightsleep(p) lab_rcu_free_headless(p)
#endif
#ifndef kfree_rcu_mightsleep
#define kfree_rcu_mightsleep(p) lab_rcu_free_headless(p)
#endif
#ifndef kvfree_rcu_barrier
#define kvfree_rcu_barrier() ((void)lab_rcu_barrier())
#endif
#ifndef kvfree_rcu_barrier_on_cache
#define kvfree_rcu_barrier_on_cache(cache) ((void)(cache), (void)lab_rcu_barrier())
#endif
/* rcu_barrier, for this and for call_rcu, is in linux/rcupdate.h: liburcu's headers have the name as well. */

#endif
