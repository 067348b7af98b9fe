/* charge.c - see charge.h. */
#include "page/charge.h"
#include "page/walk.h"

enum { TRIES = 4 };

_Atomic size_t lab_charge_limit = LAB_CHARGE_UNLIMITED;
static _Atomic uint64_t headroom; /* pages that may be charged before all are counted anew */

void
lab_charge_set_limit(size_t pages)
{
	lab_store_rlx(&lab_charge_limit, pages);
	lab_store_rlx(&headroom, 0);
}

size_t
lab_charge_count_clean(const struct lab_segment *segment, size_t page, size_t count)
{
	size_t end = page + count, clean = 0;

	for (size_t word = page / 64; word * 64 < end; word++) {
		size_t low = page > word * 64 ? page - word * 64 : 0, high = end - word * 64;
		uint64_t mask = lab_mask((unsigned)(high < 64 ? high : 64)) & ~lab_mask((unsigned)low);
		clean += (size_t)__builtin_popcountll(mask & ~lab_load_rlx(&segment->dirty[word]));
	}
	return clean;
}

size_t
lab_charge_count_clean_from(const struct lab_arena *arena, size_t index, size_t page, size_t count)
{
	size_t clean = 0;

	while (count > 0) {
		size_t at = page % LAB_SEGMENT_PAGES, part = LAB_SEGMENT_PAGES - at;
		if (part > count)
			part = count;
		clean += lab_charge_count_clean(lab_arena_segment(arena, index + page / LAB_SEGMENT_PAGES), at, part);
		page += part;
		count -= part;
	}
	return clean;
}

/* Of a segment of which a huge block covers `covered` pages, from the first one on; 0 for one of spans and runs. */
static size_t
count_segment(const struct lab_segment *segment, size_t covered)
{
	size_t pages = covered;

	for (size_t word = covered / 64; word < LAB_SEGMENT_WORDS; word++) {
		uint64_t counts = lab_load_rlx(&segment->taken[word]) | lab_load_rlx(&segment->dirty[word]);
		if (covered > word * 64)
			counts &= ~lab_mask((unsigned)(covered - word * 64));
		pages += (size_t)__builtin_popcountll(counts);
	}
	return pages;
}

/* Pages of the huge block that starts in a segment; 0 if none does. */
static size_t
huge_pages(const struct lab_arena *arena, size_t index)
{
	const struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];

	if (lab_owner_kind(lab_load_acq(&arena->owners[index])) != LAB_SEGMENT_HUGE || lab_load_acq(&run->state) == LAB_RUN_DEAD)
		return 0;
	return lab_load_rlx(&run->pages);
}

static size_t
count_arena(const struct lab_arena *arena)
{
	size_t end = lab_load_acq(&arena->high_water), pages = 0, left = 0; /* left: of the huge block that we are in */

	for (size_t index = 0; index < end; index++) {
		if (!lab_arena_is_committed(arena, index))
			continue;
		if (left == 0)
			left = huge_pages(arena, index);
		size_t covered = left < LAB_SEGMENT_PAGES ? left : LAB_SEGMENT_PAGES;
		pages += count_segment(lab_arena_segment(arena, index), covered);
		left -= covered;
	}
	return pages;
}

size_t
lab_charge_count(void)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	size_t pages = 0;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++)
		pages += count_arena(arena);
	lab_walk_end(&walk);
	return pages;
}

/* Counts anew, and charges `pages` besides. */
static bool
charge_counted(size_t pages)
{
	bool fits = false;

	for (int try = 0; try < TRIES; try++) {
		uint64_t before = lab_load_acq(&headroom);
		size_t limit = lab_load_rlx(&lab_charge_limit), counted = lab_charge_count();
		fits = counted <= limit && pages <= limit - counted;
		uint64_t left = counted < limit ? limit - counted : 0;
		if (lab_cas64(&headroom, before, left - (fits ? pages : 0)))
			break; /* else others have charged meanwhile, perhaps for pages that the count has not seen */
	}
	return fits;
}

bool
lab_charge(size_t pages, bool seen)
{
	if (!lab_charge_is_limited() || pages == 0)
		return true;
	uint64_t before = lab_load_rlx(&headroom);
	while (before >= pages)
		/* rel pairs with the acq of who counts: it sees our pages, or its CAS fails */
		if (atomic_compare_exchange_weak_explicit(&headroom, &before, before - pages, memory_order_acq_rel,
		                                          memory_order_relaxed))
			return true;
	return charge_counted(seen ? 0 : pages);
}

bool
lab_charge_taken(const struct lab_segment *segment, size_t page, size_t count)
{
	return !lab_charge_is_limited() || lab_charge(lab_charge_count_clean(segment, page, count), true);
}
