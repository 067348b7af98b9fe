/* reserve.c - claims and releases: see reserve.h. The bound of each loop is the number of words that are there. */
#include "reserve/layout.h"

static _Atomic uint64_t no_slots;
static const uint32_t no_mask;
struct lab_reserve_state lab_reserve_state = {
        .pools = {[0 ... LAB_RESERVE_CLASSES - 1] = {.plain = &no_slots, .plain_masks = &no_mask}},
};
_Atomic uint32_t lab_reserve_hungry;
_Atomic size_t lab_reserve_unmet;

enum { ORDER_MIN = LAB_RESERVE_MIN_SHIFT - 1 };

/* ORDER_MIN for the least class, one more for each other. A slot is aligned to its size. align >= 1. */
static inline size_t
order_for(size_t size, size_t align)
{
	size_t least = (size > align ? size : align) - 1;

	return lab_log2(least | ((1u << LAB_RESERVE_MIN_SHIFT) - 1));
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
	uint32_t words = zone->words, i = words ? lab_slots_start(lab_slots_start_mask(words)) : 0;

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
	uint32_t words = lab_load_acq(&pool->open_words), i = words ? lab_slots_start(lab_slots_start_mask(words)) : 0;

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
static void *
claim_deep(unsigned c, enum lab_reserve_depth depth, bool *lost)
{
	struct lab_pool *pool = &lab_reserve_state.pools[c];
	void *slot = claim_grown(pool, lost);

	if (slot)
		return slot;
	ask_for_growth(c);
	for (unsigned z = LAB_ZONE_LOW; !slot && z <= LAB_ZONE_LOW + (unsigned)depth; z++)
		slot = claim_in_zone(pool, &pool->zones[z], lost);
	if (!slot)
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_OVERFLOW], lost);
	while (!slot && ++c < LAB_RESERVE_CLASSES) { /* INV-RES-3 */
		pool = &lab_reserve_state.pools[c];
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_OVERFLOW], lost);
		if (!slot)
			slot = claim_grown(pool, lost);
	}
	return slot;
}

/* Everything but a first try in one word of the plain zone. */
static LAB_NOINLINE void *
claim_slow(size_t size, size_t align, enum lab_reserve_depth depth)
{
	unsigned c = (unsigned)order_for(size, align) - ORDER_MIN;
	bool lost = false;
	void *slot = NULL;

	if (!lab_reserve_is_installed())
		return NULL;
	if (c < LAB_RESERVE_CLASSES) {
		const struct lab_pool *pool = &lab_reserve_state.pools[c];
		slot = claim_in_zone(pool, &pool->zones[LAB_ZONE_PLAIN], &lost);
		if (!slot)
			slot = claim_deep(c, depth, &lost);
	}
	if (!slot && lost)
		(void)lab_add_rlx(&lab_reserve_state.lost_races, 1);
	if (!slot && depth != LAB_DEPTH_MIN)
		(void)lab_add_rlx(&lab_reserve_state.failures, 1);
	return slot;
}

void *
lab_reserve_claim_sig(size_t size, size_t align, enum lab_reserve_depth depth)
{
	size_t order = order_for(size, align);

	if (lab_unlikely(order >= LAB_RESERVE_CLASSES + ORDER_MIN))
		return claim_slow(size, align, depth);
	const struct lab_pool *pool = &lab_reserve_state.pools[order - ORDER_MIN];
	size_t i = lab_slots_start(lab_load_acq(&pool->plain_start));
	_Atomic uint64_t *word = &lab_load_acq(&pool->plain)[i];
	uint32_t free = (uint32_t)lab_load_rlx(word) & pool->plain_masks[i];
	if (lab_unlikely(!free))
		return claim_slow(size, align, depth);
	unsigned bit = (unsigned)__builtin_ctz(free);
	if (lab_unlikely(!lab_slots_take_bit(word, bit)))
		return claim_slow(size, align, depth);
	return pool->plain_base + (i << pool->word_bytes_shift) + ((size_t)bit << pool->shift);
}

bool
lab_reserve_contains(const void *p)
{
	return (uintptr_t)p - lab_reserve_state.first < lab_reserve_state.size;
}

/* The pool in whose range p lies, which is in the reserve. */
static inline struct lab_pool *
pool_of(const void *p)
{
	return &lab_reserve_state.pools[((uintptr_t)p - lab_reserve_state.first) >> lab_reserve_state.range_shift];
}

/* The word of a slot that is not a fixed one; NULL if there never was such a chunk. */
static inline _Atomic uint64_t *
grown_word(struct lab_pool *pool, size_t slot)
{
	size_t word = (slot >> pool->word_shift) - pool->grown_from;

	return word < lab_load_acq(&pool->open_words) ? &pool->grown[word] : NULL;
}

static LAB_NOINLINE enum lab_reserve_release
release_grown(struct lab_pool *pool, size_t slot, unsigned bit)
{
	_Atomic uint64_t *word = grown_word(pool, slot);

	return word ? lab_slots_release(word, bit) : LAB_RESERVE_NOT_A_SLOT;
}

enum lab_reserve_release
lab_reserve_release_sig(void *p)
{
	struct lab_pool *pool = pool_of(p);
	size_t offset = (size_t)((char *)p - pool->base), slot = offset >> pool->shift;
	unsigned bit = (unsigned)slot & pool->in_word;

	if (lab_unlikely(offset & pool->odd))
		return LAB_RESERVE_NOT_A_SLOT;
	if (lab_unlikely(slot >= pool->fixed_slots))
		return release_grown(pool, slot, bit);
	/* words of fixed slots are never closed */
	return lab_unlikely(lab_slots_put_bit(&pool->words[slot >> pool->word_shift], bit)) ? LAB_RESERVE_WAS_FREE
	                                                                                    : LAB_RESERVE_RELEASED;
}

size_t
lab_reserve_slot_size(const void *p)
{
	if (!lab_reserve_contains(p))
		return 0;
	struct lab_pool *pool = pool_of(p);
	size_t offset = (size_t)((const char *)p - pool->base), slot = offset >> pool->shift;
	if (offset & pool->odd)
		return 0;
	_Atomic uint64_t *word = slot < pool->fixed_slots ? &pool->words[slot >> pool->word_shift] : grown_word(pool, slot);
	uint64_t value = word ? lab_load_rlx(word) : 0;
	bool is_free = value >> (slot & pool->in_word) & 1;
	return lab_slots_is_open(value) && !is_free ? (size_t)1 << pool->shift : 0;
}

bool
lab_reserve_is_installed(void)
{
	return lab_load_acq(&lab_reserve_state.installed);
}
