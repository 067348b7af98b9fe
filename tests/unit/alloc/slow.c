/*
 * slow.c - what the fast paths leave: misuse that is reported, re-entrant calls for which the system has no memory,
 * blocks of other heaps. One misuse is one test: each ends in an abort.
 *
 * Clauses: G9.1.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/refill.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "heap/take.h"
#include "page/map.h"
#include "reserve/reserve.h"
#include "trace.h"
#include "world.h"

#define MISUSE(name) Test(misuse, name, .signal = SIGABRT)

static char *
no_matter(void *p) /* no compiler knows what becomes of p */
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

MISUSE(free_of_the_stack)
{
	char local[64];

	lab_free(lab_malloc(1));
	lab_free(no_matter(local + 16));
}

MISUSE(free_before_the_first_allocation)
{
	static char data[64];

	lab_free(no_matter(data));
}

MISUSE(free_inside_a_small_block)
{
	char *p = no_matter(lab_malloc(100));

	lab_free(p + 16);
}

MISUSE(free_where_nothing_was_carved_yet)
{
	char *p = no_matter(lab_malloc(100));

	lab_free(p + 60 * 112);
}

MISUSE(free_inside_a_run)
{
	char *p = no_matter(lab_malloc(100000));

	lab_free(p + LAB_PAGE_SIZE);
}

MISUSE(free_inside_a_huge_block)
{
	char *p = no_matter(lab_malloc((size_t)10 << 20));

	lab_free(p + LAB_SEGMENT_SIZE);
}

MISUSE(double_free_of_the_block_freed_last)
{
	char *keep = no_matter(lab_malloc(100)), *p = no_matter(lab_malloc(100));

	(void)keep;
	lab_free(p);
	lab_free(p);
}

MISUSE(double_free_in_an_empty_span)
{
	char *p = no_matter(lab_malloc(100)), *q = no_matter(lab_malloc(100));

	lab_free(p);
	lab_free(q);
	lab_free(p);
}

MISUSE(double_free_of_a_run)
{
	char *p = no_matter(lab_malloc(100000));

	lab_free(p);
	lab_free(p);
}

MISUSE(double_free_of_a_huge_block)
{
	char *p = no_matter(lab_malloc((size_t)10 << 20));

	lab_free(p);
	lab_free(p);
}

MISUSE(realloc_of_a_run_that_was_freed)
{
	char *p = no_matter(lab_malloc(100000));

	lab_free(p);
	(void)!lab_realloc(p, 5, LAB_GFP_KERNEL);
}

MISUSE(usable_size_of_a_wild_pointer)
{
	(void)lab_usable_size(no_matter((void *)(uintptr_t)0x123450));
}

/* A span that has no free block is closed: its blocks are freed on the slow path, which looks closely. */
MISUSE(free_inside_a_block_of_a_full_span)
{
	char *p[1170];

	for (int i = 0; i < 1170; i++) /* two spans of 585 blocks */
		p[i] = no_matter(lab_malloc(112));
	lab_free(p[100] + 8); /* what no offset in the span makes good */
}

MISUSE(free_just_before_a_block_in_slow_mode)
{
	lab_store_rlx(&lab_word_tag, LAB_WORD_SLOW);
	char *p = no_matter(lab_malloc(112)), *q = no_matter(lab_malloc(112));

	(void)p;
	lab_free(q - 1);
}

Test(slow, every_misaligned_pointer_around_blocks_is_no_block)
{
	static char *p[3000];

	for (int i = 0; i < 3000; i++)
		p[i] = lab_malloc(112);
	for (int i = 0; i < 3000; i += 7)
		for (int n = -15; n < 112; n++)
			REQUIRE(lab_owns(p[i] + n) == (n == 0));
	for (int i = 0; i < 3000; i++)
		lab_free(p[i]);
}

/* ---- the reserve: the last resort of a re-entrant call, and of no other ---- */

static struct lab_guard outer;

static void
enter_and_take_away_all_memory(void)
{
	world_install();
	lab_free(lab_malloc(100));
	outer.sp = (uintptr_t)__builtin_frame_address(0) + 256;
	REQUIRE(lab_enter(&outer));
	world.maps_left = world.protects_left = 0;
}

Test(slow, a_reentrant_call_without_memory_gets_a_slot)
{
	static const size_t sizes[] = {1, 64, 100, 1000, 5000, 16000}; /* of 64 KiB there is one slot */

	enter_and_take_away_all_memory();
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = lab_malloc(sizes[i]), *q = lab_calloc(1, sizes[i]);
		cr_assert(lab_reserve_contains(p) && lab_reserve_contains(q));
		cr_assert(trace_is_zero(q, sizes[i]));
		cr_assert(lab_owns(p));
		cr_assert(!lab_owns(p + 16));
		cr_assert_geq(lab_usable_size(p), sizes[i]);
		trace_fill(p, sizes[i], 1);
		cr_assert_eq(lab_realloc(p, lab_usable_size(p), LAB_GFP_KERNEL), p);
		memset(q, 1, sizes[i]);
		lab_free(p);
		lab_free(q);
		cr_assert(!lab_owns(p));
	}
	cr_assert_eq(lab_reserve_bytes().used, 0);
	errno = 0;
	cr_assert_null(lab_malloc(100000), "more than the largest slot");
	cr_assert_eq(errno, ENOMEM);
	char *p = lab_aligned_alloc(4096, 10);
	cr_assert(lab_reserve_contains(p) && (uintptr_t)p % 4096 == 0);
	world.maps_left = world.protects_left = SIZE_MAX;
	lab_leave(&outer);
	lab_free(p);
	cr_assert_eq(lab_reserve_bytes().used, 0);
}

