/*
 * purge.c - giving pages back: what is purged, what must not be, what a failing madvise leaves. The clock and madvise are hooks.
 * The race of purgers against allocations is in page/claims.c.
 *
 * Clauses: G10.1.
 */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "page/map.h"
#include "page/purge.h"
#include "trace.h"
#include "world.h"

#define CLAIM (UINT64_C(5) << 32 | 77)

static struct lab_purge_record record = {.claim = CLAIM};

static struct lab_arena *arena;
static struct lab_segment *segment;

static void
start(void)
{
	world_install();
	REQUIRE(lab_map_start());
	arena = lab_map_arena(0);
	REQUIRE(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 1, LAB_SEGMENT_SIZE) == 0);
	segment = lab_arena_segment(arena, 0);
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
	cr_assert_eq(lab_purge_segment(arena, 0, &record), pages);
	cr_assert_eq(world.purges, sizeof ranges / sizeof *ranges);
	cr_assert_eq(world.purged, pages * LAB_PAGE_SIZE);
	cr_assert_eq(lab_purge_total_pages(), pages);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->disturbed), LAB_VIEW_IS_OLD);
	cr_assert_null(record.segment);
	cr_assert(trace_is_zero(page_at(0), 100 * LAB_PAGE_SIZE), "INV-PAGE-3");
	cr_assert(trace_is_zero(page_at(120), 904 * LAB_PAGE_SIZE));
	cr_assert(lab_segment_is_fresh(segment, 0, 100));
	for (size_t i = 0; i < 20 * LAB_PAGE_SIZE; i++)
		REQUIRE(page_at(100)[i] == 0x77);
	lab_segment_refresh_owned(segment, 0, LAB_SEGMENT_PAGES);
	cr_assert(lab_segment_take_at(segment, 0, 100), "the bits are back");
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 0, "nothing left to do");
	cr_assert_eq(world.purges, sizeof ranges / sizeof *ranges);
}

Test(purge, a_failing_madvise_leaves_pages_dirty_and_unchanged)
{
	start();
	soil(10, 30);
	world.purge_fails = true;
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 0);
	cr_assert_eq(world.purges, 1);
	cr_assert_eq(lab_purge_dirty_pages(), 30);
	cr_assert_eq(lab_purge_total_pages(), 0);
	cr_assert(!lab_segment_is_fresh(segment, 10, 30), "calloc has to clear them");
	for (size_t i = 0; i < 30 * LAB_PAGE_SIZE; i++)
		REQUIRE(page_at(10)[i] == 0x5a);
	cr_assert(lab_segment_is_empty(segment));
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	world.purge_fails = false;
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 30);
}

Test(purge, a_segment_that_somebody_purges_is_left_to_him)
{
	start();
	soil(0, 5);
	lab_store_rlx(&segment->purge, 1234);
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 0);
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
		(void)lab_purge_segment(arena, 0, &record);
	world.on_purge = NULL;
	cr_assert_eq(record.segment, segment);
	cr_assert_eq(lab_load_rlx(&segment->purge), CLAIM);
	lab_purge_recover(&record);
	lab_purge_recover(&record); /* repeatable */
	cr_assert_null(record.segment);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->disturbed), LAB_MAY_HAVE_ORPHANS);

	record.segment = segment; /* cut short before it had the word: another has it now */
	lab_store_rlx(&segment->purge, CLAIM + (UINT64_C(1) << 32));
	lab_purge_recover(&record);
	cr_assert_eq(lab_load_rlx(&segment->purge), CLAIM + (UINT64_C(1) << 32));
}

/* INV-SEG-2 */
Test(purge, huge_blocks_are_never_purged)
{
	start();
	soil(0, 5);
	uint64_t owner = lab_load_rlx(&arena->owners[0]);
	cr_assert(lab_arena_release(arena, 0, owner));
	cr_assert(lab_arena_claim_at(arena, LAB_SEGMENT_HUGE, 1, 0, 2));
	memset(page_at(0), 0x11, LAB_PAGE_SIZE);
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 0);
	cr_assert_eq(lab_purge_all(&record, 1000000, 0, SIZE_MAX), 0);
	cr_assert_eq(lab_purge_dirty_pages(), 0, "they are not free");
	cr_assert_eq(world.purges, 0);
	cr_assert_eq(page_at(0)[5], 0x11);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
}

