/* decay.c - when free pages go back: the clock and madvise are hooks, so that nothing waits and nothing is left to
 * luck. Clauses: G10.1, G10.2, G10.3, G10.5, G10.7, G10.8, G10.9, G10.10. */
#include <criterion/criterion.h>

#include <pthread.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/decay.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "heap/leases.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "page/map.h"
#include "page/pending.h"
#include "page/purge.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static void
start(uint64_t now)
{
	world_install();
	world.clock_is_set = true;
	world.now = now;
	lab_store_rlx(&lab_settings.count_allocations, true); /* makes every call a slow one */
	lab_config_apply();
}

/* Uses and frees blocks of a size; all of it is dirty then. */
static void
use(size_t size)
{
	char *p = lab_malloc(size);

	memset(p, 1, size);
	lab_free(p);
}

/* Calls that gave something back. */
static size_t
given_back(void)
{
	return world.purges + world.unmaps;
}

/* A frame above this one, as of a call that a handler has interrupted. */
#define INTERRUPTED                                                                                                    \
	{                                                                                                              \
		.sp = LAB_ENTRY_STACK_POINTER + 4096                                                                   \
	}

/* One of a few slow calls looks whether there is something to give back, and while it goes back each one does. These
 * need no pages. */
static void
call(void)
{
	for (int i = 0; i < 10 || lab_sweep_is_on(); i++)
		cr_assert_not_null(lab_malloc(16));
}

static size_t clock_reads;

static void
count_clock(void)
{
	clock_reads++;
}

static void
tick(void)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	do
		lab_decay_tick(&guard, 0);
	while (lab_sweep_is_on());
}

Test(decay, free_pages_go_within_the_decay_time_and_not_before_half_of_it)
{
	start(10000);
	use(2 * MIB);
	size_t dirty = lab_purge_dirty_pages();
	cr_assert_geq(dirty, 2 * MIB / LAB_PAGE_SIZE);
	world.now += 499;
	tick();
	cr_assert_eq(given_back(), 0);
	world.now += 1; /* aged now */
	tick();
	world.now += 499;
	tick();
	cr_assert_eq(given_back(), 0, "looks are half a decay time apart");
	world.now += 1;
	tick();
	cr_assert_gt(given_back(), 0);
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert_eq(lab_purge_total_pages(), dirty);
}

Test(decay, frees_drive_it)
{
	start(10000);
	use(200000);
	use(6 * MIB);
	cr_assert_eq(given_back(), 0);
	world.now += 3000;
	for (int i = 0; i < 6; i++)
		use(200000);
	cr_assert_gt(given_back(), 0);
	cr_assert_leq(lab_purge_dirty_pages(), 200000 / LAB_PAGE_SIZE + 100, "what was used just now stays");
}

Test(decay, calls_that_free_nothing_drive_it)
{
	start(10000);
	use(6 * MIB);
	for (int i = 0; i < 3; i++) {
		world.now += 500;
		call();
	}
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	cr_assert_eq(lab_load_rlx(&lab_purge_pending), LAB_PURGE_NOTHING);
	world.now += 10000;
	uint64_t before = clock_reads;
	world.on_clock = count_clock;
	call();
	cr_assert_eq(clock_reads, before, "nothing to give back, nobody looks at the clock");
	size_t purges = given_back();
	use(6 * MIB);
	world.now += 400;
	call();
	cr_assert_eq(given_back(), purges, "time runs from the free on");
}

/* So many milliseconds with some slow calls in each half decay time. */
static void
pass(unsigned milliseconds)
{
	for (uint64_t end = world.now + milliseconds; world.now < end;) {
		world.now += end - world.now < 500 ? end - world.now : 500;
		call();
		call(); /* the one after a sweep */
	}
}

/* Each block of a thousand that stays keeps a page, and no more; the others go between two decay times and four after
 * they were freed. */
Test(decay, pages_of_sparse_spans_go_back)
{
	enum { BLOCKS = 40000, SIZE = 100, ONE_IN = 1000 };
	static char *blocks[BLOCKS];
	size_t size = BLOCKS * (size_t)SIZE;

	start(10000);
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = memset(lab_malloc(SIZE), i, SIZE);
	for (int i = 0; i < BLOCKS; i++)
		if (i % ONE_IN != 0)
			lab_free(blocks[i]);
	pass(1999);
	cr_assert_lt(world.purged, size / 2, "spans without a block that stays, no others");
	pass(2500);
	cr_assert_gt(world.purged, size - BLOCKS / ONE_IN * 2 * LAB_PAGE_SIZE - size / 20);
	size_t purged = world.purged;
	pass(4000);
	cr_assert_eq(world.purged, purged, "nothing goes twice");
	cr_assert_eq(lab_load_rlx(&lab_purge_pending), LAB_PURGE_NOTHING);
	for (int i = 0; i < BLOCKS; i += ONE_IN)
		for (int at = 0; at < SIZE; at++)
			REQUIRE(blocks[i][at] == (char)i);
}

