/*
 * run.c - runs of pages in one heap against a model that knows every page: placement, resizing, freshness, segments
 * that go back.
 *
 * Clauses: G10.5.
 */
#include <criterion/criterion.h>

#include "heap/rebuild.h"
#include "heap/run.h"
#include "heap/segment_index.h"
#include "heap/take.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "inside_heap.h"
#include "trace.h"
#include "world.h"

/* A run, and where it is. */
struct held {
	unsigned char *p;
	struct lab_place place;
	size_t count;
	uint32_t seed;
};

static struct held
take(size_t count, size_t align)
{
	bool fresh = false;
	unsigned char *p = lab_run_alloc_owned(heap, count, align, &fresh);
	REQUIRE(p);
	REQUIRE((uintptr_t)p % (align * LAB_PAGE_SIZE) == 0);
	if (fresh)
		REQUIRE(trace_is_zero(p, count * LAB_PAGE_SIZE));
	struct held held = {p, lab_map_find(p), count, (uint32_t)(uintptr_t)p};
	REQUIRE(held.place.kind == LAB_PLACE_RUN);
	REQUIRE(lab_load_rlx(&held.place.run->pages) == count);
	trace_fill(p, count * LAB_PAGE_SIZE, held.seed);
	return held;
}

static void
check_contents(const struct held *held)
{
	size_t size = held->count * LAB_PAGE_SIZE;

	REQUIRE(trace_reads_as(held->p, size, size, held->seed));
}

static void
give(struct held *held)
{
	check_contents(held);
	REQUIRE(lab_run_begin_free(held->place.run, 1));
	REQUIRE(!lab_run_begin_free(held->place.run, 1)); /* only one freer wins */
	lab_run_free_owned(heap, held->place.segment, held->place.run);
}

static bool
resize(struct held *held, size_t count)
{
	check_contents(held);
	if (!lab_run_resize_owned(heap, held->place.segment, held->place.run, count)) {
		check_contents(held);
		return false;
	}
	REQUIRE(lab_load_rlx(&held->place.run->pages) == count);
	held->count = count;
	trace_fill(held->p, count * LAB_PAGE_SIZE, ++held->seed);
	return true;
}

Test(run, long_random_traces)
{
	enum { RUNS = 200 };
	static struct held runs[RUNS];
	struct trace_random random = {1};
	size_t live = 0, pages = 0;

	enter();
	for (int step = 0; step < 20000; step++) {
		struct held *victim = live ? &runs[trace_below(&random, live)] : NULL;
		if (live < RUNS && (step / 2000 % 2 == 0 || trace_below(&random, 3) == 0)) {
			bool aligned = trace_below(&random, 3) == 0;
			runs[live] = take(trace_skewed(&random, 7), aligned ? (size_t)1 << trace_below(&random, 9) : 1);
			pages += runs[live++].count;
		} else if (victim && trace_below(&random, 3) == 0) {
			pages -= victim->count;
			(void)resize(victim, trace_skewed(&random, 7));
			pages += victim->count;
		} else if (victim) {
			pages -= victim->count;
			give(victim);
			*victim = runs[--live];
		}
		if (step % 500 == 0) {
			struct heap_census census = heap_check(heap);
			REQUIRE(census.runs == live && census.pages == pages);
		}
	}
	while (live > 0)
		give(&runs[--live]);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.runs, 0);
	cr_assert_eq(census.segments, 1, "empty segments are given up, all but one");
}

Test(run, a_run_grows_and_shrinks_where_it_is)
{
	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1);
	give(&whole);
	struct held a = take(10, 16), b;

	cr_assert(resize(&a, 16));
	cr_assert(resize(&a, 700));
	cr_assert(!resize(&a, 1025), "more than its segment has");
	cr_assert(resize(&a, 1024));
	cr_assert(resize(&a, 12));
	b = take(1, 1);
	cr_assert_eq(b.p, a.p + 12 * LAB_PAGE_SIZE, "what was given back is used");
	cr_assert(!resize(&a, 13), "a neighbour");
	cr_assert_eq(a.count, 12);
	give(&b);
	cr_assert(resize(&a, 13));
	give(&a);
	(void)heap_check(heap);
}

