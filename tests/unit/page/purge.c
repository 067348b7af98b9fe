/*
 * purge.c - giving pages back: what is purged, what must not be, what a failing madvise leaves. The clock and madvise
 * are hooks. The race of purgers against allocations is in page/claims.c.
 *
 * Clauses: G10.1, G10.8.
 */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "page/map.h"
#include "page/pending.h"
#include "page/purge.h"
#include "page/sweep.h"
#include "trace.h"
#include "world.h"

#define CLAIM (UINT64_C(77) << LAB_LEASE_TID_SHIFT | 5) /* lab_lease_make(5, 77, LAB_PURGE_GIVES_BACK), as a constant */

static struct lab_purge_record record = {.claim = CLAIM};

static struct lab_segment *segment;

static void
start(void)
{
	world_install();
	REQUIRE(lab_space_start());
	segment = lab_space_claim(1, LAB_SLOTS_LOG_MAX, LAB_SLOTS_LOG_MAX);
	REQUIRE(segment);
}

static char *
page_at(size_t page)
{
	return segment->base + page * LAB_PAGE_SIZE;
}

/* Takes pages, writes to them, and frees them, dirty. */
static void
soil(size_t page, size_t count)
{
	REQUIRE(lab_segment_take_at(segment, page, count));
	memset(page_at(page), 0x5a, count * LAB_PAGE_SIZE);
	lab_segment_give(segment, page, count, count);
}

/* INV-PAGE-2: madvise runs only on pages that the purger has taken, with the purge word held. */
static void
check_taken(void *first, size_t size)
{
	size_t page = lab_segment_page_of(segment, first);

	REQUIRE(lab_load_rlx(&segment->purge) == CLAIM);
	for (size_t i = page; i < page + size / LAB_PAGE_SIZE; i++)
		REQUIRE(lab_load_rlx(&segment->taken[i / 64]) >> (i % 64) & 1);
}

Test(purge, only_what_is_free_and_dirty_goes_in_one_call_a_range)
{
	static const struct {
		size_t page, count;
	} ranges[] = {{0, 1}, {3, 2}, {60, 10}, {200, 300}, {1023, 1}};

	start();
	world.on_purge = check_taken;
	cr_assert(lab_segment_take_at(segment, 100, 20)); /* in use */
	memset(page_at(100), 0x77, 20 * LAB_PAGE_SIZE);
	size_t pages = 0;
	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		soil(ranges[i].page, ranges[i].count);
		pages += ranges[i].count;
	}
	cr_assert_eq(lab_purge_dirty_pages(), pages);
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), pages);
	cr_assert_eq(world.purges, sizeof ranges / sizeof *ranges);
	cr_assert_eq(world.purged, pages * LAB_PAGE_SIZE);
	cr_assert_eq(lab_purge_total_pages(), pages);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->view_stale), LAB_VIEW_IS_OLD);
	cr_assert_null(record.segment);
	cr_assert(trace_is_zero(page_at(0), 100 * LAB_PAGE_SIZE), "INV-PAGE-3");
	cr_assert(trace_is_zero(page_at(120), 904 * LAB_PAGE_SIZE));
	cr_assert(lab_segment_is_fresh(segment, 0, 100));
	for (size_t i = 0; i < 20 * LAB_PAGE_SIZE; i++)
		REQUIRE(page_at(100)[i] == 0x77);
	lab_segment_refresh_owned(segment, 0, LAB_SEGMENT_PAGES);
	cr_assert(lab_segment_take_at(segment, 0, 100), "the bits are back");
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 0, "nothing left to do");
	cr_assert_eq(world.purges, sizeof ranges / sizeof *ranges);
}

Test(purge, a_failing_madvise_leaves_pages_dirty_and_unchanged)
{
	start();
	soil(10, 30);
	world.purge_fails = true;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 0);
	cr_assert_eq(world.purges, 1);
	cr_assert_eq(lab_purge_dirty_pages(), 30);
	cr_assert_eq(lab_purge_total_pages(), 0);
	cr_assert(!lab_segment_is_fresh(segment, 10, 30), "calloc has to clear them");
	for (size_t i = 0; i < 30 * LAB_PAGE_SIZE; i++)
		REQUIRE(page_at(10)[i] == 0x5a);
	cr_assert(lab_segment_is_empty(segment));
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	world.purge_fails = false;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 30);
}

