/* segment.c - a segment's page bitmap against an array of pages, over long random traces. No memory is touched. */
#include <criterion/criterion.h>

#include "page/segment.h"
#include "trace.h"

enum { PAGES_MAX = LAB_SEGMENT_PAGES };

struct model {
	bool taken[PAGES_MAX], dirty[PAGES_MAX];
};

static struct lab_segment segment;
static struct model model;
static size_t pages_now = PAGES_MAX; /* of the segment */

static bool
model_is_free(size_t page, size_t count)
{
	for (size_t i = page; i < page + count; i++)
		if (model.taken[i])
			return false;
	return true;
}

static int
model_find(unsigned order)
{
	for (size_t page = 0; page + ((size_t)1 << order) <= pages_now; page += (size_t)1 << order)
		if (model_is_free(page, (size_t)1 << order))
			return (int)page;
	return -1;
}

static int
model_find_run(size_t count)
{
	size_t length = 0;

	for (size_t page = 0; page < pages_now; page++) {
		length = model.taken[page] ? 0 : length + 1;
		if (length == count)
			return (int)(page + 1 - count);
	}
	return -1;
}

static int
model_greatest(void)
{
	for (int order = LAB_ORDER_MAX; order >= 0; order--)
		if (model_find((unsigned)order) >= 0)
			return order;
	return -1;
}

static size_t
model_longest(void)
{
	size_t length = 0, longest = 0;

	for (size_t page = 0; page < pages_now; page++) {
		length = model.taken[page] ? 0 : length + 1;
		longest = length > longest ? length : longest;
	}
	return longest;
}

static void
model_set(size_t page, size_t count, bool taken)
{
	for (size_t i = page; i < page + count; i++)
		model.taken[i] = taken;
}

static void
compare(void)
{
	size_t dirty = 0;
	bool empty = true;

	for (size_t page = 0; page < pages_now; page++) {
		REQUIRE((lab_load_rlx(&segment.taken[page / 64]) >> (page % 64) & 1) == model.taken[page]);
		REQUIRE((lab_load_rlx(&segment.dirty[page / 64]) >> (page % 64) & 1) == model.dirty[page]);
		dirty += model.dirty[page] && !model.taken[page];
		empty &= !model.taken[page];
	}
	REQUIRE_EQUAL(lab_segment_count_dirty(&segment), dirty);
	REQUIRE(lab_segment_is_empty(&segment) == empty);
	REQUIRE(segment.greatest == model_greatest());
	REQUIRE(segment.longest == model_longest());
}

static void
reset(void)
{
	memset(&segment, 0, sizeof segment);
	memset(&model, 0, sizeof model);
	segment.capacity = PAGES_MAX;
	lab_segment_begin(&segment, pages_now);
	lab_segment_refresh_owned(&segment, 0, pages_now);
}

/* The blocks that a trace holds. */
static struct {
	size_t page, count;
} held[PAGES_MAX];
static size_t held_count;

static void
hold(size_t page, size_t count)
{
	model_set(page, count, true);
	held[held_count].page = page;
	held[held_count++].count = count;
}

static void
take(struct trace_random *random)
{
	unsigned order = (unsigned)trace_below(random, LAB_ORDER_MAX + 1);
	size_t most = (size_t)1 << order;
	size_t count = most - trace_below(random, (most + 1) / 2); /* as an odd size gives its tail back */
	int expected = most <= pages_now ? model_find(order) : -1;

	int page = lab_segment_take_owned(&segment, order, count);
	REQUIRE(page == expected);
	if (page >= 0)
		hold((size_t)page, count);
}

static void
take_run(struct trace_random *random)
{
	size_t count = trace_skewed(random, trace_below(random, 8) ? 7 : 10);
	int expected = model_find_run(count);

	int page = lab_segment_take_run_owned(&segment, count);
	REQUIRE(page == expected);
	if (page >= 0)
		hold((size_t)page, count);
}