Test(run, every_count_and_alignment_of_a_segment)
{
	enter();
	for (size_t count = 1; count <= LAB_SEGMENT_PAGES; count += count < 70 ? 1 : 53) {
		struct held held = take(count, 1);
		give(&held);
	}
	for (size_t align = 1; align <= LAB_SEGMENT_PAGES; align *= 2) {
		struct held a = take(3, align), b = take(align, align);
		give(&a);
		give(&b);
	}
	struct held whole = take(LAB_SEGMENT_PAGES, LAB_SEGMENT_PAGES);
	give(&whole);
}

/* A heap maps what it uses: one slot first, then as much as it has. */
Test(run, segments_are_as_long_as_all_that_the_heap_has)
{
	static struct held runs[600];
	size_t n = 0, longest = 0;

	enter();
	for (size_t pages = 0; n < 600; n++) {
		runs[n] = take(8, 1);
		pages += 8;
		size_t length = lab_segment_pages(runs[n].place.segment);
		cr_assert(heap->slots * LAB_SLOT_PAGES <= 2 * pages + LAB_SLOT_PAGES);
		longest = length > longest ? length : longest;
	}
	cr_assert_eq(lab_segment_pages(runs[0].place.segment), LAB_SLOT_PAGES);
	cr_assert_eq(longest, LAB_SEGMENT_PAGES);
	(void)heap_check(heap);
	while (n > 0)
		give(&runs[--n]);
	cr_assert_eq(heap->slots, LAB_SEGMENT_PAGES / LAB_SLOT_PAGES, "the largest is kept");
	(void)heap_check(heap);
}

/* A free row of pages is found, however many segments have but shorter ones: of the same order, or longer in all. */
Test(run, what_fits_is_found_among_segments_in_which_it_does_not)
{
	enum { SEGMENTS = 24, ROWS = LAB_SEGMENT_PAGES / 16, PAIRS = SEGMENTS * ROWS };
	static struct held kept[PAIRS], gone[PAIRS];
	static const size_t lengths[] = {3, 5, 6, 7, 9, 11, 12, 13, 14};

	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1); /* so that all segments are of the largest */
	give(&whole);
	for (size_t at = 0; at < sizeof lengths / sizeof *lengths; at++) {
		size_t n = 0, length = lengths[at];
		for (; n < PAIRS; n++) {
			bool fresh;
			void *a = lab_run_alloc_owned(heap, length, 1, &fresh),
			     *b = lab_run_alloc_owned(heap, 16 - length, 1, &fresh);
			gone[n] = (struct held){a, lab_map_find(a), length, 0};
			kept[n] = (struct held){b, lab_map_find(b), 16 - length, 0};
		}
		size_t slots = heap->slots;
		struct held last_one = gone[PAIRS / 2]; /* stays, and leaves then one page more than the others */
		for (size_t i = 0; i < n; i++)
			if (i != PAIRS / 2) {
				REQUIRE(lab_run_begin_free(gone[i].place.run, 1));
				lab_run_free_owned(heap, gone[i].place.segment, gone[i].place.run);
			}
		REQUIRE(lab_run_resize_owned(heap, kept[PAIRS / 2].place.segment, kept[PAIRS / 2].place.run, 1));
		REQUIRE(lab_run_begin_free(last_one.place.run, 1));
		lab_run_free_owned(heap, last_one.place.segment, last_one.place.run);
		(void)heap_check(heap);
		bool fresh;
		void *p = lab_run_alloc_owned(heap, length + 1, 1, &fresh);
		cr_assert_eq(heap->slots, slots, "%zu pages were there", length + 1);
		struct lab_place place = lab_map_find(p);
		REQUIRE(lab_run_begin_free(place.run, 1));
		lab_run_free_owned(heap, place.segment, place.run);
		for (size_t i = 0; i < n; i++) {
			REQUIRE(lab_run_begin_free(kept[i].place.run, 1));
			lab_run_free_owned(heap, kept[i].place.segment, kept[i].place.run);
		}
	}
	(void)heap_check(heap);
}