static pthread_barrier_t other_lives;

static void *
live_on(void *unused)
{
	lab_free(lab_malloc(1));
	(void)pthread_barrier_wait(&other_lives);
	(void)pthread_barrier_wait(&other_lives);
	return unused;
}

/* Another thread lives, so that each look of decay is followed by one more; and there is one poll in half a decay
 * time. */
Test(decay, few_calls_drive_rounds_as_well)
{
	enum { BLOCKS = 4000, SIZE = 100, ONE_IN = 1000 };
	static char *blocks[BLOCKS];
	pthread_t other;

	start(10000);
	REQUIRE(pthread_barrier_init(&other_lives, NULL, 2) == 0);
	REQUIRE(pthread_create(&other, NULL, live_on, NULL) == 0);
	(void)pthread_barrier_wait(&other_lives);
	for (int i = 0; i < BLOCKS; i++)
		REQUIRE(blocks[i] = lab_malloc(SIZE));
	for (int i = 0; i < BLOCKS; i++)
		if (i % ONE_IN != 0)
			lab_free(blocks[i]);
	for (int i = 0; i < 20; i++) {
		world.now += 500;
		for (int n = 0; n < 8; n++)
			REQUIRE(lab_malloc(16));
	}
	cr_assert_gt(lab_unit_purged(lab_map_unit(blocks[0])), 0);
	(void)pthread_barrier_wait(&other_lives);
	REQUIRE(pthread_join(other, NULL) == 0);
}

Test(decay, after_a_long_silence_the_first_call_gives_all_back)
{
	start(10000);
	use(6 * MIB);
	world.now += 3600 * 1000;
	call();
	cr_assert_eq(lab_purge_dirty_pages(), 0);
}

Test(decay, a_call_in_a_handler_that_interrupted_the_heap_leaves_it_to_the_next)
{
	struct lab_guard guard = INTERRUPTED;

	start(10000);
	use(6 * MIB);
	world.now += 5000;
	cr_assert(lab_enter(&guard));
	call();
	cr_assert_eq(given_back(), 0);
	lab_leave(&guard);
	call();
	cr_assert_gt(given_back(), 0);
}

/* What threads have left that are dead: blocks are freed into their heaps, and nobody is there to take them. */

enum { DEAD_BLOCKS = 4000 };

static void *
make_blocks(void *unused)
{
	void **blocks = lab_malloc(DEAD_BLOCKS * sizeof *blocks);

	(void)unused;
	for (int i = 0; i < DEAD_BLOCKS; i++)
		memset(blocks[i] = lab_malloc(5000), 1, 5000);
	return blocks;
}

/* Each of the threads makes a list of `count` blocks, and ends; then the caller frees them. */
static void
free_blocks_of_the_dead(void *(*make)(void *unused), int threads, int count)
{
	enum { MOST = 16 };
	void **blocks[MOST];
	pthread_t thread[MOST];

	REQUIRE(threads <= MOST);
	for (int t = 0; t < threads; t++)
		REQUIRE(pthread_create(&thread[t], NULL, make, NULL) == 0);
	for (int t = 0; t < threads; t++)
		REQUIRE(pthread_join(thread[t], (void **)&blocks[t]) == 0);
	for (int t = 0; t < threads; t++) {
		for (int i = 0; i < count; i++)
			lab_free(blocks[t][i]);
		lab_free(blocks[t]);
	}
}

Test(decay, blocks_freed_into_the_heaps_of_the_dead_go_back)
{
	enum { THREADS = 5 };

	start(10000);
	lab_free(lab_malloc(1));
	free_blocks_of_the_dead(make_blocks, THREADS, DEAD_BLOCKS);
	world.deaths_are_set = true; /* they look alive for a while */
	for (int i = 0; i < 4; i++) {
		world.now += 500;
		call();
	}
	cr_assert(lab_registry_has_to_clear(lab_thread_tid()));
	world.deaths_are_set = false;
	for (int i = 0; i < 100 && lab_registry_has_to_clear(lab_thread_tid());
	     i++) { /* one who was joined may look alive for a moment */
		world.now += 500;
		call();
	}
	cr_assert(!lab_registry_has_to_clear(lab_thread_tid()));
	world.now += 2000;
	call();
	cr_assert_geq(lab_purge_total_pages() * LAB_PAGE_SIZE, (size_t)THREADS * DEAD_BLOCKS * 5000 * 9 / 10);
	for (uint32_t id = 0; id < lab_registry_count(); id++)
		if (lab_registry_tid(id) != lab_thread_tid())
			cr_assert_neq(lab_registry_state(id), LAB_HEAP_FROZEN);
}

/* One call does its share. */

static pthread_barrier_t all_have_heaps;

enum { LEFT_BLOCKS = 10000, CALLS_SHARE = 4 }; /* heaps with so many, by an allocation and a free */