Test(purge, free_segments_are_purged_too)
{
	start();
	soil(0, 5);
	cr_assert(lab_arena_release(arena, 0, lab_load_rlx(&arena->owners[0])));
	cr_assert_eq(lab_purge_all(&record, 1000000, 0, SIZE_MAX), 5);
	cr_assert(trace_is_zero(page_at(0), 5 * LAB_PAGE_SIZE));
}

Test(purge, only_segments_that_are_old_enough_and_no_more_than_enough)
{
	start();
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 3, LAB_SEGMENT_SIZE), 1);
	for (size_t i = 0; i < 4; i++) {
		segment = lab_arena_segment(arena, i);
		soil(i, 10);
		lab_store_rlx(&segment->stamp, 1000 + i * 100);
	}
	cr_assert_eq(lab_purge_all(&record, 1300, 301, SIZE_MAX), 0);
	cr_assert_eq(lab_purge_all(&record, 1300, 300, SIZE_MAX), 10);
	cr_assert_eq(lab_purge_all(&record, 1350, 150, SIZE_MAX), 20);
	cr_assert_eq(lab_purge_dirty_pages(), 10);
	cr_assert_eq(lab_purge_all(&record, 0, 0, SIZE_MAX), 10, "age 0: everything, whatever the stamp");
	for (size_t i = 0; i < 4; i++) {
		segment = lab_arena_segment(arena, i);
		soil(0, 10);
	}
	cr_assert_eq(lab_purge_all(&record, 0, 0, 15), 20, "until it is enough, a segment at a time");
	cr_assert_eq(lab_purge_dirty_pages(), 20);
}

/* Another thread's stamp may be newer than the time at which this one looked at the clock. */
Test(purge, a_stamp_from_the_future_is_young)
{
	start();
	soil(0, 10);
	lab_store_rlx(&segment->stamp, 1001);
	cr_assert_eq(lab_purge_all(&record, 1000, 500, SIZE_MAX), 0);
	cr_assert_eq(lab_purge_dirty_pages(), 10);
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
			size_t victim = trace_below(&random, live), dirty = trace_below(&random, held[victim].count + 1);
			memset(page_at(held[victim].page), (int)step | 1, dirty * LAB_PAGE_SIZE);
			lab_segment_give(segment, held[victim].page, held[victim].count, dirty);
			held[victim] = held[--live];
		}
		world.purge_fails = trace_below(&random, 4) == 0;
		if (trace_below(&random, 30) == 0)
			(void)lab_purge_segment(arena, 0, &record);
	}
	cr_assert_gt(world.purged, 0);
}

/* ---- fork: purge words that were copied ---- */

Test(purge, in_forks_child_other_purgers_words_are_let_go)
{
	start();
	lab_store_rlx(&segment->purge, CLAIM); /* thread 77 of the parent, with page 9 in its hands */
	REQUIRE(lab_segment_take_at(segment, 9, 1));
	lab_purge_after_fork(50, 51);
	lab_purge_after_fork(50, 51); /* repeatable */
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	cr_assert_eq(lab_load_rlx(&segment->disturbed), LAB_MAY_HAVE_ORPHANS, "its pages are the holder's to find");
	soil(100, 10);
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 10, "the segment is purged again");
}

Test(purge, in_forks_child_the_forking_threads_words_go_on)
{
	start();
	lab_store_rlx(&segment->purge, CLAIM); /* a purge that the forking handler interrupted */
	lab_purge_after_fork(77, 78);
	cr_assert_eq(lab_load_rlx(&segment->purge), CLAIM + 1);
	cr_assert_eq(lab_load_rlx(&segment->disturbed), LAB_UNDISTURBED);
	lab_store_rlx(&segment->purge, 77); /* a scan's, which is let go by value */
	lab_purge_after_fork(77, 78);
	cr_assert_eq(lab_load_rlx(&segment->purge), 77);
}

static void
fork_meanwhile(void *start, size_t size)
{
	(void)start;
	(void)size;
	lab_purge_after_fork((uint32_t)CLAIM, 78);
}

/* A handler has forked in the middle: in the child the purger goes on, under its new id. */
Test(purge, the_word_is_let_go_in_the_child_too)
{
	start();
	soil(3, 9);
	world.on_purge = fork_meanwhile;
	cr_assert_eq(lab_purge_segment(arena, 0, &record), 9);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	lab_store_rlx(&segment->purge, CLAIM - 77 + 78); /* and there it is left by a jump */
	record.segment = segment;
	lab_purge_recover(&record);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
}
