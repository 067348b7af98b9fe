/*
 * visit.c - visits to the heaps of threads that sleep: what goes, what is collected, and what is left when a visit, or
 * its thread, ends in the middle. The sleeping thread is a heap that no frame is inside, with a thread id of its own.
 *
 * Clauses: G7.1, G9.3, G10.9, G10.11.
 */
#include <criterion/criterion.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/decay.h"
#include "alloc/limit.h"
#include "alloc/owned.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "heap/finding.h"
#include "heap/hold.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/refill.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/sleeper.h"
#include "heap/span.h"
#include "heap/take.h"
#include "heap/thread.h"
#include "heap/visit.h"
#include "heap/visitor.h"
#include "heap_check.h"
#include "page/charge.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

enum { TID = 0x12345, GONE = 0x12346, BLOCKS = 9000, RUNS = 12 };

static const unsigned classes[] = {3, 20, 40, LAB_CLASS_COUNT - 1};
enum { CLASSES = sizeof classes / sizeof *classes };

static struct lab_heap *own, *heap; /* the visitor's, the sleeper's */
static struct block {
	unsigned char *p;
	bool is_run, is_live;
} blocks[BLOCKS + RUNS];
static size_t block_count;
static struct trace_random random_state;

static unsigned char *
block_of_class(unsigned c)
{
	if (lab_freelist_head(heap->bins[c].current->freelist_state) == LAB_FREELIST_NIL)
		REQUIRE(lab_span_refill_owned(heap, c));
	return lab_span_pop_owned(heap->bins[c].current);
}

static void
add(unsigned char *p, bool is_run)
{
	p[sizeof(uint64_t)] = (unsigned char)block_count;
	blocks[block_count++] = (struct block){p, is_run, true};
}

static void
make_blocks(size_t per_class)
{
	bool fresh;

	block_count = 0;
	for (unsigned i = 0; i < CLASSES; i++)
		for (size_t n = 0; n < per_class; n++)
			add(block_of_class(classes[i]), false);
	for (int i = 0; i < RUNS; i++)
		add(lab_run_alloc_owned(heap, 10, 1, &fresh), true);
}

static void
start(size_t per_class)
{
	world_install();
	world.deaths_are_set = true;
	world.dead_tid = GONE;
	lab_free(lab_malloc(1));
	own = lab_thread.heap;
	heap = lab_registry_make(TID, LAB_HEAP_CURRENT);
	REQUIRE(heap);
	lab_heap_rebuild_owned(heap);
	random_state = (struct trace_random){7};
	make_blocks(per_class);
}

static void
check_live(void)
{
	for (size_t i = 0; i < block_count; i++)
		REQUIRE(!blocks[i].is_live || blocks[i].p[sizeof(uint64_t)] == (unsigned char)i);
}

/* As another thread does it. */
static void
free_remotely(struct block *block)
{
	block->is_live = false;
	if (block->is_run)
		REQUIRE(lab_run_begin_free(lab_map_find(block->p).run, lab_thread.tid));
	(void)lab_remote_push(heap, block->p, block->p, 0);
}

static void
free_by_owner(struct block *block)
{
	block->is_live = false;
	if (block->is_run) {
		REQUIRE(lab_run_begin_free(lab_map_find(block->p).run, TID));
		lab_run_free_owned(heap, lab_map_find(block->p).segment, lab_map_find(block->p).run);
	} else {
		REQUIRE(free_in_span(heap, lab_map_find(block->p).unit, block->p) == LAB_FREED);
	}
}

static void
shuffle(void)
{
	for (size_t i = block_count; i > 1; i--) {
		size_t j = trace_below(&random_state, i);
		struct block other = blocks[i - 1];
		blocks[i - 1] = blocks[j];
		blocks[j] = other;
		blocks[i - 1].p[sizeof(uint64_t)] = (unsigned char)(i - 1);
		blocks[j].p[sizeof(uint64_t)] = (unsigned char)j;
	}
}

static void
visit_all(void *unused)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	(void)unused;
	REQUIRE(lab_enter(&guard));
	while (!lab_visit_all(guard.heap, true))
		;
	lab_leave(&guard);
}

/* What the owner does when it wakes; `used` is then without what was collected. */
static struct heap_census
wake(void)
{
	REQUIRE(lab_visit_lock(heap, TID, true));
	if (heap->whole != LAB_HEAP_WHOLE)
		lab_heap_rebuild_owned(heap);
	lab_remote_drain_owned(heap); /* as many calls do it */
	for (unsigned i = 0; i < CLASSES; i++)
		REQUIRE(lab_span_refill_owned(heap, classes[i]));
	lab_visit_unlock(heap);
	struct heap_census census = heap_check(heap);
	census.used -= census.collected;
	return census;
}

Test(visit, all_that_others_have_freed_goes_but_for_current_spans)
{
	start(BLOCKS / CLASSES);
	cr_assert_gt(heap_check(heap).spans, 4 * CLASSES);
	shuffle();
	for (size_t i = 0; i < block_count; i++)
		free_remotely(&blocks[i]);
	visit_all(NULL);
	cr_assert_eq(lab_load_rlx(&heap->visitor), 0);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.runs, 0);
	cr_assert_eq(census.spans, census.current_spans);
	cr_assert_leq(census.current_spans, CLASSES);
	cr_assert_eq(wake().used, 0);
}