static void *
make_small_blocks(void *unused)
{
	void **blocks = lab_malloc(LEFT_BLOCKS * sizeof *blocks);

	(void)unused;
	for (int i = 0; i < LEFT_BLOCKS; i++)
		REQUIRE(blocks[i] = lab_malloc(64));
	pthread_barrier_wait(&all_have_heaps);
	return blocks;
}

static int
count_heaps_with_frees(void)
{
	int heaps = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		heaps += lab_heap_is_freed_into(lab_registry_heap(id));
	return heaps;
}

Test(decay, a_look_takes_in_the_blocks_of_a_few_dead_heaps)
{
	enum { THREADS = 9 };

	start(10000);
	lab_free(lab_malloc(1));
	REQUIRE(pthread_barrier_init(&all_have_heaps, NULL, THREADS) == 0);
	free_blocks_of_the_dead(make_small_blocks, THREADS, LEFT_BLOCKS);
	int heaps = count_heaps_with_frees(), looks = 0;
	cr_assert_eq(heaps, THREADS);
	for (int calls = 0; calls < 1000 && heaps > 0; calls++) {
		world.now += 5000;
		call();
		int left = count_heaps_with_frees();
		cr_assert_geq(left, heaps - CALLS_SHARE);
		looks += left != heaps;
		heaps = left;
	}
	cr_assert_eq(heaps, 0);
	cr_assert_geq(looks, THREADS / CALLS_SHARE - 1);
}

/* A thread that makes blocks of every kind, and sleeps until it is to end. */

struct sleeper {
	pthread_t thread;
	pthread_barrier_t made, end;
	size_t least, most; /* sizes */
	int one_in;         /* 0: all are kept; else the thread frees all but one in so many */
	void *blocks[DEAD_BLOCKS];
};

static void *
make_and_sleep(void *of)
{
	struct sleeper *s = of;
	size_t size = s->least;

	for (int i = 0; i < DEAD_BLOCKS; i++) {
		REQUIRE(s->blocks[i] = lab_malloc(size));
		memset(s->blocks[i], 1, size);
		size = size + 400 > s->most ? s->least : size + 400;
	}
	for (int i = 0; s->one_in && i < DEAD_BLOCKS; i++)
		if (i % s->one_in != 0) {
			lab_free(s->blocks[i]);
			s->blocks[i] = NULL;
		}
	pthread_barrier_wait(&s->made);
	pthread_barrier_wait(&s->end);
	return NULL;
}

static void
begin_sleeper(struct sleeper *s, size_t least, size_t most)
{
	s->least = least;
	s->most = most;
	REQUIRE(pthread_barrier_init(&s->made, NULL, 2) == 0 && pthread_barrier_init(&s->end, NULL, 2) == 0);
	REQUIRE(pthread_create(&s->thread, NULL, make_and_sleep, s) == 0);
	pthread_barrier_wait(&s->made);
}

static void
end_sleeper(struct sleeper *s)
{
	pthread_barrier_wait(&s->end);
	REQUIRE(pthread_join(s->thread, NULL) == 0);
}

/* From the last to the first, or every third and then the others; the sleeper takes nothing in itself. */
static void
free_blocks(struct sleeper *s, int stride)
{
	for (int first = 0; first < stride; first++)
		for (int i = DEAD_BLOCKS - 1 - first; i >= 0; i -= stride)
			lab_free(s->blocks[i]);
}

static size_t
bytes_in_blocks(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats.in_use + stats.free_in_spans + stats.dirty;
}

Test(decay, blocks_freed_into_the_heap_of_a_thread_that_sleeps_go_back)
{
	static struct sleeper sleeper;
	static const size_t sizes[][2] = {{16, 3000}, {4000, 30000}, {36000, 90000}};

	for (size_t i = 0; i < 3; i++)
		for (int stride = 1; stride <= 3; stride += 2) {
			start(10000);
			lab_free(lab_malloc(1));
			begin_sleeper(&sleeper, sizes[i][0], sizes[i][1]);
			size_t peak = bytes_in_blocks();
			free_blocks(&sleeper, stride);
			for (int looks = 0; looks < 4; looks++) {
				world.now += 500;
				for (int k = 0; k < 10; k++)
					call();
			}
			cr_assert_leq(bytes_in_blocks(), peak / 10 + MIB, "of %zu, sizes %zu", peak, sizes[i][0]);
			end_sleeper(&sleeper);
			(void)lab_trim(0);
		}
}

/* The background thread's look. */
static void
look_for_rest(uint64_t later)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	world.now += later;
	lab_decay_rest(&guard);
}

Test(decay, pages_among_the_blocks_of_a_thread_that_rests_go_back)
{
	static struct sleeper sleeper = {.one_in = 20};

	start(10000);
	if (!lab_os.fence())
		cr_skip_test("the system has no membarrier, or a filter");
	lab_free(lab_malloc(1));
	begin_sleeper(&sleeper, 16, 3000);
	(void)lab_set_param(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX);
	look_for_rest(0);
	look_for_rest(3000);
	cr_assert_eq(given_back(), 0, "nothing is to go back");
	(void)lab_set_param(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX - 1);
	look_for_rest(0);
	look_for_rest(1999);
	size_t before = given_back();
	for (int i = 0; i < 20; i++)
		look_for_rest(i == 0 ? 3000 : 1);
	cr_assert_gt(given_back(), before + 20);
	before = given_back();
	look_for_rest(10000);
	cr_assert_eq(given_back(), before, "once");
	for (int i = 0; i < DEAD_BLOCKS; i += 20)
		cr_assert_eq(*(char *)sleeper.blocks[i], 1);
	free_blocks(&sleeper, 1);
	end_sleeper(&sleeper);
}

