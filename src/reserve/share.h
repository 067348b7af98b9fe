/*
 * share.h - slots that one thread's ATOMIC calls draw on and nobody else's (lab_reserve_thread).
 *
 * A share is a mapping of its own, its words in front of its slots. Shares are found by address through a table of pointers that are set
 * once and never taken away; a share that has no owner and whose slots are all free is given to the next who asks. Any thread may free a
 * slot. Claims and releases are for any context; the rest is for alloc/provision.c, which maps, fills and empties the memory.
 *
 * INV-SHARE-1  A thread draws on a share only while the share names it in `drawer`, which is set after the owner word was won by CAS and
 *              cleared before it is let go.
 */
#ifndef LAB_RESERVE_SHARE_H
#define LAB_RESERVE_SHARE_H

#include "reserve/reserve.h"

#define LAB_SHARE_MAX 256u

struct lab_share {
	_Atomic uint64_t owner;   /* a lease */
	_Atomic uintptr_t drawer; /* thread pointer of the owner, while it may draw */
	_Atomic uint16_t next;    /* of the same thread */
	uint16_t number;          /* in the table, from 1 */
	char *base;               /* of the slots; aligned to their size */
	size_t size;              /* of the mapping */
	uint32_t slots, shift;
	_Atomic uint64_t words[];
};

/*
 * A thread's shares are a list: its head is a number that the caller keeps in a variable of the thread, 0 for none (there is little room
 * for those); `next` goes on. Shares are numbered from 1.
 */
void *lab_share_claim_own_sig(uint16_t own, size_t size, size_t align);

/* A slot of the calling thread's shares of exactly the class of the request, or NULL. */
static inline void *
lab_share_claim_sig(uint16_t own, size_t size, size_t align)
{
	return lab_likely(!own) ? NULL : lab_share_claim_own_sig(own, size, align);
}

/* The share in which p lies; NULL: none. At most LAB_SHARE_MAX steps. */
struct lab_share *lab_share_find_sig(const void *p);
enum lab_reserve_release lab_share_release_sig(struct lab_share *share, void *p);
/* Bytes of the taken slot that starts at p; 0 if p is no such. */
size_t lab_share_slot_size(const struct lab_share *share, const void *p);

/* ---- for those who can map memory ------------------------------------------------------------------------------------------- */

/* Bytes to map for so many slots of a class; 0: more than there can be. */
size_t lab_share_bytes(unsigned shift, size_t slots);

/* Makes a share of zeroed memory, owned by tid, and puts it in the table; nobody draws on it yet. NULL: the table is full. */
struct lab_share *lab_share_make(void *memory, unsigned shift, size_t slots, uint32_t tid);

/* The i-th share; NULL at the end. */
struct lab_share *lab_share_get(unsigned i);

/* Wins a share that is nobody's, or a dead thread's, and all of whose slots are free. */
bool lab_share_win(struct lab_share *share, uint32_t tid, lab_is_dead *is_dead);
bool lab_share_is_all_free(const struct lab_share *share);
size_t lab_share_used(const struct lab_share *share);
struct lab_range lab_share_memory(const struct lab_share *share); /* of the slots, whole pages */

/* The owner begins to draw on it; stops drawing; gives it back. */
void lab_share_attach(_Atomic uint16_t *own, struct lab_share *share);
void lab_share_detach(_Atomic uint16_t *own, struct lab_share *share);
void lab_share_let_go(struct lab_share *share);

/* A lab_lease_kind: other threads' shares are nobody's. */
void lab_share_settle(const struct lab_lease_fork *fork);

static inline uint32_t
lab_share_tid(const struct lab_share *share)
{
	return lab_lease_tid(lab_load_rlx(&share->owner));
}

#endif