/* Blocks of 0.3 to 4 MB that come and go: what is mapped is little more than what was in use at once. */
Test(run, mixed_lengths_leave_little_between_them)
{
	enum { RUNS = 200, STEPS = 20000 };
	static struct held runs[RUNS];

	enter();
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct trace_random random = {seed};
		size_t live = 0, most = 0, mapped = 0;
		for (int step = 0; step < STEPS; step++) {
			struct held *held = &runs[trace_below(&random, RUNS)];
			if (held->p) {
				REQUIRE(lab_run_begin_free(held->place.run, 1));
				lab_run_free_owned(heap, held->place.segment, held->place.run);
				live -= held->count;
			}
			bool fresh;
			held->count = lab_run_pages(75 + trace_below(&random, LAB_SEGMENT_PAGES - 74));
			held->p = lab_run_alloc_owned(heap, held->count, 1, &fresh);
			held->place = lab_map_find(held->p);
			live += held->count;
			most = live > most ? live : most;
			mapped = heap->slots > mapped ? heap->slots : mapped;
		}
		cr_assert_leq(mapped * LAB_SLOT_PAGES * 4, most * 5);
		for (size_t i = 0; i < RUNS; i++)
			if (runs[i].p) {
				REQUIRE(lab_run_begin_free(runs[i].place.run, 1));
				lab_run_free_owned(heap, runs[i].place.segment, runs[i].place.run);
				runs[i].p = NULL;
			}
	}
	(void)heap_check(heap);
}

/* What a heap keeps free, and what is nobody's, counts for the limits of the process as well. */
Test(run, what_is_kept_free_goes_before_a_run_fails)
{
	world_install();
	enter();
	struct held small = take(8, 1);
	give(&small);
	cr_assert_eq(heap->slots, 1);
	size_t mapped = lab_space_mapped();
	world.maps_left = 0;
	bool fresh;
	cr_assert_null(lab_run_alloc_owned(heap, 100, 1, &fresh));
	cr_assert_eq(mapped, LAB_SLOT_SIZE);
	cr_assert_eq(lab_space_mapped(), 0);
	(void)heap_check(heap);
	world.maps_left = SIZE_MAX;
	small = take(100, 1);
	give(&small);
}

Test(run, fresh_pages_are_told_and_are_zero)
{
	bool fresh = false;

	enter();
	char *p = lab_run_alloc_owned(heap, 20, 1, &fresh);
	cr_assert(fresh);
	struct lab_place place = lab_map_find(p);
	memset(p, 1, LAB_PAGE_SIZE);
	cr_assert(lab_run_begin_free(place.run, 1));
	lab_run_free_owned(heap, place.segment, place.run);
	char *q = lab_run_alloc_owned(heap, 20, 1, &fresh);
	cr_assert_eq(p, q);
	cr_assert(!fresh);
	cr_assert_gt(heap->freed_pages, 0);
}

/* A block that grows is put where it can grow in place, a block of any other kind where it fits most closely. */
Test(run, what_grows_has_room_behind_it)
{
	bool fresh;

	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1);
	give(&whole);
	struct held hole = take(20, 1), wall = take(1, 1); /* 20 pages, or more behind the wall */
	give(&hole);
	struct held close = take(20, 1);
	cr_assert_eq(close.p, hole.p);
	give(&close);
	char *p = lab_run_alloc_growing_owned(heap, 20, &fresh);
	cr_assert(p && p != (char *)hole.p);
	struct lab_place place = lab_map_find(p);
	cr_assert(lab_run_resize_owned(heap, place.segment, place.run, 40));
	cr_assert_eq(lab_load_rlx(&place.run->pages), 40);
	struct lab_place of_wall = lab_map_find(wall.p);
	for (size_t count = 1; count <= LAB_SEGMENT_PAGES; count *= 2) /* whether or not twice as many can be had */
		cr_assert(lab_run_alloc_growing_owned(heap, count, &fresh));
	cr_assert_eq(lab_load_rlx(&of_wall.run->pages), 1);
}

