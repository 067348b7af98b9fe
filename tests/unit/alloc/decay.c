/* decay.c - when free pages go back: the clock and madvise are hooks, so that nothing waits and nothing is left to luck. Clauses: G10.1, G10.3. */
#include <criterion/criterion.h>

#include "alloc/alloc.h"
#include "page/map.h"
#include "page/purge.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static void
start(uint64_t now)
{
	world_install();
	world.clock_is_set = true;
	world.now = now;
}

/* Uses and frees blocks of a size; all of it is dirty then. */
static void
use(size_t size)
{
	char *p = lab_malloc(size);

	memset(p, 1, size);
	lab_free(p);
}

static void
tick(void)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	lab_decay_tick(&bracket);
}

Test(decay, free_pages_go_after_a_second_and_not_before)
{
	start(10000);
	use(2 * MIB);
	size_t dirty = lab_purge_dirty_pages();
	cr_assert_geq(dirty, 2 * MIB / LAB_PAGE_SIZE);
	world.now += 999;
	tick();
	cr_assert_eq(world.purges, 0);
	world.now += 251; /* the next look is a quarter of the decay later */
	tick();
	cr_assert_gt(world.purges, 0);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert_eq(lab_purge_total_pages(), dirty);
}

Test(decay, frees_drive_it)
{
	start(10000);
	use(200000);
	use(6 * MIB);
	cr_assert_eq(world.purges, 0);
	world.now += 3000;
	use(200000);
	cr_assert_gt(world.purges, 0);
	cr_assert_leq(lab_purge_dirty_pages(), 200000 / LAB_PAGE_SIZE + 100, "what was used just now stays");
}

Test(decay, small_blocks_drive_it_too)
{
	enum { N = 3000 };
	static void *p[N];

	start(10000);
	use(6 * MIB);
	world.now += 3000;
	for (int i = 0; i < N; i++)
		p[i] = lab_malloc(1000);
	for (int i = 0; i < N; i++)
		lab_free(p[i]);
	cr_assert_gt(world.purges, 0);
}

Test(decay, a_loop_over_large_blocks_is_never_purged)
{
	start(10000);
	for (int i = 0; i < 200; i++) {
		use(20 * MIB);
		world.now += 10;
	}
	cr_assert_eq(world.purged, 0, "they are used again before they decay");
}

Test(decay, an_arena_that_is_idle_for_so_long_goes_as_well)
{
	start(10000);
	world.map_limit = 40 * MIB; /* arenas of 32 MiB */
	lab_free(lab_malloc(100));
	world.map_limit = 100 * MIB;
	use(40 * MIB);
	const struct lab_arena *arena = lab_map_arena(1);
	cr_assert(arena && lab_where_is_usable(lab_load_rlx(&arena->where)));
	world.now += 900; /* since the look that the free made */
	tick();
	cr_assert(lab_where_is_usable(lab_load_rlx(&arena->where)));
	world.now += 300;
	tick();
	cr_assert_eq(lab_load_rlx(&arena->where), 0);
	use(40 * MIB);
	cr_assert(lab_where_is_usable(lab_load_rlx(&arena->where)));
	cr_assert(lab_trim(0));
	cr_assert_eq(lab_load_rlx(&arena->where), 0);
}

Test(decay, never_and_at_once)
{
	start(10000);
	cr_assert(lab_set_param(LAB_PARAM_DECAY_MS, SIZE_MAX));
	use(2 * MIB);
	world.now += 1000000;
	use(2 * MIB);
	cr_assert_eq(world.purges, 0);
	cr_assert(lab_set_param(LAB_PARAM_DECAY_MS, 0));
	use(2 * MIB);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert(!lab_set_param(LAB_PARAM_DECAY_MS, (size_t)86400 * 1000 + 1), "more than a day");
}

Test(decay, the_threshold_bounds_what_is_kept)
{
	start(10000);
	cr_assert(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, 8 * MIB));
	for (int i = 0; i < 10; i++) {
		char *p = lab_malloc(5 * MIB), *q = lab_malloc(5 * MIB);
		memset(p, 1, 5 * MIB);
		memset(q, 1, 5 * MIB);
		lab_free(p);
		lab_free(q);
		cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, 8 * MIB);
	}
	cr_assert_gt(world.purged, 0);
}

Test(decay, trim_gives_back_all_but_what_is_to_be_kept)
{
	struct lab_stats stats;

	start(10000);
	cr_assert(!lab_trim(0), "nothing there");
	use(20 * MIB);
	use(1 * MIB);
	cr_assert(!lab_trim(100 * MIB), "it is all to be kept");
	cr_assert(lab_trim(0));
	lab_stats_get(&stats);
	cr_assert_eq(stats.dirty, 0);
	cr_assert_geq(stats.purged, 20 * MIB);
	cr_assert(!lab_trim(0));
	use(20 * MIB);
	world.purge_fails = true;
	cr_assert(!lab_trim(0), "the system refused");
	world.purge_fails = false;
	cr_assert(lab_trim(4 * MIB));
	lab_stats_get(&stats);
	cr_assert_leq(stats.dirty, 4 * MIB);
}

Test(decay, live_blocks_survive_every_trim)
{
	static struct trace_block blocks[300];
	struct trace trace = {{6}, blocks, 300, 13, 23, 15, false};

	start(1);
	for (int i = 0; i < 60; i++) {
		trace_run(&trace, 300);
		world.now += 400;
		world.purge_fails = i % 5 == 0;
		(void)lab_trim(i % 2 ? 0 : MIB);
		trace_check_all(&trace);
	}
	trace_free_all(&trace);
}
