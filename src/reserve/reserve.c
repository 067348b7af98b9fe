/* reserve.c - see reserve.h. The bound of each loop is the number of words that are there. */
#include "reserve/reserve.h"
#include "base/probe.h"

struct lab_reserve lab_reserve;

/* ---- claims and releases --------------------------------------------------------------------------------------- */

/* Of the zones from the first to the last. */
static void *
claim_in_zones(const struct lab_pool *pool, unsigned first, unsigned last, bool *lost)
{
	return lab_bank_claim(&pool->bank, pool->zones[first], pool->zones[last + 1], lost);
}

static void *
claim_grown(const struct lab_pool *pool, bool *lost)
{
	uint16_t first = lab_load_acq(&pool->growth); /* pairs with the CAS of lab_share_link */

	return first ? lab_share_claim_listed(first, pool->bank.shift, LAB_SHARE_EVERYBODY, lost) : NULL;
}

static void *
claim_in_class(unsigned c, enum lab_reserve_depth depth, bool *lost)
{
	const struct lab_pool *pool = &lab_reserve.pools[c];
	void *slot = claim_in_zones(pool, LAB_ZONE_PLAIN, LAB_ZONE_PLAIN, lost);

	if (!slot)
		slot = claim_grown(pool, lost);
	if (slot)
		return slot;
	lab_reserve_ask(1u << c);
	LAB_PROBE1(labyrinth, reserve_low, c);
	slot = claim_in_zones(pool, LAB_ZONE_LOW, LAB_ZONE_LOW + (unsigned)depth, lost);
	if (!slot)
		slot = claim_in_zones(pool, LAB_ZONE_OVERFLOW, LAB_ZONE_OVERFLOW, lost);
	while (!slot && ++c < LAB_RESERVE_CLASSES) { /* INV-RES-3 */
		slot = claim_in_zones(++pool, LAB_ZONE_OVERFLOW, LAB_ZONE_OVERFLOW, lost);
		if (!slot)
			slot = claim_grown(pool, lost);
	}
	return slot;
}

/* Everything but a first try in one word. */
static LAB_NOINLINE void *
claim_slow(unsigned c, enum lab_reserve_depth depth)
{
	bool lost = false;

	if (!lab_reserve_is_installed())
		return NULL;
	void *slot = c < LAB_RESERVE_CLASSES ? claim_in_class(c, depth, &lost) : NULL;
	if (!slot && lost)
		(void)lab_add_rlx(&lab_reserve.lost_races, 1);
	if (!slot && depth != LAB_DEPTH_MIN)
		(void)lab_add_rlx(&lab_reserve.failures, 1);
	return slot;
}

void *
lab_reserve_claim(size_t size, size_t align, enum lab_reserve_depth depth)
{
	unsigned c = lab_bank_shift_for(size, align) - LAB_RESERVE_MIN_SHIFT;

	if (lab_likely(c < LAB_RESERVE_CLASSES && lab_reserve_is_installed())) {
		const struct lab_pool *pool = &lab_reserve.pools[c];
		uint32_t i = lab_slots_start(pool->first_word);
		uint32_t free = (uint32_t)lab_load_rlx(&pool->bank.words[i]) & pool->first_slots;
		if (lab_likely(free) && lab_likely(lab_slots_take_bit(&pool->bank.words[i], lab_ctz(free))))
			return lab_bank_slot(&pool->bank, i, lab_ctz(free));
	}
	return claim_slow(c, depth);
}

/* The class in which p lies, which is in the reserve: the smallest one that does not begin behind it. */
static inline const struct lab_bank *
bank_of(const void *p)
{
	unsigned c = 0;

	for (unsigned step = 8; step > 0; step /= 2)
		if ((const char *)p < lab_reserve.pools[c + step - 1].bank.base)
			c += step;
	return &lab_reserve.pools[c].bank;
}

enum lab_reserve_release
lab_reserve_release(void *p)
{
	return lab_bank_release(bank_of(p), p);
}

size_t
lab_reserve_slot_size(const void *p)
{
	return lab_reserve_contains(p) ? lab_bank_slot_size(bank_of(p), p) : 0;
}

/* ---- layout ---------------------------------------------------------------------------------------------------- */

/* 47 bits of address space are more than any reserve may have. */
#define SIZE_LIMIT     ((size_t)1 << 42)
#define GROWTH_DEFAULT 4u /* times the size */
#define TO_ALIGN       ((size_t)1 << LAB_RESERVE_MAX_SHIFT)

static uint32_t
slots_of(const struct lab_reserve_plan *plan, unsigned c)
{
	return plan->slots[c] + (c > 0 ? plan->slots[c] / 8 : 0);
}