Test(visit, blocks_in_use_stay_and_what_was_collected_is_used_again)
{
	start(BLOCKS / CLASSES);
	shuffle();
	size_t kept = block_count / 10, runs = 0, small = 0;
	for (size_t i = kept; i < block_count; i++)
		free_remotely(&blocks[i]);
	for (size_t i = 0; i < kept; i++) {
		runs += blocks[i].is_run;
		small += !blocks[i].is_run;
	}
	visit_all(NULL);
	cr_assert_eq(heap_check(heap).runs, runs);
	check_live();
	struct heap_census census = wake();
	cr_assert_eq(census.used, small);
	check_live();
	for (size_t i = 0; i < 2 * block_count; i++) { /* nothing is handed out twice */
		unsigned char *p = block_of_class(classes[i % CLASSES]);
		p[sizeof(uint64_t)] = 0xee;
	}
	check_live();
	(void)heap_check(heap);
}

/* In turn with others: the last free of a span, whoever does it, lets it go. */
Test(visit, the_holder_frees_the_rest)
{
	start(BLOCKS / CLASSES);
	shuffle();
	for (size_t i = 0; i < block_count; i++) {
		if (i % 3 == 0)
			free_by_owner(&blocks[i]);
		else
			free_remotely(&blocks[i]);
		if (i % 500 == 0) {
			visit_all(NULL);
			(void)heap_check(heap);
			check_live();
		}
	}
	visit_all(NULL);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.runs, 0);
	cr_assert_leq(census.spans, 2 * CLASSES);
	census = wake();
	cr_assert_eq(census.used, 0);
}

/* Also where nothing waits for that thread. */
Test(visit, what_a_thread_that_sleeps_has_for_others_is_sent)
{
	start(10);
	for (int i = 0; i < 5; i++) {
		void *p = lab_malloc(64);
		cr_assert_eq(lab_outbox_put(&heap->outbox, p, 64), LAB_PUT_DONE);
		for (int looks = 0; looks < 2; looks++) {
			cr_assert_eq(lab_load_rlx(&own->remote) & LAB_REMOTE_POINTER, 0);
			cr_assert(lab_visit_all(own, i == 4));
			if (i == 4)
				break;
		}
		cr_assert_eq(lab_load_rlx(&own->remote) & LAB_REMOTE_POINTER, (uintptr_t)p);
		lab_remote_drain_owned(own);
	}
	/* one that goes on freeing sends it itself */
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(lab_outbox_put(&heap->outbox, lab_malloc(64), 64), LAB_PUT_DONE);
		cr_assert(lab_visit_all(own, false));
		cr_assert_eq(lab_load_rlx(&own->remote) & LAB_REMOTE_POINTER, 0);
	}
}

Test(visit, a_thread_that_takes_its_blocks_in_itself_is_not_visited)
{
	start(100);
	for (size_t i = 0; i < 4; i++) {
		free_remotely(&blocks[i]);
		cr_assert(lab_visit_all(own, false));
		cr_assert(lab_heap_is_freed_into(heap), "seen for the first time");
		lab_remote_drain_owned(heap);
	}
	free_remotely(&blocks[4]);
	cr_assert(lab_visit_all(own, false));
	cr_assert(lab_visit_all(own, false));
	cr_assert(!lab_heap_is_freed_into(heap));
}

Test(visit, one_call_does_its_share)
{
	enum { MANY = 40000 };
	static unsigned char *p[MANY];
	int calls = 1;

	start(1);
	for (int i = 0; i < MANY; i++)
		p[i] = block_of_class(3);
	for (int i = 0; i < MANY; i++)
		(void)lab_remote_push(heap, p[i], p[i], 0);
	while (!lab_visit_all(own, true)) {
		calls++;
		cr_assert_neq(heap->drain, 0);
		cr_assert_eq(heap->whole, LAB_HEAP_WHOLE);
		cr_assert_eq(lab_load_rlx(&heap->visitor), 0);
	}
	cr_assert_eq(calls, 20);
	/* its thread goes on with what is left */
	for (int i = 0; i < MANY; i++)
		p[i] = block_of_class(3);
	for (int i = 0; i < MANY; i++)
		(void)lab_remote_push(heap, p[i], p[i], 0);
	cr_assert(!lab_visit_all(own, true));
	struct heap_census census = wake();
	cr_assert_eq(census.used, CLASSES);
}

/* Small blocks are so many that a call which visits does not come to the end. */
Test(visit, what_waits_is_bounded_by_who_frees_it)
{
	enum { MANY = 600000 };
	static unsigned char *p[MANY];

	start(1);
	for (int i = 0; i < MANY; i++)
		p[i] = block_of_class(0);
	for (int i = 0; i < MANY; i++)
		lab_free(p[i]);
	struct heap_census census = heap_check(heap);
	cr_assert_leq((census.used - census.collected) * 16, LAB_WAITING_MUCH + LAB_OUTBOX_BYTES);
}

