/*
 * limit.c - the memory limit: what counts, what is refused, what reclaiming and waiting give, who never waits, and
 * where the limit comes from (INV-CHARGE-1).
 *
 * Clauses: G9.3, G10.9, G10.11.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/cgroup.h"
#include "alloc/config.h"
#include "alloc/limit.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "heap/run.h"
#include "heap_check.h"
#include "page/charge.h"
#include "page/purge.h"
#include "reserve/reserve.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static struct lab_stats
stats_now(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats;
}

static void
limit_to(size_t bytes)
{
	REQUIRE(lab_set_param(LAB_PARAM_LIMIT, bytes));
}

/* Allocates blocks of a size until there is no more; a list through them. */
static void **
take_all(size_t size, size_t *count)
{
	void **list = NULL, **p;

	errno = 0;
	for (*count = 0; (p = lab_malloc(size)) != NULL; ++*count) {
		memset(p, 0x55, size);
		*p = list;
		list = p;
	}
	REQUIRE(errno == ENOMEM);
	return list;
}

static void
free_list(void **list)
{
	while (list) {
		void **next = *list;
		lab_free(list);
		list = next;
	}
}

/* ---- what counts ------------------------------------------------------------------------------------------------- */

static size_t
pages_by_another_count(void)
{
	return heap_check(lab_thread.heap).touched + (stats_now().huge + stats_now().dirty) / LAB_PAGE_SIZE;
}

Test(limit, what_counts_is_what_is_taken_or_dirty)
{
	static struct trace_block blocks[400];
	struct trace trace = {{12}, blocks, 400, 14, 22, 15, false};

	cr_assert_eq(stats_now().charged, 0, "no limit, nothing counted");
	cr_assert_eq(stats_now().limit, SIZE_MAX);
	limit_to((size_t)4 << 30);
	for (int i = 0; i < 100; i++) {
		trace_run(&trace, 200);
		cr_assert_eq(lab_charge_count(), pages_by_another_count());
		if (i % 10 == 9)
			(void)lab_trim(0);
	}
	trace_free_all(&trace);
	char *p = lab_malloc(21 * MIB / 2);
	size_t charged = stats_now().charged;
	p = lab_realloc(p, 23 * MIB / 2, LAB_GFP_KERNEL);
	memset(p, 1, 11 * MIB);
	p = lab_realloc(p, 21 * MIB / 2, LAB_GFP_KERNEL);
	cr_assert_leq(stats_now().charged, charged + MIB, "no page counts that the block never had");
	lab_free(p);
	(void)lab_trim(0);
	cr_assert_eq(lab_charge_count(), pages_by_another_count());
	cr_assert_leq(lab_charge_count(), 72 * LAB_UNIT_PAGES);
}

Test(limit, it_is_never_exceeded_over_a_long_trace)
{
	static char *blocks[600];
	struct trace_random random = {3};
	size_t failures = 0;

	limit_to(8 * MIB);
	for (int i = 0; i < 60000; i++) {
		char **p = &blocks[trace_below(&random, 600)];
		size_t size = trace_skewed(&random, trace_below(&random, 50) ? 16 : 23);
		if (*p && trace_below(&random, 4)) {
			lab_free(*p);
			*p = NULL;
		} else {
			char *q = *p ? lab_realloc(*p, size, LAB_GFP_KERNEL) : lab_malloc(size);
			if (q)
				memset(*p = q, 1, size);
			else
				failures++;
		}
		if (i % 16 == 0)
			REQUIRE(lab_charge_count() <= 8 * MIB / LAB_PAGE_SIZE);
	}
	cr_assert_gt(failures, 10, "it was reached");
	for (int i = 0; i < 600; i++)
		lab_free(blocks[i]);
	(void)heap_check(lab_thread.heap);
}

Test(limit, reached_and_left_again)
{
	static const size_t sizes[] = {100, 3000, 30000, 60000, 500000, 5 * MIB};
	size_t first[6], again;

	limit_to(64 * MIB);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 6; i++) {
			void **list = take_all(sizes[i], &again);
			cr_assert_geq(again * sizes[i], 64 * MIB * 2 / 3, "%zu of %zu", again, sizes[i]);
			cr_assert_leq(again * sizes[i], 64 * MIB);
			if (round)
				cr_assert_geq(again + again / 50 + 3, first[i], "the same once more");
			first[i] = again;
			cr_assert_leq(stats_now().charged, 64 * MIB);
			free_list(list);
			void *p = lab_malloc(sizes[i]);
			cr_assert_not_null(p);
			lab_free(p);
		}
	cr_assert_eq(stats_now().waits, 0);
	cr_assert_leq(stats_now().segments, 40, "no segment is added in vain");
	(void)heap_check(lab_thread.heap);
}

/* A run that was refused was one of fresh pages; what comes in its place is not. */
Test(limit, what_is_had_in_place_of_a_refused_run_is_cleared)
{
	enum { SIZE = 40000, SLOTS = 64 };
	unsigned char *slots[SLOTS];
	size_t count, have = 0;

	world_install();
	limit_to(32 * MIB);
	while (have < SLOTS && (slots[have] = lab_alloc(SIZE, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC)) != NULL)
		memset(slots[have++], 0xaa, SIZE);
	cr_assert_gt(have, 0);
	while (have > 0)
		lab_free(slots[--have]);
	void **all = take_all(SIZE, &count);
	unsigned char *p = lab_alloc(SIZE, LAB_GFP_KERNEL | LAB_GFP_ZERO | LAB_GFP_HIGH);
	cr_assert_not_null(p);
	cr_assert(lab_reserve_contains(p));
	cr_assert(trace_is_zero(p, SIZE));
	lab_free(p);
	free_list(all);
}