static void *
free_blocks_of(void *sleeper)
{
	free_blocks(sleeper, 3);
	return NULL;
}

/* By a thread that has a heap, and by one that has none. Time stands still. */
Test(decay, what_waits_for_a_thread_that_sleeps_is_bounded_when_it_is_freed)
{
	static struct sleeper sleeper;
	static const size_t sizes[][2] = {{2000, 16000}, {16000, 32000}, {36000, 90000}, {MIB / 8, MIB / 4}};
	pthread_t thread;

	for (size_t i = 0; i < 8; i++) {
		start(10000);
		cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, MIB));
		lab_free(lab_malloc(1));
		begin_sleeper(&sleeper, sizes[i / 2][0], sizes[i / 2][1]);
		size_t peak = bytes_in_blocks();
		if (i % 2 == 0) {
			free_blocks(&sleeper, 1);
		} else {
			REQUIRE(pthread_create(&thread, NULL, free_blocks_of, &sleeper) == 0);
			REQUIRE(pthread_join(thread, NULL) == 0);
		}
		size_t left = bytes_in_blocks();
		cr_assert_leq(left, LAB_WAITING_MUCH + 8 * MIB, "%zu: %zu of %zu", i, left, peak);
		end_sleeper(&sleeper);
		(void)lab_trim(0);
	}
}

Test(decay, a_trim_reaches_the_heaps_of_threads_that_sleep)
{
	static struct sleeper sleeper;

	start(10000);
	lab_free(lab_malloc(1));
	begin_sleeper(&sleeper, 16, 60000);
	size_t peak = bytes_in_blocks();
	free_blocks(&sleeper, 1);
	cr_assert(lab_trim(0));
	cr_assert_leq(bytes_in_blocks(), peak / 10 + MIB);
	end_sleeper(&sleeper);
}

enum { ENDED_MAX = 60 };

/* A span that is current stays when it is empty; so a thread ends with one of each class that it has used. */
static void *
use_each_class(void *together)
{
	for (size_t size = 16; size <= 32768; size += size / 4)
		use(size);
	(void)pthread_barrier_wait(together);
	return NULL;
}

/* All live at the same time, so that none inherits from another. */
static size_t
end_threads(unsigned count)
{
	pthread_barrier_t together;
	pthread_t threads[ENDED_MAX];

	REQUIRE(count <= ENDED_MAX);
	REQUIRE(pthread_barrier_init(&together, NULL, count) == 0);
	for (unsigned t = 0; t < count; t++)
		REQUIRE(pthread_create(&threads[t], NULL, use_each_class, &together) == 0);
	for (unsigned t = 0; t < count; t++)
		REQUIRE(pthread_join(threads[t], NULL) == 0);
	return lab_space_mapped();
}

static bool
some_are_left(void)
{
	return lab_registry_has_to_clear(lab_thread_tid());
}

/* Nobody frees into their heaps, and nobody is born. More of them than one call repairs. */
Test(decay, what_threads_had_that_have_ended_goes_back)
{
	enum { THREADS = ENDED_MAX };

	start(10000);
	lab_free(lab_malloc(1));
	size_t mapped = end_threads(THREADS);
	cr_assert_geq(mapped, THREADS * MIB / 4);
	cr_assert(some_are_left());
	for (int i = 0; i < 100 && some_are_left(); i++) { /* one who was joined may look alive for a moment */
		world.now += 500;
		for (int k = 0; k < THREADS; k++)
			call();
	}
	for (int i = 0; i < 4; i++) {
		world.now += 500;
		call();
	}
	cr_assert_leq(lab_space_mapped(), MIB);
	cr_assert_leq(lab_purge_dirty_pages(), 64);
}

Test(decay, what_threads_had_that_have_ended_goes_at_a_trim)
{
	enum { THREADS = 40 };

	start(10000);
	lab_free(lab_malloc(1));
	cr_assert_geq(end_threads(THREADS), THREADS * MIB / 4);
	for (int i = 0; i < 100 && some_are_left(); i++)
		(void)lab_trim(0);
	cr_assert_leq(lab_space_mapped(), MIB);
}

enum { BLOCKS = 50 };

