/*
 * huge.c - blocks that are mappings of their own: the table, reuse without faults, resizing, failures of each system
 * call, and what is left when a frame is cut short by a jump, a death or a fork.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "heap/claim.h"
#include "heap/exclusive.h"
#include "heap/huge.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "heap/thread.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/sweep.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

enum { DEAD_TID = 77, MIB_PAGES = 256 };

static long
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static struct lab_huge *
huge_of(const void *p)
{
	struct lab_place place = lab_map_find(p);

	REQUIRE(place.kind == LAB_PLACE_HUGE && &place.huge->run == place.run && place.huge->base == p);
	return place.huge;
}

static size_t
count_of(enum lab_huge_kind kind)
{
	struct lab_huge *huge;
	size_t n = 0;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++)
		n += lab_huge_kind(huge) == kind;
	return n;
}

static bool
is_mapped(const void *p, size_t size)
{
	return world_is_mapped((uintptr_t)p, (uintptr_t)p + size);
}

/* ---- reuse ----------------------------------------------------------------------------------------------------- */

/* A block of which every byte was written, as a mapping that is cached now: where it was. */
static char *
use_and_free(size_t size)
{
	char *p = lab_malloc(size);

	memset(p, 1, size);
	lab_free(p);
	return p;
}

Test(huge, what_was_freed_is_had_again_without_faults_or_system_calls)
{
	world_install();
	world.clock_is_set = true; /* nothing decays */
	for (size_t size = 5 * MIB; size <= 25 * MIB; size += 4 * MIB) {
		char *first = lab_malloc(size);
		memset(first, 1, size);
		lab_free(first);
		size_t calls = world.protects + world.maps + world.unmaps + world.purges;
		long before = faults();
		for (int i = 0; i < 20; i++) {
			char *p = lab_malloc(size);
			cr_assert_eq(p, first);
			for (size_t n = 0; n < size; n += LAB_PAGE_SIZE)
				p[n] = 2;
			lab_free(p);
		}
		cr_assert_leq(faults() - before, 16, "%ld faults", faults() - before);
		cr_assert_eq(world.protects + world.maps + world.unmaps + world.purges, calls);
	}
}

Test(huge, an_untouched_block_costs_the_same_whatever_its_size)
{
	world_install();
	lab_free(lab_malloc(5 * MIB));
	for (size_t size = 8 * MIB; size <= (size_t)1 << 30; size *= 8) {
		world.maps = world.extends = world.protects = 0;
		long before = faults();
		void *p = lab_malloc(size);
		cr_assert(p);
		cr_assert_leq(faults() - before, 16, "%ld faults", faults() - before);
		cr_assert_eq(world.maps + world.extends, 1);
		cr_assert_eq(world.protects, 0);
		lab_free(p);
	}
}

Test(huge, the_mapping_that_fits_most_closely_is_taken_and_the_rest_of_one_that_is_much_too_long_goes)
{
	world_install();
	world.clock_is_set = true;
	cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, SIZE_MAX));
	void *p[4];
	static const size_t mib[] = {40, 12, 11, 10};

	for (int i = 0; i < 4; i++)
		p[i] = lab_malloc(mib[i] * MIB);
	for (int i = 0; i < 4; i++)
		lab_free(p[i]);
	void *q = lab_malloc(11 * MIB - 5);
	cr_assert_eq(q, p[2]);
	cr_assert_eq(lab_usable_size(q), 11 * MIB, "what was asked for, in pages");
	void *r = lab_malloc(11 * MIB - 5);
	cr_assert_eq(r, p[1], "the next one");
	size_t maps = world.maps;
	size_t purges = world.purges;
	void *s = lab_malloc(30 * MIB);
	cr_assert_eq(s, p[0]);
	cr_assert_eq(world.maps, maps);
	cr_assert_eq(world.purges, purges, "what is unmapped is not given back before");
	cr_assert_eq(lab_load_rlx(&lab_map_find(s).huge->mapped), 30 * MIB / LAB_PAGE_SIZE, "a quarter is the most");
	lab_free(s);
	s = lab_aligned_alloc(256 * MIB, 9 * MIB);
	cr_assert_eq((uintptr_t)s % (256 * MIB), 0);
	cr_assert_eq(world.maps, maps + ((uintptr_t)p[3] % (256 * MIB) != 0),
	             "one that is aligned so by chance would do");
	lab_free(q);
	lab_free(r);
	lab_free(s);
}

