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

/* Bytes of the head up to the end of the words of fixed slots; then come those of the chunks. */
static size_t
resident_head(const struct lab_reserve_plan *plan)
{
	size_t words = 0;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		words += fixed_words(plan, c);
	return lab_round_up(sizeof(struct lab_reserve_head) + words * 8, LAB_RESERVE_PAGE);
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

	for (uint32_t i = 0; i < pool->fixed_words; i++) {
		unsigned slots = left < a_word ? left : a_word;
		lab_store_rlx(&pool->words[i], lab_slots_all_free(slots));
		left -= slots;
	}
}

void
lab_reserve_install(const struct lab_reserve_plan *plan, void *region)
{
	struct lab_reserve_head *head = region;
	_Atomic uint64_t *words = head->words, *grown = (_Atomic uint64_t *)((char *)region + plan->head);

	head->limit = plan->limit;
	head->head_size = plan->head;
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_pool *pool = &head->pools[c];
		pool->words = words;
		pool->grown = grown;
		pool->base = class_base(plan, region, c);
		pool->fixed_slots = (uint32_t)fixed_slots(plan, c);
		pool->fixed_words = (uint32_t)fixed_words(plan, c);
		pool->grown_from = (uint32_t)(bytes_before_chunks(plan, c) / word_bytes(c));
		pool->grown_words = (uint32_t)(grown_bytes(plan, c) / word_bytes(c));
		pool->shift = (uint8_t)lab_pool_shift(c);
		pool->word_shift = (uint8_t)lab_pool_word_shift(c);
		pool->chunk_words = (uint8_t)(chunk_bytes(c) / word_bytes(c));
		set_marks(pool, plan->slots[c], plan->overflow[c]);
		open_fixed(pool);
		words += pool->fixed_words;
		grown += pool->grown_words;
	}
	lab_reserve_region.start = (uintptr_t)region;
	lab_reserve_region.first = (uintptr_t)class_base(plan, region, 0);
	lab_reserve_region.size = (size_t)LAB_RESERVE_CLASSES << plan->range_shift;
	lab_reserve_region.range_shift = plan->range_shift;
	__atomic_store_n(&lab_reserve_region.head, head, __ATOMIC_RELEASE);
}

/* ---- figures ------------------------------------------------------------------------------------------------------------------- */

static size_t
free_in_zone(const struct lab_pool *pool, const struct lab_zone *zone)
{
	size_t free = 0;

	for (uint32_t i = 0; i < zone->words; i++) {
		uint64_t mask = LAB_SLOTS_MASK;
		if (i == 0)
			mask &= zone->first_mask;
		if (i == zone->words - 1)
			mask &= zone->last_mask;
		free += (size_t)__builtin_popcountll(lab_load_rlx(&pool->words[zone->first_word + i]) & mask);
	}
	return free;
}

bool
lab_reserve_figures(unsigned c, struct lab_reserve_figures *figures)
{
	struct lab_reserve_head *head = lab_reserve_head();
	size_t free_fixed = 0, free_grown = 0;

	if (!head || c >= LAB_RESERVE_CLASSES)
		return false;
	struct lab_pool *pool = &head->pools[c];
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
	return lab_reserve_head() ? lab_reserve_head()->limit : 0;
}

size_t
lab_reserve_failures(void)
{
	return lab_reserve_head() ? lab_load_rlx(&lab_reserve_head()->failures) : 0;
}

size_t
lab_reserve_lost_races(void)
{
	return lab_reserve_head() ? lab_load_rlx(&lab_reserve_head()->lost_races) : 0;
}

struct lab_range
lab_reserve_head_range(void)
{
	struct lab_reserve_head *head = lab_reserve_head();

	return (struct lab_range){(char *)head, head ? head->head_size : 0};
}