Test(limit, raised_lowered_taken_away)
{
	size_t count;

	limit_to(16 * MIB);
	void **list = take_all(60000, &count);
	limit_to(8 * MIB);
	cr_assert_gt(stats_now().charged, stats_now().limit, "what is there stays");
	cr_assert_null(lab_malloc(60000));
	limit_to(20 * MIB);
	void *p = lab_malloc(MIB);
	cr_assert_not_null(p);
	cr_assert_null(lab_malloc(8 * MIB));
	limit_to(SIZE_MAX);
	void *q = lab_malloc(100 * MIB);
	cr_assert_not_null(q);
	lab_free(q);
	lab_free(p);
	free_list(list);
	cr_assert_not(lab_set_param(LAB_PARAM_LIMIT, 0));
	cr_assert_not(lab_set_param(LAB_PARAM_WAIT_MS, (size_t)86400 * 1000 + 1));
}

/* ---- reclaiming ------------------------------------------------------------------------------------------------ */

Test(limit, free_dirty_pages_make_room)
{
	limit_to(32 * MIB);
	char *p = lab_malloc(20 * MIB), *q;
	memset(p, 1, 20 * MIB);
	lab_free(p);
	world_install();
	size_t count;
	void **list = take_all(60000, &count); /* from other segments: the dirty ones have to go */
	cr_assert_geq(count * 60000, 28 * MIB);
	cr_assert_gt(world.purges + world.unmaps, 0);
	free_list(list);
	q = lab_malloc(30 * MIB);
	cr_assert_not_null(q);
	lab_free(q);
	world.purge_fails = world.unmap_fails = true;
	memset(q = lab_malloc(30 * MIB), 1, 30 * MIB);
	lab_free(q);
	cr_assert_eq(lab_malloc(26 * MIB), q, "in these pages");
	cr_assert_null(lab_malloc(5 * MIB), "in others, and what is dirty stays");
}

static void *stash[64];

static size_t
drop_stash(unsigned gfp)
{
	size_t bytes = 0;

	(void)gfp;
	for (int i = 0; i < 64; i++) {
		bytes += stash[i] ? lab_usable_size(stash[i]) : 0;
		lab_free(stash[i]);
		stash[i] = NULL;
	}
	return bytes;
}

Test(limit, hooks_give_back_what_they_can)
{
	limit_to(16 * MIB);
	for (int i = 0; i < 64; i++)
		stash[i] = lab_malloc(200000);
	cr_assert_null(lab_malloc(10 * MIB));
	cr_assert(lab_limit_on_reclaim(drop_stash));
	cr_assert(lab_limit_on_reclaim(drop_stash), "it is there already");
	void *p = lab_malloc(10 * MIB);
	cr_assert_not_null(p);
	cr_assert_null(stash[0]);
	lab_free(p);
}

static jmp_buf out_of_reclaim;

static size_t
leave_then_drop(unsigned gfp)
{
	static bool has_left;

	if (!has_left) {
		has_left = true;
		longjmp(out_of_reclaim, 1);
	}
	return drop_stash(gfp);
}

static void *
want_much(void *unused)
{
	(void)unused;
	return lab_malloc(10 * MIB);
}

/* A reclaim that was left by a jump keeps nobody from reclaiming: not its own thread, and others for a second. */
Test(limit, a_reclaim_that_is_left_by_a_jump_is_taken_over)
{
	pthread_t thread;
	void *p;

	limit_to(16 * MIB);
	for (int i = 0; i < 64; i++)
		stash[i] = lab_malloc(200000);
	cr_assert(lab_limit_on_reclaim(leave_then_drop));
	if (!setjmp(out_of_reclaim)) {
		(void)lab_malloc(10 * MIB);
		cr_assert_fail("it was not left");
	}
	REQUIRE(pthread_create(&thread, NULL, want_much, NULL) == 0);
	REQUIRE(pthread_join(thread, &p) == 0);
	cr_assert_not_null(p);
	lab_free(p);
	for (int i = 0; i < 64; i++)
		stash[i] = lab_malloc(200000);
	p = lab_malloc(10 * MIB);
	cr_assert_not_null(p);
	lab_free(p);
}

static void *
leave_blocks(void *of)
{
	for (int i = 0; i < 4; i++)
		((void **)of)[i] = lab_malloc(5 * MIB / 2);
	return NULL;
}

Test(limit, the_heaps_of_the_dead_are_taken_over)
{
	static void *of[4];
	pthread_t thread;

	limit_to(16 * MIB);
	lab_free(lab_malloc(10));
	REQUIRE(pthread_create(&thread, NULL, leave_blocks, of) == 0 && pthread_join(thread, NULL) == 0);
	for (int i = 0; i < 100000 && !lab_os.thread_is_dead((uint32_t)lab_owner(of[0])); i++)
		usleep(1000);
	for (int i = 0; i < 4; i++)
		lab_free(of[i]); /* to the dead heap's remote stack, where they count */
	void *p = lab_malloc(14 * MIB);
	cr_assert_not_null(p);
	lab_free(p);
}

/* Threads that have used all small sizes, a little or much, and hold nothing. */
enum { IDLERS = 12 };