/* ---- what a thread keeps for itself ---- */

static uintptr_t thread_word; /* the sleeper's */

static void
visit_thoroughly(void *unused)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	(void)unused;
	REQUIRE(lab_enter(&guard));
	lab_visit_all_thoroughly(guard.heap);
	lab_leave(&guard);
}

/* There is one thread only. */
static bool
no_fence_is_needed(void)
{
	return true;
}

/* All blocks of the current spans are free, and what they have carved is dirty. */
static void
start_with_unused_spans(size_t per_class, uintptr_t word)
{
	start(per_class);
	for (size_t i = 0; i < block_count; i++)
		free_by_owner(&blocks[i]);
	thread_word = word;
	heap->thread_word = &thread_word;
	lab_os.fence = no_fence_is_needed;
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
}

Test(visit, current_spans_that_are_unused_go_while_the_thread_is_outside)
{
	static const uintptr_t tags[] = {LAB_WORD_FAST, LAB_WORD_COUNTED, LAB_WORD_SLOW};

	for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
		start_with_unused_spans(200, 0);
		thread_word = (uintptr_t)heap | tags[i];
		size_t charged = lab_charge_count();
		visit_thoroughly(NULL);
		struct heap_census census = heap_check(heap);
		cr_assert_eq(census.spans, 0);
		(void)lab_trim(0);
		cr_assert_leq(lab_charge_count() + 2 * CLASSES, charged);
		for (unsigned c = 0; c < CLASSES; c++) /* the thread wakes */
			block_of_class(classes[c])[sizeof(uint64_t)] = 0xee;
		(void)heap_check(heap);
	}
}

Test(visit, current_spans_stay_while_the_thread_may_be_inside)
{
	static const uint64_t words[] = {0x7ffd12345678, 0};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		start_with_unused_spans(20, words[i]);
		visit_thoroughly(NULL);
		cr_assert_eq(heap_check(heap).current_spans, CLASSES);
	}
	start_with_unused_spans(20, 0);
	thread_word = (uintptr_t)own | LAB_WORD_FAST; /* the memory is another thread's now */
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
	heap->thread_word = NULL;
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
	heap->thread_word = (uintptr_t *)16; /* nothing is there any more */
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
}

static size_t fences;

static bool
no_fence(void)
{
	fences++;
	return false;
}

/* They are what it has warmed up. */
Test(visit, a_real_time_threads_spans_stay)
{
	struct lab_thread thread = {.word = LAB_WORD_FAST, .scope = LAB_SCOPE_REPORTS};

	start_with_unused_spans(20, 0);
	thread.word += (uintptr_t)heap;
	lab_sleeper_name_thread(heap, &thread);
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
	thread.scope = 0;
	lab_sleeper_name_thread(heap, &thread);
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).spans, 0);
}

/* A thread that has just got the heap of another, and has found a visitor there, is named all the same. */
Test(visit, a_thread_is_named_before_it_is_idle)
{
	start(10);
	own->thread_word = NULL;
	lab_store_rlx(&own->visitor, lab_lease_make(77, TID, LAB_VISIT_BY_OTHER));
	struct lab_guard guard = LAB_GUARD_HERE;
	cr_assert(!lab_try_enter(&guard));
	cr_assert_eq(own->thread_word, &lab_thread.word);
}

Test(visit, current_spans_stay_where_the_system_has_no_fence)
{
	start_with_unused_spans(20, 0);
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	lab_os.fence = no_fence;
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, CLASSES);
	cr_assert_eq(fences, 1);
}

/* While the fence is under way the thread takes a block; or marks its word. */
static unsigned char *taken;

static bool
take_before_fence(void)
{
	struct lab_unit *unit = lab_map_find(blocks[0].p).unit;

	cr_assert_eq(heap->bins[classes[0]].current, &lab_no_span);
	if (taken)
		return true;
	taken = lab_span_pop_owned(unit); /* in a fast path that had read which span is current */
	memset(taken, 0x77, lab_class_size(classes[0]));
	return true;
}

Test(visit, a_span_of_which_a_block_was_just_taken_is_current_again)
{
	start_with_unused_spans(20, 0);
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	lab_os.fence = take_before_fence;
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).current_spans, 1);
	cr_assert_eq(heap_check(heap).used, 1);
	cr_assert_eq(heap->bins[classes[0]].current, lab_map_find(taken).unit);
	cr_assert(taken[0] == 0x77 && memcmp(taken, taken + 1, lab_class_size(classes[0]) - 1) == 0);
}

/* A block that a visitor has found counts as unused. */
Test(visit, current_spans_go_that_others_have_freed)
{
	start(20);
	lab_os.fence = no_fence_is_needed;
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	heap->thread_word = &thread_word;
	for (size_t i = 0; i < block_count; i++)
		free_remotely(&blocks[i]);
	visit_thoroughly(NULL);
	cr_assert_eq(heap_check(heap).spans, 0);
	cr_assert_eq(lab_thread.heap, own);
}

