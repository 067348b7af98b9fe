/*
 * fork_early.c - forks in .preinit_array, before the library's constructor has told libc about its fork hooks, and in a
 * constructor: the child goes on through the rest of the start, and both run main.
 *
 * Run by itself as "orphan": the parent ends at once, in .preinit_array. The child's heap was made by a thread that is
 * dead now; unless the child has noticed by itself that it is one, its new threads take that heap over, and two threads
 * write it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "boot.h"

enum { THREADS = 4 };

static char *before[2];
static pid_t children[2];

static void
fork_at(int stage)
{
	before[stage] = boot_allocate();
	children[stage] = fork();
	CHECK(children[stage] >= 0);
	if (children[stage] == 0)
		children[0] = 0; /* a sibling, for the child of the second fork */
	boot_free(boot_allocate());
}

static void
preinit(int argc, char **argv, char **environment)
{
	pid_t parent = getpid();

	(void)argv, (void)environment;
	if (argc == 1) {
		fork_at(0);
		return;
	}
	before[0] = boot_allocate();
	if (fork() != 0)
		_exit(0);
	while (kill(parent, 0) == 0) /* until somebody has waited for it */
		usleep(1000);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(int, char **, char **) = preinit;

static bool is_orphan;

__attribute__((constructor)) static void
constructor(int argc, char **argv)
{
	(void)argv;
	is_orphan = argc > 1;
	if (!is_orphan)
		fork_at(1);
}

static int
orphan(int to)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, boot_write_blocks, (void *)i) == 0);
	boot_write_blocks((void *)THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	boot_free(before[0]);
	CHECK(write(to, "well", 4) == 4);
	return 0;
}

static bool
orphan_is_well(void)
{
	char number[16], verdict[8];
	int ends[2];

	CHECK(pipe(ends) == 0);
	CHECK(snprintf(number, sizeof number, "%d", ends[1]) > 0);
	pid_t child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "orphan", number, (char *)NULL);
		_exit(1);
	}
	close(ends[1]);
	CHECK(boot_child_succeeded(child));
	return read(ends[0], verdict, sizeof verdict) == 4; /* nothing, if it crashes */
}

int
main(int argc, char **argv)
{
	if (is_orphan)
		return orphan(atoi(argv[1]));
	CHECK(lab_owns && lab_owns(before[0]) && lab_owns(before[1]) && argc == 1);
	boot_free(before[0]);
	boot_free(before[1]);
	boot_free(boot_allocate());
	bool is_first = true;
	for (int stage = 1; stage >= 0; stage--) {
		CHECK(children[stage] == 0 || boot_child_succeeded(children[stage]));
		is_first &= children[stage] != 0;
	}
	CHECK(!is_first || orphan_is_well());
	return 0;
}
