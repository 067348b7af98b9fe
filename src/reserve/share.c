/* share.c - see share.h. */
#include "reserve/share.h"

/* Set once each, by CAS; rel and acq pair there. */
static struct lab_share *_Atomic shares[LAB_SHARE_MAX];

static uint32_t
words_for(size_t slots)
{
	return (uint32_t)((slots + LAB_SLOTS_A_WORD - 1) / LAB_SLOTS_A_WORD);
}

struct lab_share *
lab_share_get(unsigned i)
{
	return i < LAB_SHARE_MAX ? lab_load_acq(&shares[i]) : NULL;
}

/* By number; NULL: none. */
static struct lab_share *
numbered(uint16_t number)
{
	return number ? lab_share_get(number - 1u) : NULL;
}

/* ---- claims and releases ------------------------------------------------------------------------------------------------------ */

static void *
claim_in(struct lab_share *share)
{
	for (uint32_t i = 0; i < words_for(share->slots); i++) {
		int bit = lab_slots_claim(&share->words[i], UINT32_MAX);
		if (bit >= 0)
			return share->base + (((size_t)i * LAB_SLOTS_A_WORD + (unsigned)bit) << share->shift);
	}
	return NULL;
}

void *
lab_share_claim_own_sig(uint16_t own, size_t size, size_t align)
{
	size_t least = (size > align ? size : align) - 1;
	unsigned shift = lab_log2(least | ((1u << LAB_RESERVE_MIN_SHIFT) - 1)) + 1;
	struct lab_share *share = numbered(own);
	void *slot = NULL;

	for (unsigned n = 0; share && !slot && n < LAB_SHARE_MAX; n++, share = numbered(lab_load_rlx(&share->next)))
		if (share->shift == shift && lab_load_rlx(&share->drawer) == lab_thread_pointer()) /* INV-SHARE-1 */
			slot = claim_in(share);
	return slot;
}

struct lab_share *
lab_share_find_sig(const void *p)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		if ((uintptr_t)p - (uintptr_t)share->base < (size_t)share->slots << share->shift)
			return share;
	return NULL;
}

static bool
number_of(const struct lab_share *share, const void *p, size_t *number)
{
	size_t offset = (size_t)((const char *)p - share->base);

	*number = offset >> share->shift;
	return *number << share->shift == offset;
}

enum lab_reserve_release
lab_share_release_sig(struct lab_share *share, void *p)
{
	size_t n;

	if (!number_of(share, p, &n))
		return LAB_RESERVE_NOT_A_SLOT;
	return lab_slots_release(&share->words[n / LAB_SLOTS_A_WORD], n % LAB_SLOTS_A_WORD);
}

size_t
lab_share_slot_size(const struct lab_share *share, const void *p)
{
	size_t n;

	if (!number_of(share, p, &n))
		return 0;
	bool is_free = lab_load_rlx(&share->words[n / LAB_SLOTS_A_WORD]) >> (n % LAB_SLOTS_A_WORD) & 1;
	return is_free ? 0 : (size_t)1 << share->shift;
}

/* ---- making, giving, taking --------------------------------------------------------------------------------------------------- */

static size_t
header_bytes(size_t slots)
{
	return lab_round_up(sizeof(struct lab_share) + words_for(slots) * sizeof(uint64_t), LAB_RESERVE_PAGE);
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
	return header_bytes(slots) + lab_round_up(slots << shift, LAB_RESERVE_PAGE) + slot_align(shift) - LAB_RESERVE_PAGE;
}

static void
open_words(struct lab_share *share)
{
	uint32_t left = share->slots;

	for (uint32_t i = 0; i < words_for(share->slots); i++) {
		unsigned n = left < LAB_SLOTS_A_WORD ? left : LAB_SLOTS_A_WORD;
		lab_store_rlx(&share->words[i], lab_slots_all_free(n));
		left -= n;
	}
}

struct lab_share *
lab_share_make(void *memory, unsigned shift, size_t slots, uint32_t tid)
{
	struct lab_share *share = memory;

	share->size = lab_share_bytes(shift, slots);
	share->base = (char *)lab_round_up((uintptr_t)memory + header_bytes(slots), slot_align(shift));
	share->slots = (uint32_t)slots;
	share->shift = shift;
	open_words(share);
	lab_store_rlx(&share->owner, lab_lease_make(0, tid, 0));
	for (unsigned i = 0; i < LAB_SHARE_MAX; i++) {
		struct lab_share *none = NULL;
		share->number = (uint16_t)(i + 1);
		if (atomic_compare_exchange_strong_explicit(&shares[i], &none, share, memory_order_acq_rel, memory_order_relaxed))
			return share;
	}
	return NULL;
}

size_t
lab_share_used(const struct lab_share *share)
{
	size_t free = 0;

	for (uint32_t i = 0; i < words_for(share->slots); i++)
		free += (size_t)__builtin_popcountll(lab_load_acq(&share->words[i]) & LAB_SLOTS_MASK);
	return share->slots - free;
}

/* While nobody draws on it, slots only become free: so the answer yes holds. */
bool
lab_share_is_all_free(const struct lab_share *share)
{
	return lab_share_used(share) == 0;
}

/* The slots are looked at after the proof: from then on nobody draws on the share. */
bool
lab_share_win(struct lab_share *share, uint32_t tid, lab_is_dead *is_dead)
{
	uint64_t owner = lab_load_acq(&share->owner); /* pairs with the CAS of who let go */

	return lab_lease_is_free(owner, tid, is_dead) && lab_share_is_all_free(share) &&
	       lab_cas64(&share->owner, owner, lab_lease_next(owner, tid, 0));
}

struct lab_range
lab_share_memory(const struct lab_share *share)
{
	return (struct lab_range){share->base, lab_round_up((size_t)share->slots << share->shift, LAB_RESERVE_PAGE)};
}

void
lab_share_attach(_Atomic uint16_t *own, struct lab_share *share)
{
	uint16_t first = lab_load_rlx(own);

	lab_store_rlx(&share->drawer, lab_thread_pointer());
	do /* handlers of this thread may do the same */
		lab_store_rlx(&share->next, first);
	while (!atomic_compare_exchange_strong_explicit(own, &first, share->number, memory_order_release, memory_order_relaxed));
}

void
lab_share_detach(_Atomic uint16_t *own, struct lab_share *share)
{
	_Atomic uint16_t *link = own;

	lab_store_rlx(&share->drawer, 0);
	lab_compiler_barrier();
	for (unsigned n = 0; n < LAB_SHARE_MAX && lab_load_rlx(link); n++, link = &numbered(lab_load_rlx(link))->next)
		if (lab_load_rlx(link) == share->number) {
			lab_store_rlx(link, lab_load_rlx(&share->next));
			return;
		}
}

void
lab_share_let_go(struct lab_share *share)
{
	uint64_t owner = lab_load_rlx(&share->owner);

	(void)lab_cas64(&share->owner, owner, lab_lease_next(owner, 0, 0)); /* pairs with the acq of lab_share_win */
}

void
lab_share_settle(const struct lab_lease_fork *fork)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		lab_lease_settle(&share->owner, fork, lab_lease_next(lab_load_rlx(&share->owner), 0, 0));
}
