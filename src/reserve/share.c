/* share.c - see share.h. */
#include "reserve/share.h"

struct lab_share_table lab_share_table;

struct lab_share *
lab_share_get(unsigned i)
{
	return i < LAB_SHARE_MAX ? lab_load_acq(&lab_share_table.shares[i])
	                         : NULL; /* pairs with the CAS of lab_share_make */
}

struct lab_share *
lab_share_numbered(uint16_t number)
{
	return number ? lab_share_get(number - 1u) : NULL;
}

/* ---- claims and releases --------------------------------------------------------------------------------------- */

void *
lab_share_claim_listed(uint16_t first, unsigned shift, uintptr_t owner, bool *lost)
{
	struct lab_share *share = lab_share_numbered(first);
	void *slot = NULL;

	for (unsigned n = 0; share && !slot && n < LAB_SHARE_MAX;
	     n++, share = lab_share_numbered(lab_load_rlx(&share->next)))
		if (share->bank.shift == shift && lab_load_rlx(&share->owner) == owner) /* INV-SHARE-1 */
			slot = lab_bank_claim(&share->bank, 0, share->bank.slots, lost);
	return slot;
}

void *
lab_share_claim_own(uint16_t own, size_t size, size_t align)
{
	bool lost = false;

	return lab_share_claim_listed(own, lab_bank_shift_for(size, align), lab_thread_pointer(), &lost);
}

struct lab_share *
lab_share_find(const void *p)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		if (lab_bank_contains(&share->bank, p))
			return share;
	return NULL;
}

/* ---- making, giving, taking ------------------------------------------------------------------------------------ */

static size_t
header_bytes(size_t slots)
{
	return lab_round_up(sizeof(struct lab_share) + lab_bank_words((uint32_t)slots) * sizeof(uint64_t),
	                    LAB_RESERVE_PAGE);
}

static size_t
slot_align(unsigned shift)
{
	return (size_t)1 << shift > LAB_RESERVE_PAGE ? (size_t)1 << shift : LAB_RESERVE_PAGE;
}

size_t
lab_share_bytes(unsigned shift, size_t slots)
{
	if (slots > UINT32_MAX / 2)
		return 0;
	return header_bytes(slots) + lab_round_up(slots << shift, LAB_RESERVE_PAGE) + slot_align(shift) -
	       LAB_RESERVE_PAGE;
}

struct lab_share *
lab_share_make(void *memory, unsigned shift, size_t slots, uint32_t tid, bool is_growth)
{
	struct lab_share *share = memory;

	share->bank.words = share->words;
	share->bank.base = (char *)lab_round_up((uintptr_t)memory + header_bytes(slots), slot_align(shift));
	share->bank.slots = (uint32_t)slots;
	share->bank.shift = shift;
	share->is_growth = is_growth;
	lab_store_rlx(&share->lease, lab_lease_make(0, tid, 0));
	for (unsigned i = 0; i < (is_growth ? LAB_SHARE_MAX : LAB_SHARE_OF_THREAD); i++) {
		struct lab_share *none = NULL;
		share->number = (uint16_t)(i + 1);
		/* pairs with the acq of lab_share_get */
		if (atomic_compare_exchange_strong_explicit(&lab_share_table.shares[i], &none, share,
		                                            memory_order_acq_rel, memory_order_relaxed))
			return share;
	}
	return NULL;
}

struct lab_range
lab_share_memory(const struct lab_share *share)
{
	return (struct lab_range){share->bank.base, lab_round_up(lab_bank_bytes(&share->bank), LAB_RESERVE_PAGE)};
}

struct lab_range
lab_share_range(const struct lab_share *share)
{
	struct lab_range memory = lab_share_memory(share);
	char *start = (char *)(uintptr_t)share;

	if (lab_bank_is_closed(&share->bank))
		return (struct lab_range){start, header_bytes(share->bank.slots)};
	return (struct lab_range){start, (size_t)(memory.start - start) + memory.size};
}

void
lab_share_link(_Atomic uint16_t *first, struct lab_share *share)
{
	uint16_t next = lab_load_rlx(first);

	do
		lab_store_rlx(&share->next, next);
	/* pairs with the acq of those who walk the list of a class: they see `next` */
	while (!atomic_compare_exchange_strong_explicit(first, &next, share->number, memory_order_release,
	                                                memory_order_relaxed));
}

void
lab_share_detach(_Atomic uint16_t *first, struct lab_share *share)
{
	_Atomic uint16_t *link = first;

	lab_store_rlx(&share->owner, 0);
	lab_compiler_barrier(); /* handlers of this thread draw on it no more */
	for (unsigned n = 0; n < LAB_SHARE_MAX && lab_load_rlx(link);
	     n++, link = &lab_share_numbered(lab_load_rlx(link))->next)
		if (lab_load_rlx(link) == share->number) {
			lab_store_rlx(link, lab_load_rlx(&share->next));
			return;
		}
}

bool
lab_share_take(struct lab_share *share, uint32_t tid, lab_is_dead *is_dead)
{
	uint64_t lease = lab_load_acq(&share->lease); /* pairs with the CAS of who let go */

	/* slots are looked at after the proof: from then on nobody draws on a thread's share, and slots only become
	 * free; the CAS pairs as the load does */
	if (!lab_lease_is_free(lease, tid, is_dead) || (!share->is_growth && !lab_bank_is_idle(&share->bank)) ||
	    !lab_cas64(&share->lease, lease, lab_lease_next(lease, tid, 0)))
		return false;
	bool closed = lab_bank_close(&share->bank);
	lab_store_rlx(&share->owner, !closed && share->is_growth ? LAB_SHARE_EVERYBODY : 0);
	if (!closed)
		lab_share_let_go(share);
	return closed;
}

void
lab_share_open(struct lab_share *share, uintptr_t owner)
{
	lab_bank_open(&share->bank);
	lab_store_rlx(&share->owner, owner);
}

void
lab_share_let_go(struct lab_share *share)
{
	uint64_t lease = lab_load_rlx(&share->lease);

	(void)lab_cas64(&share->lease, lease, lab_lease_next(lease, 0, 0)); /* pairs with the acq of lab_share_take */
}

void
lab_share_settle(const struct lab_lease_fork *fork)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		lab_lease_settle(&share->lease, fork, lab_lease_next(lab_load_rlx(&share->lease), 0, 0));
}
