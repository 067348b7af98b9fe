/*
 * lease.h - words that name a thread and may outlive it: who has a heap, a segment's free pages, a block, a share.
 * Any context.
 *
 *     bits 0-31  epoch, or what the user puts there    bits 32-53  holder's thread id, 0: nobody's    bits 54-63  tag:
 *     a state, marks
 *
 * A thread has no hook at its end. So whoever wants a lease whose holder may have ended proves that (os/os.h,
 * thread_is_dead) and takes it over.
 *
 * INV-LEASE-1  A lease changes hands by CAS from exactly the value that was read before the proof, and no value
 *              occurs twice while it can matter: each change of hands raises the epoch, or puts a number there that
 *              nobody else has. So what is proved of the thread in the value is proved of the holder.
 * INV-LEASE-2  In a child of fork all holders but the forking thread are strangers: their leases are settled
 *              (heap/leases.c), once, before anybody asks. The forking thread's keep epoch and tag, by which a frame
 *              that has one knows it.
 */
#ifndef LAB_BASE_LEASE_H
#define LAB_BASE_LEASE_H

#include "base/atomic.h"
#include "base/check.h"

enum {
	LAB_LEASE_TID_SHIFT = 32,
	LAB_LEASE_TID_BITS = 22, /* PID_MAX_LIMIT */
	LAB_LEASE_TAG_SHIFT = LAB_LEASE_TID_SHIFT + LAB_LEASE_TID_BITS,
};

/* ---- values ---------------------------------------------------------------------------------------------------- */

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

/* One whose number no other call has got: INV-LEASE-1 for words that are 0 between two holders, and so have no number
 * to go on from. */
uint64_t lab_lease_new(uint32_t tid, unsigned tag);

/* ---- changes of hands ------------------------------------------------------------------------------------------ */

/* Whether the thread has certainly ended. It may ask the kernel. */
typedef bool lab_is_dead(uint32_t tid);

/* Whether `seen`, which the caller has read by lab_load_acq, names nobody, or another thread than `tid`, which has
 * ended. */
static inline bool
lab_lease_is_free(uint64_t seen, uint32_t tid, lab_is_dead *is_dead)
{
	uint32_t holder = lab_lease_tid(seen);
	bool is_free = holder == 0 || (holder != tid && is_dead(holder));

	/* the value was read before the proof, and what the caller reads or changes comes after it; pairs with the
	 * fence in the proof (os/thread.c) */
	atomic_thread_fence(memory_order_seq_cst);
	return is_free;
}

/* From `seen`, which the caller has read by lab_load_acq, to `mine`, if it is free. */
static inline bool
lab_lease_win(_Atomic uint64_t *word, uint64_t seen, uint64_t mine, lab_is_dead *is_dead)
{
	lab_assert(lab_lease_tid(mine) != 0 && mine != seen); /* INV-LEASE-1 */
	/* the CAS pairs with the acq of the next who reads it */
	return lab_lease_is_free(seen, lab_lease_tid(mine), is_dead) && lab_cas64(word, seen, mine);
}

/* Whether a lease that was won as `mine` is its winner's still. In a child that a handler in between has forked it
 * has the new id. */
static inline bool
lab_lease_is_same(uint64_t value, uint64_t mine)
{
	return lab_lease_tid(value) != 0 && lab_lease_epoch(value) == lab_lease_epoch(mine) &&
	       lab_lease_tag(value) == lab_lease_tag(mine);
}

/* From `mine` to `next`, by its holder. False: it is another's. */
static inline bool
lab_lease_release(_Atomic uint64_t *word, uint64_t mine, uint64_t next)
{
	uint64_t value = lab_load_rlx(word);

	/* the CAS pairs with the acq of the next who reads it */
	return lab_lease_is_same(value, mine) && lab_cas64(word, value, next);
}

/* ---- fork's child ---- */

struct lab_lease_fork {
	uint32_t old_tid, new_tid;     /* of the forking thread; old_tid may be 0: it had no lease */
	uint32_t cut_tid;              /* what the id was to be in a pass that has not ended; or 0 (heap/leases.c) */
	bool (*is_here)(uint32_t tid); /* whether this process has such a thread; no for all: that cannot be told */
};

/* A kind of leases: settles each of them, and does what else is to be done. */
typedef void lab_lease_kind(const struct lab_lease_fork *fork);

enum lab_lease_settled {
	LAB_LEASE_NOBODYS,  /* it was, and is as it was */
	LAB_LEASE_MINE,     /* the forking thread's: it has its new id */
	LAB_LEASE_KEPT,     /* of a thread that the child has begun already */
	LAB_LEASE_ORPHANED, /* of a thread of the parent */
};

static inline bool
lab_lease_is_forkers(uint64_t value, const struct lab_lease_fork *fork)
{
	uint32_t holder = lab_lease_tid(value);

	return holder != 0 && (holder == fork->old_tid || holder == fork->cut_tid);
}

/* INV-LEASE-2, of one lease after the pass. */
static inline bool
lab_lease_is_settled(uint64_t value, const struct lab_lease_fork *fork)
{
	uint32_t holder = lab_lease_tid(value);

	return holder == 0 || holder == fork->new_tid || fork->is_here(holder);
}

/*
 * Settles one lease; one whose holder is not here becomes `orphaned`. The new id in a word is a thread of the
 * parent's that had it, where the child begins a PID namespace: the leader takes no lease before the pass.
 */
static inline enum lab_lease_settled
lab_lease_settle(_Atomic uint64_t *word, const struct lab_lease_fork *fork, uint64_t orphaned)
{
	uint64_t value = lab_load_acq(word); /* pairs with the CAS of its holder */
	uint32_t holder = lab_lease_tid(value);

	if (holder == 0)
		return LAB_LEASE_NOBODYS;
	if (lab_lease_is_forkers(value, fork)) {
		/* pairs with the acq of the next who reads it */
		(void)lab_cas64(word, value,
		                lab_lease_make(lab_lease_epoch(value), fork->new_tid, lab_lease_tag(value)));
		return LAB_LEASE_MINE;
	}
	if (holder != fork->new_tid && fork->is_here(holder))
		return LAB_LEASE_KEPT;
	(void)lab_cas64(word, value, orphaned); /* pairs with the acq of the next who reads it */
	lab_assert(lab_lease_is_settled(lab_load_rlx(word), fork));
	return LAB_LEASE_ORPHANED;
}

/* The same lease with no holder. */
static inline uint64_t
lab_lease_nobodys(uint64_t value)
{
	return lab_lease_make(lab_lease_epoch(value), 0, lab_lease_tag(value));
}

#endif