static pthread_barrier_t idlers_sleep, idlers_end;

static void *
use_all_sizes_and_sleep(void *bytes)
{
	static _Thread_local void *blocks[1024];

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t count = 1 + (size_t)bytes / lab_class_size(c);
		if (count > 1024)
			count = 1024;
		for (size_t i = 0; i < count; i++)
			REQUIRE(blocks[i] = lab_malloc(lab_class_size(c)));
		for (size_t i = 0; i < count; i++)
			lab_free(blocks[i]);
	}
	(void)pthread_barrier_wait(&idlers_sleep);
	(void)pthread_barrier_wait(&idlers_end);
	return lab_malloc(100); /* it goes on */
}

static void
idlers_leave_all(size_t bytes)
{
	pthread_t threads[IDLERS];
	void *kept;
	size_t count;

	(void)pthread_barrier_init(&idlers_sleep, NULL, IDLERS + 1);
	(void)pthread_barrier_init(&idlers_end, NULL, IDLERS + 1);
	lab_free(lab_malloc(10));
	for (int i = 0; i < IDLERS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, use_all_sizes_and_sleep, (void *)bytes) == 0);
	(void)pthread_barrier_wait(&idlers_sleep);
	size_t limit = 24 * MIB;
	limit_to(limit);
	void **list = take_all(LAB_UNIT_SIZE, &count);
	cr_assert_geq(count * LAB_UNIT_SIZE, limit - MIB, "%zu KiB", count * LAB_UNIT_SIZE / 1024);
	free_list(list);
	(void)pthread_barrier_wait(&idlers_end);
	for (int i = 0; i < IDLERS; i++) {
		REQUIRE(pthread_join(threads[i], &kept) == 0 && kept);
		lab_free(kept);
	}
}

Test(limit, spans_that_idle_threads_have_begun_are_no_reason_to_fail)
{
	idlers_leave_all(0);
}

Test(limit, spans_that_idle_threads_have_emptied_are_no_reason_to_fail)
{
	if (!lab_os.fence()) {
		fputs("emptied spans: not run: a seccomp filter is installed here, or there is no membarrier\n",
		      stderr);
		return;
	}
	idlers_leave_all(LAB_UNIT_SIZE);
}

Test(limit, free_pages_of_sparse_spans_are_no_reason_to_fail)
{
	enum { SMALL = 1000, KEPT = 50, COUNT = 20000 };
	static unsigned char *blocks[COUNT];
	size_t count;

	limit_to(24 * MIB);
	for (size_t i = 0; i < COUNT; i++) {
		REQUIRE(blocks[i] = lab_malloc(SMALL));
		memset(blocks[i], (int)(i & 0xff), SMALL);
	}
	for (size_t i = 0; i < COUNT; i++)
		if (i % KEPT != 0)
			lab_free(blocks[i]);
	void **list = take_all(LAB_UNIT_SIZE, &count);
	/* each that is kept has its page, or two */
	cr_assert_geq(count * LAB_UNIT_SIZE, 24 * MIB - COUNT / KEPT * 3 * LAB_PAGE_SIZE / 2 - MIB);
	void **small = take_all(SMALL, &count);
	for (size_t i = 0; i < COUNT; i += KEPT)
		cr_assert(blocks[i][0] == (i & 0xff) && memcmp(blocks[i], blocks[i] + 1, SMALL - 1) == 0);
	free_list(list);
	free_list(small);
	(void)heap_check(lab_thread.heap);
}

/* A page that may not be touched is no reason to fail while another span has free blocks. */
Test(limit, free_blocks_of_listed_spans_are_found_where_nothing_may_be_carved)
{
	enum { SMALL = 512, COUNT = 4000 };
	static void *blocks[COUNT];
	size_t count, freed = 0;

	for (int i = 0; i < COUNT; i++)
		REQUIRE(blocks[i] = lab_malloc(SMALL));
	limit_to((lab_charge_count() + 2) * LAB_PAGE_SIZE);
	free_list(take_all(LAB_PAGE_SIZE, &count)); /* reclaimed; what is left is full */
	for (int i = 0; i < COUNT; i += 16, freed++) {
		lab_free(blocks[i]);
		blocks[i] = NULL;
	}
	void **list = take_all(SMALL, &count);
	cr_assert_geq(count, freed);
	free_list(list);
	for (int i = 0; i < COUNT; i++)
		lab_free(blocks[i]);
	(void)heap_check(lab_thread.heap);
}

/* A span of which no block may be made is none: a scan for orphans would take its pages for such. */
Test(limit, a_span_is_made_only_where_a_block_of_it_may_be)
{
	size_t count;

	limit_to(MIB);
	void **list = take_all(64, &count);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		cr_assert_null(lab_alloc(lab_class_size(c), LAB_GFP_NOWAIT));
		cr_assert_null(lab_alloc(lab_class_size(c), LAB_GFP_KERNEL | LAB_GFP_NORECLAIM));
		const struct lab_unit *current = lab_thread.heap->bins[c].current;
		cr_assert(current == &lab_no_span || current->carved != 0, "class %u", c);
	}
	(void)heap_check(lab_thread.heap);
	free_list(list);
}