/* Dirty from before, and not carved. */
Test(visit, pages_behind_the_carved_blocks_go)
{
	enum { SPANS = 12, PAGES = SPANS * LAB_UNIT_PAGES };
	bool fresh;

	start(1);
	char *run = lab_run_alloc_owned(heap, PAGES, LAB_UNIT_PAGES, &fresh);
	memset(run, 1, PAGES * LAB_PAGE_SIZE);
	REQUIRE(lab_run_begin_free(lab_map_find(run).run, TID));
	lab_run_free_owned(heap, lab_map_find(run).segment, lab_map_find(run).run);
	unsigned char *p[SPANS];
	for (unsigned i = 0; i < SPANS; i++)
		p[i] = block_of_class(5 + i);
	heap->thread_word = &thread_word; /* busy, so that it is only that */
	size_t touched = heap_check(heap).touched;
	visit_thoroughly(NULL);
	cr_assert_leq(heap_check(heap).touched + 30, touched);
	for (unsigned i = 0; i < SPANS; i++)
		cr_assert_eq(heap->bins[5 + i].current, lab_map_find(p[i]).unit);
	for (unsigned n = 0; n < 6000; n++) /* what is carved there is whole */
		block_of_class(5 + n % SPANS)[sizeof(uint64_t)] = 0xee;
	(void)heap_check(heap);
	check_live();
}

/* ---- who is inside ---- */

Test(visit, a_heap_is_left_alone_while_its_thread_is_inside)
{
	start(10);
	free_remotely(&blocks[0]);
	cr_assert(lab_visit_lock(heap, TID, true));
	cr_assert(lab_visit_all(own, true));
	cr_assert(lab_heap_is_freed_into(heap));
	lab_visit_unlock(heap);
	heap->whole = 0; /* left by a jump: for its thread to repair */
	cr_assert(lab_visit_all(own, true));
	cr_assert(lab_heap_is_freed_into(heap));
}

static uint64_t
lease_of(uint32_t tid)
{
	return lab_lease_make(77, tid, LAB_VISIT_BY_OTHER);
}

Test(visit, the_thread_that_finds_a_visitor_borrows_and_takes_the_lease_of_a_dead_one)
{
	start(10);
	lab_store_rlx(&own->visitor, lease_of(TID));
	for (int i = 0; i < 3; i++) {
		struct lab_guard guard = LAB_GUARD_HERE;
		cr_assert(!lab_try_enter(&guard));
		cr_assert(!lab_enter_nowait(&guard));
		cr_assert(lab_thread.word & LAB_WORD_IDLE);
		cr_assert(lab_enter(&guard));
		cr_assert_neq(guard.heap, own);
		cr_assert(!(lab_thread.word & LAB_WORD_IDLE));
		void *inner = lab_malloc(5000); /* as a handler does */
		lab_leave(&guard);
		cr_assert(lab_thread.word & LAB_WORD_IDLE);
		cr_assert_eq(lab_registry_state(guard.heap->id), LAB_HEAP_IDLE);
		lab_free(inner);
		void *large = lab_malloc(100000);
		cr_assert_not_null(large);
		lab_free(large);
	}
	cr_assert_eq(lab_load_rlx(&own->visitor), lease_of(TID));
	(void)heap_check(own);
	lab_store_rlx(&own->visitor, lease_of(GONE));
	struct lab_guard guard = LAB_GUARD_HERE;
	cr_assert(lab_try_enter(&guard));
	cr_assert_eq(guard.heap, own);
	lab_leave(&guard);
	cr_assert_eq(lab_load_rlx(&own->visitor), 0);
	(void)heap_check(own);
}

Test(visit, a_dead_threads_heap_in_which_a_visitor_is_goes_to_nobody)
{
	start(10);
	struct lab_heap *dead = lab_registry_make(GONE, LAB_HEAP_CURRENT);
	lab_heap_rebuild_owned(dead);
	lab_store_rlx(&dead->visitor, lease_of(TID));
	cr_assert_null(lab_registry_adopt(lab_thread.tid, LAB_HEAP_ABSORBING, 100, false));
	cr_assert_eq(lab_registry_state(dead->id), LAB_HEAP_CURRENT);
	cr_assert_eq(lab_registry_tid(dead->id), GONE);
	lab_store_rlx(&dead->visitor, lease_of(GONE));
	cr_assert_eq(lab_registry_adopt(lab_thread.tid, LAB_HEAP_ABSORBING, 100, false), dead);
	cr_assert_eq(dead->whole, 0);
	cr_assert_eq(lab_load_rlx(&dead->visitor), 0);
}

/* What a newborn finds when a trimming thread has come to its heap before the first rebuild. */
Test(visit, a_new_heap_in_which_a_visitor_is_is_not_used_before_it_is_built)
{
	start(10);
	lab_thread.heap = lab_registry_make(lab_thread.tid, LAB_HEAP_CURRENT);
	lab_thread.word = 0;
	cr_assert_null(lab_thread.heap->direct[7], "nothing is built");
	lab_store_rlx(&lab_thread.heap->visitor, lease_of(TID));
	for (size_t size = 8; size < 300000; size *= 3) {
		void *p = lab_malloc(size);
		cr_assert_not_null(p);
		cr_assert_eq(lab_thread.word, (uintptr_t)lab_thread.heap | LAB_WORD_SLOW);
		cr_assert_neq(lab_owner_heap(lab_load_rlx(lab_segment_owner(lab_map_find(p).segment))),
		              lab_thread.heap->id);
		lab_free(p);
		cr_assert_eq(lab_thread.word, (uintptr_t)lab_thread.heap | LAB_WORD_SLOW);
	}
	lab_store_rlx(&lab_thread.heap->visitor, 0);
	lab_free(lab_malloc(100));
	cr_assert_eq(lab_thread.word, (uintptr_t)lab_thread.heap | LAB_WORD_FAST);
	(void)heap_check(lab_thread.heap);
	lab_thread.heap = own;
	lab_thread.word = (uintptr_t)own | LAB_WORD_FAST;
}

