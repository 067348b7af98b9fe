/*
 * reserve.c - claims and releases of the reserve against an oracle that knows each slot's class and zone: alignment,
 * overlap, capacity in any order of frees, how deep each depth goes, what requests that are rounded up may take, and
 * misuse. The storm is in storm.c.
 *
 * Clauses: G5.1, G6.1, G6.2.
 */
#include <criterion/criterion.h>

#include "test_reserve.h"

static const uint32_t slots[LAB_RESERVE_CLASSES] = {64, 100, 33, 31, 32, 7, 8, 16, 9, 5, 3, 2};
enum { BLOCKS = 1000 };

static struct trace_block blocks[BLOCKS];
static size_t count;

static bool
claim(size_t size, size_t align, enum lab_reserve_depth depth)
{
	unsigned char *p = lab_reserve_claim(size, align, depth);

	if (!p)
		return false;
	size_t slot = lab_reserve_slot_size(p);
	REQUIRE(count < BLOCKS && lab_reserve_contains(p) && slot >= size && slot >= align);
	REQUIRE((uintptr_t)p % slot == 0);
	blocks[count] = (struct trace_block){p, slot, (uint32_t)count};
	trace_fill(p, slot, (uint32_t)count++);
	return true;
}

static size_t
claim_all(size_t size, enum lab_reserve_depth depth)
{
	size_t before = count;

	while (claim(size, 1, depth))
		;
	return count - before;
}

static void
release(size_t i)
{
	REQUIRE(trace_reads_as(blocks[i].p, blocks[i].size, blocks[i].size, blocks[i].seed));
	REQUIRE(lab_reserve_release(blocks[i].p) == LAB_RESERVE_RELEASED);
	blocks[i] = blocks[--count];
}

static void
release_all(void)
{
	while (count > 0)
		release(count - 1);
	REQUIRE(lab_reserve_bytes().used == 0);
}

Test(reserve, there_is_nothing_before_it_is_installed)
{
	cr_assert_null(lab_reserve_claim(1, 1, LAB_DEPTH_ALL));
	cr_assert_null(lab_reserve_claim(SIZE_MAX, 1, LAB_DEPTH_ALL));
	cr_assert(!lab_reserve_contains(&count) && !lab_reserve_contains(NULL));
	cr_assert_eq(lab_reserve_bytes().total, 0);
}

/* G6; INV-RES-3: whoever has taken everything that he may, of all other classes, the promised slots are there, with
 * MEMALLOC. */
Test(reserve, every_class_has_what_it_promises_whatever_others_took)
{
	test_reserve_make(slots);
	for (unsigned victim = 0; victim < LAB_RESERVE_CLASSES; victim++) {
		for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
			if (c != victim)
				claim_all(test_reserve_size(c), LAB_DEPTH_ALL);
		for (uint32_t i = 0; i < slots[victim]; i++)
			cr_assert(claim(test_reserve_size(victim), 1, LAB_DEPTH_ALL), "class %u, slot %u", victim, i);
		release_all();
	}
}

/* The oracle's sum: own slots by depth, own overflow, and that of all larger classes. */
static size_t
reach(unsigned c, enum lab_reserve_depth depth)
{
	size_t stop = depth == LAB_DEPTH_ALL ? 0 : depth == LAB_DEPTH_HIGH ? slots[c] / 8 : slots[c] / 4;
	size_t own = slots[c] - stop, overflow = 0;

	for (unsigned from = c ? c : 1; from < LAB_RESERVE_CLASSES; from++)
		overflow += slots[from] / 8;
	return own + overflow;
}

Test(reserve, each_depth_reaches_its_mark_and_not_below)
{
	test_reserve_make(slots);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		for (enum lab_reserve_depth depth = LAB_DEPTH_MIN; depth <= LAB_DEPTH_ALL; depth++) {
			cr_assert_eq(claim_all(test_reserve_size(c), depth), reach(c, depth), "class %u, depth %d", c,
			             (int)depth);
			cr_assert_eq(claim_all(test_reserve_size(c) / 2 + 1, depth), 0);
			release_all();
		}
	/* one after the other: what the shallower left */
	cr_assert_eq(claim_all(64, LAB_DEPTH_MIN), reach(1, LAB_DEPTH_MIN));
	cr_assert_eq(claim_all(64, LAB_DEPTH_HIGH), slots[1] / 4 - slots[1] / 8);
	cr_assert_eq(claim_all(64, LAB_DEPTH_ALL), slots[1] / 8);
}