Test(huge, a_shorter_mapping_is_made_longer_so_that_only_what_is_new_faults)
{
	world_install();
	world.clock_is_set = true;
	char *p = use_and_free(20 * MIB);
	size_t maps = world.maps;
	long before = faults();
	p = lab_malloc(26 * MIB);
	memset(p, 2, 26 * MIB);
	/* 6 MiB, and what a sanitizer has of its own */
	cr_assert_leq(faults() - before, (long)(13 * MIB / LAB_PAGE_SIZE), "%ld faults", faults() - before);
	cr_assert_eq(world.maps, maps);
	cr_assert_eq(lab_usable_size(p), 26 * MIB);
	lab_free(p);

	char *zeroed = lab_calloc(1, 30 * MIB);
	cr_assert(trace_is_zero(zeroed, 30 * MIB));
	lab_free(zeroed);
}

Test(huge, where_a_mapping_cannot_be_made_longer_another_is_mapped)
{
	struct lab_stats stats;

	world_install();
	world.clock_is_set = true;
	lab_free(lab_malloc(20 * MIB));
	world.extend_fails = true;
	char *p = lab_malloc(26 * MIB);
	cr_assert(p);
	memset(p, 1, 26 * MIB);
	lab_stats_get(&stats);
	cr_assert_eq(stats.huge_blocks, 1);
	lab_free(p);
	lab_stats_get(&stats);
	cr_assert_eq(stats.huge_blocks, 0);
}

Test(huge, of_a_longer_mapping_the_rest_goes_back_if_it_is_much)
{
	world_install();
	world.clock_is_set = true;
	cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, SIZE_MAX));
	char *p = use_and_free(40 * MIB);
	char *q = lab_malloc(33 * MIB);
	cr_assert_eq(q, p);
	cr_assert_eq(world.purged, 7 * MIB);
	lab_free(q);
	world.purged = 0;
	for (int i = 0; i < 3; i++)
		lab_free(lab_malloc(33 * MIB));
	cr_assert_eq(world.purged, 0, "once");
	q = lab_calloc(1, 40 * MIB);
	cr_assert_eq(q, p);
	cr_assert(trace_is_zero(q, 40 * MIB));
	lab_free(q);
}

/* calloc trusts `fresh` and `dirty`: through every way in which a mapping changes hands or length. */
Test(huge, used_pages_are_never_taken_for_fresh)
{
	struct trace_random random = {5};
	char *blocks[8] = {NULL};

	world_install();
	for (int step = 0; step < 600; step++) {
		char **block = &blocks[trace_below(&random, 8)];
		size_t size = 4 * MIB + trace_below(&random, 20 * MIB) + 1;
		world.unmap_fails = trace_below(&random, 8) == 0;
		world.purge_fails = trace_below(&random, 8) == 0;
		world.extend_fails = trace_below(&random, 8) == 0;
		world.extend_moves = trace_below(&random, 2);
		if (!*block) {
			*block = lab_calloc(1, size);
			REQUIRE(*block && trace_is_zero(*block, size));
		} else if (trace_below(&random, 3) == 0) {
			size_t old = lab_usable_size(*block);
			*block = lab_realloc(*block, size, LAB_GFP_ZERO);
			REQUIRE(*block);
			REQUIRE(size <= old || trace_is_zero(*block + old, size - old));
		} else {
			lab_free(*block);
			*block = NULL;
			continue;
		}
		size_t usable = lab_usable_size(*block);
		for (size_t n = 0; n < usable; n += LAB_PAGE_SIZE / 2)
			(*block)[n] = 1;
		(*block)[usable - 1] = 1;
		if (step % 50 == 0)
			(void)lab_trim(0);
	}
}

Test(huge, a_large_calloc_over_a_used_mapping_touches_nothing)
{
	world_install();
	world.clock_is_set = true;
	char *p = use_and_free(64 * MIB);
	long before = faults();
	char *q = lab_calloc(1, 64 * MIB);
	cr_assert_eq(q, p);
	cr_assert_leq(faults() - before, 16);
	cr_assert(trace_is_zero(q, 64 * MIB));
	memset(p, 1, 64 * MIB);
	lab_free(q);
	world.purge_fails = true;
	q = lab_calloc(1, 64 * MIB);
	cr_assert_eq(q, p);
	cr_assert(trace_is_zero(q, 64 * MIB));
	lab_free(q);
}