/* A handler that interrupted a call has used it; nobody has it now. */
Test(limit, what_an_idle_heap_keeps_is_no_reason_to_fail)
{
	static void *blocks[4000];
	size_t count;

	lab_free(lab_malloc(1));
	uintptr_t word = lab_thread.word;
	lab_thread.word = (uintptr_t)__builtin_frame_address(0);
	for (unsigned c = 1; c < 30; c++) {
		size_t n = 60000 / lab_class_size(c);
		for (size_t i = 0; i < n; i++)
			memset(blocks[i] = lab_malloc(lab_class_size(c)), 1, lab_class_size(c));
		for (size_t i = 0; i < n; i++)
			lab_free(blocks[i]);
	}
	lab_thread.word = word;
	limit_to(300 * LAB_PAGE_SIZE);
	cr_assert_gt(lab_charge_count(), 400);
	void **list = take_all(LAB_PAGE_SIZE, &count);
	cr_assert_geq(count, 290);
	free_list(list);
}

/* Nor the rest of a span from which blocks are carved just now. */
Test(limit, dirty_pages_of_the_current_span_are_no_reason_to_fail)
{
	char *first = lab_malloc(9 * LAB_PAGE_SIZE), *run = lab_malloc(9 * LAB_PAGE_SIZE);
	char *next = lab_malloc(10 * LAB_PAGE_SIZE);
	size_t count;

	memset(run, 1, 9 * LAB_PAGE_SIZE);
	memset(next, 1, 10 * LAB_PAGE_SIZE);
	lab_free(run);
	(void)lab_trim(0);
	lab_free(next);
	void *small = lab_malloc(64);
	size_t pages = lab_charge_count();
	limit_to(pages * LAB_PAGE_SIZE);
	void **list = take_all(64, &count);
	cr_assert_geq(count, 9 * LAB_PAGE_SIZE / 64, "of %zu pages", pages);
	free_list(list);
	lab_free(small);
	lab_free(first);
}

/* Threads in turn: each frees what the one before has built, builds as much itself, and sleeps. */
enum { RELAY = 8, RELAY_BLOCKS = 20000 };

static struct relay {
	pthread_t thread;
	void **from, *blocks[RELAY_BLOCKS];
	size_t size;
} relay[RELAY];
static pthread_barrier_t built, relay_ends;

static void *
free_and_build(void *of)
{
	struct relay *r = of;

	for (int i = 0; r->from && i < RELAY_BLOCKS; i++)
		lab_free(r->from[i]);
	for (int i = 0; i < RELAY_BLOCKS; i++) {
		REQUIRE(r->blocks[i] = lab_malloc(r->size));
		memset(r->blocks[i], 1, r->size);
	}
	pthread_barrier_wait(&built);
	pthread_barrier_wait(&relay_ends);
	return NULL;
}

Test(limit, what_was_freed_into_heaps_of_threads_that_sleep_is_reclaimed)
{
	static const size_t sizes[] = {1000, 40000};

	for (int s = 0; s < 2; s++) {
		lab_free(lab_malloc(1));
		limit_to(RELAY_BLOCKS * sizes[s] * 2);
		REQUIRE(pthread_barrier_init(&built, NULL, 2) == 0);
		REQUIRE(pthread_barrier_init(&relay_ends, NULL, RELAY + 1) == 0);
		for (int i = 0; i < RELAY; i++) {
			relay[i].from = i ? relay[i - 1].blocks : NULL;
			relay[i].size = sizes[s];
			REQUIRE(pthread_create(&relay[i].thread, NULL, free_and_build, &relay[i]) == 0);
			pthread_barrier_wait(&built);
		}
		pthread_barrier_wait(&relay_ends);
		for (int i = 0; i < RELAY; i++)
			REQUIRE(pthread_join(relay[i].thread, NULL) == 0);
		for (int i = 0; i < RELAY_BLOCKS; i++)
			lab_free(relay[RELAY - 1].blocks[i]);
		limit_to(SIZE_MAX);
		(void)lab_trim(0);
	}
}

Test(limit, a_free_that_a_death_has_cut_short_is_finished)
{
	enum { DEAD_TID = 77 };

	world_install();
	world.deaths_are_set = true;
	world.dead_tid = DEAD_TID;
	limit_to(16 * MIB);
	void *p = lab_malloc(10 * MIB);
	REQUIRE(lab_run_begin_free(lab_map_find(p).run, DEAD_TID));
	p = lab_malloc(10 * MIB);
	cr_assert_not_null(p);
	lab_free(p);
}

Test(limit, growing_in_place_is_charged)
{
	limit_to(3 * MIB);
	char *p = lab_malloc(3 * MIB);
	cr_assert_eq(lab_realloc(p, 2 * MIB, LAB_GFP_KERNEL), p, "in a segment of 4 MiB");
	cr_assert_null(lab_realloc(p, 7 * MIB / 2, LAB_GFP_KERNEL));
	cr_assert_eq(lab_realloc(p, 5 * MIB / 2, LAB_GFP_KERNEL), p);
	cr_assert_leq(stats_now().charged, 3 * MIB);
	lab_free(p);
	limit_to(12 * MIB);
	p = lab_malloc(5 * MIB);
	cr_assert_null(lab_realloc(p, 13 * MIB, LAB_GFP_KERNEL));
	p = lab_realloc(p, 11 * MIB, LAB_GFP_KERNEL);
	cr_assert(p);
	cr_assert_leq(stats_now().charged, 12 * MIB);
	cr_assert_eq(stats_now().huge, 11 * MIB);
	lab_free(p);
}

enum { A_LONG_TIME_MS = 600000 }; /* that no test takes */

/* ---- waiting --------------------------------------------------------------------------------------------------- */

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