/* A purger holds bits of the only segment: the holder works around it, and sees the pages again afterwards. */
Test(run, pages_that_a_purger_held_are_found_again)
{
	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1); /* so that the only segment is one of the largest */
	give(&whole);
	struct held a = take(1, 1);
	struct lab_segment *segment = a.place.segment;
	REQUIRE(lab_segment_pages(segment) == LAB_SEGMENT_PAGES);
	size_t used = lab_segment_page_of(segment, a.p);

	cr_assert(lab_segment_take_at(segment, used + 1, LAB_SEGMENT_PAGES - used - 1)); /* the purger */
	lab_segment_refresh_owned(segment, 0, LAB_SEGMENT_PAGES); /* something made the holder look at that moment */
	lab_segment_index_owned(heap, segment);
	struct held b = take(8, 1);
	cr_assert_neq(b.place.segment, segment);
	lab_segment_give(segment, used + 1, LAB_SEGMENT_PAGES - used - 1, 0);
	lab_segment_mark_stale(segment, LAB_VIEW_IS_OLD);
	struct held c = take(LAB_SEGMENT_PAGES - 8, 1), d = take(900, 1);
	cr_assert_eq(d.place.segment, segment, "no third segment");
	give(&a);
	give(&b);
	give(&c);
	give(&d);
	(void)heap_check(heap);
}

/* The view may overstate what is free: a purger took pages after the holder looked. */
Test(run, pages_that_a_purger_holds_are_never_handed_out)
{
	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1); /* so that the only segment is one of the largest */
	give(&whole);
	struct held a = take(1, 1);
	struct lab_segment *segment = a.place.segment;
	REQUIRE(lab_segment_pages(segment) == LAB_SEGMENT_PAGES);
	struct held more[30];

	for (size_t page = 0; page < LAB_SEGMENT_PAGES; page += 3) {
		size_t word = page / 64;
		atomic_fetch_or(&segment->taken[word], UINT64_C(1) << (page % 64));
	}
	for (int i = 0; i < 30; i++) {
		more[i] = take(2 + (size_t)i, 1);
		if (more[i].place.segment == segment)
			for (size_t n = 0; n < more[i].count; n++)
				cr_assert_neq((lab_segment_page_of(segment, more[i].p) + n) % 3, 0);
	}
}

Test(run, no_memory_is_null_and_the_heap_is_whole)
{
	struct held runs[64];
	bool fresh;
	size_t n = 0;

	world_install();
	enter();
	struct held whole = take(LAB_SEGMENT_PAGES, 1);
	give(&whole);
	world.maps_left = 0;
	while (n < 64) {
		unsigned char *p = lab_run_alloc_owned(heap, 100, 1, &fresh);
		if (!p)
			break;
		runs[n++] = (struct held){p, lab_map_find(p), 100, 0};
	}
	cr_assert_eq(n, 10, "in the segment that it has");
	cr_assert_null(lab_pages_take_owned(heap, 1000, 1).segment);
	(void)heap_check(heap);
	while (n-- > 0) {
		REQUIRE(lab_run_begin_free(runs[n].place.run, 1));
		lab_run_free_owned(heap, runs[n].place.segment, runs[n].place.run);
	}
	cr_assert(lab_pages_take_owned(heap, 1000, 1).segment);
}

/* ---- a heap that fork has frozen: nobody looks at its segments but who frees its runs, and purgers ---- */

static struct held last;

static void
free_last(void *start, size_t size)
{
	(void)start;
	(void)size;
	world.on_purge = NULL;
	REQUIRE(lab_run_begin_free(last.place.run, 1));
	lab_run_free_frozen(last.place.segment, last.place.run);
}

Test(run, a_purger_gives_back_a_frozen_segment_whose_last_run_was_freed_meanwhile)
{
	world_install();
	enter();
	last = take(5, 1);
	struct held dirty = take(5, 1);
	REQUIRE(dirty.place.segment == last.place.segment);
	give(&dirty);
	const _Atomic uint64_t *owner = lab_segment_owner(last.place.segment);
	world.on_purge = free_last;
	cr_assert_gt(lab_purge_segment(last.place.segment, lab_thread_purge_owned(heap), &lab_purge_everything), 0);
	cr_assert_eq(lab_owner_state(lab_load_rlx(owner)), LAB_SLOT_EMPTY);
}