Test(purge, a_segment_that_somebody_purges_is_left_to_him)
{
	start();
	soil(0, 5);
	lab_store_rlx(&segment->purge, 1234);
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 0);
	cr_assert_eq(world.purges, 0);
	cr_assert_eq(lab_load_rlx(&segment->purge), 1234);
}

/* ---- a purger that is cut short: what its record says is undone ---- */

static jmp_buf out;

static void
jump(void *start, size_t size)
{
	check_taken(start, size);
	longjmp(out, 1);
}

Test(purge, a_purger_that_was_cut_short_lets_go_of_the_word_and_marks_the_segment)
{
	start();
	soil(10, 30);
	world.on_purge = jump;
	if (setjmp(out) == 0)
		(void)lab_purge_segment(segment, &record, &lab_purge_everything);
	world.on_purge = NULL;
	cr_assert_eq(record.segment, segment);
	cr_assert_eq(lab_load_rlx(&segment->purge), CLAIM);
	lab_purge_recover(&record);
	lab_purge_recover(&record); /* repeatable */
	cr_assert_null(record.segment);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->view_stale), LAB_MAY_HAVE_ORPHANS);

	record.segment = segment; /* cut short before it had the word: another has it now */
	lab_store_rlx(&segment->purge, lab_lease_next(CLAIM, 78, 0));
	lab_purge_recover(&record);
	cr_assert_eq(lab_load_rlx(&segment->purge), lab_lease_next(CLAIM, 78, 0));
}

/* Where the plan sets no end they go as a whole. */
Test(purge, empty_segments_are_purged_and_unmapped)
{
	start();
	soil(0, 5);
	cr_assert(lab_space_release(segment, lab_load_rlx(lab_segment_owner(segment))));
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 5);
	cr_assert(trace_is_zero(page_at(0), 5 * LAB_PAGE_SIZE));
	soil(0, 7);
	lab_purge_all(&record);
	cr_assert_eq(world.purges, 1);
	cr_assert_eq(lab_space_mapped(), 0);
	cr_assert_eq(lab_purge_total_pages(), 12);
}

Test(purge, short_segments_are_purged_to_their_end)
{
	start();
	segment = lab_space_claim(1, 0, 0);
	REQUIRE(segment && lab_segment_pages(segment) == LAB_SLOT_PAGES);
	soil(0, LAB_SLOT_PAGES);
	world.on_purge = check_taken;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), LAB_SLOT_PAGES);
	cr_assert_eq(world.purges, 1);
	cr_assert(lab_segment_is_empty(segment));
	const struct lab_purge_plan whole = {.young = true, .in_whole = true};
	soil(0, LAB_SLOT_PAGES);
	cr_assert_eq(lab_purge_segment(segment, &record, &whole), 0, "no huge page is in there");
}

/* ---- sweeps: pages that nobody has used since the last one ---- */

enum { NO_BOUND = 1 << 20 }; /* pages */

static struct lab_count_delta own;

/* One slice. */
static void
go_on(size_t pages, bool in_whole)
{
	lab_sweep_go_on(&record, (struct lab_slice){.pages = pages, .in_whole = in_whole, .own = &own});
}

/* All of a sweep; the pages that it gave back. */
static size_t
sweep(bool in_whole)
{
	size_t before = lab_purge_total_pages();

	lab_sweep_begin(false);
	go_on(NO_BOUND, in_whole);
	REQUIRE(!lab_sweep_is_on());
	return lab_purge_total_pages() - before;
}

static bool
has_left_something(void)
{
	return lab_load_rlx(&lab_purge_pending) == LAB_PURGE_SEEN;
}

Test(purge, aged_pages_go_and_younger_ones_of_the_same_segment_stay)
{
	start();
	cr_assert_eq(sweep(false), 0);
	cr_assert(!has_left_something(), "nothing is dirty");
	soil(0, 10);
	soil(100, 10);
	cr_assert_eq(sweep(false), 0, "all are young");
	cr_assert(has_left_something());
	soil(50, 10);
	soil(105, 10); /* half of them used again */
	cr_assert_eq(sweep(false), 15);
	cr_assert(lab_segment_is_fresh(segment, 0, 10) && lab_segment_is_fresh(segment, 100, 5));
	cr_assert_eq(lab_purge_dirty_pages(), 20);
	cr_assert(has_left_something());
	cr_assert_eq(sweep(false), 20);
	cr_assert(!has_left_something());
}

