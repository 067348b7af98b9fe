/* layout.c - where everything in the reserve lies, and its figures. Planning and installing: once, by the constructor. */
#include "reserve/layout.h"

/* 47 bits of address space are more than any reserve may have. */
#define SIZE_LIMIT ((size_t)1 << 42)

static size_t
fixed_slots(const struct lab_reserve_plan *plan, unsigned c)
{
	return (size_t)plan->slots[c] + plan->overflow[c];
}

static size_t
fixed_words(const struct lab_reserve_plan *plan, unsigned c)
{
	return (fixed_slots(plan, c) + (1u << lab_pool_word_shift(c)) - 1) >> lab_pool_word_shift(c);
}

static size_t
word_bytes(unsigned c)
{
	return (size_t)1 << (lab_pool_shift(c) + lab_pool_word_shift(c));
}

/* Whole pages. */
static size_t
chunk_bytes(unsigned c)
{
	return word_bytes(c) > LAB_RESERVE_PAGE ? word_bytes(c) : LAB_RESERVE_PAGE;
}

/* The bytes of a class before its first chunk. */
static size_t
bytes_before_chunks(const struct lab_reserve_plan *plan, unsigned c)
{
	return lab_round_up(fixed_words(plan, c) * word_bytes(c), chunk_bytes(c));
}

/* What growth may add, in whole chunks of the class. */
static size_t
grown_bytes(const struct lab_reserve_plan *plan, unsigned c)
{
	return plan->limit > plan->fixed ? (plan->limit - plan->fixed) / chunk_bytes(c) * chunk_bytes(c) : 0;
}

static size_t
all_fixed_words(const struct lab_reserve_plan *plan)
{
	size_t words = 0;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		words += fixed_words(plan, c);
	return words;
}

/* The words of fixed slots, then their masks in the plain zone; on the next page begin the words of chunks. */
static size_t
resident_head(const struct lab_reserve_plan *plan)
{
	return lab_round_up(all_fixed_words(plan) * (sizeof(uint64_t) + sizeof(uint32_t)), LAB_RESERVE_PAGE);
}

static size_t
whole_head(const struct lab_reserve_plan *plan)
{
	size_t words = 0;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		words += grown_bytes(plan, c) / word_bytes(c);
	return lab_round_up(resident_head(plan) + words * 8, LAB_RESERVE_PAGE);
}

bool
lab_reserve_plan(struct lab_reserve_plan *plan)
{
	size_t range = (size_t)1 << LAB_RESERVE_MAX_SHIFT;

	plan->fixed = 0;
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		plan->fixed += fixed_slots(plan, c) << lab_pool_shift(c); /* at most 12 * 2^33 * 2^16 */
	if (plan->fixed > SIZE_LIMIT)
		return false;
	if (plan->limit < plan->fixed)
		plan->limit = plan->fixed;
	if (plan->limit > SIZE_LIMIT)
		plan->limit = SIZE_LIMIT;
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		size_t need = bytes_before_chunks(plan, c) + grown_bytes(plan, c);
		while (range < need)
			range *= 2;
	}
	plan->range_shift = lab_log2(range);
	plan->head = resident_head(plan);
	/* the ranges begin at a multiple of the largest slot */
	plan->size = whole_head(plan) + ((size_t)1 << LAB_RESERVE_MAX_SHIFT) + LAB_RESERVE_CLASSES * range;
	return true;
}

static char *
class_base(const struct lab_reserve_plan *plan, void *region, unsigned c)
{
	uintptr_t first = lab_round_up((uintptr_t)region + whole_head(plan), (size_t)1 << LAB_RESERVE_MAX_SHIFT);

	return (char *)first + ((size_t)c << plan->range_shift);
}

struct lab_range
lab_reserve_fixed_range(const struct lab_reserve_plan *plan, void *region, unsigned c)
{
	return (struct lab_range){class_base(plan, region, c),
	                          lab_round_up(fixed_slots(plan, c) << lab_pool_shift(c), LAB_RESERVE_PAGE)};
}

