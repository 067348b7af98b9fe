/*
 * spawn.c - children that share this process's memory while its thread waits (G8): vfork, posix_spawn, clone with
 * CLONE_VM | CLONE_VFORK. Their malloc is their parent's heap; one that has no heap yet is not born with the child's
 * thread id, or the heap would be taken from it as a dead thread's. And one that is killed in the middle of malloc.
 *
 * Clauses: G8.6.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { TIMES = 150, BLOCKS = 100 };

static struct block kept[BLOCKS];
static size_t kept_count;

static void
wait_for(pid_t child, int expected)
{
	int status;

	REQUIRE(waitpid(child, &status, 0) == child);
	if (status != expected)
		fail("a child ended otherwise: status, expected", (uintptr_t)status, (uintptr_t)expected);
}

static void
use_heap(uint32_t random)
{
	struct block own[40] = {{0}};

	for (int i = 0; i < 200; i++) {
		struct block *block = &own[next_random(&random) % 40];
		free_block(block);
		*block = new_block(1 + next_random(&random) % (i % 20 == 0 ? 200000 : 2000));
	}
	for (int i = 0; i < 40; i++)
		free_block(&own[i]);
}

/* The parent's alarm waits for the child's end, as the parent does; and where the parent is killed the child is to end
 * as well. */
static void
watch_over_child(void)
{
	alarm(300);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* ---- a child on the parent's stack ----------------------------------------------------------------------------- */

/* What it allocates stays for the parent to free. */
static _Noreturn void
be_vforked(void)
{
	watch_over_child();
	if (kept_count < BLOCKS) {
		kept[kept_count] = new_block(100 + kept_count * 50);
		kept_count++;
	}
	free(malloc(300));
	free(malloc(100000));
	_exit(0);
}

static pid_t
vfork_once(void)
{
	pid_t child = vfork();

	if (child == 0)
		be_vforked();
	return child;
}

static void
vforks(void)
{
	struct lab_stats before = {0}, after = {0};

	use_heap(0);
	if (library_stats)
		library_stats(&before);
	for (unsigned i = 0; i < TIMES * scale; i++) {
		pid_t child = vfork_once();
		REQUIRE(child > 0);
		use_heap(i);
		wait_for(child, 0);
	}
	while (kept_count > 0)
		free_block(&kept[--kept_count]);
	if (library_stats)
		library_stats(&after);
	if (after.heaps > before.heaps)
		fail("heaps", before.heaps, after.heaps);
}

/* ---- a thread whose first malloc is its child's ---------------------------------------------------------------- */

static _Atomic bool stop_now;
static _Atomic unsigned ready;

static void *
vfork_before_malloc(void *unused)
{
	struct block mine[BLOCKS];
	pid_t child = vfork();

	if (child == 0) {
		free(malloc(100));
		free(malloc(2000));
		_exit(0);
	}
	wait_for(child, 0); /* its id is nobody's now */
	for (int i = 0; i < BLOCKS; i++)
		mine[i] = new_block(20 + (size_t)i * 13);
	ready++;
	for (uint32_t n = 0; !stop_now; n++)
		use_heap(n);
	for (int i = 0; i < BLOCKS; i++)
		free_block(&mine[i]);
	return unused;
}

/* Newborn threads look for heaps of dead ones. */
static void *
be_born(void *unused)
{
	for (uint32_t n = 0; n < 5; n++)
		use_heap(n);
	return unused;
}

static void
births(void)
{
	enum { OLD = 2, NEW = 40 };
	pthread_t old[OLD], new;

	for (unsigned round = 0; round < 10 * scale; round++) {
		stop_now = false;
		ready = 0;
		for (int i = 0; i < OLD; i++)
			REQUIRE(pthread_create(&old[i], NULL, vfork_before_malloc, NULL) == 0);
		while (ready < OLD)
			sched_yield();
		for (int i = 0; i < NEW; i++) {
			REQUIRE(pthread_create(&new, NULL, be_born, NULL) == 0);
			REQUIRE(pthread_join(new, NULL) == 0);
		}
		stop_now = true;
		for (int i = 0; i < OLD; i++)
			REQUIRE(pthread_join(old[i], NULL) == 0);
	}
}

/* ---- clone with a stack of its own, and the parent's TLS ------------------------------------------------------- */

static int
be_cloned(void *unused)
{
	(void)unused;
	watch_over_child();
	use_heap(9);
	return 0;
}

/* The child that is to be killed: {its number, from 1 on; its id}. The id alone could be that of the child before. */
static _Atomic uint64_t victim;

/* Sends the signal that ends a child, while this thread's parent waits for it. */
static void *
kill_victims(void *unused)
{
	uint32_t random = 1;
	uint64_t seen;

	for (unsigned i = 1; i <= TIMES * scale; i++) {
		while ((seen = victim) >> 32 != i)
			sched_yield();
		usleep(next_random(&random) % 300);
		REQUIRE(kill((pid_t)(uint32_t)seen, SIGKILL) == 0);
	}
	return unused;
}

static int
be_killed(void *number)
{
	watch_over_child();
	victim = (uint64_t)(uintptr_t)number << 32 | (uint32_t)syscall(SYS_gettid);
	for (uint32_t n = 0;; n++)
		free(malloc(1 + n % 3000));
	return 1;
}

static void
clones(void)
{
	enum { STACK = 256 * 1024 };
	static char stack[STACK] __attribute__((aligned(16)));
	pthread_t killer;

	for (unsigned i = 0; i < TIMES * scale; i++) {
		pid_t child = clone(be_cloned, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		REQUIRE(child > 0);
		use_heap(i);
		wait_for(child, 0);
	}
	current_scenario = "killed in malloc";
	REQUIRE(pthread_create(&killer, NULL, kill_victims, NULL) == 0);
	for (unsigned i = 1; i <= TIMES * scale; i++) {
		pid_t child = clone(be_killed, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)(uintptr_t)i);
		REQUIRE(child > 0);
		use_heap(i);
		wait_for(child, SIGKILL);
	}
	REQUIRE(pthread_join(killer, NULL) == 0);
}

/* ---- posix_spawn ----------------------------------------------------------------------------------------------- */

static void *
load(void *unused)
{
	for (uint32_t i = 0; !stop_now; i++)
		use_heap(i);
	return unused;
}

static void
spawns(void)
{
	extern char **environ;
	char name[] = "true";
	char *const arguments[] = {name, NULL};
	pthread_t thread;
	pid_t child;

	stop_now = false;
	REQUIRE(pthread_create(&thread, NULL, load, NULL) == 0);
	for (unsigned i = 0; i < TIMES / 3 * scale; i++) {
		posix_spawn_file_actions_t actions;
		REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
		REQUIRE(posix_spawn_file_actions_addopen(&actions, 5, "/dev/null", 0, 0) == 0);
		REQUIRE(posix_spawnp(&child, "true", &actions, NULL, arguments, environ) == 0);
		posix_spawn_file_actions_destroy(&actions);
		use_heap(i);
		wait_for(child, 0);
	}
	stop_now = true;
	REQUIRE(pthread_join(thread, NULL) == 0);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {{"vfork", vforks}, {"births", births}, {"clone", clones}, {"posix_spawn", spawns}};

	start_test(argc, argv, 600);
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
		if (!strstr(scenarios[i].name, only))
			continue;
		uint64_t from = now_ms();
		current_scenario = scenarios[i].name;
		scenarios[i].run();
		printf("%s: %llu ms\n", scenarios[i].name, (unsigned long long)(now_ms() - from));
	}
	return end_test();
}
