/* threads.c - threads that are born, die and leave blocks behind; children of fork. One at a time, so that calls come
 * in the same order. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { THREADS = 3, LEFT = 40, KEPT = 20 };

static struct kept left[LEFT], kept[KEPT];

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *
live(void *tid)
{
	struct kept own[20] = {{0}};

	for (int i = 0; i < 20; i++)
		kept_malloc(&own[i], (size_t)(i + 1) * 700);
	for (int i = 0; i < LEFT; i++) {
		kept_free(&left[i]); /* of the thread before */
		if (i % 2)
			kept_malloc(&left[i], (size_t)1 << i % 19);
		else
			kept_calloc(&left[i], (size_t)i * 1000);
	}
	kept_free(&left[0]);
	kept_malloc(&left[0], 5 * MIB);
	for (int i = 0; i < 20; i++)
		kept_free(&own[i]);
	*(pid_t *)tid = gettid();
	return NULL;
}

/* pthread_join returns a moment before the kernel says that there is no such thread. */
static void
wait_for_death(pid_t tid)
{
	while (syscall(SYS_tkill, tid, 0) == 0)
		(void)sched_yield();
}

static void
free_left(void)
{
	for (int i = 0; i < LEFT; i++)
		kept_free(&left[i]);
}

static void
threads(void)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		pid_t tid = 0;
		REQUIRE(pthread_create(&thread, NULL, live, &tid) == 0 && pthread_join(thread, NULL) == 0);
		wait_for_death(tid);
		if (i % 2)
			free_left();
	}
	free_left();
	kept_malloc(&kept[0], 3 * MIB); /* now or then the dead are found */
	kept_free(&kept[0]);
}

/* ---- fork ------------------------------------------------------------------------------------------------------ */

static void
fill_kept(void)
{
	for (int i = 0; i < KEPT; i++)
		kept_malloc(&kept[i], (size_t)i * 1717);
	kept_realloc(&kept[1], 6 * MIB, LAB_GFP_KERNEL);
	kept_realloc(&kept[2], 70 * KIB, LAB_GFP_EXCLUSIVE);
}

static void
free_kept(void)
{
	for (int i = 0; i < KEPT; i++)
		kept_free(&kept[i]);
}

/* Everything that the parent had is there; what is freed and allocated anew is zero where it has to be. */
static void
be_child(void)
{
	struct kept own[10] = {{0}}, huge = {0};

	for (int i = 0; i < KEPT; i++)
		kept_check(&kept[i]);
	kept_calloc(&huge, 5 * MIB); /* where the parent had freed one */
	kept_free(&huge);
	for (int i = 0; i < 10; i++)
		kept_calloc(&own[i], (size_t)(i + 1) * 9000);
	if (own[0].p)
		REQUIRE_EQUAL(lab_owner(own[0].p), gettid()); /* it knows that it is a child */
	free_kept();
	fill_kept();
	for (int i = 0; i < 10; i++)
		kept_realloc(&own[i], (size_t)(10 - i) * 20 * KIB, LAB_GFP_ZERO);
	for (int i = 0; i < 10; i++)
		kept_free(&own[i]);
	free_kept();
	(void)lab_trim(0);
}

static void
run_child(void)
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		be_child();
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE_EQUAL(status, 0);
}

static void
forks(void)
{
	fill_kept();
	run_child();
	for (int i = 0; i < KEPT; i++)
		kept_check(&kept[i]);
	free_kept();
	run_child(); /* of a parent whose segments are free, and dirty */
}

/* The child of a process that has idle and dead heaps, and one whose first allocation is the child's. */
static void
forks_among_threads(void)
{
	pthread_t thread;
	pid_t tid = 0;

	run_child();
	REQUIRE(pthread_create(&thread, NULL, live, &tid) == 0 && pthread_join(thread, NULL) == 0);
	wait_for_death(tid);
	fill_kept();
	run_child();
	free_kept();
	free_left();
}

static const struct fault_workload workloads[] = {
        {"threads", NULL, threads, false, false},
        {"forks", NULL, forks, false, false},
        {"forks_among_threads", NULL, forks_among_threads, false, false},
        {"forks_of_program", NULL, forks, true, false},
};

const struct fault_group fault_threads = FAULT_GROUP("threads", workloads);
