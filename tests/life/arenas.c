/*
 * arenas.c - a process with little address space, of which each part has to serve in turn: blocks larger than the first arena get one of their
 * own, which comes back when they are freed. Meanwhile others take figures and trim, are left by jumps out of handlers, and fork in them.
 *
 * It runs itself again under RLIMIT_AS, as that has to hold before the library's first reservation.
 *
 * Clauses: G10.5.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define MIB   ((size_t)1 << 20)
#define LIMIT (800 * MIB) /* the first arena has 64 MiB */

enum { JUMPS = 250, FORKS = 40, ROUNDS = 4000 };

/* A new block, of which few pages are touched. */
static unsigned char *
take(size_t size)
{
	unsigned char *p = malloc(size);

	if (!p)
		fail("NULL while there is memory: size", size, 0);
	for (size_t i = 0; i < size; i += 4 * MIB)
		p[i] = (unsigned char)(i / MIB);
	return p;
}

static void
give(unsigned char *p, size_t size)
{
	for (size_t i = 0; p && i < size; i += 4 * MIB)
		if (p[i] != (unsigned char)(i / MIB))
			fail("a block has changed: address, offset", (uintptr_t)p, i);
	free(p);
}

/* Blocks that cannot be there at the same time, nor in each other's arenas. */
static void
blocks_in_turn(void)
{
	static const size_t sizes[] = {200, 300, 150, 310, 70, 290};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		give(take(sizes[i] * MIB), sizes[i] * MIB);
}

/* Nothing is lost for good: once more all can be had, and what is idle goes back. */
static void
check_address_space(size_t before)
{
	size_t after;

	blocks_in_turn();
	for (int tries = 0; tries < 100; tries++) { /* a walker that was left is let go when it can be proved */
		(void)malloc_trim(0);
		if ((after = address_space()) <= before + 2 * MIB)
			return;
	}
	fail("address space was lost: bytes after, before", after, before);
}

static void
in_turn(void)
{
	for (unsigned i = 0; i < 100 * scale; i++)
		blocks_in_turn();
}

/* ---- while others look --------------------------------------------------------------------------------------------------------- */

static _Atomic bool stop_now;

static void
look(void)
{
	struct lab_stats stats;

	(void)mallinfo2();
	(void)malloc_trim(0);
	if (library_stats)
		library_stats(&stats);
}

static void *
look_all_the_time(void *unused)
{
	while (!stop_now)
		look();
	return unused;
}

static void *
take_and_give(void *unused)
{
	for (unsigned i = 0; i < ROUNDS * scale; i++)
		give(take((70 + i % 50) * MIB), (70 + i % 50) * MIB);
	return unused;
}

/* With a small stack: libc keeps the stacks of threads that have ended. */
static pthread_t
begin(void *(*act)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;

	REQUIRE(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 128 * 1024) == 0);
	REQUIRE(pthread_create(&thread, &attributes, act, NULL) == 0);
	(void)pthread_attr_destroy(&attributes);
	return thread;
}

static void
while_others_look(void)
{
	pthread_t lookers[2], takers[2];

	stop_now = false;
	for (int i = 0; i < 2; i++) {
		lookers[i] = begin(look_all_the_time);
		takers[i] = begin(take_and_give);
	}
	for (int i = 0; i < 2; i++)
		REQUIRE(pthread_join(takers[i], NULL) == 0);
	stop_now = true;
	for (int i = 0; i < 2; i++)
		REQUIRE(pthread_join(lookers[i], NULL) == 0);
}

/* ---- interrupted --------------------------------------------------------------------------------------------------------------- */

static sigjmp_buf target;
static volatile sig_atomic_t may_act;
static volatile unsigned forks;
static bool acts_by_jump;

static void
child_in_handler(void)
{
	alarm(200);
	free(malloc(100));
	blocks_in_turn();
	look();
}

static void
on_profile(int number)
{
	(void)number;
	if (!may_act)
		return;
	if (acts_by_jump) {
		may_act = false;
		siglongjmp(target, 1);
	}
	int saved = errno, status;
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		child_in_handler();
		return; /* into the walk that was interrupted */
	}
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child failed: status", (uintptr_t)status, 0);
	forks++;
	errno = saved;
}

static void
start_timer(long microseconds)
{
	struct itimerval timer = {{0, microseconds}, {0, microseconds}};

	REQUIRE(setitimer(ITIMER_PROF, &timer, NULL) == 0);
}

static unsigned char *coming;

static void
give_coming(void)
{
	give(coming, 90 * MIB);
	coming = NULL;
}

/* One arena comes and goes in each round; who looks is interrupted, as a jump out of the free may lose the block. */
static void
come_and_go(void)
{
	if (!coming) /* else a jump has left the first look */
		coming = take(90 * MIB);
	may_act = true;
	look();
	may_act = false;
	give_coming();
	may_act = true;
	look();
	may_act = false;
}

static void
left_by_jumps(void)
{
	volatile unsigned jumps = 0;

	acts_by_jump = true;
	start_timer(900);
	while (jumps < JUMPS * scale) {
		if (sigsetjmp(target, 1) == 0)
			come_and_go();
		else
			jumps++;
	}
	start_timer(0);
	give_coming();
}

static void
forks_in_walks(void)
{
	pid_t self = getpid();

	acts_by_jump = false;
	start_timer(700);
	while (forks < FORKS * scale) {
		come_and_go();
		if (getpid() != self) {
			come_and_go();
			_exit(0);
		}
	}
	start_timer(0);
}

/* ---- */

static const struct scenario {
	const char *name;
	void (*run)(void);
} scenarios[] = {
        {"in turn", in_turn},
        {"while others look", while_others_look},
        {"forks in walks", forks_in_walks},
        {"left by jumps", left_by_jumps},
};

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_profile, .sa_flags = SA_RESTART};

	run_again_limited(LIMIT, argv);
	start_test(argc, argv, 600);
	REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
	(void)malloc_trim(0);
	size_t before = address_space();
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
		if (!strstr(scenarios[i].name, only))
			continue;
		current_scenario = scenarios[i].name;
		scenarios[i].run();
		check_address_space(before);
		printf("%s: %zu MiB of address space\n", scenarios[i].name, address_space() / MIB);
	}
	return end_test();
}
