/*
 * arena.c - reservation with its fallbacks, claims of segments against a model, commits that fail. The arenas are reserved
 * directly and belong to no process-wide map. The race for segments is in page/claims.c.
 *
 * Clauses: G9.2.
 */
#include <criterion/criterion.h>

#include "page/arena.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static struct lab_arena *
reserve_at_most(size_t size)
{
	world_install();
	world.map_limit = size + size / 2 + LAB_SEGMENT_SIZE * 2; /* the payload and what describes it */
	struct lab_arena *arena = lab_arena_reserve(0, true);
	REQUIRE(arena && lab_arena_size(arena) == size);
	return arena;
}

static void
check_layout(const struct lab_arena *arena)
{
	uint64_t where = lab_load_rlx(&arena->where);
	struct lab_unit *units = lab_where_units(where);
	char *end = (char *)arena->reservation + arena->reserved;
	uint64_t sum = 0;

	REQUIRE(lab_is_power_of_two(lab_arena_size(arena)));
	REQUIRE((uintptr_t)lab_arena_base(arena) % LAB_SEGMENT_SIZE == 0);
	REQUIRE((uintptr_t)arena->heaps % LAB_HEAP_STRIDE == 0);
	REQUIRE_EQUAL(lab_arena_segment_count(arena), lab_arena_size(arena) / LAB_SEGMENT_SIZE);
	REQUIRE_EQUAL(arena->capacity, lab_arena_segment_count(arena));
	REQUIRE((char *)(arena->committed + (arena->capacity + 63) / 64) <= arena->heaps);
	REQUIRE(arena->heaps + arena->heap_slots * LAB_HEAP_STRIDE <= (char *)units);
	REQUIRE_EQUAL((char *)(units + lab_arena_size(arena) / LAB_UNIT_SIZE), lab_where_segments(where));
	REQUIRE_EQUAL(lab_where_segments(where) + arena->capacity * LAB_SEGMENT_STRIDE, lab_arena_base(arena));
	REQUIRE(lab_arena_base(arena) + lab_arena_size(arena) <= end);
	/* INV-UNIT-1: heaps lie closer together than pointers that share a descriptor, by more than a span */
	REQUIRE((arena->heap_slots + 1) * LAB_HEAP_STRIDE < lab_arena_size(arena));
	size_t last = lab_arena_size(arena) / LAB_UNIT_SIZE - 1;
	for (size_t i = 0; i <= last; i += last / 64 + 1) /* readable from the start, unused */
		sum += units[i].limit;
	REQUIRE(sum + units[last].limit == 0);
}

Test(arena, the_layout_holds_for_every_size)
{
	for (size_t size = LAB_ARENA_SIZE_MIN; size <= LAB_ARENA_SIZE_DEFAULT; size *= 2) {
		struct lab_os_table real = lab_os;
		struct lab_arena *arena = reserve_at_most(size);
		check_layout(arena);
		lab_arena_unreserve(arena);
		lab_os = real;
	}
}

Test(arena, a_reservation_that_is_refused_is_tried_smaller_and_at_last_given_up)
{
	world_install();
	world.map_limit = 100 * MIB;
	struct lab_arena *arena = lab_arena_reserve(0, false);
	cr_assert(arena);
	cr_assert_eq(lab_arena_size(arena), 64 * MIB);
	cr_assert_eq(arena->heap_slots, 0);
	cr_assert_eq(world.maps, 12, "64 GiB halved ten times; the seat");

	cr_assert_null(lab_arena_reserve(128 * MIB, false), "it could not hold the block");
	world.map_limit = LAB_ARENA_SIZE_MIN; /* not with its descriptors */
	cr_assert_null(lab_arena_reserve(0, false));
	world.map_limit = SIZE_MAX;
	world.protects_left = 0;
	world.unmaps = world.maps = 0;
	cr_assert_null(lab_arena_reserve(0, false), "the words cannot be had");
	cr_assert_eq(world.unmaps, world.maps);
	for (size_t left = 1; left < 3; left++) {
		world.protects_left = left;
		(void)lab_arena_reserve(0, false);
	}
	world.protects_left = SIZE_MAX;
	arena = lab_arena_reserve((size_t)100 << 30, false);
	cr_assert(arena && lab_arena_size(arena) >= (size_t)100 << 30, "larger than the default, if that is what is asked for");
	cr_assert_null(lab_arena_reserve((size_t)1 << 60, false));
}

/* ---- claims against a model ---- */

enum { SEGMENTS = 128 };

static struct {
	bool taken;
	uint64_t owner;
} model[SEGMENTS];

static bool
model_is_free(size_t index, size_t count)
{
	for (size_t i = index; i < index + count; i++)
		if (i >= SEGMENTS || model[i].taken)
			return false;
	return true;
}

static long
model_find(const struct lab_arena *arena, size_t count, size_t align)
{
	for (size_t index = 0; index + count <= SEGMENTS; index++)
		if ((uintptr_t)lab_arena_payload(arena, index) % align == 0 && model_is_free(index, count))
			return (long)index;
	return -1;
}