Test(limit, in_vain_it_waits_as_long_as_it_was_told)
{
	size_t count;

	limit_to(16 * MIB);
	void **list = take_all(60000, &count);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 80));
	uint64_t start = now_ms();
	errno = 0;
	cr_assert_null(lab_malloc(60000));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_geq(now_ms() - start, 70);
	cr_assert_eq(stats_now().waits, 1);
	cr_assert_null(lab_malloc(17 * MIB));
	cr_assert_eq(stats_now().waits, 1, "what can never be is not waited for");
	free_list(list);
}

static void
free_later(void *p)
{
	usleep(30000);
	lab_free(p);
}

static void *
hold_and_free(void *of)
{
	void **p = of;

	*p = lab_malloc(12 * MIB);
	memset(*p, 1, 12 * MIB);
	lab_free(lab_malloc(10));
	p[1] = p;
	while (*(void *volatile *)&p[1])
		usleep(1000);
	free_later(*p);
	return NULL;
}

Test(limit, a_waiter_gets_what_another_thread_frees)
{
	static void *volatile held[2];
	pthread_t thread;

	limit_to(16 * MIB);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, A_LONG_TIME_MS));
	REQUIRE(pthread_create(&thread, NULL, hold_and_free, (void *)held) == 0);
	while (!held[1])
		usleep(1000);
	held[1] = NULL;
	void *p = lab_malloc(10 * MIB);
	cr_assert_not_null(p);
	cr_assert_eq(stats_now().waits, 1);
	pthread_join(thread, NULL);
	lab_free(p);
}

/* ---- others in the middle of what keeps memory away ---- */

static pthread_t the_other;
static _Atomic bool is_held_up, may_go_on;
static bool (*real_purge)(void *start, size_t size);
static enum lab_mapped (*real_map_at)(void *start, size_t size);

/* The other thread is held up, as by a processor that it does not get. */
static void
hold_up(void)
{
	if (!pthread_equal(pthread_self(), the_other))
		return;
	is_held_up = true;
	while (!may_go_on)
		usleep(1000);
}

static bool
purge_late(void *start, size_t size)
{
	hold_up();
	return real_purge(start, size);
}

static enum lab_mapped
map_late(void *start, size_t size)
{
	hold_up();
	return real_map_at(start, size);
}

static void *blocks_of_the_other[8];

static void *
purge_for_long(void *unused)
{
	the_other = pthread_self();
	for (int i = 0; i < 8; i++)
		lab_free(blocks_of_the_other[i]);
	(void)lab_trim(0);
	return unused;
}

static void *
allocate_for_long(void *unused)
{
	for (int i = 0; i < 8; i++)
		blocks_of_the_other[i] = lab_malloc(MIB);
	the_other = pthread_self();
	lab_free(lab_malloc(3 * MIB));
	return unused;
}

static void *
let_go_on(void *unused)
{
	usleep(100000);
	may_go_on = true;
	return unused;
}

/* The pages that a thread is giving back count until it has: a call waits for that instead of failing. */
Test(limit, others_purges_are_waited_for)
{
	pthread_t other, third;

	limit_to(16 * MIB);
	for (int i = 0; i < 8; i++)
		blocks_of_the_other[i] = memset(lab_malloc(MIB), 1, MIB);
	real_purge = lab_os.purge;
	lab_os.purge = purge_late;
	REQUIRE(pthread_create(&other, NULL, purge_for_long, NULL) == 0);
	while (!is_held_up)
		usleep(1000);
	REQUIRE(pthread_create(&third, NULL, let_go_on, NULL) == 0);
	void *p = lab_malloc(13 * MIB);
	cr_assert_not_null(p);
	pthread_join(third, NULL);
	pthread_join(other, NULL);
	lab_free(p);
}

static bool (*real_unmap)(void *start, size_t size);

static bool
unmap_late(void *start, size_t size)
{
	hold_up();
	return real_unmap(start, size);
}

static void *
free_huge_for_long(void *huge)
{
	the_other = pthread_self();
	lab_free(huge);
	(void)lab_trim(0);
	return NULL;
}

/* So do those of a huge block. */
Test(limit, others_huge_blocks_are_waited_for)
{
	pthread_t other, third;

	limit_to(32 * MIB);
	void *huge = memset(lab_malloc(20 * MIB), 1, 20 * MIB);
	real_purge = lab_os.purge;
	lab_os.purge = purge_late;
	real_unmap = lab_os.unmap;
	lab_os.unmap = unmap_late;
	REQUIRE(pthread_create(&other, NULL, free_huge_for_long, huge) == 0);
	while (!is_held_up)
		usleep(1000);
	REQUIRE(pthread_create(&third, NULL, let_go_on, NULL) == 0);
	void *p = lab_malloc(25 * MIB);
	cr_assert_not_null(p);
	pthread_join(third, NULL);
	pthread_join(other, NULL);
	lab_free(p);
}

/* So do blocks that were freed into the heap that a thread is inside of. */
Test(limit, others_inside_of_a_heap_are_waited_for)
{
	pthread_t other, third;

	limit_to(16 * MIB);
	real_map_at = lab_os.map_at;
	lab_os.map_at = map_late;
	REQUIRE(pthread_create(&other, NULL, allocate_for_long, NULL) == 0);
	while (!is_held_up)
		usleep(1000);
	for (int i = 0; i < 8; i++)
		lab_free(blocks_of_the_other[i]);
	REQUIRE(pthread_create(&third, NULL, let_go_on, NULL) == 0);
	void *p = lab_malloc(13 * MIB);
	cr_assert_not_null(p);
	pthread_join(third, NULL);
	pthread_join(other, NULL);
	lab_free(p);
}