static void
take_at(struct trace_random *random)
{
	size_t page = trace_below(random, pages_now), count = trace_skewed(random, 8);

	if (page + count > pages_now)
		count = pages_now - page;
	bool expected = model_is_free(page, count);
	REQUIRE(lab_segment_take_at(&segment, page, count) == expected);
	if (expected) {
		hold(page, count);
		lab_segment_refresh_owned(&segment, page, count);
	}
}

static void
give(struct trace_random *random)
{
	size_t victim = trace_below(random, held_count);
	size_t page = held[victim].page, count = held[victim].count;
	size_t dirty = trace_below(random, count + 1);
	bool fresh = true;

	for (size_t i = page; i < page + count; i++)
		fresh &= !model.dirty[i];
	REQUIRE(lab_segment_is_fresh(&segment, page, count) == fresh);
	for (size_t i = page; i < page + dirty; i++)
		model.dirty[i] = true;
	lab_segment_give(&segment, page, count, dirty);
	lab_segment_refresh_owned(&segment, page, count);
	model_set(page, count, false);
	held[victim] = held[--held_count];
}

Test(segment, long_random_traces)
{
	struct trace_random random = {1};

	for (int round = 0; round < 30; round++) {
		pages_now = PAGES_MAX >> round % 6;
		reset();
		held_count = 0;
		for (int step = 0; step < 1500; step++) {
			if (held_count == 0 || trace_below(&random, 16) < 4)
				take(&random);
			else if (trace_below(&random, 4) == 0)
				take_run(&random);
			else if (trace_below(&random, 4) == 0)
				take_at(&random);
			else
				give(&random);
			if (step % 8 == 0)
				compare();
		}
		while (held_count > 0)
			give(&random);
		compare();
		cr_assert(lab_segment_is_empty(&segment));
		cr_assert_eq(segment.greatest, (int)lab_segment_whole_order(&segment), "everything has merged again");
	}
}

Test(segment, every_order_and_count_of_an_empty_segment)
{
	for (unsigned order = 0; order <= LAB_ORDER_MAX; order++)
		for (size_t count = order ? ((size_t)1 << (order - 1)) + 1 : 1; count <= (size_t)1 << order; count++) {
			reset();
			cr_assert_eq(lab_segment_take_owned(&segment, order, count), 0);
			model_set(0, count, true);
			REQUIRE(segment.greatest == model_greatest());
			lab_segment_give(&segment, 0, count, 0);
			REQUIRE(lab_segment_is_empty(&segment));
		}
}

/* INV-PAGE-1: what somebody else has set is never taken, undone or cleared, also where the holder's view is old. */
Test(segment, a_view_that_is_behind_is_only_a_hint)
{
	struct trace_random random = {3};

	for (int round = 0; round < 300; round++) {
		reset();
		for (int i = 0; i < 40; i++) { /* a purger's bits, unseen by the holder */
			size_t page = trace_below(&random, pages_now);
			atomic_fetch_or(&segment.taken[page / 64], UINT64_C(1) << (page % 64));
			model.taken[page] = true;
		}
		for (int i = 0; i < 40; i++) {
			unsigned order = (unsigned)trace_below(&random, 10);
			size_t count = (size_t)1 << order;
			bool aligned = i % 2 == 0;
			int page = aligned ? lab_segment_take_owned(&segment, order, count)
			                   : lab_segment_take_run_owned(&segment, count);
			if (page < 0) {
				lab_segment_refresh_owned(&segment, 0, pages_now);
				continue;
			}
			REQUIRE(!aligned || (size_t)page % count == 0);
			REQUIRE(model_is_free((size_t)page, count));
			model_set((size_t)page, count, true);
		}
		lab_segment_refresh_owned(&segment, 0, pages_now);
		compare();
	}
}

Test(segment, a_failed_take_over_many_words_undoes_only_its_own)
{
	for (size_t blocked = 0; blocked < pages_now; blocked += 37) {
		reset();
		model_set(blocked, 1, true);
		cr_assert(lab_segment_take_at(&segment, blocked, 1));
		for (size_t page = 0; page < pages_now; page += 101)
			if (page <= blocked)
				cr_assert(!lab_segment_take_at(&segment, page, pages_now - page));
		lab_segment_refresh_owned(&segment, 0, pages_now);
		compare();
	}
}