static void
model_claim(struct lab_arena *arena, size_t index, size_t count, uint32_t heap_id, enum lab_segment_kind kind)
{
	for (size_t i = index; i < index + count; i++) {
		uint64_t owner = lab_load_rlx(&arena->owners[i]);
		REQUIRE(lab_owner_kind(owner) == kind && lab_owner_heap(owner) == heap_id);
		REQUIRE(lab_owner_seq(owner) > lab_owner_seq(model[i].owner)); /* no value occurs twice */
		REQUIRE(lab_arena_is_committed(arena, i));
		REQUIRE(lab_arena_segment(arena, i)->base == lab_arena_payload(arena, i));
		REQUIRE(lab_load_rlx(&arena->high_water) > i);
		model[i].taken = true;
		model[i].owner = owner;
	}
}

static void
model_release(struct lab_arena *arena, size_t index)
{
	uint64_t owner = model[index].owner;

	REQUIRE(!lab_arena_release(arena, index, owner ^ (uint64_t)1 << 24)); /* not the word that was claimed */
	REQUIRE(lab_arena_release(arena, index, owner));
	REQUIRE(!lab_arena_release(arena, index, owner));
	REQUIRE(lab_owner_kind(lab_load_rlx(&arena->owners[index])) == LAB_SEGMENT_FREE);
	model[index].taken = false;
}

static void
claim_step(struct lab_arena *arena, struct trace_random *random)
{
	enum lab_segment_kind kind = trace_below(random, 2) ? LAB_SEGMENT_SMALL : LAB_SEGMENT_HUGE;
	uint32_t heap_id = (uint32_t)trace_below(random, 32768);
	size_t count = trace_skewed(random, 5);

	if (trace_below(random, 3) == 0) {
		size_t index = trace_below(random, SEGMENTS);
		bool expected = model_is_free(index, count);
		REQUIRE(lab_arena_claim_at(arena, kind, heap_id, index, count) == expected);
		if (expected)
			model_claim(arena, index, count, heap_id, kind);
	} else {
		size_t align = LAB_SEGMENT_SIZE << (trace_below(random, 2) ? 0 : trace_below(random, 5));
		long expected = model_find(arena, count, align);
		REQUIRE(lab_arena_claim(arena, kind, heap_id, count, align) == expected);
		if (expected >= 0)
			model_claim(arena, (size_t)expected, count, heap_id, kind);
	}
}

Test(arena, claims_are_contiguous_aligned_and_lowest_first)
{
	struct lab_arena *arena = reserve_at_most(SEGMENTS * LAB_SEGMENT_SIZE);
	struct trace_random random = {1};

	for (int step = 0; step < 20000; step++) {
		if (trace_below(&random, 4) == 0)
			claim_step(arena, &random);
		for (int i = 0; i < 2; i++) {
			size_t victim = trace_below(&random, SEGMENTS);
			if (model[victim].taken)
				model_release(arena, victim);
		}
	}
	for (size_t i = 0; i < SEGMENTS; i++)
		REQUIRE((lab_owner_kind(lab_load_rlx(&arena->owners[i])) != LAB_SEGMENT_FREE) == model[i].taken);
}

Test(arena, a_full_arena_says_so_and_a_gap_is_found_again)
{
	struct lab_arena *arena = reserve_at_most(64 * MIB);

	for (long i = 0; i < 16; i++)
		cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 3, 1, LAB_SEGMENT_SIZE), i);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 3, 1, LAB_SEGMENT_SIZE), LAB_CLAIM_NONE_FREE);
	cr_assert(!lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 3, 15, 2), "beyond the end");
	for (size_t i = 5; i < 8; i++)
		cr_assert(lab_arena_release(arena, i, lab_load_rlx(&arena->owners[i])));
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_HUGE, 4, 4, LAB_SEGMENT_SIZE), LAB_CLAIM_NONE_FREE);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_HUGE, 4, 3, LAB_SEGMENT_SIZE), 5);
}

Test(arena, alignment_up_to_a_gibibyte_and_beyond)
{
	world_install();
	struct lab_arena *arena = lab_arena_reserve(0, true);

	cr_assert(arena);
	for (size_t align = LAB_SEGMENT_SIZE; align <= (size_t)8 << 30; align *= 2)
		for (int i = 0; i < 2; i++) {
			long index = lab_arena_claim(arena, LAB_SEGMENT_HUGE, 1, 2, align);
			cr_assert_geq(index, 0);
			cr_assert_eq((uintptr_t)lab_arena_payload(arena, (size_t)index) % align, 0);
		}
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_HUGE, 1, 1, (size_t)1 << 46), LAB_CLAIM_NONE_FREE);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_HUGE, 1, lab_arena_segment_count(arena) + 1, LAB_SEGMENT_SIZE),
	             LAB_CLAIM_NONE_FREE);
}