/* ---- resizing ---------------------------------------------------------------------------------------------------- */

Test(huge, contents_stay_when_a_block_is_resized)
{
	static const size_t sizes[] = {9, 13, 12, 50, 49, 8, 6, 30, 5, 3};

	world_install();
	for (int how = 0; how < 3; how++) {
		char *p = lab_malloc(5 * MIB);
		size_t old = 5 * MIB;
		world.extend_moves = how == 1;
		world.extend_fails = how == 2;
		trace_fill(p, old, 1);
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			size_t size = sizes[i] * MIB + i * 100;
			char *before = p;
			p = lab_realloc(p, size, LAB_GFP_KERNEL);
			cr_assert(p == before || !lab_owns(before));
			cr_assert(p == before || size > old, "it shrinks where it is");
			cr_assert(trace_reads_as(p, old < size ? old : size, old, i + 1));
			cr_assert_eq(lab_usable_size(p), lab_round_up(size, LAB_PAGE_SIZE));
			trace_fill(p, size, i + 2);
			old = size;
		}
		lab_free(p);
		cr_assert_eq(count_of(LAB_HUGE_LIVE), 0);
	}
}

Test(huge, what_a_block_does_not_use_any_more_goes_back)
{
	char *p = lab_malloc(40 * MIB);

	memset(p, 1, 40 * MIB);
	cr_assert_eq(lab_realloc(p, 10 * MIB, LAB_GFP_KERNEL), p);
	cr_assert(!is_mapped(p + 10 * MIB, LAB_PAGE_SIZE));
	cr_assert_eq(huge_of(p)->mapped, 10 * MIB_PAGES);
	world_install();
	world.unmap_fails = true;
	memset(p, 1, 10 * MIB);
	cr_assert_eq(lab_realloc(p, 6 * MIB, LAB_GFP_KERNEL), p);
	cr_assert(trace_is_zero(p + 6 * MIB, 4 * MIB), "if not the address space, the pages");
	cr_assert_eq(huge_of(p)->mapped, 10 * MIB_PAGES);
	lab_free(p);
}

Test(huge, up_and_down_across_the_border_costs_no_system_call)
{
	world_install();
	world.clock_is_set = true;
	char *p = lab_malloc(4400000);
	size_t calls = world.maps + world.extends + world.unmaps + world.purges;
	trace_fill(p, 4400000, 1);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(lab_realloc(p, 4000000, LAB_GFP_KERNEL), p);
		cr_assert_eq(lab_realloc(p, 4400000, LAB_GFP_KERNEL), p);
	}
	cr_assert(trace_reads_as(p, 4000000, 4400000, 1));
	cr_assert_eq(world.maps + world.extends + world.unmaps + world.purges, calls);
	p = lab_realloc(p, MIB, LAB_GFP_KERNEL);
	cr_assert_eq(lab_map_find(p).kind, LAB_PLACE_RUN, "much less is no huge block");
	lab_free(p);
}

Test(huge, the_threshold_makes_smaller_blocks_huge)
{
	cr_assert(lab_set_param(LAB_PARAM_HUGE_THRESHOLD, 2 * MIB));
	void *run = lab_malloc(2 * MIB - 1), *huge = lab_malloc(2 * MIB);
	cr_assert_eq(lab_map_find(run).kind, LAB_PLACE_RUN);
	cr_assert_eq(lab_map_find(huge).kind, LAB_PLACE_HUGE);
	huge = lab_realloc(huge, 3 * MIB, LAB_GFP_KERNEL);
	cr_assert_eq(lab_map_find(huge).kind, LAB_PLACE_HUGE);
	cr_assert_eq(lab_usable_size(huge), 3 * MIB);
	lab_free(huge);
	lab_free(run);
}

