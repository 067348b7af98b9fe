/* huge.c - blocks of whole segments: reuse without faults, resizing in place, moving pages, failures, frees cut short by a death. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "heap/exclusive.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "page/map.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static long
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static struct lab_place
place_of(const void *p)
{
	struct lab_place place = lab_map_find(p);

	REQUIRE(place.kind == LAB_PLACE_HUGE);
	return place;
}

static size_t
free_segments(const struct lab_arena *arena)
{
	size_t n = 0;

	for (size_t i = 0; i < lab_arena_segment_count(arena); i++)
		n += lab_owner_kind(lab_load_rlx(&arena->owners[i])) == LAB_SEGMENT_FREE;
	return n;
}

Test(huge, what_was_freed_is_had_again_without_faults_or_system_calls)
{
	world_install();
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

Test(huge, contents_stay_when_a_block_is_resized_in_place)
{
	static const size_t sizes[] = {9, 13, 12, 50, 49, 8, 6, 30, 5};
	char *p = lab_malloc(5 * MIB), *start = p;
	size_t old = 5 * MIB;

	trace_fill(p, old, 1);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t size = sizes[i] * MIB + i * 100;
		p = lab_realloc(p, size, LAB_GFP_KERNEL);
		cr_assert_eq(p, start, "there is room behind it");
		cr_assert(trace_reads_as(p, old < size ? old : size, old, i + 1));
		cr_assert_eq(lab_usable_size(p), lab_round_up(size, LAB_PAGE_SIZE));
		trace_fill(p, size, i + 2);
		old = size;
	}
	struct lab_arena *arena = lab_map_arena(0);
	size_t before = free_segments(arena);
	size_t held = (old + LAB_SEGMENT_SIZE - 1) / LAB_SEGMENT_SIZE;
	lab_free(p);
	cr_assert_eq(free_segments(arena), before + held, "every segment went back, once");
}

static bool
grow(const struct lab_place *place, size_t size)
{
	return lab_huge_grow_owned(lab_registry_heap(place->heap_id), place->arena, place->index, size);
}

Test(huge, a_neighbour_stops_growth_and_nothing_is_claimed)
{
	char *a = lab_malloc(6 * MIB), *b = lab_malloc(6 * MIB);
	struct lab_place place = place_of(a);
	size_t before = free_segments(place.arena);

	cr_assert_eq(b, a + 8 * MIB);
	cr_assert(grow(&place, 8 * MIB), "its own segments");
	cr_assert(!grow(&place, 8 * MIB + 1));
	cr_assert(!grow(&place, (size_t)1 << 40));
	cr_assert(!lab_huge_shrink(place.arena, place.index, 8 * MIB + 1), "that is no shrinking");
	cr_assert_eq(free_segments(place.arena), before);
	cr_assert_eq(lab_usable_size(a), 8 * MIB);
	lab_free(b);
	cr_assert(grow(&place, 16 * MIB));
	lab_free(a);
}

/* calloc trusts `fresh`: it must be false for whatever was written to, through every way in which a segment changes hands. */
Test(huge, used_segments_are_never_taken_for_fresh)
{
	struct trace_random random = {5};
	char *blocks[8] = {NULL};

	for (int step = 0; step < 400; step++) {
		char **block = &blocks[trace_below(&random, 8)];
		size_t size = 4 * MIB + trace_below(&random, 12 * MIB) + 1;
		if (!*block) {
			*block = lab_calloc(1, size);
			REQUIRE(*block && trace_is_zero(*block, size));
		} else if (trace_below(&random, 3) == 0) {
			*block = lab_realloc(*block, size, LAB_GFP_KERNEL);
			REQUIRE(*block);
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

/* The same segments serve small spans, runs and huge blocks in turn. */
Test(huge, segments_change_between_small_and_huge)
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

Test(huge, moving_pages_keeps_contents_and_a_move_that_fails_copies)
{
	world_install();
	for (int fails = 0; fails < 2; fails++) {
		world.move_fails = fails != 0;
		world.moves = 0;
		char *p = lab_malloc(6 * MIB), *fence = lab_malloc(6 * MIB);
		trace_fill(p, 6 * MIB, 3);
		char *q = lab_realloc(p, 40 * MIB, LAB_GFP_KERNEL);
		cr_assert_neq(q, p);
		cr_assert_eq(world.moves, 1, "a segment is moved, the rest is copied");
		cr_assert(trace_reads_as(q, 6 * MIB, 6 * MIB, 3));
		memset(q, 7, 40 * MIB); /* all of it is there */
		char *again = lab_calloc(1, 7 * MIB);
		cr_assert(trace_is_zero(again, 7 * MIB));
		lab_free(again);
		lab_free(q);
		lab_free(fence);
	}
}

Test(huge, failures_are_null_and_leave_no_segment_behind)
{
	world_install();
	lab_free(lab_malloc(1));
	struct lab_arena *arena = lab_map_arena(0);
	size_t before = free_segments(arena);

	world.maps_left = 0;
	for (size_t left = 0; left < 9; left++) {
		world.protects_left = left;
		cr_assert_null(lab_malloc(12 * MIB + 1));
		cr_assert_eq(free_segments(arena), before);
		if (left % 3 == 2)
			break; /* from here on a segment is committed, and the next attempt needs less */
	}
	world.protects_left = SIZE_MAX;
	cr_assert_null(lab_malloc((size_t)70 << 30), "no arena, and no new one");
	world.commit_fails = true;
	cr_assert_null(lab_malloc((size_t)2 << 30), "what the overcommit policy refuses");
	world.commit_fails = false;
	cr_assert_null(lab_malloc((size_t)1 << 47));
	cr_assert_null(lab_aligned_alloc((size_t)1 << 47, 1));
	cr_assert_eq(free_segments(arena), before);
	char *p = lab_malloc(12 * MIB);
	cr_assert(p);
	world.protects_left = 0;
	cr_assert_null(lab_realloc(p, 30 * MIB, LAB_GFP_KERNEL));
	world.protects_left = SIZE_MAX;
	cr_assert_eq(free_segments(arena), before - 3);
	cr_assert_eq(lab_usable_size(p), 12 * MIB);
	lab_free(p);
	cr_assert_eq(free_segments(arena), before);
}

Test(huge, the_threshold_makes_smaller_blocks_huge)
{
	cr_assert(lab_set_param(LAB_PARAM_HUGE_THRESHOLD, 2 * MIB));
	void *run = lab_malloc(2 * MIB - 1), *huge = lab_malloc(2 * MIB);
	cr_assert_eq(lab_map_find(run).kind, LAB_PLACE_RUN);
	cr_assert_eq(lab_map_find(huge).kind, LAB_PLACE_HUGE);
	huge = lab_realloc(huge, 3 * MIB, LAB_GFP_KERNEL);
	cr_assert(huge);
	cr_assert_eq(lab_usable_size(huge), 3 * MIB);
	lab_free(huge);
	lab_free(run);
}

/* ---- growth claims segments in the heap's name: only inside that heap, whose scan would take them for orphans else (INV-SEG-1) ---- */

Test(huge, only_the_holder_grows_a_block_in_place)
{
	REQUIRE(lab_registry_start());
	struct lab_heap *other = lab_registry_make(lab_os_tid() + 1, LAB_HOLD_CURRENT);
	bool fresh;

	world_install();
	world.deaths_are_set = true;
	lab_heap_rebuild_owned(other);
	lab_free(lab_malloc(1)); /* our heap has its segment: behind the block there is room */
	char *p = lab_huge_alloc_owned(other, 6 * MIB, 1, &fresh);
	struct lab_place place = place_of(p);
	cr_assert(!lab_huge_grow_owned(lab_thread.heap, place.arena, place.index, 20 * MIB));
	trace_fill(p, 6 * MIB, 1);
	cr_assert_eq(lab_realloc(p, 5 * MIB, LAB_GFP_KERNEL), p, "anyone may shrink his block");
	char *q = lab_realloc(p, 20 * MIB, LAB_GFP_KERNEL);
	cr_assert_neq(q, p);
	cr_assert(trace_reads_as(q, 5 * MIB, 6 * MIB, 1));
	lab_free(q);
	p = lab_malloc(12 * MIB);
	cr_assert_eq(lab_realloc(p, 20 * MIB, LAB_GFP_KERNEL), p, "in its own heap");
	lab_free(p);
}

/*
 * ---- a free is interrupted just before it touches the owner word of a segment that its record does not cover any more ----
 *
 * Either the page of owner words or the page of the run's state is inaccessible, in turn; the fault handler steps through the
 * accesses, and is the other thread when the run is DEAD and the owner word comes next.
 */

static struct lab_place freed;
static char *owner_page, *state_page;
static bool scanned, reused;

static void
protect(char *page, int protection)
{
	REQUIRE(mprotect(page, LAB_PAGE_SIZE, protection) == 0);
}

static void
step(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(LAB_PAGE_SIZE - 1));

	(void)signal;
	(void)context;
	REQUIRE(page == owner_page || page == state_page);
	protect(page, PROT_READ | PROT_WRITE);
	if (page == state_page) {
		protect(owner_page, PROT_NONE);
	} else if (lab_load_rlx(&freed.run->state) != LAB_RUN_DEAD) {
		protect(state_page, PROT_READ);
	} else {
		scanned = true;
		lab_heap_rebuild_owned(lab_registry_heap(0)); /* takes the segment for an orphan, and lets it go */
		reused = lab_arena_claim_at(freed.arena, LAB_SEGMENT_HUGE, 0, freed.index, 1); /* somebody's new block */
		lab_store_rel(&freed.run->state, LAB_RUN_LIVE);
	}
}

Test(huge, a_late_release_does_not_free_a_segment_that_has_a_new_owner)
{
	struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_NODEFER};

	do /* one whose owner word is not on the page of the arena's own words */
		freed = place_of(lab_aligned_alloc((size_t)4 << 30, 100));
	while (freed.index < 1500);
	sigaction(SIGSEGV, &action, NULL);
	REQUIRE(lab_run_begin_free(freed.run, 1));
	owner_page = (char *)((uintptr_t)&freed.arena->owners[freed.index] & ~(LAB_PAGE_SIZE - 1));
	state_page = (char *)((uintptr_t)&freed.run->state & ~(LAB_PAGE_SIZE - 1));
	protect(owner_page, PROT_NONE);
	lab_huge_free(freed.arena, freed.index);
	cr_assert(scanned && reused);
	uint64_t owner = lab_load_rlx(&freed.arena->owners[freed.index]);
	cr_assert_eq(lab_owner_kind(owner), LAB_SEGMENT_HUGE, "the new block's segment was freed under it");
}

/* ---- a thread dies in a free: others finish it ---- */

enum { DEAD_TID = 77 };

static struct lab_place torn; /* a block of four segments */
static int dying_at;          /* so many of them let go */
static uint64_t first_state;  /* 0, or one that has to have changed as well */

static bool
is_time_to_die(void)
{
	int gone = 0;

	for (size_t i = 0; i < 4; i++)
		gone += lab_owner_kind(lab_load_rlx(&torn.arena->owners[torn.index + i])) == LAB_SEGMENT_FREE;
	return gone >= dying_at && lab_load_rlx(&torn.run->state) != first_state;
}

static void
call_free(void *unused)
{
	(void)unused;
	lab_huge_free(torn.arena, torn.index);
}

static void
free_torn(void)
{
	call_free(NULL);
}

static void
call_finish(void *unused)
{
	(void)unused;
	lab_huge_finish_frees();
}

/* It has been taken over then. */
static void
finish_and_die(int gone)
{
	dying_at = gone;
	first_state = lab_load_rlx(&torn.run->state);
	REQUIRE(tear_when(is_time_to_die, call_finish, NULL));
}

/* A block of four segments, which DEAD_TID was freeing when so many were gone. */
static struct lab_place
leave_half_freed(int gone, unsigned gfp)
{
	struct lab_place place = place_of(lab_alloc(13 * MIB, gfp));
	uint64_t state;

	memset(lab_arena_payload(place.arena, place.index), 1, 13 * MIB);
	if (gfp & LAB_GFP_EXCLUSIVE) {
		state = lab_load_rlx(&place.run->state);
		lab_store_rlx(&place.run->state, lab_state_make(state & LAB_EXCLUSIVE_MARKS, DEAD_TID));
		REQUIRE(lab_exclusive_begin_free(place.run, DEAD_TID, &state) == LAB_EXCLUSIVE_FREEING);
	} else {
		REQUIRE(lab_run_begin_free(place.run, DEAD_TID));
	}
	torn = place;
	dying_at = gone;
	first_state = 0;
	REQUIRE(tear_when(is_time_to_die, call_free, NULL));
	return place;
}

static struct lab_arena *
let_die(uint32_t tid)
{
	world_install();
	world.deaths_are_set = true;
	world.dead_tid = tid;
	lab_free(lab_malloc(1));
	return lab_map_arena(0);
}

Test(huge, a_dead_threads_free_is_finished_by_others)
{
	struct lab_arena *arena = let_die(DEAD_TID);
	size_t before = free_segments(arena);

	for (int gone = 0; gone < 4; gone++) {
		(void)leave_half_freed(gone, LAB_GFP_KERNEL);
		cr_assert_lt(free_segments(arena), before);
		lab_huge_finish_frees();
		cr_assert_eq(free_segments(arena), before, "cut short when %d were gone", gone);
		char *p = lab_calloc(1, 13 * MIB);
		cr_assert(trace_is_zero(p, 13 * MIB), "what it held is known to be dirty");
		lab_free(p);
	}
	cr_assert_eq(world.renewals, 0);
}

Test(huge, a_dead_threads_heap_or_a_trim_is_where_it_is_found)
{
	struct lab_arena *arena = let_die(DEAD_TID);
	size_t before = free_segments(arena);

	(void)leave_half_freed(1, LAB_GFP_KERNEL);
	(void)lab_trim(0);
	cr_assert_eq(free_segments(arena), before);
	struct lab_heap *dead = lab_registry_make(DEAD_TID, LAB_HOLD_CURRENT);
	REQUIRE(dead);
	(void)leave_half_freed(1, LAB_GFP_KERNEL);
	cr_assert_eq(lab_registry_adopt(lab_thread.tid, LAB_HOLD_CURRENT, 100), dead);
	cr_assert_eq(free_segments(arena), before);
}

Test(huge, the_living_finish_their_frees_themselves)
{
	struct lab_arena *arena = let_die(DEAD_TID + 1);
	size_t before = free_segments(arena);
	struct lab_place place = leave_half_freed(1, LAB_GFP_KERNEL);
	size_t held = before - free_segments(arena);
	uint64_t state = lab_load_rlx(&place.run->state);

	cr_assert_gt(held, 0);
	lab_huge_finish_frees();
	cr_assert_eq(free_segments(arena), before - held);
	cr_assert_eq(lab_load_rlx(&place.run->state), state);
	lab_huge_free(place.arena, place.index); /* he goes on */
	cr_assert_eq(free_segments(arena), before);
}

Test(huge, who_dies_while_finishing_is_followed_by_the_next)
{
	struct lab_arena *arena = let_die(DEAD_TID);
	size_t before = free_segments(arena);

	(void)leave_half_freed(0, LAB_GFP_KERNEL);
	finish_and_die(1);
	lab_huge_finish_frees();
	cr_assert_lt(free_segments(arena), before, "we are not dead");
	world.dead_tid = lab_thread.tid;
	lab_huge_finish_frees();
	cr_assert_eq(free_segments(arena), before);
}

/* ---- while we ask whether he is dead, the block is freed, claimed again, and freed by a namesake of his who is alive ---- */

static void
free_and_begin_again(uint32_t tid)
{
	uint64_t seen = lab_load_rlx(&torn.run->state);

	world.on_probe = NULL;
	free_torn();
	REQUIRE(lab_malloc(13 * MIB) == lab_arena_payload(torn.arena, torn.index));
	REQUIRE(lab_run_begin_free(torn.run, tid) && lab_load_rlx(&torn.run->state) == seen);
}

/* Or the namesake has found the dead one's block before us, and is in the middle. */
static void
be_quicker(uint32_t tid)
{
	uint32_t own = lab_thread.tid;

	world.on_probe = NULL;
	lab_thread.tid = tid;
	finish_and_die(0);
	lab_thread.tid = own;
}

static void
check_not_freed_under(void (*namesake)(uint32_t tid))
{
	struct lab_arena *arena = let_die(DEAD_TID);
	size_t before = free_segments(arena);

	(void)leave_half_freed(0, LAB_GFP_KERNEL);
	world.on_probe = namesake;
	lab_huge_finish_frees();
	cr_assert_eq(free_segments(arena), before - 4, "freed under him");
	free_torn();
	cr_assert_eq(free_segments(arena), before);
}

Test(huge, a_namesake_of_the_dead_keeps_the_block_that_he_frees)
{
	check_not_freed_under(free_and_begin_again);
	check_not_freed_under(be_quicker);
}

/* INV-EXCL-2: only new pages are without marks. */
Test(huge, marked_pages_that_the_dead_was_freeing_are_renewed_first)
{
	struct lab_arena *arena = let_die(DEAD_TID);
	size_t before = free_segments(arena);

	for (int gone = 0; gone < 4; gone++) {
		(void)leave_half_freed(gone, LAB_GFP_EXCLUSIVE | LAB_GFP_NOFORK);
		world.renewals = 0;
		world.renew_fails = true;
		lab_huge_finish_frees();
		cr_assert_lt(free_segments(arena), before, "marked still");
		world.renew_fails = false;
		world.dead_tid = lab_thread.tid;
		lab_huge_finish_frees();
		world.dead_tid = DEAD_TID;
		cr_assert_eq(world.renewals, 2);
		cr_assert_eq(free_segments(arena), before);
	}
}

/* Its words were copied while he changed them. */
Test(huge, in_forks_child_what_was_copied_is_left)
{
	struct lab_arena *arena = let_die(DEAD_TID);
	struct lab_place place = leave_half_freed(1, LAB_GFP_KERNEL);
	size_t left = free_segments(arena);

	lab_arena_generation++;
	lab_huge_finish_frees();
	cr_assert_eq(free_segments(arena), left);
	place.segment->generation = lab_arena_generation;
	lab_huge_finish_frees();
	cr_assert_gt(free_segments(arena), left);
}
