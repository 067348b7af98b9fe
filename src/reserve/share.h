/*
 * share.h - slots that were added while the program runs: a thread's, which its ATOMIC calls draw on and nobody else
 * (lab_reserve_thread), or everybody's, by which a class grows.
 *
 * A share is a mapping of its own, its words in front of its slots. Shares are found by address through a table of
 * pointers that are set once and never taken away, and their class never changes: a share that nobody needs is closed,
 * its memory given back, and opened again for the next. Any thread may free a slot. Claims, releases and
 * lookups are for any context; the rest is for backing/, which maps, fills and empties the memory.
 *
 * INV-SHARE-1  A thread draws on a share only while `owner` names it, or everybody. `owner` is set and cleared by who
 *              holds the lease.
 * INV-SHARE-2  Words are opened and closed, and memory is given back, by who holds the lease, and memory only when all
 *              words are closed. So what a dead holder has left is open, closed, or partly closed with its memory in
 *              place: the next holder may go either way.
 */
#ifndef LAB_RESERVE_SHARE_H
#define LAB_RESERVE_SHARE_H

#include "base/lease.h"
#include "reserve/bank.h"

#define LAB_SHARE_MAX 320u
#define LAB_SHARE_OF_THREAD                                                                                            \
	256u /* threads' shares may have these numbers of the table only: growth is not to find it full */
#define LAB_SHARE_EVERYBODY ((uintptr_t)1)

struct lab_share {
	_Atomic uint64_t lease;  /* of a thread whose share it is, or that opens or closes it */
	_Atomic uintptr_t owner; /* thread pointer of who may draw; LAB_SHARE_EVERYBODY; 0: nobody */
	_Atomic uint16_t next;   /* in its list */
	uint16_t number;         /* in the table, from 1 */
	bool is_growth;          /* everybody's, if anybody's */
	struct lab_bank bank;
	_Atomic uint64_t words[];
};

/* Set once each, by CAS. In pages of their own, which are kept resident. */
struct lab_share_table {
	LAB_ALIGNED(4096) struct lab_share *_Atomic shares[LAB_SHARE_MAX];
};
extern struct lab_share_table lab_share_table LAB_HIDDEN;

/*
 * Shares are in lists: a list's head is the number of its first share, from 1, 0 for none; `next` goes on. A thread's
 * head is in a variable of the thread (there is little room for those), a class's in the class.
 */

/* A slot of `owner`'s shares of exactly that size in the list, or NULL. *lost: as lab_bank_claim. */
void *lab_share_claim_listed(uint16_t first, unsigned shift, uintptr_t owner, bool *lost);

void *lab_share_claim_own(uint16_t own, size_t size, size_t align);

/* A slot of the calling thread's shares of exactly the class of the request, or NULL. */
static inline void *
lab_share_claim(uint16_t own, size_t size, size_t align)
{
	return lab_likely(!own) ? NULL : lab_share_claim_own(own, size, align);
}

/* The share in which p lies; NULL: none. At most LAB_SHARE_MAX steps. */
struct lab_share *lab_share_find(const void *p);

static inline enum lab_reserve_release
lab_share_release(struct lab_share *share, const void *p)
{
	return lab_bank_release(&share->bank, p);
}

/* Bytes of the taken slot that starts at p; 0 if p is no such. */
static inline size_t
lab_share_slot_size(const struct lab_share *share, const void *p)
{
	return lab_bank_slot_size(&share->bank, p);
}

/* The i-th share; NULL at the end. The share with that number; NULL for 0. */
struct lab_share *lab_share_get(unsigned i);
struct lab_share *lab_share_numbered(uint16_t number);

/* ---- for those who can map memory ------------------------------------------------------------------------------ */

/* Bytes to map for so many slots of a class; 0: more than there can be. */
size_t lab_share_bytes(unsigned shift, size_t slots);

/* Makes a closed share of zeroed memory, its lease tid's, and puts it in the table. NULL: the table is full. */
struct lab_share *lab_share_make(void *memory, unsigned shift, size_t slots, uint32_t tid, bool is_growth);
struct lab_range lab_share_memory(const struct lab_share *share); /* of the slots, whole pages */
struct lab_range lab_share_range(const struct lab_share *share);  /* all of it; while it is closed, without the slots */

/* Puts it first in a list, to which others, and handlers, may add at the same time. */
void lab_share_link(_Atomic uint16_t *first, struct lab_share *share);
/* The calling thread draws on its share no more, and takes it out of its list. */
void lab_share_detach(_Atomic uint16_t *first, struct lab_share *share);

/* Wins the lease of a share that is nobody's, everybody's, or a dead thread's, and closes it, if all of its slots are
 * free. */
bool lab_share_take(struct lab_share *share, uint32_t tid, lab_is_dead *is_dead);

/* By the holder of the lease: opens it, whose memory is there, for `owner`; lets the lease go. */
void lab_share_open(struct lab_share *share, uintptr_t owner);
void lab_share_let_go(struct lab_share *share);

/* A lab_lease_kind: other threads' shares are nobody's. */
void lab_share_settle(const struct lab_lease_fork *fork);

static inline uint32_t
lab_share_tid(const struct lab_share *share)
{
	return lab_lease_tid(lab_load_rlx(&share->lease));
}

/* Words are closed from the first on, and `owner` is set last: so one that was left in between is not open. */
static inline bool
lab_share_is_everybodys(const struct lab_share *share)
{
	return lab_load_rlx(&share->owner) == LAB_SHARE_EVERYBODY && lab_load_rlx(&share->words[0]) != 0;
}

#endif