/* All but p's heap do something else by now; its blocks are freed into it. */
static void
check_blocks_go_back(void *p[BLOCKS])
{
	struct lab_heap *heap = lab_registry_heap(lab_map_find(p[0]).heap_id);

	cr_assert_neq(heap, lab_thread.heap);
	for (int i = 0; i < BLOCKS; i++)
		lab_free(p[i]);
	cr_assert_eq(lab_purge_total_pages(), 0);
	for (int i = 0; i < 4; i++) {
		world.now += 500;
		call();
	}
	cr_assert_eq(lab_registry_state(heap->id), LAB_HEAP_IDLE);
	cr_assert(!lab_heap_is_freed_into(heap));
	cr_assert_geq(lab_purge_total_pages() * LAB_PAGE_SIZE, BLOCKS * 30000 / 2);
}

Test(decay, blocks_freed_into_an_idle_heap_go_back)
{
	struct lab_guard guard = INTERRUPTED;
	void *p[BLOCKS];

	start(10000);
	lab_free(lab_malloc(1));
	cr_assert(lab_enter(&guard));
	for (int i = 0; i < BLOCKS; i++)
		REQUIRE(p[i] = lab_malloc(30000)); /* from a heap that is borrowed for each call */
	lab_leave(&guard);
	check_blocks_go_back(p);
}

/* In the heap of the thread that trims, or in an idle one. */
static void
check_trim_thins(bool idle)
{
	enum { SMALL_BLOCKS = 40000, SIZE = 100, ONE_IN = 1000 };
	struct lab_guard guard = INTERRUPTED;
	static char *blocks[SMALL_BLOCKS];

	start(10000);
	lab_free(lab_malloc(1));
	if (idle)
		cr_assert(lab_enter(&guard));
	for (int i = 0; i < SMALL_BLOCKS; i++)
		REQUIRE(blocks[i] = memset(lab_malloc(SIZE), i, SIZE));
	if (idle)
		lab_leave(&guard);
	cr_assert_eq(lab_registry_heap(lab_map_find(blocks[0]).heap_id) != lab_thread.heap, idle);
	for (int i = 0; i < SMALL_BLOCKS; i++)
		if (i % ONE_IN != 0)
			lab_free(blocks[i]);
	cr_assert(lab_trim(0));
	cr_assert_gt(world.purged, SMALL_BLOCKS * (size_t)SIZE - SMALL_BLOCKS / ONE_IN * 2 * LAB_PAGE_SIZE - 300000);
	for (int i = 0; i < SMALL_BLOCKS; i += ONE_IN)
		for (int at = 0; at < SIZE; at++)
			REQUIRE(blocks[i][at] == (char)i);
}

Test(decay, a_trim_gives_back_pages_of_sparse_spans)
{
	check_trim_thins(false);
}

Test(decay, a_trim_gives_back_pages_of_sparse_spans_of_idle_heaps)
{
	check_trim_thins(true);
}

enum { TORN_BLOCKS = 204, TORN_SIZE = 640, TORN_KEPT = 40 };

static void
trim_all(void *unused)
{
	(void)unused;
	(void)lab_trim(0);
}

/* Left at any instruction, the heap is repaired by the next call that enters it: no block is given twice. */
Test(decay, a_trim_of_sparse_spans_that_is_cut_short)
{
	static char *blocks[TORN_BLOCKS];
	struct lab_guard guard = {0};
	bool torn = true;
	long steps = 0;

	start(10000);
	lab_free(lab_malloc(1));
	for (; torn; steps += 1 + steps / 100) {
		for (int i = 0; i < TORN_BLOCKS; i++)
			REQUIRE(blocks[i] = memset(lab_malloc(TORN_SIZE), i, TORN_SIZE));
		for (int i = 0; i < TORN_BLOCKS; i++)
			if (i % TORN_KEPT != 0)
				lab_free(blocks[i]);
		torn = tear(steps, trim_all, NULL);
		lab_set_word(&lab_thread,
		             (uintptr_t)lab_thread.heap | lab_load_rlx(&lab_word_tag)); /* as proved dead */
		guard.sp = (uintptr_t)__builtin_frame_address(0);
		REQUIRE(lab_enter(&guard));
		lab_leave(&guard);
		for (int i = 0; i < TORN_BLOCKS; i++)
			if (i % TORN_KEPT != 0)
				REQUIRE(blocks[i] = memset(lab_malloc(TORN_SIZE), i, TORN_SIZE));
		for (int i = 0; i < TORN_BLOCKS; i++) {
			for (int at = 0; at < TORN_SIZE; at++)
				REQUIRE(blocks[i][at] == (char)i);
			lab_free(blocks[i]);
		}
	}
	cr_assert_gt(steps, 1000);
}

/* The borrower of that heap was left by a jump: the heap is repaired, and idle. */
Test(decay, blocks_freed_into_a_heap_that_was_left_borrowed_go_back)
{
	struct lab_guard guard = INTERRUPTED, inner;
	void *p[BLOCKS];

	start(10000);
	lab_free(lab_malloc(1));
	cr_assert(lab_enter(&guard));
	for (int i = 0; i < BLOCKS; i++)
		REQUIRE(p[i] = lab_malloc(30000));
	inner = (struct lab_guard){.sp = guard.sp - 512};
	cr_assert(lab_enter(&inner));
	lab_leave(&guard);
	cr_assert_eq(lab_registry_state(inner.heap->id), LAB_HEAP_BORROWED);
	check_blocks_go_back(p);
}

