/*
 * crowd.h - what the threaded programs share: a crowd of threads that start together, and a kernel whose word on dead
 * threads ThreadSanitizer can follow.
 *
 * A thread that ended handed its heap over through the kernel: whoever learns by tkill that it is dead sees all that it
 * wrote. TSan knows nothing of that. So each thread's last act here is a release on one counter, and the hook on
 * thread_is_dead acquires it when the kernel says "dead". That is weaker than the truth, and needs no suppression.
 */
#ifndef LAB_TESTS_UNIT_CROWD_H
#define LAB_TESTS_UNIT_CROWD_H

#include <pthread.h>
#include <sched.h>

#include "base/atomic.h"
#include "os/os.h"
#include "trace.h"

static _Atomic unsigned crowd_ended;
static bool (*crowd_kernel)(uint32_t tid);

static bool
crowd_thread_is_dead(uint32_t tid)
{
	bool dead = crowd_kernel(tid);

	if (dead)
		(void)atomic_load_explicit(&crowd_ended, memory_order_acquire);
	return dead;
}

static inline void
crowd_watch_deaths(void)
{
	crowd_kernel = lab_os.thread_is_dead;
	lab_os.thread_is_dead = crowd_thread_is_dead;
}

struct crowd_member {
	pthread_t thread;
	void (*act)(size_t number);
	size_t number;
};

static void *
crowd_start(void *of)
{
	struct crowd_member *member = of;

	member->act(member->number);
	atomic_fetch_add_explicit(&crowd_ended, 1, memory_order_release);
	return NULL;
}

static inline void
crowd_begin(struct crowd_member *member, void (*act)(size_t number), size_t number)
{
	member->act = act;
	member->number = number;
	REQUIRE(pthread_create(&member->thread, NULL, crowd_start, member) == 0);
}

static inline void
crowd_join(struct crowd_member *member)
{
	REQUIRE(pthread_join(member->thread, NULL) == 0);
}

/* `count` threads at once; returns when all have ended. */
static inline void
crowd_run(void (*act)(size_t number), size_t count)
{
	struct crowd_member members[16];

	REQUIRE(count <= 16);
	for (size_t i = 0; i < count; i++)
		crowd_begin(&members[i], act, i);
	for (size_t i = 0; i < count; i++)
		crowd_join(&members[i]);
}

/* The pattern that the command line names. */
struct crowd_pattern {
	const char *name;
	void (*run)(void);
};

static inline int
crowd_main(int argc, char **argv, const struct crowd_pattern *patterns, size_t count)
{
	bool found = false;

	crowd_watch_deaths();
	for (size_t i = 0; i < count; i++)
		if (argc < 2 || strcmp(argv[1], patterns[i].name) == 0) {
			patterns[i].run();
			printf("%s: ok\n", patterns[i].name);
			found = true;
		}
	return found ? 0 : 2;
}

#endif