Test(purge, pages_in_use_are_not_aged)
{
	start();
	soil(0, 10);
	REQUIRE(lab_segment_take_at(segment, 0, 10)); /* dirty, but taken */
	cr_assert_eq(sweep(false), 0);
	cr_assert(!has_left_something());
	lab_segment_give(segment, 0, 10, 10);
	cr_assert_eq(sweep(false), 0);
	cr_assert(has_left_something());
	REQUIRE(lab_segment_take_at(segment, 0, 10));
	cr_assert_eq(sweep(false), 0, "taken since");
	lab_segment_give(segment, 0, 10, 10);
	cr_assert_eq(sweep(false), 0, "and young again");
}

/* So many segments of one slot, with a slot's pages free and dirty in each; they are owned. */
static void
soil_segments(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		segment = lab_space_claim(1, 0, 0);
		REQUIRE(segment && lab_segment_pages(segment) == LAB_SLOT_PAGES);
		soil(0, LAB_SLOT_PAGES);
	}
}

Test(purge, a_slice_of_a_sweep_has_bounded_work_and_the_next_one_goes_on)
{
	enum { SEGMENTS = 200, PAGES = 300 };

	start();
	soil_segments(SEGMENTS);
	cr_assert_eq(sweep(false), 0);
	lab_sweep_begin(false);
	for (size_t slices = 1, before = 0; lab_sweep_is_on(); slices++) {
		go_on(PAGES, false);
		cr_assert_leq(lab_purge_total_pages() - before, PAGES + LAB_SLOT_PAGES);
		before = lab_purge_total_pages();
		cr_assert_leq(slices, SEGMENTS * LAB_SLOT_PAGES / PAGES + 2);
	}
	cr_assert_eq(lab_purge_dirty_pages(), 0);
}

/* Segments that are merely looked at are work, too. */
Test(purge, a_slice_looks_at_a_bounded_number_of_segments)
{
	start();
	soil_segments(200);
	lab_sweep_begin(false);
	for (int i = 0; i < 5; i++) {
		go_on(10, false);
		cr_assert(lab_sweep_is_on());
	}
	for (int i = 0; i < 5; i++)
		go_on(10, false);
	cr_assert(!lab_sweep_is_on());
}

Test(purge, what_is_freed_behind_a_sweep_is_noted_for_the_next)
{
	start();
	soil_segments(1);
	struct lab_segment *first = segment;
	soil_segments(100);
	(void)sweep(false);
	lab_sweep_begin(false);
	go_on(LAB_SLOT_PAGES, false);
	segment = first;
	soil(0, 10);
	go_on(NO_BOUND, false);
	cr_assert_eq(lab_purge_dirty_pages(), 10);
	cr_assert(has_left_something());
	cr_assert_eq(sweep(false), 0);
	cr_assert_eq(sweep(false), 10);
}

Test(purge, one_sweep_at_a_time)
{
	start();
	soil_segments(100);
	(void)sweep(false);
	lab_sweep_begin(false);
	go_on(LAB_SLOT_PAGES, false);
	uint64_t place = lab_load_rlx(&lab_sweep_place);
	size_t before = lab_purge_total_pages();
	lab_sweep_begin(true);
	cr_assert_eq(lab_load_rlx(&lab_sweep_place), place);
	go_on(NO_BOUND, false);
	cr_assert_geq(lab_purge_total_pages() - before, 90 * LAB_SLOT_PAGES);
	go_on(NO_BOUND, false); /* none is under way */
	cr_assert(!lab_sweep_is_on());
}

Test(purge, a_sweep_sets_the_counts_right)
{
	start();
	soil_segments(10);
	REQUIRE(lab_segment_take_at(segment, 0, 7));
	lab_count(12345, -54321);
	own.dirty = 33;
	(void)sweep(false);
	cr_assert_eq(lab_count_used(), 7);
	cr_assert_eq(lab_count_dirty(&own), 10 * LAB_SLOT_PAGES - 7);
	cr_assert_eq(own.dirty, 0);
}

/* ---- what is too much ---- */

static bool
give_back_excess(size_t excess, size_t pages)
{
	size_t refused;

	return lab_sweep_excess(&record, pages, excess, &refused);
}

Test(purge, excess_goes_a_segment_at_a_time_and_from_where_it_was_left_off)
{
	start();
	soil_segments(20);
	cr_assert(!give_back_excess(40, NO_BOUND));
	cr_assert_eq(lab_purge_total_pages(), 2 * LAB_SLOT_PAGES);
	for (int i = 0; i < 3; i++)
		cr_assert(!give_back_excess(SIZE_MAX, 2 * LAB_SLOT_PAGES), "no more than the call may");
	cr_assert_geq(lab_purge_total_pages(), 7 * LAB_SLOT_PAGES);
	cr_assert_leq(lab_purge_total_pages(), 11 * LAB_SLOT_PAGES);
	cr_assert(give_back_excess(SIZE_MAX, NO_BOUND));
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert(give_back_excess(SIZE_MAX, NO_BOUND), "there is none");
}