/* Small spans, runs and huge blocks among each other. */
Test(huge, blocks_change_between_small_and_huge)
{
	static struct trace_block blocks[400];
	struct trace trace = {{6}, blocks, 400, 15, 24, 4, false};

	for (int round = 0; round < 6; round++) {
		trace_run(&trace, 1500);
		trace_check_all(&trace);
		if (round % 2)
			trace_free_all(&trace);
	}
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

/* Far more than the first parts hold, so that places collide and parts are added; freed and made again in another
 * order. */
Test(huge, many_blocks_are_each_found_at_their_start_and_nowhere_else)
{
	world_install();
	world.clock_is_set = true;
	enum { COUNT = 3000 };
	static char *blocks[COUNT];
	struct trace_random random = {9};

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < COUNT; i++)
			if (!blocks[i])
				REQUIRE((blocks[i] = lab_malloc(4 * MIB + 1 + (size_t)i % 7 * LAB_PAGE_SIZE)) != NULL);
		for (int i = 0; i < COUNT; i++) {
			REQUIRE(lab_owns(blocks[i]) && huge_of(blocks[i])->base == blocks[i]);
			REQUIRE(lab_usable_size(blocks[i]) == 4 * MIB + (1 + (size_t)i % 7) * LAB_PAGE_SIZE);
			REQUIRE(!lab_owns(blocks[i] + LAB_PAGE_SIZE) && !lab_owns(blocks[i] + 16) &&
			        !lab_owns(blocks[i] - LAB_PAGE_SIZE + 16));
			REQUIRE(lab_huge_around(blocks[i]) && lab_huge_around(blocks[i] + 4 * MIB));
		}
		cr_assert_eq(count_of(LAB_HUGE_LIVE), COUNT);
		for (int i = 0; i < COUNT; i++)
			if (trace_below(&random, 3)) {
				lab_free(blocks[i]);
				REQUIRE(!lab_owns(blocks[i]) && lab_map_find(blocks[i]).kind == LAB_PLACE_FREED);
				blocks[i] = NULL;
			}
		(void)lab_trim(0);
		cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
	}
	for (int i = 0; i < COUNT; i++)
		lab_free(blocks[i]);
}

/* Where no part can be added, every place is used, however far from an address's own. */
Test(huge, a_table_that_cannot_grow_is_used_to_the_last_entry)
{
	static void *blocks[64];

	world_install();
	lab_free(lab_malloc(100));
	blocks[0] = lab_malloc(5 * MIB);
	for (int i = 1; i < 64; i++) {
		world.map_least = 4 * MIB;
		REQUIRE((blocks[i] = lab_malloc(5 * MIB)) != NULL);
	}
	cr_assert_eq(count_of(LAB_HUGE_LIVE), 64);
	cr_assert_null(lab_malloc(5 * MIB));
	for (int i = 0; i < 64; i++)
		REQUIRE(lab_owns(blocks[i]));
	cr_assert_null(lab_realloc(blocks[5], 30 * MIB, LAB_GFP_KERNEL), "a block that moves needs a second entry");
	cr_assert(lab_owns(blocks[5]));
	lab_free(blocks[7]);
	(void)lab_trim(0);
	cr_assert((blocks[7] = lab_malloc(5 * MIB)) != NULL);
	world.map_least = 0;
	void *p = lab_malloc(5 * MIB);
	cr_assert(p);
	lab_free(p);
	for (int i = 0; i < 64; i++)
		lab_free(blocks[i]);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

Test(huge, failures_are_null_and_leave_nothing_behind)
{
	world_install();
	lab_free(lab_malloc(1));
	lab_free(lab_malloc(5 * MIB));
	(void)lab_trim(0);

	world.maps_left = 0;
	cr_assert_null(lab_malloc(12 * MIB + 1));
	cr_assert_null(lab_calloc(1, 12 * MIB + 1));
	cr_assert_null(lab_aligned_alloc(64 * MIB, 12 * MIB + 1));
	world.maps_left = SIZE_MAX;
	cr_assert_null(lab_malloc((size_t)1 << 47));
	cr_assert_null(lab_aligned_alloc((size_t)1 << 47, 1));
	cr_assert_eq(count_of(LAB_HUGE_FREE), 64);
	char *p = lab_malloc(12 * MIB);
	cr_assert(p);
	trace_fill(p, 12 * MIB, 4);
	world.maps_left = 0;
	world.extend_fails = true;
	cr_assert_null(lab_realloc(p, 30 * MIB, LAB_GFP_KERNEL));
	cr_assert_eq(lab_usable_size(p), 12 * MIB);
	cr_assert(trace_reads_as(p, 12 * MIB, 12 * MIB, 4));
	lab_free(p);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 1);
}

static void
have_room(void *start, size_t size)
{
	(void)start;
	(void)size;
	world.maps_left = SIZE_MAX;
}

Test(huge, what_was_freed_makes_room_for_what_does_not_fit_beside_it)
{
	world_install();
	lab_free(lab_malloc(100 * MIB));
	world.maps_left = 0;
	world.after_unmap = have_room;
	char *q = lab_malloc(150 * MIB);
	cr_assert(q);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
	lab_free(q);
}