/* The slots [from, end). */
static struct lab_zone
make_zone(unsigned word_shift, uint32_t from, uint32_t end)
{
	uint32_t in_word = (1u << word_shift) - 1;

	if (from >= end)
		return (struct lab_zone){0};
	return (struct lab_zone){
	        .first_word = from >> word_shift,
	        .words = ((end - 1) >> word_shift) - (from >> word_shift) + 1,
	        .first_mask = UINT32_MAX << (from & in_word),
	        .last_mask = (uint32_t)lab_mask(((end - 1) & in_word) + 1),
	};
}

/* An eighth for MEMALLOC, a quarter for HIGH as well, a half that asks for growth. */
static void
set_marks(struct lab_pool *pool, uint32_t slots, uint32_t overflow)
{
	unsigned shift = pool->word_shift;

	pool->slots = slots;
	pool->overflow = overflow;
	pool->high = slots / 8;
	pool->min = slots / 4;
	pool->low = slots / 2;
	pool->zones[LAB_ZONE_PLAIN] = make_zone(shift, pool->low, slots);
	pool->zones[LAB_ZONE_LOW] = make_zone(shift, pool->min, pool->low);
	pool->zones[LAB_ZONE_HIGH] = make_zone(shift, pool->high, pool->min);
	pool->zones[LAB_ZONE_LAST] = make_zone(shift, 0, pool->high);
	pool->zones[LAB_ZONE_OVERFLOW] = make_zone(shift, slots, slots + overflow);
}

static void
open_fixed(struct lab_pool *pool)
{
	unsigned a_word = lab_pool_slots_a_word(pool);
	uint32_t left = pool->fixed_slots;

	for (uint32_t i = 0; left > 0; i++) {
		unsigned slots = left < a_word ? left : a_word;
		lab_store_rlx(&pool->words[i], lab_slots_all_free(slots));
		left -= slots;
	}
}

static uint32_t
mask_in(const struct lab_zone *zone, uint32_t i)
{
	return (i == 0 ? zone->first_mask : UINT32_MAX) & (i == zone->words - 1 ? zone->last_mask : UINT32_MAX);
}

/* What the fast path of a claim reads. */
static void
set_plain(struct lab_pool *pool, uint32_t *masks)
{
	const struct lab_zone *zone = &pool->zones[LAB_ZONE_PLAIN];

	for (uint32_t i = 0; i < zone->words; i++)
		masks[i] = mask_in(zone, i);
	if (zone->words == 0)
		return;
	pool->plain_base = pool->base + ((size_t)zone->first_word << pool->word_bytes_shift);
	pool->plain_masks = masks;
	lab_store_rel(&pool->plain, pool->words + zone->first_word);
	lab_store_rel(&pool->plain_start, lab_slots_start_mask(zone->words));
}

static void
set_geometry(struct lab_pool *pool, const struct lab_reserve_plan *plan, unsigned c)
{
	pool->shift = (uint8_t)lab_pool_shift(c);
	pool->word_shift = (uint8_t)lab_pool_word_shift(c);
	pool->word_bytes_shift = pool->shift + pool->word_shift;
	pool->odd = (1u << pool->shift) - 1;
	pool->in_word = (1u << pool->word_shift) - 1;
	pool->chunk_words = (uint8_t)(chunk_bytes(c) / word_bytes(c));
	pool->fixed_slots = (uint32_t)fixed_slots(plan, c);
	pool->grown_from = (uint32_t)(bytes_before_chunks(plan, c) / word_bytes(c));
	pool->grown_words = (uint32_t)(grown_bytes(plan, c) / word_bytes(c));
}

