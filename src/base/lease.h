/*
 * lease.h - words that name a thread and may outlive it: who holds a heap, a segment's pages, a block that is being freed, a share. Any context.
 *
 *     bits 0-31  epoch, or what the user puts there    bits 32-53  holder's thread id, 0: nobody's    bits 54-63  tag: a state, marks
 *
 * A thread has no hook at its end. So whoever wants a lease whose holder may have ended proves that (os/os.h, thread_is_dead) and takes it over.
 *
 * INV-LEASE-1  A lease changes hands by CAS from exactly the value that was read before the proof, and no value occurs twice while it can
 *              matter: each change raises the epoch. So what is proved of the thread in the value is proved of the holder.
 * INV-LEASE-2  In a child of fork all holders but the forking thread are strangers: their leases are settled, once, before anybody asks.
 */
#ifndef LAB_BASE_LEASE_H
#define LAB_BASE_LEASE_H

#include "base/atomic.h"

enum {
	LAB_LEASE_TID_SHIFT = 32,
	LAB_LEASE_TID_BITS = 22, /* PID_MAX_LIMIT */
	LAB_LEASE_TAG_SHIFT = LAB_LEASE_TID_SHIFT + LAB_LEASE_TID_BITS,
};

/* ---- values ---------------------------------------------------------------------------------------------------------------- */

static inline uint64_t
lab_lease_make(uint32_t epoch, uint32_t tid, unsigned tag)
{
	return epoch | (uint64_t)(tid & ((1u << LAB_LEASE_TID_BITS) - 1)) << LAB_LEASE_TID_SHIFT |
	       (uint64_t)tag << LAB_LEASE_TAG_SHIFT;
}

static inline uint32_t
lab_lease_tid(uint64_t value)
{
	return (uint32_t)(value >> LAB_LEASE_TID_SHIFT) & ((1u << LAB_LEASE_TID_BITS) - 1);
}

static inline unsigned
lab_lease_tag(uint64_t value)
{
	return (unsigned)(value >> LAB_LEASE_TAG_SHIFT);
}

static inline uint32_t
lab_lease_epoch(uint64_t value)
{
	return (uint32_t)value;
}

/* What follows `before`: INV-LEASE-1. */
static inline uint64_t
lab_lease_next(uint64_t before, uint32_t tid, unsigned tag)
{
	return lab_lease_make(lab_lease_epoch(before) + 1, tid, tag);
}

/* ---- changes of hands ------------------------------------------------------------------------------------------------------- */

/* Whether the thread has certainly ended. It may ask the kernel. */
typedef bool lab_is_dead(uint32_t tid);

/* Whether `seen`, which the caller has read by lab_load_acq, names nobody, or another thread than `tid`, which has ended. */
static inline bool
lab_lease_is_free(uint64_t seen, uint32_t tid, lab_is_dead *is_dead)
{
	uint32_t holder = lab_lease_tid(seen);
	bool is_free = holder == 0 || (holder != tid && is_dead(holder));

	atomic_thread_fence(
	        memory_order_seq_cst); /* the value was read before the proof; what the caller reads or changes comes after */
	return is_free;
}

/* From `seen`, which the caller has read by lab_load_acq, to `mine`, if it is free. That load of the next who asks pairs with this CAS. */
static inline bool
lab_lease_win(_Atomic uint64_t *word, uint64_t seen, uint64_t mine, lab_is_dead *is_dead)
{
	return lab_lease_is_free(seen, lab_lease_tid(mine), is_dead) && lab_cas64(word, seen, mine);
}

/* From `mine` to `next`, by its holder. A handler in between may have forked: in the child the lease has the new id. */
static inline void
lab_lease_release(_Atomic uint64_t *word, uint64_t mine, uint64_t next)
{
	uint64_t value = lab_load_rlx(word);

	if (lab_lease_epoch(value) == lab_lease_epoch(mine) && lab_lease_tag(value) == lab_lease_tag(mine))
		(void)lab_cas64(word, value, next); /* pairs with the acq of the next who reads it */
}

/* What fork's child knows of who held what. */
struct lab_lease_fork {
	uint32_t old_tid, new_tid;     /* of the forking thread */
	bool (*is_here)(uint32_t tid); /* whether the child has begun such a thread already */
};

/* In fork's child: the forking thread's lease gets its new id; another's, which is nobody's here, becomes `orphaned`. Once: the new id may have been another's. */
static inline void
lab_lease_settle(_Atomic uint64_t *word, const struct lab_lease_fork *fork, uint64_t orphaned)
{
	uint64_t value = lab_load_acq(word); /* pairs with the CAS of its holder */
	uint32_t holder = lab_lease_tid(value);

	if (holder == 0)
		return;
	if (holder == fork->old_tid)
		(void)lab_cas64(word, value, lab_lease_make(lab_lease_epoch(value), fork->new_tid, lab_lease_tag(value)));
	else if (!fork->is_here(holder))
		(void)lab_cas64(word, value, orphaned);
}

#endif
