/* reserve.c - claims and releases: see reserve.h. The bound of each loop is the number of words that are there. */
#include "reserve/layout.h"

struct lab_reserve_region lab_reserve_region;
_Atomic uint32_t lab_reserve_hungry;

/* The class whose slots fit, or LAB_RESERVE_CLASSES. A slot is aligned to its size. */
static inline unsigned
class_for(size_t size, size_t align)
{
	size_t least = (size > align ? size : align) - 1;

	if (lab_unlikely(least >= (size_t)1 << LAB_RESERVE_MAX_SHIFT)) /* 0 is not: align >= 1 */
		return LAB_RESERVE_CLASSES;
	return lab_log2(least | ((1u << LAB_RESERVE_MIN_SHIFT) - 1)) + 1 - LAB_RESERVE_MIN_SHIFT;
}

static inline void *
slot_address(const struct lab_pool *pool, uint32_t word, int bit)
{
	return pool->base + (((size_t)word << pool->word_shift | (unsigned)bit) << pool->shift);
}

/* From the thread's own word on, once around. */
static inline void *
claim_in_zone(const struct lab_pool *pool, const struct lab_zone *zone, bool *lost)
{
	uint32_t words = zone->words, i = lab_slots_start(words);

	for (uint32_t n = words; n > 0; n--) {
		uint32_t mask = UINT32_MAX;
		if (i == 0)
			mask &= zone->first_mask;
		if (i == words - 1)
			mask &= zone->last_mask;
		int bit = lab_slots_claim(&pool->words[zone->first_word + i], mask);
		if (lab_likely(bit >= 0))
			return slot_address(pool, zone->first_word + i, bit);
		*lost |= bit == LAB_SLOTS_LOST;
		if (++i == words)
			i = 0;
	}
	return NULL;
}

static void *
claim_grown(struct lab_pool *pool, bool *lost)
{
	/* acq pairs with the rel of the opener: the words are there */
	uint32_t words = lab_load_acq(&pool->open_words), i = lab_slots_start(words);

	for (uint32_t n = words; n > 0; n--) {
		int bit = lab_slots_claim(&pool->grown[i], UINT32_MAX);
		if (bit >= 0)
			return slot_address(pool, pool->grown_from + i, bit);
		*lost |= bit == LAB_SLOTS_LOST;
		if (++i == words)
			i = 0;
	}
	return NULL;
}

static void
ask_for_growth(unsigned c)
{
	uint32_t bit = 1u << c;

	if (!(lab_load_rlx(&lab_reserve_hungry) & bit))
		(void)atomic_fetch_or_explicit(&lab_reserve_hungry, bit, memory_order_relaxed);
}

/* Everything but the plain zone. Zones are in the order of depth. */
static LAB_NOINLINE void *
claim_deep(struct lab_reserve_head *head, unsigned c, enum lab_reserve_depth depth, bool lost)
{
	struct lab_pool *pool = &head->pools[c];
	void *slot = claim_grown(pool, &lost);

	if (slot)
		return slot;
	ask_for_growth(c);
	for (unsigned z = LAB_ZONE_LOW; !slot && z <= LAB_ZONE_LOW + (unsigned)depth; z++)
		slot = claim_in_zone(pool, &pool->zones[z], &lost);
	if (!slot)
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_OVERFLOW], &lost);
	for (; !slot && ++c < LAB_RESERVE_CLASSES;) { /* INV-RES-3 */
		pool = &head->pools[c];
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_OVERFLOW], &lost);
		if (!slot)
			slot = claim_grown(pool, &lost);
	}
	if (!slot && lost)
		(void)lab_add_rlx(&head->lost_races, 1);
	return slot;
}

void *
lab_reserve_claim_sig(size_t size, size_t align, enum lab_reserve_depth depth)
{
	struct lab_reserve_head *head = lab_reserve_head();
	unsigned c = class_for(size ? size : 1, align);
	bool lost = false;
	void *slot = NULL;

	if (lab_unlikely(!head))
		return NULL;
	if (lab_likely(c < LAB_RESERVE_CLASSES)) {
		const struct lab_pool *pool = &head->pools[c];
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_PLAIN], &lost);
		if (lab_unlikely(!slot))
			slot = claim_deep(head, c, depth, lost);
	}
	if (lab_unlikely(!slot) && depth != LAB_DEPTH_MIN)
		(void)lab_add_rlx(&head->failures, 1);
	return slot;
}

bool
lab_reserve_contains(const void *p)
{
	return (uintptr_t)p - lab_reserve_region.first < lab_reserve_region.size;
}

/* The word and the bit of the slot that starts at p, which is in the reserve; NULL if none can start there. */
static inline _Atomic uint64_t *
find_slot(const void *p, unsigned *bit, unsigned *shift)
{
	uintptr_t offset = (uintptr_t)p - lab_reserve_region.first;
	const struct lab_pool *pool = &lab_reserve_head()->pools[offset >> lab_reserve_region.range_shift];

	offset &= ((uintptr_t)1 << lab_reserve_region.range_shift) - 1;
	uintptr_t slot = offset >> pool->shift;
	if (lab_unlikely(slot << pool->shift != offset))
		return NULL;
	*bit = (unsigned)slot & (lab_pool_slots_a_word(pool) - 1);
	*shift = pool->shift;
	if (lab_likely(slot < pool->fixed_slots))
		return &pool->words[slot >> pool->word_shift];
	uintptr_t word = (slot >> pool->word_shift) - pool->grown_from;
	return word < lab_load_acq(&pool->open_words) ? &pool->grown[word] : NULL;
}

enum lab_reserve_release
lab_reserve_release_sig(void *p)
{
	unsigned bit, shift;
	_Atomic uint64_t *word = find_slot(p, &bit, &shift);

	return lab_likely(word != NULL) ? lab_slots_release(word, bit) : LAB_RESERVE_NOT_A_SLOT;
}

size_t
lab_reserve_slot_size(const void *p)
{
	unsigned bit, shift;

	if (!lab_reserve_contains(p))
		return 0;
	_Atomic uint64_t *word = find_slot(p, &bit, &shift);
	if (!word)
		return 0;
	uint64_t value = lab_load_rlx(word);
	return lab_slots_is_open(value) && !(value >> bit & 1) ? (size_t)1 << shift : 0;
}

bool
lab_reserve_is_installed(void)
{
	return lab_reserve_head() != NULL;
}