static void (*real_wait)(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds);
static size_t waits_made;

static void
count_waits(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds)
{
	waits_made++;
	real_wait(word, value, milliseconds);
}

static unsigned told_gfp = 1;

static size_t
hold_up_hook(unsigned gfp)
{
	told_gfp = gfp;
	hold_up();
	return 0;
}

static void *
reclaim_for_long(void *unused)
{
	(void)unused;
	the_other = pthread_self();
	return lab_malloc(13 * MIB);
}

/* A call that must not do what hooks do for another thread's call does not wait for that thread: the hook may want a
 * lock that the caller has. And hooks hear of these bans alone. */
Test(limit, a_call_under_a_ban_does_not_wait_for_one_without)
{
	pthread_t other;

	limit_to(16 * MIB);
	for (int i = 0; i < 8; i++)
		blocks_of_the_other[i] = memset(lab_malloc(MIB), 1, MIB);
	REQUIRE(lab_limit_on_reclaim(hold_up_hook));
	REQUIRE(pthread_create(&other, NULL, reclaim_for_long, NULL) == 0);
	while (!is_held_up)
		usleep(1000);
	real_wait = lab_os.wait;
	lab_os.wait = count_waits;
	cr_assert_null(lab_alloc(13 * MIB, LAB_GFP_NOFS));
	cr_assert_eq(told_gfp, LAB_GFP_NOFS);
	cr_assert_null(lab_alloc(13 * MIB, LAB_GFP_NOIO));
	cr_assert_eq(told_gfp, LAB_GFP_NOIO);
	cr_assert_eq(waits_made, 0);
	may_go_on = true;
	pthread_join(other, NULL);
	cr_assert_null(lab_realloc(blocks_of_the_other[0], 13 * MIB, LAB_GFP_KERNEL));
	cr_assert_eq(told_gfp, LAB_GFP_KERNEL);
}

/* A thread that does not come back is waited for once, not by each call. */
Test(limit, what_does_not_end_is_not_waited_for_again)
{
	pthread_t other;

	limit_to(16 * MIB);
	for (int i = 0; i < 8; i++)
		blocks_of_the_other[i] = memset(lab_malloc(MIB), 1, MIB);
	real_purge = lab_os.purge;
	lab_os.purge = purge_late;
	REQUIRE(pthread_create(&other, NULL, purge_for_long, NULL) == 0);
	while (!is_held_up)
		usleep(1000);
	cr_assert_null(lab_malloc(13 * MIB));
	real_wait = lab_os.wait;
	lab_os.wait = count_waits;
	for (int i = 0; i < 100; i++)
		cr_assert_null(lab_malloc(13 * MIB));
	cr_assert_eq(waits_made, 0);
	may_go_on = true;
	pthread_join(other, NULL);
	cr_assert_not_null(lab_malloc(13 * MIB));
}

static void *
free_later_elsewhere(void *p)
{
	free_later(p);
	return NULL;
}

Test(limit, a_waiter_gets_its_own_blocks_that_others_free)
{
	pthread_t thread;
	size_t count;

	limit_to(16 * MIB);
	void **list = take_all(200000, &count), **next = *list;
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, A_LONG_TIME_MS));
	REQUIRE(pthread_create(&thread, NULL, free_later_elsewhere, list) == 0);
	void *p = lab_malloc(150000);
	cr_assert_not_null(p);
	pthread_join(thread, NULL);
	lab_free(p);
	free_list(next);
}

static void *to_free;

static void
free_instead_of_waiting(void)
{
	if (!to_free)
		return;
	lab_free(to_free);
	to_free = NULL;
	REQUIRE(!lab_load_rlx(&lab_limit_waiting)); /* who frees pages clears the flag, and wakes */
}

Test(limit, who_frees_pages_wakes)
{
	size_t count;

	limit_to(16 * MIB);
	void **list = take_all(60000, &count);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 1000));
	world_install();
	world.on_wait = free_instead_of_waiting;
	for (size_t size = 60000; size > 40000; size -= 10000) {
		to_free = list;
		list = *list;
		size_t before = world.waits;
		void **p = lab_malloc(size);
		cr_assert_not_null(p);
		cr_assert_eq(world.waits, before + 1);
		*p = list;
		list = p;
	}
	world.on_wait = NULL;
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0));
	free_list(list);
}

/* A huge block, and a run of another heap. */
Test(limit, who_frees_any_pages_wakes)
{
	static void *of[4];
	pthread_t thread;
	size_t count;

	limit_to(32 * MIB);
	REQUIRE(pthread_create(&thread, NULL, leave_blocks, of) == 0 && pthread_join(thread, NULL) == 0);
	world_install();
	world.deaths_are_set = true; /* it lives: its heap stays its own */
	for (int i = 0; i < 2; i++) {
		void *huge = lab_malloc(5 * MIB), **list = take_all(60000, &count);
		cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 15));
		world.on_wait = free_instead_of_waiting;
		to_free = i ? of[0] : huge;
		size_t before = world.waits;
		(void)!lab_malloc(MIB);
		cr_assert_gt(world.waits, before);
		cr_assert_null(to_free);
		cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0));
		world.on_wait = NULL;
		if (i)
			lab_free(huge);
		free_list(list);
	}
}