Test(huge, what_the_system_does_not_unmap_is_kept_and_given_back_as_pages)
{
	world_install();
	world.clock_is_set = true;
	char *p = lab_malloc(30 * MIB);
	memset(p, 1, 30 * MIB);
	world.unmap_fails = true;
	lab_free(p);
	(void)lab_trim(0);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 1);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert(trace_is_zero(p, 30 * MIB));
	char *q = lab_calloc(1, 30 * MIB);
	cr_assert_eq(q, p, "and serves again");
	memset(q, 1, 30 * MIB);
	lab_free(q);
	world.purge_fails = true;
	(void)lab_trim(0);
	cr_assert_eq(lab_purge_dirty_pages(), 30 * MIB_PAGES);
	world.unmap_fails = false;
	(void)lab_trim(0);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
	cr_assert(!is_mapped(p, LAB_PAGE_SIZE));
}

Test(huge, an_alignment_whose_rest_stays_mapped)
{
	world_install();
	world.unmap_fails = true;
	char *p = lab_aligned_alloc(64 * MIB, 5 * MIB);
	cr_assert_eq((uintptr_t)p % (64 * MIB), 0);
	cr_assert_geq(huge_of(p)->mapped, 5 * MIB_PAGES);
	cr_assert(is_mapped(p, huge_of(p)->mapped * LAB_PAGE_SIZE));
	memset(p, 1, 5 * MIB);
	world.unmap_fails = false;
	size_t mapped = huge_of(p)->mapped * LAB_PAGE_SIZE;
	lab_free(p);
	(void)lab_trim(0);
	cr_assert(!is_mapped(p, LAB_PAGE_SIZE) && !is_mapped(p + mapped - LAB_PAGE_SIZE, LAB_PAGE_SIZE));
}

/* ---- decay, and the limit -------------------------------------------------------------------------------------- */

/* A slice of a sweep; the pages that it gave back. */
static size_t
sweep(size_t pages)
{
	static struct lab_purge_record record = {.claim = (uint64_t)1 << 32 | 5};
	size_t before = lab_purge_total_pages();
	struct lab_count_delta own;

	lab_sweep_begin(false);
	lab_sweep_go_on(&record, (struct lab_slice){.pages = pages, .own = &own});
	return lab_purge_total_pages() - before;
}

Test(huge, a_freed_mapping_goes_when_it_is_aged)
{
	world_install();
	world.clock_is_set = true;
	char *p = lab_malloc(8 * MIB), *q = lab_malloc(9 * MIB);

	lab_free(p);
	cr_assert_eq(lab_purge_dirty_pages(), 8 * MIB_PAGES);
	cr_assert_eq(sweep(SIZE_MAX / 8), 0, "young");
	lab_free(q);
	cr_assert_eq(sweep(SIZE_MAX / 8), 8 * MIB_PAGES, "the other one is young");
	cr_assert(!is_mapped(p, LAB_PAGE_SIZE) && is_mapped(q, LAB_PAGE_SIZE));
	cr_assert_eq(lab_malloc(9 * MIB), q);
	lab_free(q);
	cr_assert_eq(sweep(SIZE_MAX / 8), 0, "it was used since");
	cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, SIZE_MAX));
	p = lab_malloc(30 * MIB);
	q = lab_malloc(9 * MIB);
	memset(p, 1, 30 * MIB);
	memset(q, 1, 9 * MIB);
	lab_free(p);
	lab_free(q);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 2);
	cr_assert_eq(lab_purge_dirty_pages(), 39 * MIB_PAGES);
	cr_assert_eq(lab_huge_purge(2 * MIB_PAGES), 2 * MIB_PAGES, "enough is enough");
	size_t left = lab_purge_dirty_pages();
	cr_assert_eq(lab_huge_purge(SIZE_MAX), left);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
}

Test(huge, a_large_mapping_goes_in_slices_from_its_end)
{
	world_install();
	world.clock_is_set = true;
	cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, SIZE_MAX));
	char *p = lab_malloc(40 * MIB);

	memset(p, 1, 40 * MIB);
	lab_free(p);
	cr_assert_eq(sweep(MIB_PAGES), 0, "young");
	for (size_t left = 40 * MIB_PAGES; left > MIB_PAGES; left = lab_purge_dirty_pages()) {
		cr_assert_eq(count_of(LAB_HUGE_CACHED), 1);
		size_t given = sweep(MIB_PAGES);
		cr_assert_geq(given, MIB_PAGES);
		cr_assert_leq(given, MIB_PAGES + 1);
	}
	cr_assert(trace_is_zero(p + 2 * MIB, 38 * MIB));
	(void)sweep(MIB_PAGES);
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
	cr_assert(!is_mapped(p, LAB_PAGE_SIZE));
}