Test(reserve, below_the_low_mark_growth_is_asked_for)
{
	test_reserve_make(slots);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		lab_store_rlx(&lab_reserve.refill_pending, 0);
		for (uint32_t i = 0; i < slots[c] - slots[c] / 2; i++)
			REQUIRE(claim(test_reserve_size(c), 1, LAB_DEPTH_MIN));
		cr_assert_eq(lab_load_rlx(&lab_reserve.refill_pending), 0, "class %u", c);
		(void)claim(test_reserve_size(c), 1, LAB_DEPTH_MIN);
		cr_assert_eq(lab_load_rlx(&lab_reserve.refill_pending), 1u << c);
		cr_assert_eq(test_reserve_figures(c).plain, 0);
	}
}

Test(reserve, capacity_holds_for_any_order_of_frees)
{
	struct trace_random random = {7};

	test_reserve_make(slots);
	for (int round = 0; round < 300; round++) {
		unsigned c = (unsigned)trace_below(&random, LAB_RESERVE_CLASSES);
		cr_assert_eq(claim_all(test_reserve_size(c), LAB_DEPTH_ALL), reach(c, LAB_DEPTH_ALL));
		for (size_t freed = trace_below(&random, count + 1); freed > 0; freed--)
			release(trace_below(&random, count));
		size_t left = count;
		cr_assert_eq(claim_all(test_reserve_size(c), LAB_DEPTH_ALL), reach(c, LAB_DEPTH_ALL) - left);
		release_all();
	}
}

Test(reserve, alignment_chooses_the_class)
{
	test_reserve_make(slots);
	for (size_t align = 1; align <= 65536; align *= 2) {
		REQUIRE(claim(1, align, LAB_DEPTH_MIN) && claim(0, align, LAB_DEPTH_MIN));
		cr_assert_eq(blocks[0].size, align < 32 ? 32 : align);
		release_all();
	}
	cr_assert_null(lab_reserve_claim(1, 131072, LAB_DEPTH_ALL));
	cr_assert_null(lab_reserve_claim(65537, 1, LAB_DEPTH_ALL));
	cr_assert_null(lab_reserve_claim(SIZE_MAX, 1, LAB_DEPTH_ALL));
}

Test(reserve, failures_are_counted_for_atomic_depths_only)
{
	test_reserve_make(slots);
	(void)lab_reserve_claim(70000, 1, LAB_DEPTH_MIN);
	cr_assert_eq(lab_load_rlx(&lab_reserve.failures), 0);
	(void)lab_reserve_claim(70000, 1, LAB_DEPTH_HIGH);
	claim_all(65536, LAB_DEPTH_ALL);
	cr_assert_eq(lab_load_rlx(&lab_reserve.failures), 2);
	cr_assert_eq(lab_load_rlx(&lab_reserve.lost_races), 0);
}

Test(reserve, bad_releases_are_told_and_change_nothing)
{
	test_reserve_make(slots);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		claim_all(test_reserve_size(c), LAB_DEPTH_ALL);
	size_t used = lab_reserve_bytes().used;
	cr_assert_eq(used, lab_reserve_bytes().total);
	for (size_t i = 0; i < count; i++)
		for (size_t offset = 16; offset < blocks[i].size; offset += blocks[i].size / 16) {
			char *inside = (char *)blocks[i].p + offset;
			cr_assert_eq(lab_reserve_slot_size(inside), 0);
			cr_assert_eq(lab_reserve_release(inside), LAB_RESERVE_NOT_A_SLOT);
		}
	/* the words lie behind the last slot of the smallest class */
	cr_assert(!lab_reserve_contains(lab_reserve.start - 1) &&
	          !lab_reserve_contains(lab_reserve.start + lab_reserve.size));
	cr_assert_eq((char *)lab_reserve.pools[LAB_RESERVE_CLASSES - 1].bank.words,
	             lab_reserve.start + lab_reserve.size);
	cr_assert_eq(lab_reserve_bytes().used, used);
	void *first = blocks[0].p;
	release(0);
	cr_assert_eq(lab_reserve_release(first), LAB_RESERVE_WAS_FREE);
	cr_assert_eq(lab_reserve_slot_size(first), 0);
	release_all();
}

Test(reserve, random_claims_and_releases)
{
	struct trace_random random = {5};
	size_t used = 0;

	test_reserve_make(slots);
	for (int step = 0; step < 100000; step++) {
		if (trace_below(&random, 2)) {
			if (claim(trace_skewed(&random, 16), 16, LAB_DEPTH_ALL))
				used += blocks[count - 1].size;
		} else if (count > 0) {
			size_t i = trace_below(&random, count);
			used -= blocks[i].size;
			release(i);
		}
		if (step % 64 == 0)
			REQUIRE(lab_reserve_bytes().used == used);
	}
}