/* The same for small blocks, whose pages are freed when a span is empty. */
static char *small[5000];

static void
free_small_instead(void)
{
	for (int i = 0; i < 5000; i++) {
		lab_free(small[i]);
		small[i] = NULL;
	}
	REQUIRE(!lab_load_rlx(&lab_limit_waiting));
}

Test(limit, who_empties_spans_wakes_too)
{
	size_t count;

	limit_to(16 * MIB);
	for (int i = 0; i < 5000; i++)
		REQUIRE(small[i] = lab_malloc(1000));
	void **list = take_all(60000, &count);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 1000));
	world_install();
	world.on_wait = free_small_instead;
	void *p = lab_malloc(3 * MIB);
	cr_assert_not_null(p);
	lab_free(p);
	free_list(list);
}

/* ---- who never waits ------------------------------------------------------------------------------------------- */

static void
must_not_wait(void)
{
	REQUIRE(!"it waited");
}

Test(limit, atomic_nowait_and_reentrant_calls_never_wait)
{
	struct lab_guard outer = {.sp = (uintptr_t)__builtin_frame_address(0) + 256};
	size_t count;

	limit_to(16 * MIB);
	void **list = take_all(60000, &count), **rest = take_all(100, &count);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 86400000));
	world_install();
	world.on_wait = must_not_wait;
	cr_assert_null(lab_alloc(60000, LAB_GFP_NOWAIT));
	cr_assert_null(lab_alloc(100000, LAB_GFP_ATOMIC | LAB_GFP_NOWARN));
	void *slot = lab_alloc(100, LAB_GFP_ATOMIC);
	cr_assert(lab_reserve_contains(slot));
	lab_free(slot);
	cr_assert(lab_enter(&outer));
	cr_assert_null(lab_malloc(100000));
	slot = lab_malloc(30000);
	cr_assert(lab_reserve_contains(slot), "a handler's call gets a slot");
	lab_free(slot);
	lab_leave(&outer);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0));
	slot = lab_alloc(30000, LAB_GFP_HIGH);
	cr_assert(lab_reserve_contains(slot));
	lab_free(slot);
	free_list(list);
	free_list(rest);
}

/* ---- signals during the wait ----------------------------------------------------------------------------------- */

static sigjmp_buf back;
static volatile sig_atomic_t handled, jump_after;

static void
on_alarm(int number)
{
	(void)number;
	void *p = lab_malloc(20), *q = lab_alloc(100, LAB_GFP_ATOMIC);
	lab_free(p);
	lab_free(q);
	if (++handled == jump_after)
		siglongjmp(back, 1);
}

static void
start_alarms(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval timer = {{0, 500}, {0, 500}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void
stop_alarms(void)
{
	struct itimerval timer = {{0, 0}, {0, 0}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

Test(limit, handlers_may_allocate_in_the_wait_and_jump_out_of_it)
{
	size_t count;

	limit_to(16 * MIB);
	/* stays: so that handlers have blocks of that size without a page more, however long all this takes */
	void *kept = lab_malloc(20);
	void **volatile list = take_all(60000, &count);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 100));
	start_alarms();
	size_t calls = 0;
	for (; handled <= 10; calls++)
		cr_assert_null(lab_malloc(60000));
	cr_assert_eq(stats_now().waits, calls, "handlers do not wait in their turn");
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, A_LONG_TIME_MS));
	for (int i = 0; i < 20; i++) {
		jump_after = handled + 3;
		if (sigsetjmp(back, 1) == 0) {
			(void)!lab_malloc(60000);
			cr_assert_fail("it was left by a jump");
		}
	}
	jump_after = 0;
	stop_alarms();
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0));
	free_list(list);
	list = NULL;
	count = 0;
	for (void **p; (p = lab_malloc(60000)) != NULL;
	     count++) { /* on the level of the calls that were left, where they are known to be */
		*p = list;
		list = p;
	}
	cr_assert_geq(count * 60000, 14 * MIB, "nothing is lost");
	free_list(list);
	lab_free(kept);
	(void)lab_trim(0);
	cr_assert_eq(stats_now().blocks, 0);
}

/* What is written to stderr while blocks are taken until there are no more. */
static const char *
words_of_taking_all(unsigned gfp)
{
	static char words[600];
	int ends[2], saved = dup(2);
	size_t count = 0;
	void *list[1000], *p;

	REQUIRE(pipe(ends) == 0);
	dup2(ends[1], 2);
	while (count < 1000 && (p = lab_alloc(100000, gfp)) != NULL)
		list[count++] = p;
	dup2(saved, 2);
	close(saved);
	close(ends[1]);
	ssize_t got = read(ends[0], words, sizeof words - 1);
	words[got > 0 ? got : 0] = 0;
	close(ends[0]);
	REQUIRE(count > 0 && count < 1000);
	while (count > 0)
		lab_free(list[--count]);
	return words;
}

Test(limit, the_first_call_that_it_stops_is_told_of_in_one_line)
{
	limit_to(12 * MIB);
	cr_assert_str_empty(words_of_taking_all(LAB_GFP_NOWARN));
	cr_assert_str_empty(words_of_taking_all(LAB_GFP_NOWAIT));
	cr_assert_str_eq(words_of_taking_all(LAB_GFP_KERNEL),
	                 "labyrinth: the limit of 12.0 MiB is reached: calls reclaim, wait or fail from here on "
	                 "(LABYRINTH_LIMIT)\n");
	cr_assert_str_empty(words_of_taking_all(LAB_GFP_KERNEL), "once");
}

