/*
 * many_threads.h - what the threaded programs share: threads that start together, and a kernel whose word on dead
 * threads ThreadSanitizer can follow.
 *
 * A thread that ended handed its heap over through the kernel: whoever learns by tkill that it is dead sees all that it
 * wrote. TSan knows nothing of that. So each thread's last act here is a release on one counter, and the hook on
 * thread_is_dead acquires it when the kernel says "dead". That is weaker than the truth, and needs no suppression.
 */
#ifndef LAB_TESTS_UNIT_MANY_THREADS_H
#define LAB_TESTS_UNIT_MANY_THREADS_H

#include <pthread.h>
#include <sched.h>

#include "base/atomic.h"
#include "os/os.h"
#include "trace.h"

static _Atomic unsigned threads_ended;
static bool (*threads_kernel)(uint32_t tid);

static bool
threads_thread_is_dead(uint32_t tid)
{
	bool dead = threads_kernel(tid);

	if (dead)
		(void)atomic_load_explicit(&threads_ended, memory_order_acquire);
	return dead;
}

static inline void
threads_watch_deaths(void)
{
	threads_kernel = lab_os.thread_is_dead;
	lab_os.thread_is_dead = threads_thread_is_dead;
}

struct threads_member {
	pthread_t thread;
	void (*act)(size_t number);
	size_t number;
};

static void *
threads_start(void *of)
{
	struct threads_member *member = of;

	member->act(member->number);
	atomic_fetch_add_explicit(&threads_ended, 1, memory_order_release);
	return NULL;
}

static inline void
threads_begin(struct threads_member *member, void (*act)(size_t number), size_t number)
{
	member->act = act;
	member->number = number;
	REQUIRE(pthread_create(&member->thread, NULL, threads_start, member) == 0);
}

static inline void
threads_join(struct threads_member *member)
{
	REQUIRE(pthread_join(member->thread, NULL) == 0);
}

/* `count` threads at once; returns when all have ended. */
static inline void
threads_run(void (*act)(size_t number), size_t count)
{
	struct threads_member members[16];

	REQUIRE(count <= 16);
	for (size_t i = 0; i < count; i++)
		threads_begin(&members[i], act, i);
	for (size_t i = 0; i < count; i++)
		threads_join(&members[i]);
}

/* The pattern that the command line names. */
struct threads_pattern {
	const char *name;
	void (*run)(void);
};

static inline int
threads_main(int argc, char **argv, const struct threads_pattern *patterns, size_t count)
{
	bool found = false;

	threads_watch_deaths();
	for (size_t i = 0; i < count; i++)
		if (argc < 2 || strcmp(argv[1], patterns[i].name) == 0) {
			patterns[i].run();
			printf("%s: ok\n", patterns[i].name);
			found = true;
		}
	return found ? 0 : 2;
}

#endif