/* The next block of that size is given what is left of it. */
Test(huge, what_is_too_much_goes_from_the_end_and_the_rest_serves)
{
	world_install();
	world.clock_is_set = true;
	char *p = lab_malloc(60 * MIB);

	memset(p, 1, 60 * MIB);
	size_t unmaps = world.unmaps;
	lab_free(p);
	cr_assert_leq(lab_purge_dirty_pages(), 32 * MIB_PAGES);
	cr_assert_geq(lab_purge_dirty_pages(), 31 * MIB_PAGES);
	cr_assert_eq(world.unmaps, unmaps);
	cr_assert_eq(lab_malloc(60 * MIB), p);
	cr_assert(trace_is_zero(p + 32 * MIB, 28 * MIB));
}

Test(huge, what_counts_under_a_limit)
{
	world_install();
	world.clock_is_set = true;
	lab_free(lab_malloc(1));
	(void)lab_trim(0);
	size_t before = lab_charge_count();
	char *p = lab_malloc(8 * MIB);
	cr_assert_eq(lab_charge_count(), before + 8 * MIB_PAGES);
	p = lab_realloc(p, 20 * MIB, LAB_GFP_KERNEL);
	cr_assert_eq(lab_charge_count(), before + 20 * MIB_PAGES);
	p = lab_realloc(p, 20 * MIB - 100 * LAB_PAGE_SIZE, LAB_GFP_KERNEL);
	cr_assert_eq(lab_charge_count(), before + 20 * MIB_PAGES, "they may hold data");
	lab_free(p);
	cr_assert_eq(lab_charge_count(), before + 20 * MIB_PAGES);
	cr_assert_eq(lab_malloc(16 * MIB), p);
	cr_assert_eq(lab_charge_count(), before + 16 * MIB_PAGES);
	lab_free(p);
	(void)lab_trim(0);
	cr_assert_eq(lab_charge_count(), before);
}

/* ---- frames that are cut short --------------------------------------------------------------------------------- */

static bool
is_any_busy(void)
{
	return count_of(LAB_HUGE_BUSY) != 0;
}

static void
call_trim(void *unused)
{
	(void)unused;
	(void)lab_trim(0);
}

Test(huge, what_is_being_unmapped_when_its_frame_is_left_is_nobodys_for_ever)
{
	char *p = lab_malloc(9 * MIB);

	lab_free(p);
	REQUIRE(tear_when(is_any_busy, call_trim, NULL));
	struct lab_huge *huge;
	size_t i = 0;
	while ((huge = lab_huge_at(i))->base != p)
		i++;
	for (int round = 0; round < 3; round++) {
		(void)lab_trim(0);
		lab_huge_finish_frees();
		cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_BUSY);
	}
	cr_assert(!lab_owns(p));
	/* its address may be another block's, in another entry */
	(void)munmap(p, 9 * MIB);
	char *q = NULL;
	for (int n = 0; n < 50 && q != p; n++)
		q = lab_malloc(9 * MIB);
	cr_assert(lab_owns(q));
	if (q == p)
		cr_assert_neq(huge_of(q), huge);
}