Test(purge, of_excess_the_oldest_goes_first)
{
	start();
	soil_segments(10);
	(void)sweep(false);
	soil_segments(10);
	cr_assert(!give_back_excess(10 * LAB_SLOT_PAGES, NO_BOUND));
	soil(0, 1);
	cr_assert_eq(lab_purge_dirty_pages(), 10 * LAB_SLOT_PAGES);
	cr_assert_eq(sweep(false), 0, "what is left was young");
}

/* ---- huge pages ---- */

static void
check_whole(void *first, size_t size)
{
	check_taken(first, size);
	REQUIRE((uintptr_t)first % ((size_t)2 << 20) == 0 && size % ((size_t)2 << 20) == 0);
}

Test(purge, in_whole_huge_pages_are_not_split)
{
	start();
	world.on_purge = check_whole;
	REQUIRE(lab_segment_take_at(segment, 500, 1)); /* in use, in the first 2 MiB */
	soil(0, 400);
	soil(512, 100);
	soil(1000, 24);
	cr_assert_eq(sweep(true), 0);
	soil(1020, 2); /* young */
	cr_assert_eq(sweep(true), 0, "a page was used just now");
	cr_assert_eq(sweep(true), 124);
	cr_assert_eq(world.purges, 1);
	cr_assert(lab_segment_is_fresh(segment, 512, 512));
	cr_assert_eq(lab_purge_dirty_pages(), 400, "the other huge page is in use");
	cr_assert_eq(lab_load_rlx(&segment->taken[8]), 0, "the bits are back");
	lab_segment_give(segment, 500, 1, 1);
	cr_assert_eq(sweep(true), 0);
	cr_assert_eq(sweep(true), 401);
	cr_assert_eq(world.purges, 2);
	cr_assert(lab_segment_is_empty(segment));
	soil(0, 1024);
	cr_assert_eq(sweep(true), 0);
	cr_assert_eq(sweep(true), 1024);
	cr_assert_eq(world.purges, 3, "one call for all of it");
}

/* A long trace of pages that are taken, written, freed and purged: a page that is said to be fresh reads as zero. */
Test(purge, fresh_pages_read_as_zero_over_a_long_trace)
{
	struct trace_random random = {9};
	struct {
		size_t page, count;
	} held[64];
	size_t live = 0;

	start();
	for (int step = 0; step < 20000; step++) {
		size_t page = trace_below(&random, LAB_SEGMENT_PAGES), count = trace_skewed(&random, 5);
		if (page + count > LAB_SEGMENT_PAGES)
			continue;
		if (live < 64 && trace_below(&random, 2) && lab_segment_take_at(segment, page, count)) {
			if (lab_segment_is_fresh(segment, page, count))
				REQUIRE(trace_is_zero(page_at(page), count * LAB_PAGE_SIZE));
			held[live].page = page;
			held[live++].count = count;
		} else if (live > 0) {
			size_t victim = trace_below(&random, live),
			       dirty = trace_below(&random, held[victim].count + 1);
			memset(page_at(held[victim].page), (int)step | 1, dirty * LAB_PAGE_SIZE);
			lab_segment_give(segment, held[victim].page, held[victim].count, dirty);
			held[victim] = held[--live];
		}
		world.purge_fails = trace_below(&random, 4) == 0;
		const struct lab_purge_plan plan = {
		        .young = trace_below(&random, 2),
		        .in_whole = trace_below(&random, 3) == 0,
		};
		if (trace_below(&random, 30) == 0)
			(void)lab_purge_segment(segment, &record, &plan);
		if (trace_below(&random, 30) == 0)
			(void)sweep(false);
	}
	cr_assert_gt(world.purged, 0);
}

/* ---- fork: purge words that were copied ---- */

static bool
no_other(uint32_t tid)
{
	(void)tid;
	return false;
}

static void
settle(uint32_t old_tid, uint32_t new_tid)
{
	lab_purge_settle(&(struct lab_lease_fork){.old_tid = old_tid, .new_tid = new_tid, .is_here = no_other});
}

