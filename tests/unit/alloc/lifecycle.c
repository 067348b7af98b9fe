/*
 * lifecycle.c - fork, with and without other threads: the child allocates, frees what it inherited, and forks again.
 *
 * Clauses: G8.11.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/lifecycle.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "heap/visitor.h"
#include "heap_check.h"
#include "os/os.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

static struct trace_block blocks[400];
static struct trace trace = {{1}, blocks, 400, 13, 23, 20, false};

/* Runs `act` in a child; true if that ended well. */
static bool
in_child(void (*act)(void))
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		act();
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
go_on(void)
{
	trace_check_all(&trace);
	trace_run(&trace, 3000);
	trace_free_all(&trace);
	REQUIRE(heap_check(lab_thread.heap).used == 0);
}

static void
go_on_and_fork_again(void)
{
	trace_run(&trace, 500);
	REQUIRE(in_child(go_on));
	go_on();
}

Test(lifecycle, a_child_goes_on_with_its_heap)
{
	cr_assert(in_child(go_on), "before the first allocation");
	trace_run(&trace, 3000);
	uint32_t heaps = lab_registry_count();
	cr_assert(in_child(go_on));
	cr_assert(in_child(go_on_and_fork_again));
	trace_check_all(&trace); /* nothing of it is seen here */
	trace_free_all(&trace);
	cr_assert_eq(lab_registry_count(), heaps);
}

/* ---- other threads, in the middle of whatever they do ---- */

static _Atomic bool stop;
static _Atomic(void *) from_others[64];

static void *
allocate_all_the_time(void *number)
{
	static struct trace_block theirs[4][200];
	uintptr_t n = (uintptr_t)number;
	struct trace own = {{n + 10}, theirs[n], 200, 12, 18, 30, false};

	while (!atomic_load(&stop)) {
		trace_run(&own, 50);
		void *old = atomic_exchange(&from_others[trace_below(&own.random, 64)], lab_malloc(100));
		lab_free(old);
	}
	trace_free_all(&own);
	return NULL;
}

static void
use_what_others_left(void)
{
	uint32_t frozen = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		if (lab_heap_state_is_owned(lab_registry_state(id)))
			REQUIRE(lab_registry_tid(id) == lab_os_tid());
		frozen += lab_registry_state(id) == LAB_HEAP_FROZEN;
	}
	REQUIRE(frozen >= 1);
	for (int i = 0; i < 64; i++)
		lab_free(atomic_load(&from_others[i])); /* kept, nothing is allocated from their heaps */
	trace_check_all(&trace);
	trace_run(&trace, 2000);
	trace_free_all(&trace);
}

Test(lifecycle, a_child_of_a_process_with_busy_threads)
{
	pthread_t threads[2];

	trace_run(&trace, 2000);
	for (uintptr_t i = 0; i < 2; i++)
		REQUIRE(pthread_create(&threads[i], NULL, allocate_all_the_time, (void *)i) == 0);
	while (!atomic_load(&from_others[5]) || !atomic_load(&from_others[50]))
		usleep(100);
	for (int i = 0; i < 30; i++)
		cr_assert(in_child(use_what_others_left));
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	trace_check_all(&trace);
	trace_free_all(&trace);
}

/* A child forked while this thread is inside its heap, as by a handler that interrupted malloc. */
static struct lab_guard guard;

static void
go_on_inside(void)
{
	static struct trace_block mine[50];
	struct trace own = {{4}, mine, 50, 12, 18, 30, false};

	REQUIRE(lab_thread.word == guard.sp);
	trace_run(&own, 1000);
	lab_leave(&guard);
	trace_run(&own, 1000);
	trace_free_all(&own);
	go_on();
}

Test(lifecycle, a_child_forked_inside_the_heap)
{
	trace_run(&trace, 1000);
	guard.sp = (uintptr_t)__builtin_frame_address(0) + 64;
	cr_assert(lab_enter(&guard));
	cr_assert(in_child(go_on_inside));
	lab_leave(&guard);
	go_on();
}

/* ---- what the forking thread holds is the child's ---- */

static void *
leave_a_heap(void *into)
{
	for (int i = 0; i < 64; i++)
		((void **)into)[i] = lab_malloc(2000);
	return NULL;
}