static bool
nobody(uint32_t tid)
{
	(void)tid;
	return false;
}

Test(visit, in_a_forks_child_a_heap_with_a_visitor_stays_closed_to_slow_frames)
{
	const struct lab_lease_fork fork = {lab_thread.tid, lab_thread.tid + 1, 0, nobody};

	start(10);
	lab_store_rlx(&heap->visitor, lease_of(GONE));
	lab_store_rlx(&own->visitor, lab_lease_make(0, fork.old_tid, LAB_VISIT_BY_OWNER));
	lab_visit_settle(&fork);
	cr_assert(!lab_visit_lock(heap, TID, true));
	cr_assert(!lab_visit_lock(heap, TID, true), "whoever is dead");
	cr_assert(lab_visit_is_inside(heap));
	cr_assert_neq(lab_lease_tag(lab_load_rlx(&own->visitor)), LAB_VISIT_ENDLESS);
}

/* ---- cut short ---- */

/* All in one heap: the visitor passes by each that there is. */
static bool
visit_torn(long steps)
{
	static size_t lost_before;

	make_blocks(6);
	for (size_t i = 0; i < block_count; i += 2)
		free_remotely(&blocks[i]);
	size_t used = 0, runs = 0;
	for (size_t i = 1; i < block_count; i += 2) {
		used += !blocks[i].is_run;
		runs += blocks[i].is_run;
	}
	bool torn = tear(steps, visit_all, NULL);
	visit_all(NULL); /* the repair of the frame's own heap, then a visit */
	visit_all(NULL);
	REQUIRE(lab_load_rlx(&heap->visitor) == 0 && own->visit.target == NULL);
	check_live();
	struct heap_census census = wake();
	size_t lost = census.used + census.runs - used - runs - lost_before;
	cr_assert_leq(lost, torn ? 1 : 0, "%zu blocks are missing after %ld steps", lost, steps);
	check_live();
	for (size_t i = 1; i < block_count; i += 2)
		free_by_owner(&blocks[i]);
	lost_before = heap_check(heap).used - heap_check(heap).collected + heap_check(heap).runs;
	return torn;
}

Test(visit, left_at_any_instruction)
{
	long steps = 0;

	start(1);
	for (size_t i = 0; i < block_count; i++)
		free_by_owner(&blocks[i]);
	while (visit_torn(steps))
		steps += 37 * TEAR_COARSER;
#ifdef __x86_64__
	cr_assert_gt(steps, 2000);
#endif
}

/* The holder was about to put them on the free list. */
Test(visit, collected_blocks_that_were_linked_and_not_committed_are_whole)
{
	start(500);
	free_by_owner(&blocks[30]); /* so that the free list is not empty */
	for (size_t i = 0; i < 20; i++)
		free_remotely(&blocks[i]);
	visit_all(NULL);
	struct lab_unit *unit = lab_map_find(blocks[0].p).unit;
	uint32_t count = lab_unit_count_collected(unit);
	cr_assert_eq(count, 20);
	char *last = lab_unit_block(unit, lab_freelist_head(unit->collected));
	while (--count > 0)
		last = lab_unit_block(unit, lab_block_link(last));
	cr_assert_neq(lab_freelist_head(unit->freelist_state), LAB_FREELIST_NIL);
	*(uint16_t *)last = lab_freelist_head(unit->freelist_state);
	heap->whole = 0;
	lab_heap_rebuild_owned(heap);
	struct lab_finding found = {.kind = LAB_FOUND_NOTHING};
	(void)lab_finding_take_owned(heap, &found);
	cr_assert_eq(found.kind, LAB_FOUND_NOTHING);
	check_live();
	(void)wake();
}

/* Its own thread, which meets such a span in a drain, does not walk over them there. */
Test(visit, a_drain_adds_to_what_visitors_have_collected)
{
	start(500);
	for (size_t i = 0; i < 20; i++)
		free_remotely(&blocks[i]);
	visit_all(NULL);
	struct lab_unit *unit = lab_map_find(blocks[0].p).unit;
	uint32_t state = unit->freelist_state;
	for (size_t i = 20; i < 30; i++)
		free_remotely(&blocks[i]);
	lab_remote_drain_owned(heap);
	cr_assert_eq(lab_unit_count_collected(unit), 30);
	cr_assert_eq(unit->freelist_state, state);
	free_remotely(&blocks[30]);
	free_remotely(&blocks[30]);
	lab_remote_drain_owned(heap);
	struct lab_finding found = {.kind = LAB_FOUND_NOTHING};
	(void)lab_finding_take_owned(heap, &found);
	cr_assert_neq(found.kind, LAB_FOUND_NOTHING); /* the link of the first one is gone */
	check_live();
	(void)wake();
}

