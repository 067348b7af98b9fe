/*
 * segments.c - piles of blocks come and go, each under a limit of the address space that no two have room in: what one
 * has used is given back to the system for the next, whose blocks are of other sizes. Meanwhile others take figures and
 * trim, are left by jumps out of handlers, and fork in them.
 *
 * It runs itself again under RLIMIT_AS, so that what is not given back is missed.
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
#define LIMIT (400 * MIB) /* of which the program's own are about 100 */

enum { JUMPS = 250, FORKS = 40, ROUNDS = 400, PILE = 200 * MIB, KEPT = 6 /* segments: each heap may keep one */ };

/* Blocks of one size, linked; of each few pages are touched. */
struct pile {
	struct pile *next;
	size_t number;
};

static struct pile *
take(size_t block, size_t total)
{
	struct pile *pile = NULL;

	for (size_t i = 0; i < total / block; i++) {
		struct pile *p = malloc(block);
		if (!p)
			fail("NULL while there is memory: size, number", block, i);
		p->next = pile;
		p->number = i;
		((unsigned char *)p)[block - 1] = (unsigned char)i;
		pile = p;
	}
	return pile;
}

static void
give(struct pile *pile, size_t block, size_t total)
{
	for (size_t i = total / block; i-- > 0;) {
		struct pile *next = pile->next;
		if (pile->number != i || ((unsigned char *)pile)[block - 1] != (unsigned char)i)
			fail("a block has changed: address, number", (uintptr_t)pile, i);
		free(pile);
		pile = next;
	}
}

/* In segments of every size: none of these piles has room beside another, nor fits into holes of its kind. */
static void
blocks_in_turn(void)
{
	static const size_t sizes[] = {3 * MIB, 16 * 1024, 500 * 1024, 100, 2 * MIB, 40 * 1024, MIB};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t total = sizes[i] < 1024 ? PILE / 20 : PILE;
		give(take(sizes[i], total), sizes[i], total);
	}
}

/* Nothing is lost for good: once more all can be had, and what is nobody's goes back, but for a segment that the heap
 * keeps. */
static void
check_address_space(size_t before)
{
	size_t after;

	blocks_in_turn();
	for (int tries = 0; tries < 100; tries++) { /* a purger that was left is let go when that can be proved */
		(void)malloc_trim(0);
		if ((after = address_space()) <= before + KEPT * 4 * MIB)
			return;
	}
	fail("address space was lost: bytes after, before", after, before);
}

static void
in_turn(void)
{
	for (unsigned i = 0; i < 5 * scale; i++)
		blocks_in_turn();
}

/* ---- while others look ----------------------------------------------------------------------------------------- */

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
	for (unsigned i = 0; i < ROUNDS * scale; i++) {
		size_t block = 20000 + i % 50 * 30000;
		give(take(block, PILE / 4), block, PILE / 4);
	}
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

/* ---- interrupted ----------------------------------------------------------------------------------------------- */

static sigjmp_buf target;
static volatile sig_atomic_t may_act;
static volatile unsigned forks;
static bool acts_by_jump;

static void
child_in_handler(void)
{
	alarm(200);
	free(malloc(100));
	give(take(MIB, PILE / 8), MIB, PILE / 8);
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
		return; /* into the call that was interrupted */
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

static struct pile *coming;

static void
give_coming(void)
{
	if (!coming)
		return;
	give(coming, MIB, 20 * MIB);
	coming = NULL;
}

/* A pile comes and goes in each round; who looks, and unmaps, is interrupted: a jump out of a free may lose the
 * block. */
static void
come_and_go(void)
{
	if (!coming) /* else a jump has left the first look */
		coming = take(MIB, 20 * MIB);
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
forks_in_looks(void)
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
        {"forks in looks", forks_in_looks},
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