size_t
lab_reserve_plan_slots(const struct lab_reserve_plan *plan)
{
	size_t bytes = 0;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		bytes += (size_t)slots_of(plan, c) << (c + LAB_RESERVE_MIN_SHIFT);
	return bytes <= SIZE_LIMIT ? bytes : 0;
}

size_t
lab_reserve_plan_memory(const struct lab_reserve_plan *plan)
{
	size_t slots = lab_reserve_plan_slots(plan), words = 0;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		words += lab_bank_words(slots_of(plan, c));
	return slots ? lab_round_up(slots + words * sizeof(uint64_t), LAB_RESERVE_PAGE) + TO_ALIGN : 0;
}

/* An eighth for MEMALLOC, a quarter for HIGH as well, a half that asks for growth. */
static void
set_zones(struct lab_pool *pool, uint32_t slots)
{
	pool->zones[LAB_ZONE_LOW] = slots - slots / 2;
	pool->zones[LAB_ZONE_HIGH] = slots - slots / 4;
	pool->zones[LAB_ZONE_LAST] = slots - slots / 8;
	pool->zones[LAB_ZONE_OVERFLOW] = slots;
	pool->zones[LAB_ZONES] = pool->bank.slots;
	uint32_t plain = pool->zones[LAB_ZONE_LOW];
	pool->first_word = plain < LAB_SLOTS_A_WORD ? 0 : lab_slots_start_mask(plain / LAB_SLOTS_A_WORD);
	pool->first_slots = plain < LAB_SLOTS_A_WORD ? (uint32_t)lab_mask(plain) : UINT32_MAX;
}

void
lab_reserve_install(const struct lab_reserve_plan *plan, void *memory)
{
	char *at = (char *)lab_round_up((uintptr_t)memory, TO_ALIGN);
	size_t size = lab_reserve_plan_slots(plan);
	_Atomic uint64_t *words = (_Atomic uint64_t *)(at + size);

	lab_reserve.start = at;
	lab_reserve.size = size;
	lab_reserve.limit = plan->limit == 0 ? size * GROWTH_DEFAULT : plan->limit > size ? plan->limit : size;
	lab_reserve.memory = lab_reserve_plan_memory(plan) - TO_ALIGN;
	for (unsigned c = LAB_RESERVE_CLASSES; c-- > 0;) {
		struct lab_pool *pool = &lab_reserve.pools[c];
		pool->bank = (struct lab_bank){words, at, slots_of(plan, c), c + LAB_RESERVE_MIN_SHIFT};
		set_zones(pool, plan->slots[c]);
		lab_bank_open(&pool->bank);
		words += lab_bank_words(pool->bank.slots);
		at += lab_bank_bytes(&pool->bank);
	}
	lab_store_rel(&lab_reserve.installed, true); /* pairs with the acq of lab_reserve_is_installed */
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

bool
lab_reserve_figures(unsigned c, struct lab_reserve_figures *figures)
{
	if (!lab_reserve_is_installed() || c >= LAB_RESERVE_CLASSES)
		return false;
	const struct lab_pool *pool = &lab_reserve.pools[c];
	const struct lab_share *share = lab_share_numbered(lab_load_acq(&pool->growth)); /* pairs with lab_share_link */
	const uint32_t *zones = pool->zones;
	size_t free = lab_bank_free(&pool->bank, 0, zones[LAB_ZONES]), free_grown = 0;

	*figures = (struct lab_reserve_figures){
	        .size = (size_t)1 << pool->bank.shift,
	        .slots = zones[LAB_ZONE_OVERFLOW],
	        .overflow = zones[LAB_ZONES] - zones[LAB_ZONE_OVERFLOW],
	        .min = zones[LAB_ZONE_OVERFLOW] - zones[LAB_ZONE_HIGH],
	        .high = zones[LAB_ZONE_OVERFLOW] - zones[LAB_ZONE_LAST],
	        .low = zones[LAB_ZONE_OVERFLOW] - zones[LAB_ZONE_LOW],
	};
	for (; share; share = lab_share_numbered(lab_load_rlx(&share->next)))
		if (lab_share_is_everybodys(share)) {
			figures->grown += share->bank.slots;
			free_grown += lab_bank_free(&share->bank, 0, share->bank.slots);
		}
	figures->plain = lab_bank_free(&pool->bank, 0, zones[LAB_ZONE_LOW]) + free_grown;
	figures->used = zones[LAB_ZONES] - free + (figures->grown > free_grown ? figures->grown - free_grown : 0);
	return true;
}

struct lab_reserve_bytes
lab_reserve_bytes(void)
{
	struct lab_reserve_figures figures;
	struct lab_reserve_bytes bytes = {0};

	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++) {
		bytes.total += (figures.slots + figures.overflow + figures.grown) * figures.size;
		bytes.grown += figures.grown * figures.size;
		bytes.used += figures.used * figures.size;
	}
	return bytes;
}