/* A call takes in what it needs, and no more than its share, however much waits. */
Test(visit, a_call_takes_in_its_share)
{
	enum { MANY = 20000 };
	static unsigned char *p[MANY];
	bool fresh;

	start(1);
	for (int i = 0; i < MANY; i++)
		p[i] = block_of_class(3);
	for (int i = 0; i < MANY; i++)
		(void)lab_remote_push(heap, p[i], p[i], 0);
	uint64_t before = lab_load_rlx(&heap->remote_frees);
	struct lab_request large = {.size = 50000, .align = 1, .gfp = LAB_GFP_KERNEL};
	cr_assert_not_null(lab_allocate_owned(heap, large, &fresh));
	uint64_t drained = lab_load_rlx(&heap->remote_frees) - before;
	cr_assert(drained > 0 && drained <= 1024, "%llu", (unsigned long long)drained);
	cr_assert(lab_span_refill_owned(heap, 30));
	drained = lab_load_rlx(&heap->remote_frees) - before - drained;
	cr_assert(drained > 0 && drained <= 1024, "%llu", (unsigned long long)drained);
	cr_assert(lab_heap_is_freed_into(heap) || heap->drain != 0);
	lab_remote_drain_owned(heap);
	(void)wake();
}

/* ---- spans that are held ---- */

/* Of each class one block in so many stays; the others were freed by the thread itself, or if `by_others` by others. */
static void
leave_one_in(size_t one_in, bool by_others)
{
	for (size_t i = 0; i < block_count; i++)
		if (blocks[i].is_run || i % one_in != 0)
			(by_others ? free_remotely : free_by_owner)(&blocks[i]);
}

static void
start_with_sparse_spans(size_t per_class, size_t one_in, bool by_others)
{
	start(per_class);
	leave_one_in(one_in, by_others);
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	heap->thread_word = &thread_word;
	lab_os.fence = no_fence_is_needed;
}

static size_t
count_purged_pages(void)
{
	struct lab_unit *unit, *before = NULL;
	size_t pages = 0;

	for (size_t i = 0; i < block_count; i++, before = unit) { /* in the order in which they were made */
		unit = lab_map_unit(blocks[i].p);
		if (unit != before && lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN)
			pages += (size_t)__builtin_popcount(lab_unit_purged(unit));
	}
	return pages;
}

Test(visit, free_pages_of_spans_that_are_used_go_and_come_again)
{
	for (int by_others = 0; by_others < 2; by_others++) {
		start_with_sparse_spans(400, 50, by_others);
		size_t charged = lab_charge_count();
		visit_thoroughly(NULL);
		cr_assert_eq(heap->holds, 0);
		cr_assert_gt(count_purged_pages(), 100);
		cr_assert_leq(lab_charge_count() + count_purged_pages(), charged);
		check_live();
		struct heap_census census = heap_check(heap);
		cr_assert_eq(census.collected, 0);
		size_t live = block_count;
		make_blocks(400); /* the thread wakes */
		cr_assert_eq(block_count, live);
		check_live();
		(void)heap_check(heap);
	}
}

Test(visit, spans_are_as_they_were_where_the_thread_may_be_inside)
{
	start_with_sparse_spans(400, 50, false);
	thread_word = 0x7ffd12345678;
	struct lab_unit *unit = lab_map_find(blocks[0].p).unit;
	uint64_t before = unit->both;
	visit_thoroughly(NULL);
	cr_assert_eq(unit->both, before);
	cr_assert_eq(heap->holds, 0);
	cr_assert_eq(count_purged_pages(), 0);
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	lab_os.fence = no_fence;
	visit_thoroughly(NULL);
	cr_assert_eq(unit->both, before);
	cr_assert_eq(count_purged_pages(), 0);
	check_live();
	(void)heap_check(heap);
}

/* A fast path that had read the state before the span was held stores what it makes of it, and leaves. */
static bool
free_before_fence(void)
{
	struct lab_unit *unit = lab_map_find(blocks[0].p).unit;
	struct lab_held *held = heap->held;

	while (held < heap->held + heap->holds && held->unit != unit)
		held++;
	if (held == heap->held + heap->holds || !blocks[0].is_live)
		return true;
	cr_assert_eq(unit->both, LAB_UNIT_HELD);
	uint64_t number =
	        lab_unit_block_number((uint64_t)((char *)blocks[0].p - unit->base), unit->inverse, unit->shift);
	uint32_t state = held->lists.freelist_state;
	cr_assert_geq(state >> 16, 1);
	*(uint16_t *)blocks[0].p = lab_freelist_head(state);
	unit->freelist_state = lab_insert16(state - LAB_FREELIST_USED_ONE, (uint16_t)number);
	blocks[0].is_live = false;
	return true;
}