Test(purge, in_forks_child_other_purgers_words_are_let_go)
{
	start();
	lab_store_rlx(&segment->purge, CLAIM); /* thread 77 of the parent, with page 9 in its hands */
	REQUIRE(lab_segment_take_at(segment, 9, 1));
	settle(50, 51);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->view_stale), LAB_MAY_HAVE_ORPHANS, "its pages are the holder's to find");
	soil(100, 10);
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 10, "the segment is purged again");
}

/* Where the child begins a PID namespace it may have the id of any thread of the parent: 1 in a container. */
Test(purge, in_forks_child_a_namesakes_words_are_let_go)
{
	static const unsigned tags[] = {LAB_PURGE_GIVES_BACK, LAB_PURGE_SCANS};

	start();
	for (int i = 0; i < 2; i++) {
		lab_store_rlx(&segment->purge, lab_lease_make(5, 77, tags[i]));
		lab_store_rlx(&segment->view_stale, LAB_VIEW_IS_FRESH);
		settle(50, 77);
		cr_assert_eq(lab_load_rlx(&segment->purge), 0);
		cr_assert_eq(lab_load_rlx(&segment->view_stale), LAB_MAY_HAVE_ORPHANS);
	}
}

static void
fork_in_handler(void *start, size_t size)
{
	check_taken(start, size);
	settle(77, 78);
	REQUIRE(lab_load_rlx(&segment->purge) == lab_lease_make(5, 78, LAB_PURGE_GIVES_BACK));
	REQUIRE(lab_load_rlx(&segment->view_stale) < LAB_MAY_HAVE_ORPHANS);
	world.on_purge = NULL;
}

static void
fork_in_handler_and_jump(void *start, size_t size)
{
	fork_in_handler(start, size);
	longjmp(out, 1);
}

Test(purge, in_forks_child_the_forking_threads_words_go_on_and_are_let_go)
{
	start();
	soil(10, 30);
	world.on_purge = fork_in_handler;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 30);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0, "for ever, else");
	soil(10, 30);
	world.on_purge = fork_in_handler_and_jump;
	if (setjmp(out) == 0)
		(void)lab_purge_segment(segment, &record, &lab_purge_everything);
	lab_store_rlx(&segment->view_stale, LAB_VIEW_IS_FRESH);
	lab_purge_recover(&record);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->view_stale), LAB_MAY_HAVE_ORPHANS);
	lab_store_rlx(&segment->purge, lab_lease_make(6, 77, LAB_PURGE_SCANS)); /* a scan's */
	settle(77, 78);
	cr_assert_eq(lab_load_rlx(&segment->purge), lab_lease_make(6, 78, LAB_PURGE_SCANS));
}

/* ---- a segment without a holder: of a heap that is frozen in fork's child ---- */

static void
free_last_run(void *start, size_t size)
{
	(void)start;
	(void)size;
	lab_store_rlx(&segment->unheld, lab_load_rlx(lab_segment_owner(segment))); /* as lab_run_free_frozen does */
	lab_segment_give(segment, 500, 10, 0);
	world.on_purge = NULL;
}

Test(purge, the_last_run_of_a_segment_without_a_holder_may_be_freed_meanwhile)
{
	start();
	REQUIRE(lab_segment_take_at(segment, 500, 10));
	soil(10, 30);
	world.on_purge = free_last_run;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 30);
	cr_assert_eq(lab_owner_state(lab_load_rlx(lab_segment_owner(segment))), LAB_SLOT_EMPTY);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_space_claim(2, 0, 0), segment);
	soil(10, 30);
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 30);
	cr_assert_eq(lab_owner_heap(lab_load_rlx(lab_segment_owner(segment))), 2, "it has a holder again");
	cr_assert_eq(lab_owner_state(lab_load_rlx(lab_segment_owner(segment))), LAB_SLOT_OWNED);
}

static void
fork_meanwhile(void *start, size_t size)
{
	(void)start;
	(void)size;
	settle(77, 78);
}

/* A handler has forked in the middle: in the child the purger goes on, under its new id. */
Test(purge, the_word_is_let_go_in_the_child_too)
{
	start();
	soil(3, 9);
	world.on_purge = fork_meanwhile;
	cr_assert_eq(lab_purge_segment(segment, &record, &lab_purge_everything), 9);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	lab_store_rlx(&segment->purge, lab_lease_make(5, 78, 0)); /* and there it is left by a jump */
	record.segment = segment;
	lab_purge_recover(&record);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
}
