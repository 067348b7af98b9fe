/* lifecycle.c - fork, with and without other threads: the child allocates, frees what it inherited, and forks again. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/registry.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "os/os.h"
#include "trace.h"

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
		if (lab_registry_hold(id) == LAB_HOLD_OWNED)
			REQUIRE(lab_registry_tid(id) == lab_os_tid());
		frozen += lab_registry_hold(id) == LAB_HOLD_FROZEN;
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
static struct lab_bracket bracket;

static void
go_on_inside(void)
{
	static struct trace_block mine[50];
	struct trace own = {{4}, mine, 50, 12, 18, 30, false};

	REQUIRE(lab_thread.word == bracket.sp);
	trace_run(&own, 1000);
	lab_leave(&bracket);
	trace_run(&own, 1000);
	trace_free_all(&own);
	go_on();
}

Test(lifecycle, a_child_forked_inside_the_heap)
{
	trace_run(&trace, 1000);
	bracket.sp = (uintptr_t)__builtin_frame_address(0) + 64;
	cr_assert(lab_enter(&bracket));
	cr_assert(in_child(go_on_inside));
	lab_leave(&bracket);
	go_on();
}