/* ---- slices, and the bound ---- */

static const size_t all_sizes[] = {100, 2000, 30000, 60000, MIB, 3 * MIB, 10 * MIB, 150 * MIB};

enum { ALL_SIZES = sizeof all_sizes / sizeof *all_sizes, DIRTY_MAX = 32, BLOCKS_MAX = 200 * 1024 * 1024 / 100 };

static void *many[BLOCKS_MAX];

/* Bytes of blocks of a size, written to. */
static size_t
make_many(size_t size, size_t bytes)
{
	size_t count = bytes / size;

	REQUIRE(count <= BLOCKS_MAX);
	for (size_t i = 0; i < count; i++) {
		REQUIRE(many[i] = lab_malloc(size));
		memset(many[i], 1, size);
	}
	return count;
}

/* The most pages that any of the calls gives back. */
static size_t
free_many(size_t count)
{
	size_t most = 0;

	for (size_t i = 0; i < count; i++) {
		size_t before = lab_purge_total_pages();
		lab_free(many[i]);
		size_t given = lab_purge_total_pages() - before;
		most = given > most ? given : most;
	}
	return most;
}

static size_t
slice_for(size_t size)
{
	return (size / LAB_PAGE_SIZE) * 2 + LAB_SLICE_PAGES + LAB_SEGMENT_PAGES;
}

/* So a process that makes no slow call any more, or no call at all, keeps little. */
Test(decay, what_is_free_is_bounded_when_it_is_freed_without_a_call_that_takes_long)
{
	for (int i = 0; i < ALL_SIZES; i++) {
		start(10000);
		size_t most = free_many(make_many(all_sizes[i], 200 * MIB));
		cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, (DIRTY_MAX + 1) * MIB, "%zu", all_sizes[i]);
		cr_assert_leq(most, slice_for(all_sizes[i]), "%zu: %zu", all_sizes[i], most);
		cr_assert(lab_trim(0));
	}
}

Test(decay, what_a_realloc_frees_in_place_is_bounded_as_well)
{
	enum { COUNT = 100, LARGE = 2 << 20, SMALL = 48 << 10 };
	char *p[COUNT];

	start(1000);
	for (int i = 0; i < COUNT; i++) {
		p[i] = lab_malloc(LARGE);
		memset(p[i], 1, LARGE);
	}
	for (int i = 0; i < COUNT; i++)
		cr_assert_eq(lab_realloc(p[i], SMALL, LAB_GFP_KERNEL), p[i]);
	cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, 36 * MIB);
	for (int i = 0; i < COUNT; i++)
		lab_free(p[i]);
}

Test(decay, what_is_free_may_be_a_quarter_of_what_is_in_use)
{
	start(10000);
	for (int i = 0; i < 400; i++)
		cr_assert_not_null(lab_malloc(MIB));
	(void)free_many(make_many(MIB, 200 * MIB));
	cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, 101 * MIB);
	cr_assert_geq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, 95 * MIB);
}

Test(decay, the_bound_can_be_set_and_what_is_to_be_kept_has_none)
{
	static const struct {
		enum lab_param param;
		size_t value, most; /* MiB */
	} settings[] = {{LAB_PARAM_DIRTY_MAX, 8 * MIB, 9},
	                {LAB_PARAM_DIRTY_MAX, SIZE_MAX, 206},
	                {LAB_PARAM_DECAY_MS, SIZE_MAX, 206},
	                {LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX, 206}};

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		start(10000);
		lab_store_rlx(&lab_settings.dirty_max, DIRTY_MAX * MIB);
		cr_assert(lab_set_param(settings[i].param, settings[i].value));
		(void)free_many(make_many(60000, 200 * MIB));
		size_t dirty = lab_purge_dirty_pages() * LAB_PAGE_SIZE / MIB;
		cr_assert_leq(dirty, settings[i].most, "%zu", i);
		cr_assert_geq(dirty, settings[i].most - 5, "%zu: %zu", i, dirty);
		(void)lab_trim(0);
	}
}

/* The blocks of the first half are freed by another thread: they come to their heap in malloc. */
Test(decay, what_others_have_freed_is_bounded_as_well)
{
	enum { OTHERS = 6000 };
	static void *given[OTHERS];
	struct lab_guard guard = INTERRUPTED;

	start(10000);
	for (int i = 0; i < OTHERS; i++)
		memset(given[i] = lab_malloc(30000), 1, 30000);
	REQUIRE(lab_enter(&guard));
	for (int i = 0; i < OTHERS; i++)
		lab_free(given[i]);
	lab_leave(&guard);
	cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, MIB);
	for (int i = 0; i < OTHERS / 2; i++) {
		REQUIRE(lab_malloc(20));
		REQUIRE(lab_malloc(40000));
	}
	cr_assert_leq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, (DIRTY_MAX + 1) * MIB);
}