Test(arena, memory_is_usable_where_it_is_claimed_and_zero_at_first)
{
	struct lab_arena *arena = reserve_at_most(64 * MIB);
	long index = lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 3, LAB_SEGMENT_SIZE);

	cr_assert_eq(index, 0);
	char *payload = lab_arena_payload(arena, 0);
	cr_assert(trace_is_zero(payload, 3 * LAB_SEGMENT_SIZE));
	memset(payload, 1, 3 * LAB_SEGMENT_SIZE);
	for (size_t i = 0; i < 3; i++) {
		cr_assert(lab_segment_is_empty(lab_arena_segment(arena, i)));
		lab_arena_unit(arena, payload + i * LAB_SEGMENT_SIZE)->limit = 1; /* writable */
	}
}

/* ---- system calls that fail ---- */

Test(arena, a_commit_that_fails_leaves_nothing_claimed)
{
	struct lab_arena *arena = reserve_at_most(64 * MIB);

	for (size_t left = 0; left < 12; left++) { /* four segments take twelve calls */
		world.protects_left = left;
		cr_assert(!lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 7, 8, 4));
		for (size_t i = 0; i < 16; i++)
			cr_assert_eq(lab_owner_kind(lab_load_rlx(&arena->owners[i])), LAB_SEGMENT_FREE);
		world.protects_left = SIZE_MAX;
		cr_assert(lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 7, 4, 1), "a claim elsewhere works");
		cr_assert(lab_arena_release(arena, 4, lab_load_rlx(&arena->owners[4])));
		if (left + 1 < 12)
			lab_store_rlx(&arena->committed[0], lab_load_rlx(&arena->committed[0]) & ~UINT64_C(0xff00));
	}
	cr_assert(lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 7, 8, 4));
}

/* A system without memory is asked a bounded number of times, not once for each segment of 64 GiB. */
Test(arena, a_claim_that_cannot_be_committed_gives_up_soon)
{
	world_install();
	struct lab_arena *arena = lab_arena_reserve(0, false);

	world.protects = world.protects_left = 0;
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 1, LAB_SEGMENT_SIZE), LAB_CLAIM_NO_MEMORY);
	cr_assert_leq(world.protects, 1000, "%zu system calls", world.protects);
}

/* ---- INV-SEG-2 ---- */

Test(arena, a_segment_that_is_being_purged_becomes_small_but_not_huge)
{
	struct lab_arena *arena = reserve_at_most(64 * MIB);

	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 2, LAB_SEGMENT_SIZE), 0);
	for (size_t i = 0; i < 2; i++)
		cr_assert(lab_arena_release(arena, i, lab_load_rlx(&arena->owners[i])));
	lab_store_rlx(&lab_arena_segment(arena, 1)->purge, 99);
	cr_assert(!lab_arena_claim_at(arena, LAB_SEGMENT_HUGE, 1, 0, 3));
	cr_assert_eq(lab_owner_kind(lab_load_rlx(&arena->owners[0])), LAB_SEGMENT_FREE);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_HUGE, 1, 2, LAB_SEGMENT_SIZE), 2, "it is passed over");
	cr_assert(lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 1, 1, 1));
}

/* INV-PAGE-3 in a child of fork: what another thread wrote while the segment was copied is not in its bits. */
static void
be_copied_while_others_write(struct lab_arena *arena, long index)
{
	REQUIRE(lab_arena_release(arena, (size_t)index, lab_load_rlx(&arena->owners[index])));
	memset(lab_arena_payload(arena, (size_t)index) + 5 * LAB_PAGE_SIZE, 0xa5, LAB_PAGE_SIZE);
	lab_arena_generation++;
}

Test(arena, after_a_fork_a_segment_that_was_free_is_zero_or_dirty)
{
	for (int fails = 0; fails < 2; fails++) {
		struct lab_os_table real = lab_os;
		struct lab_arena *arena = reserve_at_most(64 * MIB);
		enum lab_segment_kind kind = fails ? LAB_SEGMENT_HUGE : LAB_SEGMENT_SMALL;
		long index = lab_arena_claim(arena, kind, 3, 1, LAB_SEGMENT_SIZE);
		cr_assert_eq(index, 0);
		if (lab_arena_generation == 0)
			cr_assert_eq(world.purges, 0, "before any fork nothing is asked of the kernel");
		size_t before = world.purges;
		be_copied_while_others_write(arena, index);
		world.purge_fails = fails;
		cr_assert_eq(lab_arena_claim(arena, kind, 3, 1, LAB_SEGMENT_SIZE), 0);
		bool fresh = lab_segment_is_fresh(lab_arena_segment(arena, 0), 0, LAB_SEGMENT_PAGES);
		cr_assert_eq(fresh, !fails);
		if (fresh)
			cr_assert_eq(lab_arena_payload(arena, 0)[5 * LAB_PAGE_SIZE], 0);
		REQUIRE(lab_arena_release(arena, 0, lab_load_rlx(&arena->owners[0])));
		cr_assert_eq(lab_arena_claim(arena, kind, 3, 1, LAB_SEGMENT_SIZE), 0);
		cr_assert_eq(world.purges, before + 1, "once a segment");
		lab_arena_unreserve(arena);
		lab_os = real;
	}
}