Test(visit, a_span_into_which_a_block_was_just_freed_is_held_no_more)
{
	for (int by_others = 0; by_others < 2; by_others++) {
		start_with_sparse_spans(400, 50, false);
		if (by_others) { /* some of its blocks are collected */
			free_remotely(&blocks[50]);
			free_remotely(&blocks[100]);
		}
		lab_os.fence = free_before_fence;
		size_t used = heap_check(heap).used;
		visit_thoroughly(NULL);
		cr_assert(!blocks[0].is_live);
		cr_assert_eq(heap->holds, 0);
		check_live();
		struct heap_census census = heap_check(heap);
		cr_assert_eq(census.used - census.collected, used - 1 - 2 * (size_t)by_others);
		make_blocks(400);
		(void)heap_check(heap);
	}
}

/* It is not listed anew: a free that had found it open may be under way, and adds to the list that a join would
 * replace. */
Test(visit, collected_blocks_of_a_span_that_was_not_held_stay_collected)
{
	start_with_sparse_spans(400, 3, false);
	unsigned large = 801; /* of the first span of the third class */
	struct lab_unit *unit = lab_map_find(blocks[large].p).unit;
	cr_assert(unit->listed && !unit->current);
	struct block first = blocks[0];
	blocks[0] = blocks[large]; /* what free_before_fence frees */
	blocks[large] = first;
	blocks[0].p[sizeof(uint64_t)] = 0;
	blocks[large].p[sizeof(uint64_t)] = (unsigned char)large;
	free_remotely(&blocks[large + 3]);
	cr_assert_eq(lab_map_find(blocks[large + 3].p).unit, unit);
	lab_os.fence = free_before_fence;
	visit_thoroughly(NULL);
	cr_assert(!blocks[0].is_live);
	cr_assert_eq(lab_unit_count_collected(unit), 1);
	cr_assert(unit->owner_key & LAB_UNIT_CLOSED);
	check_live();
	(void)wake();
}

/* The thread forks, say: it does not wait for all that a trim has to do. */
static bool
want_heap(void)
{
	lab_store_rlx(&heap->is_wanted, true);
	return true;
}

Test(visit, a_visitor_leaves_soon_that_the_thread_waits_for)
{
	start_with_sparse_spans(400, 50, false);
	visit_thoroughly(NULL);
	size_t all = count_purged_pages();
	for (size_t i = 0; i < block_count; i++)
		if (blocks[i].is_live)
			free_by_owner(&blocks[i]);
	make_blocks(400);
	leave_one_in(50, false);
	lab_os.fence = want_heap;
	visit_thoroughly(NULL);
	size_t some = count_purged_pages();
	cr_assert_lt(some, all / 2);
	cr_assert_eq(heap->holds, 0);
	lab_os.fence = no_fence_is_needed;
	visit_thoroughly(NULL); /* the next one is not sent away */
	cr_assert_gt(count_purged_pages(), some);
	check_live();
	(void)heap_check(heap);
}

/* While a span is held its thread's calls go elsewhere: nothing is changed, nothing reported, nothing lost. */
Test(visit, calls_of_the_thread_go_elsewhere_while_a_span_is_held)
{
	start(10);
	struct lab_unit *unit;
	void *p[40];

	for (int i = 0; i < 40; i++)
		p[i] = lab_malloc(1000);
	unit = lab_map_find(p[0]).unit;
	cr_assert_eq(unit, own->bins[lab_class_of(1000)].current);
	lab_store_rlx(&own->visitor, lease_of(TID));
	own->whole = LAB_HEAP_VISITED;
	lab_hold(own, unit);
	lab_free(p[0]);
	void *other = lab_malloc(1000);
	cr_assert_neq(lab_map_find(other).unit, unit);
	cr_assert_eq(unit->both, LAB_UNIT_HELD);
	cr_assert(lab_heap_is_freed_into(own));
	cr_assert_eq(lab_hold_release(own), unit);
	own->whole = LAB_HEAP_WHOLE;
	lab_store_rlx(&own->visitor, 0);
	for (int i = 1; i < 40; i++)
		lab_free(p[i]);
	lab_free(other);
	(void)lab_trim(0);
	cr_assert_eq(heap_check(own).used, 0);
}

static void
look_at_rest(uint64_t now)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	REQUIRE(lab_enter(&guard));
	lab_visit_resting(guard.heap, now, 2000);
	lab_leave(&guard);
}

Test(visit, pages_of_a_thread_that_rests_go_after_a_period)
{
	start_with_sparse_spans(400, 50, false);
	look_at_rest(1000);
	look_at_rest(2999);
	cr_assert_eq(count_purged_pages(), 0, "not yet");
	cr_assert(!heap->rest.is_done);
	for (int i = 0; i < 50 && !heap->rest.is_done; i++)
		look_at_rest(3000);
	cr_assert(heap->rest.is_done);
	cr_assert_gt(count_purged_pages(), 100);
	check_live();
	(void)heap_check(heap);
	/* what others free meanwhile goes as well */
	free_remotely(&blocks[100]);
	visit_all(NULL);
	cr_assert(!heap->rest.is_done);
	look_at_rest(3002);
	cr_assert_eq(heap_check(heap).collected, 0);
	/* it wakes, and rests again; a real-time thread's pages stay */
	make_blocks(400);
	leave_one_in(50, false);
	size_t before = count_purged_pages();
	look_at_rest(4000);
	free_by_owner(&blocks[50]);
	blocks[50].is_live = false;
	look_at_rest(6500);
	heap->thread_word = NULL;
	look_at_rest(9000);
	cr_assert_eq(count_purged_pages(), before);
	check_live();
}