Test(decay, what_has_decayed_goes_in_slices)
{
	for (int i = 0; i < ALL_SIZES; i++) {
		start(10000);
		cr_assert(lab_set_param(LAB_PARAM_DIRTY_MAX, SIZE_MAX));
		(void)free_many(make_many(all_sizes[i], 200 * MIB));
		cr_assert_geq(lab_purge_dirty_pages() * LAB_PAGE_SIZE, 150 * MIB);
		world.now += 3000;
		size_t calls = 0;
		while (lab_purge_dirty_pages() > MIB / LAB_PAGE_SIZE) {
			size_t before = lab_purge_total_pages();
			REQUIRE(lab_malloc(16));
			cr_assert_leq(lab_purge_total_pages() - before, LAB_SLICE_PAGES + LAB_SEGMENT_PAGES);
			cr_assert_lt(calls++, 1000);
		}
		(void)lab_trim(0);
	}
}

/* What the bound goes by. */
Test(decay, the_running_counts_are_near_the_truth)
{
	static struct trace_block blocks[300];
	struct trace trace = {{6}, blocks, 300, 13, 23, 15, false};

	start(1);
	for (int i = 0; i < 60; i++) {
		trace_run(&trace, 300);
		size_t dirty = lab_purge_dirty_pages(), counted = lab_count_dirty(&lab_thread.heap->counts);
		cr_assert_leq(counted > dirty ? counted - dirty : dirty - counted, 0, "%zu %zu", dirty, counted);
		world.now += i % 3 ? 0 : 700;
	}
	trace_free_all(&trace);
	cr_assert_leq(lab_count_used(), 2 * LAB_SEGMENT_PAGES);
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
	cr_assert_gt(given_back(), 0);
}

Test(decay, a_loop_over_large_blocks_is_never_purged)
{
	start(10000);
	for (int i = 0; i < 200; i++) {
		use(20 * MIB);
		world.now += 10;
	}
	cr_assert_eq(given_back(), 0, "they are used again before they decay");
}

/* As many segments as hold so many blocks of 1 MiB; then they are nobody's, but for one. */
static void
use_segments(void)
{
	void *blocks[40];

	for (int i = 0; i < 40; i++)
		REQUIRE(blocks[i] = lab_malloc(MIB));
	for (int i = 0; i < 40; i++)
		lab_free(blocks[i]);
}

Test(decay, segments_that_are_nobodys_for_so_long_are_unmapped)
{
	start(10000);
	use_segments();
	size_t mapped = lab_space_mapped();
	cr_assert_geq(mapped, 40 * MIB);
	world.now += 500;
	tick();
	cr_assert_eq(lab_space_mapped(), mapped, "the first look saw them, the second is half a decay time later");
	use_segments();
	world.now += 500;
	tick();
	cr_assert_geq(lab_space_mapped(), 36 * MIB, "used again meanwhile");
	world.now += 500;
	tick();
	world.now += 500;
	tick();
	cr_assert_leq(lab_space_mapped(), 5 * MIB, "one is kept");
	use_segments();
	cr_assert_geq(lab_space_mapped(), 40 * MIB);
	cr_assert(lab_trim(0));
	cr_assert_leq(lab_space_mapped(), 5 * MIB);
}

Test(decay, never_and_at_once)
{
	start(10000);
	cr_assert(lab_set_param(LAB_PARAM_DECAY_MS, SIZE_MAX));
	use(2 * MIB);
	world.now += 1000000;
	use(2 * MIB);
	cr_assert_eq(given_back(), 0);
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
	cr_assert_gt(given_back(), 0);
}

static void
use_all_sizes(void)
{
	for (size_t size = 100; size <= 60 * MIB; size *= 5)
		use(size);
}

/* What real-time programs ask for by mallopt(M_TRIM_THRESHOLD, -1): no page is ever missing that was there. */
Test(decay, what_is_to_be_kept_stays)
{
	enum { ROUNDS = 40 };

	start(10000);
	cr_assert(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX));
	use(60 * MIB);
	use(60 * MIB);
	use_all_sizes();
	size_t before = given_back(), maps = world.maps;
	for (int i = 0; i < ROUNDS; i++) {
		world.now += 700;
		use_all_sizes();
		call();
		tick();
	}
	cr_assert_eq(given_back(), before);
	cr_assert_eq(world.maps, maps);
	cr_assert_geq(lab_purge_dirty_pages(), 50 * MIB / LAB_PAGE_SIZE, "but for what is in use");
	cr_assert(lab_trim(0), "unless it is asked for");
	cr_assert_eq(lab_purge_dirty_pages(), 0);
	use(20 * MIB);
	cr_assert(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, 8 * MIB));
	for (int i = 0; i < 10; i++)
		use(MIB);
	cr_assert_leq(lab_purge_dirty_pages(), 8 * MIB / LAB_PAGE_SIZE);
	world.now += 5000;
	call();
	cr_assert_eq(lab_purge_dirty_pages(), 0, "and decay goes on");
}