/* An idle heap with blocks in it, as a handler's call leaves it. */
static void *
block_of_an_idle_heap(void)
{
	struct lab_guard outer = {.sp = (uintptr_t)__builtin_frame_address(0) + 64};

	REQUIRE(lab_enter(&outer));
	void *p = lab_malloc(3000);
	lab_leave(&outer);
	return p;
}

static void *in_idle, *of_dead[64];

static uint32_t
count_holds(enum lab_heap_state hold)
{
	uint32_t count = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		count += lab_registry_state(id) == hold;
	return count;
}

static void
have_what_was_idle(void)
{
	uint32_t idle = lab_map_find(in_idle).heap_id;

	REQUIRE(count_holds(LAB_HEAP_FROZEN) == 0);
	REQUIRE(lab_registry_state(idle) == LAB_HEAP_IDLE);
	lab_free(in_idle);
	REQUIRE(lab_map_find(block_of_an_idle_heap()).heap_id == idle); /* it is borrowed again */
}

Test(lifecycle, idle_heaps_with_memory_are_the_childs)
{
	trace_run(&trace, 100);
	in_idle = block_of_an_idle_heap();
	uint32_t heaps = lab_registry_count(), idle = lab_map_find(in_idle).heap_id;
	REQUIRE(idle != lab_thread.heap->id);
	for (int i = 0; i < 20; i++)
		cr_assert(in_child(have_what_was_idle));
	cr_assert_eq(lab_registry_count(), heaps);
	cr_assert_eq(count_holds(LAB_HEAP_IDLE), heaps - 1, "all that was held is idle again, in the parent too");
	cr_assert_eq(lab_registry_state(idle), LAB_HEAP_IDLE);
	trace_free_all(&trace);
}

static void
have_what_the_dead_had(void)
{
	REQUIRE(count_holds(LAB_HEAP_CURRENT) == 1 && count_holds(LAB_HEAP_HELD) == 0);
	for (int i = 0; i < 64; i++) {
		REQUIRE(lab_map_find(of_dead[i]).heap_id == lab_thread.heap->id);
		lab_free(of_dead[i]);
	}
	heap_check(lab_thread.heap);
}

Test(lifecycle, heaps_of_the_dead_are_the_childs)
{
	pthread_t thread;

	trace_run(&trace, 100);
	REQUIRE(pthread_create(&thread, NULL, leave_a_heap, of_dead) == 0);
	pthread_join(thread, NULL);
	uint32_t tid = (uint32_t)lab_owner(of_dead[0]);
	while (!lab_os.thread_is_dead(tid)) /* the kernel may say for a while that it lives */
		usleep(100);
	cr_assert(in_child(have_what_the_dead_had));
	trace_free_all(&trace);
}

/* ---- runs of frozen heaps go back, and their segments ---- */

static void *runs[30];

static void *
keep_runs(void *unused)
{
	for (int i = 0; i < 30; i++)
		runs[i] = lab_malloc(400000);
	atomic_store(&from_others[0], runs[0]);
	while (!atomic_load(&stop))
		usleep(100);
	return unused;
}

static void
free_runs(void)
{
	struct lab_place first = lab_map_find(runs[0]);
	uint32_t heap = first.heap_id;

	REQUIRE(lab_registry_state(heap) == LAB_HEAP_FROZEN);
	for (int i = 0; i < 30; i++)
		lab_free(runs[i]);
	uint64_t owner;
	for (size_t index = 0; lab_space_next(&index, &owner) != NULL;)
		REQUIRE(lab_owner_state(owner) == LAB_SLOT_EMPTY || lab_owner_heap(owner) != heap);
	trace_run(&trace, 3000);
	trace_free_all(&trace);
}