static bool
are_signals_held(void)
{
	sigset_t set;

	REQUIRE(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
	return sigismember(&set, SIGUSR1) && !sigismember(&set, SIGSEGV);
}

/* Asked at each instruction of a call, in the handler of SIGTRAP. */
static bool
is_busy_in_the_open(void)
{
	return is_any_busy() && !are_signals_held();
}

static void
require_held(void *start, size_t size)
{
	(void)start;
	(void)size;
	REQUIRE(are_signals_held());
}

static void
call_every_step(void *unused)
{
	(void)unused;
	char *p = lab_malloc(9 * MIB);
	p = lab_realloc(p, 20 * MIB, LAB_GFP_KERNEL);
	p = lab_realloc(p, 16 * MIB, LAB_GFP_KERNEL);
	lab_free(p);
	world.on_purge = require_held;
	p = lab_malloc(13 * MIB); /* reuses the 16 MiB, and purges the rest */
	world.on_purge = NULL;
	lab_free(p);
	(void)lab_trim(0);
}

Test(huge, signals_are_held_while_what_is_mapped_and_what_is_said_differ)
{
	world_install();
	world.clock_is_set = true;
	lab_free(lab_malloc(1));
	world.on_unmap = require_held;
	for (int moves = 0; moves < 2; moves++) {
		size_t purges = world.purges, unmaps = world.unmaps;
		world.extend_moves = moves;
		REQUIRE(!tear_when(is_busy_in_the_open, call_every_step, NULL));
		cr_assert_geq(world.purges, purges + 1, "what lies behind the last block");
		cr_assert_geq(world.unmaps, unmaps + 2, "the tail, and the mapping");
	}
	cr_assert_eq(count_of(LAB_HUGE_CACHED), 0);
	cr_assert(!are_signals_held());
}

/* ---- a thread dies in a free: others finish it ---- */

/* A block that DEAD_TID was freeing. */
static struct lab_huge *
leave_half_freed(unsigned gfp)
{
	char *p = lab_alloc(13 * MIB, gfp);
	struct lab_huge *huge = huge_of(p);
	uint64_t state;

	memset(p, 1, 13 * MIB);
	if (gfp & LAB_GFP_EXCLUSIVE) {
		state = lab_load_rlx(&huge->run.state);
		lab_store_rlx(&huge->run.state, lab_state_make(state, state & LAB_EXCLUSIVE_MARKS, DEAD_TID));
		REQUIRE(lab_exclusive_begin_free(&huge->run, DEAD_TID, &state) == LAB_EXCLUSIVE_FREEING);
	} else {
		REQUIRE(lab_run_begin_free(&huge->run, DEAD_TID));
	}
	REQUIRE(lab_huge_kind(huge) == LAB_HUGE_FREEING);
	return huge;
}

static void
let_die(uint32_t tid)
{
	world_install();
	world.deaths_are_set = true;
	world.dead_tid = tid;
	lab_free(lab_malloc(1));
}

Test(huge, a_dead_threads_free_is_finished_by_others)
{
	let_die(DEAD_TID);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_KERNEL);
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_CACHED);
	char *p = lab_calloc(1, 13 * MIB);
	cr_assert_eq(huge_of(p), huge);
	cr_assert(trace_is_zero(p, 13 * MIB), "what it held is known to be dirty");
	lab_free(p);
	cr_assert_eq(world.renewals, 0);
}

Test(huge, a_dead_threads_heap_or_a_trim_is_where_it_is_found)
{
	let_die(DEAD_TID);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_KERNEL);
	(void)lab_trim(0);
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_FREE);
	struct lab_heap *dead = lab_registry_make(DEAD_TID, LAB_HEAP_CURRENT);
	REQUIRE(dead);
	huge = leave_half_freed(LAB_GFP_KERNEL);
	struct lab_guard guard = LAB_GUARD_HERE;
	REQUIRE(lab_enter(&guard));
	size_t blocks = 0;
	cr_assert(lab_thread_clear_one_owned(guard.heap, 100, &blocks));
	lab_leave(&guard);
	cr_assert_eq(lab_registry_state(dead->id), LAB_HEAP_IDLE);
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_CACHED);
}

Test(huge, the_living_finish_their_frees_themselves)
{
	let_die(DEAD_TID + 1);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_KERNEL);
	uint64_t state = lab_load_rlx(&huge->run.state);

	lab_huge_finish_frees();
	cr_assert_eq(lab_load_rlx(&huge->run.state), state);
	lab_huge_free(huge);
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_CACHED);
}

static bool
is_taken_over(void)
{
	struct lab_huge *huge;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		uint64_t state = lab_load_rlx(&huge->run.state);
		if (lab_huge_kind_of(state) == LAB_HUGE_FREEING && lab_lease_tid(state) != DEAD_TID)
			return true;
	}
	return false;
}

static void
call_finish(void *unused)
{
	(void)unused;
	lab_huge_finish_frees();
}

/* From here on this thread is another one, and what it was has ended. */
static void
die_and_be_another(void)
{
	world.dead_tid = lab_thread.tid++;
}

Test(huge, who_dies_while_finishing_is_followed_by_the_next)
{
	let_die(DEAD_TID);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_KERNEL);
	REQUIRE(tear_when(is_taken_over, call_finish, NULL));
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_FREEING, "we are not dead");
	die_and_be_another();
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_CACHED);
}