static bool
visit_of_sparse_spans_torn(long steps, bool by_others)
{
	static size_t lost_before;

	if (steps == 0)
		lost_before = 0;
	make_blocks(14);
	leave_one_in(5, by_others);
	bool torn = tear(steps, visit_thoroughly, NULL);
	visit_all(NULL); /* the repair of the frame's own heap */
	REQUIRE(lab_load_rlx(&heap->visitor) == 0 && own->visit.target == NULL);
	check_live();
	(void)wake();
	REQUIRE(heap->holds == 0);
	check_live();
	for (size_t i = 0; i < block_count; i++)
		if (blocks[i].is_live)
			free_by_owner(&blocks[i]);
	/* what others have freed is off the list before it is collected: one block may be lost */
	size_t lost = heap_check(heap).used;
	cr_assert_leq(lost, lost_before + by_others, "after %ld steps", steps);
	lost_before = lost;
	return torn;
}

Test(visit, that_holds_spans_left_at_any_instruction)
{
	for (int by_others = 0; by_others < 2; by_others++) {
		long steps = 0;
		start_with_sparse_spans(0, 1, false);
		while (visit_of_sparse_spans_torn(steps, by_others))
			steps += 1501 * TEAR_COARSER;
#ifdef __x86_64__
		cr_assert_gt(steps, 2000);
#endif
	}
}

static bool
thorough_visit_torn(long steps)
{
	make_blocks(6);
	for (size_t i = 0; i < block_count; i++)
		if (i % 5 != 0 || blocks[i].is_run) /* of one class a block stays */
			free_by_owner(&blocks[i]);
	bool torn = tear(steps, visit_thoroughly, NULL);
	visit_all(NULL); /* the repair of the frame's own heap */
	REQUIRE(lab_load_rlx(&heap->visitor) == 0 && own->visit.target == NULL);
	check_live();
	(void)wake();
	check_live();
	size_t used = 0;
	for (size_t i = 0; i < block_count; i++) {
		used += blocks[i].is_live;
		if (blocks[i].is_live)
			free_by_owner(&blocks[i]);
	}
	REQUIRE(used > 0);
	cr_assert_eq(heap_check(heap).used, 0, "after %ld steps", steps);
	return torn;
}

Test(visit, a_thorough_one_left_at_any_instruction)
{
	long steps = 0;

	start_with_unused_spans(1, 0);
	thread_word = (uintptr_t)heap | LAB_WORD_FAST;
	while (thorough_visit_torn(steps))
		steps += 97 * TEAR_COARSER;
#ifdef __x86_64__
	cr_assert_gt(steps, 2000);
#endif
}

/* ---- misuse ---- */

static struct lab_finding
finding(void)
{
	struct lab_finding found = {.kind = LAB_FOUND_NOTHING};

	(void)lab_finding_take_owned(own, &found);
	return found;
}

Test(visit, a_block_that_was_collected_is_freed_again)
{
	start(10);
	(void)lab_remote_push(heap, blocks[3].p, blocks[3].p, 0);
	cr_assert(lab_visit_all(own, true));
	cr_assert_eq(finding().kind, LAB_FOUND_NOTHING);
	(void)lab_remote_push(heap, blocks[3].p, blocks[3].p, 0);
	cr_assert(lab_visit_all(own, true));
	struct lab_finding found = finding();
	cr_assert_eq(found.kind, LAB_FOUND_DOUBLE_FREE);
	cr_assert_eq(found.block, blocks[3].p);
}

Test(visit, more_frees_than_blocks_are_found)
{
	start(10);
	for (int round = 0; round < 6; round++) {
		for (size_t i = 0; i < 2; i++)
			(void)lab_remote_push(heap, blocks[i].p, blocks[i].p, 0);
		(void)lab_visit_all(own, true);
	}
	cr_assert_eq(finding().kind, LAB_FOUND_DOUBLE_FREE);
}

/* The links of what was collected are not to be trusted: the blocks are lost, and nothing else. */
Test(visit, a_block_that_was_collected_is_written_to)
{
	static const uint16_t written[] = {0, 3, 2000, 0xfffe, LAB_FREELIST_NIL};

	for (size_t w = 0; w < sizeof written / sizeof *written; w++) {
		start(500);
		for (size_t i = 0; i < 20; i++)
			free_remotely(&blocks[i]);
		visit_all(NULL);
		*(uint16_t *)blocks[10].p = written[w];
		for (unsigned i = 0; i < CLASSES; i++) {
			struct lab_finding ignored;
			for (int n = 0; n < 3000; n++)
				block_of_class(classes[i])[sizeof(uint64_t)] = 0xee;
			(void)lab_finding_take_owned(heap, &ignored);
		}
		check_live();
	}
}