Test(lifecycle, runs_of_frozen_heaps_are_freed_in_the_child)
{
	pthread_t thread;

	trace_run(&trace, 100);
	REQUIRE(pthread_create(&thread, NULL, keep_runs, NULL) == 0);
	while (!atomic_load(&from_others[0]))
		usleep(100);
	cr_assert(in_child(free_runs));
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

/* A child of vfork has another process id and this memory. */
static uint32_t seen_outside;

static void *
vfork_unborn(void *unused)
{
	pid_t child = vfork();

	if (child == 0) {
		seen_outside = lab_registry_in_shared_memory_child();
		lab_free(lab_malloc(100));
		_exit(lab_thread.heap == NULL && lab_thread.word == 0 ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	REQUIRE(status == 0 && seen_outside == 1);
	lab_thread.word = (uintptr_t)__builtin_frame_address(0) + 64; /* a handler in the middle of the birth */
	lab_free(lab_malloc(100));
	REQUIRE(lab_thread.tid == lab_os_tid() && lab_thread.heap == NULL);
	lab_thread.word = 0;
	lab_free(lab_malloc(100));
	REQUIRE(lab_thread.tid == lab_os_tid());
	REQUIRE(lab_registry_tid(lab_thread.heap->id) == lab_os_tid());
	return unused;
}

Test(lifecycle, nobody_is_born_in_a_child_of_vfork)
{
	pthread_t thread;

	trace_run(&trace, 10);
	cr_assert(!lab_registry_in_shared_memory_child());
	REQUIRE(pthread_create(&thread, NULL, vfork_unborn, NULL) == 0);
	pthread_join(thread, NULL);
	trace_free_all(&trace);
}

/* ---- a child whose first hook, before ours, allocates and makes a thread ---- */

static bool hook_begins, hook_allocates;
static _Atomic int step; /* 1: the thread has a heap; 2: the child is settled */
static uint32_t heap_of_thread;
static pthread_t of_hook;

static void *
live_in_child(void *unused)
{
	(void)unused;
	void *p = lab_malloc(100);
	heap_of_thread = lab_thread.heap->id;
	atomic_store(&step, 1);
	while (atomic_load(&step) != 2)
		usleep(100);
	lab_free(p);
	return NULL;
}

static void
first_hook(void)
{
	if (!hook_begins)
		return;
	if (hook_allocates) /* which settles the child */
		lab_free(lab_calloc(1, 100000));
	REQUIRE(pthread_create(&of_hook, NULL, live_in_child, NULL) == 0);
	while (atomic_load(&step) != 1)
		usleep(100);
}

/* Before the library's own constructor: hooks in the child run in the order in which they were given. */
__attribute__((constructor(101))) static void
give_first_hook(void)
{
	REQUIRE(pthread_atfork(NULL, NULL, first_hook) == 0);
}

static void
see_that_the_thread_kept_its_heap(void)
{
	REQUIRE(atomic_load(&step) == 1);
	enum lab_heap_state hold = lab_registry_state(heap_of_thread);
	atomic_store(&step, 2);
	pthread_join(of_hook, NULL);
	REQUIRE(hold == LAB_HEAP_CURRENT);
}

Test(lifecycle, a_hook_that_comes_first_may_begin_threads)
{
	lab_free(lab_malloc(10));
	hook_begins = true;
	cr_assert(in_child(see_that_the_thread_kept_its_heap));
	hook_allocates = true;
	cr_assert(in_child(see_that_the_thread_kept_its_heap));
}

/* INV-VISIT-4. */
enum { TID = 0x12345, VISITS = 5 };

static size_t naps;

static void
visit_a_little_longer(void)
{
	if (++naps == VISITS)
		lab_store_rlx(&lab_thread.heap->visitor, 0);
}

Test(lifecycle, a_fork_waits_for_a_visitor_but_not_for_ever)
{
	world_install();
	world.deaths_are_set = true;
	world.on_wait = visit_a_little_longer;
	lab_free(lab_malloc(1));
	lab_store_rlx(&lab_thread.heap->visitor, lab_lease_make(77, TID, LAB_VISIT_BY_OTHER));
	lab_before_fork();
	cr_assert_eq(naps, VISITS);
	cr_assert(lab_thread.heap->forks, "its lease is held over the fork");
	lab_after_fork_in_parent();
	cr_assert(!lab_thread.heap->forks);
	lab_store_rlx(&lab_thread.heap->visitor, lab_lease_make(77, TID, LAB_VISIT_BY_OTHER));
	lab_before_fork();
	cr_assert(!lab_thread.heap->forks);
	size_t waited = naps;
	cr_assert_gt(waited, VISITS + 20);
	lab_before_fork();
	cr_assert_eq(naps, waited, "once in vain is enough");
	lab_store_rlx(&lab_thread.heap->visitor, lab_lease_make(0, 0, LAB_VISIT_ENDLESS));
	lab_before_fork();
	cr_assert_eq(naps, waited);
	lab_store_rlx(&lab_thread.heap->visitor, 0);
	lab_after_fork_in_parent();
	(void)heap_check(lab_thread.heap);
}