static void *
fill_and_free(void *unused)
{
	static void *blocks[200];

	(void)unused;
	for (int i = 0; i < 200; i++)
		memset(blocks[i] = lab_malloc(30000), 1, 30000);
	for (int i = 0; i < 200; i++)
		lab_free(blocks[i]);
	return NULL;
}

Test(decay, what_is_to_be_kept_stays_when_threads_end)
{
	start(10000);
	cr_assert(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX));
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, fill_and_free, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
		world.now += 700;
		call();
		use(5 * MIB);
	}
	cr_assert_eq(given_back(), 0);
}

/* Pages of so many ranges in one segment. */
static void
use_ranges(int count)
{
	static void *freed[100];

	for (int i = 0; i < count; i++) {
		cr_assert_not_null(lab_malloc(40000)); /* stays */
		freed[i] = lab_malloc(40000);
		memset(freed[i], 1, 40000);
	}
	for (int i = 0; i < count; i++)
		lab_free(freed[i]);
}

/* Looks, `period` apart; returns how many calls of madvise they made. */
static size_t
look(int times, uint64_t period)
{
	size_t before = world.purges;

	for (int i = 0; i < times; i++) {
		world.now += period;
		tick();
	}
	return world.purges - before;
}

/* Locked pages, for one. Late looks come once in a decay time, the others twice. */
Test(decay, what_the_system_refuses_is_asked_for_ever_more_seldom)
{
	enum { RANGES = 40 };
	static const uint64_t periods[] = {500, 1000};

	for (int i = 0; i < 2; i++) {
		start(10000);
		struct lab_stats stats;
		use_ranges(RANGES);
		lab_stats_get(&stats);
		size_t segments = stats.segments;
		cr_assert_gt(segments, 2);
		world.purge_fails = true;
		cr_assert_gt(look(2, periods[i]), 0);
		cr_assert_leq(look(100, periods[i]), segments * LAB_PURGE_TRIES * 8);
		cr_assert_leq(look(1000, periods[i]), segments * LAB_PURGE_TRIES * (1000 / LAB_PURGE_REST_MAX + 1));
		cr_assert_gt(look(2 * LAB_PURGE_REST_MAX, periods[i]), 0, "it is asked for again");
		world.purge_fails = false;
		(void)look(2 * LAB_PURGE_REST_MAX, periods[i]);
		cr_assert_eq(lab_purge_dirty_pages(), 0, "and taken when it can be");
		use_ranges(RANGES);
		cr_assert_gt(look(2, 500), 0, "nothing of that is remembered");
		cr_assert_eq(lab_purge_dirty_pages(), 0);
	}
}

/* An order is carried out, whatever was refused before. */
Test(decay, what_was_refused_goes_at_the_next_trim)
{
	start(10000);
	use_ranges(40);
	world.purge_fails = true;
	(void)look(50, 500);
	cr_assert_gt(lab_purge_dirty_pages(), 0);
	world.purge_fails = false;
	cr_assert(lab_trim(0));
	cr_assert_eq(lab_purge_dirty_pages(), 0);
}

/* One locked page in a segment does not keep the others. */
static char *locked;

static bool
refuse_locked(void *start, size_t size)
{
	world.purges++;
	return !(locked >= (char *)start && locked < (char *)start + size) && world.real.purge(start, size);
}

Test(decay, what_lies_beside_a_locked_page_goes)
{
	enum { RANGES = 40 };

	start(10000);
	lab_os.purge = refuse_locked;
	locked = lab_malloc(40000);
	memset(locked, 1, 40000);
	use_ranges(RANGES);
	lab_free(locked);
	(void)look(2, 500);
	cr_assert_leq(lab_purge_dirty_pages(), 11, "the range of that page");
	use(200000);
	(void)look(2 * LAB_PURGE_REST_MAX, 500);
	cr_assert_leq(lab_purge_dirty_pages(), 11);
}

Test(decay, what_the_system_refuses_is_no_reason_to_ask_at_each_free)
{
	for (int at_once = 0; at_once < 2; at_once++) {
		start(10000);
		cr_assert(at_once ? lab_set_param(LAB_PARAM_DECAY_MS, 0)
		                  : lab_set_param(LAB_PARAM_TRIM_THRESHOLD, MIB));
		world.purge_fails = true;
		use(3 * MIB);
		size_t purges = world.purges;
		cr_assert_gt(purges, 0);
		for (int i = 0; i < 10; i++)
			use(2 * MIB); /* of what is there */
		cr_assert_eq(world.purges, purges);
		use(6 * MIB);
		cr_assert_gt(world.purges, purges, "there is more now");
		world.purge_fails = false;
		use(20 * MIB);
		cr_assert_leq(lab_purge_dirty_pages(), MIB / LAB_PAGE_SIZE);
	}
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
	world.purge_fails = world.unmap_fails = true;
	cr_assert(!lab_trim(0), "the system refused");
	world.purge_fails = world.unmap_fails = false;
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