/* ---- where the limit comes from -------------------------------------------------------------------------------- */

static struct fake_file {
	const char *path, *text;
} files[8];

static size_t
read_fake(const char *path, char *buffer, size_t size)
{
	buffer[0] = 0;
	for (int i = 0; i < 8 && files[i].path; i++)
		if (strcmp(path, files[i].path) == 0) {
			(void)snprintf(buffer, size, "%s", files[i].text);
			return strlen(buffer);
		}
	return 0;
}

#define FAKE(...)                                                                                                      \
	do {                                                                                                           \
		memset(files, 0, sizeof files);                                                                        \
		memcpy(files, (struct fake_file[]){__VA_ARGS__}, sizeof((struct fake_file[]){__VA_ARGS__}));           \
	} while (0)

Test(limit, the_cgroups_least_limit_on_the_way_up)
{
	lab_os.read_file = read_fake;
	cr_assert_eq(lab_cgroup_limit(), SIZE_MAX, "no /proc");
	FAKE({"/proc/self/cgroup", "0::/a/b/c\n"}, {"/sys/fs/cgroup/a/b/c/memory.max", "max\n"},
	     {"/sys/fs/cgroup/a/b/memory.max", "123456789\n"}, {"/sys/fs/cgroup/a/memory.max", "200000000\n"});
	cr_assert_eq(lab_cgroup_limit(), 123456789);
	FAKE({"/proc/self/cgroup", "12:memory:/x\n3:cpu:/\n0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "200000000\n"},
	     {"/sys/fs/cgroup/memory.max", "100000000\n"}, {"/sys/fs/cgroup/x/memory.max", "5\n"});
	cr_assert_eq(lab_cgroup_limit(), 100000000);
	FAKE({"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", "70000000"});
	cr_assert_eq(lab_cgroup_limit(), 70000000, "in a cgroup namespace");
	FAKE({"/proc/self/cgroup", "0::/a"}, {"/sys/fs/cgroup/a/memory.max", "max\n"});
	cr_assert_eq(lab_cgroup_limit(), SIZE_MAX);
	FAKE({"/proc/self/cgroup", "12:memory:/x\n"}, {"/sys/fs/cgroup/x/memory.max", "5000000\n"});
	cr_assert_eq(lab_cgroup_limit(), SIZE_MAX);
	FAKE({"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "99999999999999999999999\n"});
	cr_assert_eq(lab_cgroup_limit(), SIZE_MAX);
	FAKE({"/proc/self/cgroup", "3:cpu:/a:memory:/y\n12:memory:/x/z\n0::/\n"},
	     {"/sys/fs/cgroup/memory/x/z/memory.limit_in_bytes", "9223372036854771712\n"},
	     {"/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "50000000\n"},
	     {"/sys/fs/cgroup/memory/y/memory.limit_in_bytes", "5\n"});
	cr_assert_eq(lab_cgroup_limit(), 50000000, "version 1");
	FAKE({"/proc/self/cgroup", "12:memory:/x\n"},
	     {"/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"});
	cr_assert_eq(lab_cgroup_limit(), SIZE_MAX, "version 1 without a limit");
}

Test(limit, the_environment)
{
	FAKE({"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "80000000\n"});
	lab_os.read_file = read_fake;
	setenv("LABYRINTH_LIMIT", "512M", 1);
	setenv("LABYRINTH_WAIT_MS", "250", 1);
	lab_config_read();
	cr_assert_eq(stats_now().limit, 512 * MIB);
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 250);
	setenv("LABYRINTH_LIMIT", "cgroup", 1);
	lab_config_read();
	cr_assert_eq(stats_now().limit, 72000000 / 4096 * 4096, "the rest is for what are no blocks");
	setenv("LABYRINTH_LIMIT", "50%", 1);
	lab_config_read();
	cr_assert_eq(stats_now().limit, 40000000 / 4096 * 4096);
	setenv("LABYRINTH_LIMIT", "none", 1);
	lab_config_read();
	cr_assert_eq(stats_now().limit, SIZE_MAX);
	setenv("LABYRINTH_LIMIT", "100%", 1);
	lab_config_read();
	setenv("LABYRINTH_LIMIT", "much", 1);
	setenv("LABYRINTH_WAIT_MS", "-1", 1);
	lab_config_read();
	cr_assert_eq(stats_now().limit, 80000000 / 4096 * 4096, "ignored");
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 250);
}

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

Test(limit, a_real_cgroup)
{
	static const char folder[] = "/sys/fs/cgroup/labyrinth-test";
	char path[128], pid[16];

	(void)snprintf(pid, sizeof pid, "%d", getpid());
	(void)snprintf(path, sizeof path, "%s/memory.max", folder);
	bool made = (mkdir(folder, 0755) == 0 || errno == EEXIST) && write_file(path, "123456512");
	(void)snprintf(path, sizeof path, "%s/cgroup.procs", folder);
	if (!made || !write_file(path, pid)) {
		(void)rmdir(folder);
		fprintf(stderr, "a_real_cgroup: not run: no cgroup v2 that can be written\n");
		cr_skip_test("no cgroup v2 that can be written");
	}
	cr_assert_eq(lab_cgroup_limit(), 123456512);
	(void)write_file("/sys/fs/cgroup/cgroup.procs", pid);
	(void)rmdir(folder);
}