void
lab_reserve_install(const struct lab_reserve_plan *plan, void *region)
{
	_Atomic uint64_t *words = region, *grown = (_Atomic uint64_t *)((char *)region + plan->head);
	uint32_t *masks = (uint32_t *)(words + all_fixed_words(plan));

	lab_reserve_state.limit = plan->limit;
	lab_reserve_state.head = (struct lab_range){region, plan->head};
	lab_reserve_state.first = (uintptr_t)class_base(plan, region, 0);
	lab_reserve_state.range_shift = plan->range_shift;
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_pool *pool = &lab_reserve_state.pools[c];
		pool->words = words;
		pool->grown = grown;
		pool->base = class_base(plan, region, c);
		set_geometry(pool, plan, c);
		set_marks(pool, plan->slots[c], plan->overflow[c]);
		open_fixed(pool);
		set_plain(pool, masks);
		words += fixed_words(plan, c);
		masks += fixed_words(plan, c);
		grown += pool->grown_words;
	}
	lab_reserve_state.size = (size_t)LAB_RESERVE_CLASSES << plan->range_shift;
	lab_store_rel(&lab_reserve_state.installed, true);
}

/* ---- figures ------------------------------------------------------------------------------------------------------------------- */

static size_t
free_in_zone(const struct lab_pool *pool, const struct lab_zone *zone)
{
	size_t free = 0;

	for (uint32_t i = 0; i < zone->words; i++) {
		uint64_t word = lab_load_rlx(&pool->words[zone->first_word + i]);
		free += (size_t)__builtin_popcountll(word & mask_in(zone, i));
	}
	return free;
}

bool
lab_reserve_figures(unsigned c, struct lab_reserve_figures *figures)
{
	size_t free_fixed = 0, free_grown = 0;

	if (!lab_reserve_is_installed() || c >= LAB_RESERVE_CLASSES)
		return false;
	struct lab_pool *pool = &lab_reserve_state.pools[c];
	*figures = (struct lab_reserve_figures){
	        .size = (size_t)1 << pool->shift,
	        .slots = pool->slots,
	        .overflow = pool->overflow,
	        .min = pool->min,
	        .high = pool->high,
	        .low = pool->low,
	        .a_chunk = (size_t)pool->chunk_words << pool->word_shift,
	};
	for (uint32_t i = 0, end = lab_load_acq(&pool->open_words); i < end; i++) {
		uint64_t word = lab_load_rlx(&pool->grown[i]);
		if (!lab_slots_is_open(word))
			continue;
		figures->grown += lab_pool_slots_a_word(pool);
		free_grown += (size_t)__builtin_popcountll(word & LAB_SLOTS_MASK);
	}
	for (unsigned z = 0; z < LAB_ZONES; z++)
		free_fixed += free_in_zone(pool, &pool->zones[z]);
	figures->plain = free_in_zone(pool, &pool->zones[LAB_ZONE_PLAIN]) + free_grown;
	size_t all = pool->fixed_slots + figures->grown, free = free_fixed + free_grown;
	figures->used = all > free ? all - free : 0;
	return true;
}

size_t
lab_reserve_total(void)
{
	struct lab_reserve_figures figures;
	size_t total = 0;

	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++)
		total += (figures.slots + figures.overflow + figures.grown) * figures.size;
	return total;
}

size_t
lab_reserve_used(void)
{
	struct lab_reserve_figures figures;
	size_t used = 0;

	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++)
		used += figures.used * figures.size;
	return used;
}

size_t
lab_reserve_limit(void)
{
	return lab_reserve_state.limit;
}

size_t
lab_reserve_failures(void)
{
	return lab_load_rlx(&lab_reserve_state.failures);
}

size_t
lab_reserve_lost_races(void)
{
	return lab_load_rlx(&lab_reserve_state.lost_races);
}

/* The page of a small variable. */
static struct lab_range
page_of(void *p)
{
	return (struct lab_range){(char *)p - (uintptr_t)p % LAB_RESERVE_PAGE, LAB_RESERVE_PAGE};
}

struct lab_range
lab_reserve_own_range(unsigned i)
{
	switch (i) {
	case 0:
		return lab_reserve_state.head;
	case 1:
		return (struct lab_range){(char *)&lab_reserve_state, sizeof lab_reserve_state};
	case 2:
		return page_of(&lab_reserve_hungry);
	case 3:
		return page_of(&lab_reserve_unmet);
	default:
		return (struct lab_range){0};
	}
}