Test(slow, a_slot_that_outlives_the_call_is_an_ordinary_block)
{
	enter_and_take_away_all_memory();
	char *p = lab_malloc(200);
	trace_fill(p, 200, 4);
	world.maps_left = world.protects_left = SIZE_MAX;
	lab_leave(&outer);
	char *q = lab_realloc(p, 5000, LAB_GFP_KERNEL);
	cr_assert(!lab_reserve_contains(q));
	cr_assert(trace_reads_as(q, 200, 200, 4));
	cr_assert_eq(lab_reserve_bytes().used, 0);
	lab_free(q);
}

Test(slow, ordinary_calls_never_draw_on_the_reserve)
{
	world_install();
	world.maps_left = world.protects_left = 0;
	cr_assert_null(lab_malloc(10), "not before birth");
	world.maps_left = world.protects_left = SIZE_MAX;
	world.map_limit = (size_t)20 << 20;
	lab_free(lab_malloc(10));
	world.maps_left = 0;
	while (lab_malloc(30000))
		;
	while (lab_malloc(1))
		;
	cr_assert_null(lab_realloc(NULL, 40000, LAB_GFP_KERNEL));
	cr_assert_null(lab_calloc(1, 1));
	cr_assert_eq(lab_reserve_bytes().used, 0);
}

MISUSE(double_free_of_a_slot)
{
	enter_and_take_away_all_memory();
	char *p = no_matter(lab_malloc(100));
	lab_free(p);
	lab_free(p);
}

MISUSE(free_inside_a_slot)
{
	enter_and_take_away_all_memory();
	lab_free(no_matter(lab_malloc(100)) + 16);
}

/* ---- blocks of a heap that is not the caller's ---- */

Test(slow, blocks_and_runs_of_another_heap_go_back_to_it)
{
	struct lab_heap *other;
	bool fresh;

	REQUIRE(lab_registry_start());
	REQUIRE(other = lab_registry_make(lab_os_tid() + 1, LAB_HEAP_CURRENT));
	world_install();
	world.deaths_are_set = true;
	lab_heap_rebuild_owned(other);
	REQUIRE(lab_span_refill_owned(other, 4));
	void *small = lab_span_pop_owned(other->bins[4].current), *run = lab_run_alloc_owned(other, 10, 1, &fresh);
	lab_free(lab_malloc(1));
	trace_fill(small, 80, 6);
	void *moved = lab_realloc(small, 70, LAB_GFP_KERNEL);
	cr_assert_eq(moved, small, "there is room, and nothing of the heap changes");
	moved = lab_realloc(run, 9 * LAB_PAGE_SIZE, LAB_GFP_KERNEL);
	cr_assert_neq(moved, run, "a foreign run is copied");
	lab_free(moved);
	cr_assert_eq(lab_load_rlx(&other->remote) & LAB_REMOTE_POINTER, (uintptr_t)run, "runs are sent at once");
	lab_free(small);
	cr_assert_eq(lab_load_rlx(&other->remote) & LAB_REMOTE_POINTER, (uintptr_t)run, "small blocks are collected");
	(void)lab_trim(0);
	lab_remote_drain_owned(other);
	cr_assert_eq(lab_load_rlx(&other->remote_frees), 2);
}

/* The seven before go to the remote stack at once; those after it by the short path. */
Test(slow, a_thread_that_only_frees_gets_a_heap_with_the_eighth_block)
{
	struct lab_heap *other;
	void *blocks[20];
	bool is_empty;

	REQUIRE(lab_registry_start());
	REQUIRE(other = lab_registry_make(lab_os_tid() + 1, LAB_HEAP_CURRENT));
	world_install();
	world.deaths_are_set = true;
	lab_heap_rebuild_owned(other);
	for (int i = 0; i < 20; i++) {
		if (lab_freelist_head(other->bins[4].current->freelist_state) == LAB_FREELIST_NIL)
			REQUIRE(lab_span_refill_owned(other, 4));
		blocks[i] = lab_span_pop_owned(other->bins[4].current);
	}
	for (int i = 0; i < 7; i++) {
		lab_free(blocks[i]);
		cr_assert_null(lab_thread.heap);
		cr_assert_eq(lab_load_rlx(&other->remote) & LAB_REMOTE_POINTER, (uintptr_t)blocks[i]);
	}
	for (int i = 7; i < 20; i++) {
		lab_free(blocks[i]);
		REQUIRE(lab_thread.heap != NULL);
		cr_assert(lab_thread.word & LAB_WORD_FAST);
		cr_assert_eq(lab_outbox_position(lab_thread.heap, &is_empty), (uint32_t)i - 6);
		cr_assert(!is_empty);
		cr_assert_eq(lab_load_rlx(&other->remote) & LAB_REMOTE_POINTER, (uintptr_t)blocks[6]);
	}
	(void)lab_trim(0);
	lab_remote_drain_owned(other);
	cr_assert_eq(lab_load_rlx(&other->remote_frees), 20);
}