/* ---- while a dead thread is asked for, its block is freed, made again, and freed by a living namesake ----------- */

static struct lab_huge *torn;

static void
free_and_begin_again(uint32_t tid)
{
	world.on_probe = NULL;
	lab_huge_free(torn);
	REQUIRE(huge_of(lab_malloc(13 * MIB)) == torn);
	REQUIRE(lab_run_begin_free(&torn->run, tid));
}

/* Or the namesake has found the dead one's block before us, and is in the middle. */
static void
be_quicker(uint32_t tid)
{
	uint64_t state = lab_load_rlx(&torn->run.state);

	world.on_probe = NULL;
	REQUIRE(lab_cas64(&torn->run.state, state, lab_lease_next(state, tid, lab_lease_tag(state))));
}

static void
check_not_freed_under(void (*namesake)(uint32_t tid))
{
	let_die(DEAD_TID);
	torn = leave_half_freed(LAB_GFP_KERNEL);
	world.on_probe = namesake;
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(torn), LAB_HUGE_FREEING, "freed under it");
	lab_huge_free(torn);
}

Test(huge, a_namesake_of_the_dead_keeps_the_block_that_it_frees)
{
	check_not_freed_under(free_and_begin_again);
	check_not_freed_under(be_quicker);
}

/* INV-EXCL-2: only new pages are without marks. */
Test(huge, marked_pages_that_the_dead_was_freeing_are_renewed_first)
{
	let_die(DEAD_TID);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_EXCLUSIVE | LAB_GFP_NOFORK);
	world.renewals = 0;
	world.renew_fails = true;
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_FREEING, "marked still");
	world.renew_fails = false;
	die_and_be_another();
	lab_huge_finish_frees();
	cr_assert_eq(world.renewals, 2);
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_CACHED);
}

/* ---- fork ---- */

static bool
no_thread(uint32_t tid)
{
	return tid == lab_os_tid();
}

static bool
cannot_tell(uint32_t tid)
{
	(void)tid;
	return false;
}

Test(huge, in_forks_child_the_forkers_frees_are_the_leaders_and_others_are_finished)
{
	const struct lab_lease_fork fork = {.old_tid = DEAD_TID + 1, .new_tid = lab_os_tid(), .is_here = no_thread};

	let_die(0);
	struct lab_huge *own = leave_half_freed(LAB_GFP_KERNEL),
	                *others = leave_half_freed(LAB_GFP_EXCLUSIVE | LAB_GFP_NOFORK);
	uint64_t state = lab_load_rlx(&own->run.state);

	lab_store_rlx(&own->run.state, lab_lease_next(state, DEAD_TID + 1, lab_lease_tag(state)));
	lab_exclusive_settle(&fork);
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(own), LAB_HUGE_FREEING);
	cr_assert_eq(lab_lease_tid(lab_load_rlx(&own->run.state)), lab_os_tid());
	cr_assert_eq(lab_huge_kind(others), LAB_HUGE_CACHED);
	cr_assert_eq(world.renewals, 1, "its marks are known still");
	lab_huge_free(own); /* the frame that forked in a handler goes on */
	cr_assert_eq(lab_huge_kind(own), LAB_HUGE_CACHED);
}

Test(huge, in_forks_child_nothing_is_finished_where_threads_cannot_be_told)
{
	const struct lab_lease_fork fork = {.old_tid = DEAD_TID + 1, .new_tid = lab_os_tid(), .is_here = cannot_tell};

	let_die(0);
	struct lab_huge *huge = leave_half_freed(LAB_GFP_KERNEL);
	uint64_t state = lab_load_rlx(&huge->run.state);

	lab_exclusive_settle(&fork);
	cr_assert_eq(lab_load_rlx(&huge->run.state), state);
	lab_huge_finish_frees();
	cr_assert_eq(lab_huge_kind(huge), LAB_HUGE_FREEING);
}

/* A block that is longer when it is freed than the next one that is asked for. */
Test(huge, mappings_that_do_not_fit_do_not_pile_up)
{
	world_install();
	world.clock_is_set = true;
	for (int i = 0; i < 30; i++) {
		lab_free(lab_realloc(lab_malloc(13 * MIB), 30 * MIB, LAB_GFP_KERNEL));
		cr_assert_eq(count_of(LAB_HUGE_CACHED), 1);
	}
}
