/*
 * traced.c - the program that the tools look at (tools.py): every function, every size, threads that die, other
 * threads' blocks, a fork, a handler that allocates, memory that goes back. It says "malloc is the drop-in's" or
 * "malloc is another" at its end.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "boot.h"

enum { BLOCKS = 2000, THREADS = 8 };

static void *blocks[BLOCKS];
static char *kept; /* memcheck looks for pointers to blocks in memory */

static void
handler(int signal)
{
	(void)signal;
	free(malloc(300));
}

static void *
thread(void *argument)
{
	for (int i = 0; i < BLOCKS; i += 2) {
		free(blocks[i]);
		blocks[i] = malloc((size_t)i * 3);
	}
	boot_free(boot_allocate());
	return argument;
}

static void
allocate_in_threads(void)
{
	pthread_t other;

	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_create(&other, NULL, thread, NULL) == 0);
		CHECK(pthread_join(other, NULL) == 0);
	}
}

static void
grow(void)
{
	char *block = malloc(1 << 20);

	for (size_t size = 1 << 20; size <= 64 << 20; size *= 2) {
		CHECK((block = realloc(block, size)) != NULL);
		memset(block + size / 2, 'g', size / 2);
	}
	free(block);
}

int
main(int argc, char **argv)
{
	bool forks = argc < 2 || strcmp(argv[1], "alone") != 0;

	kept = malloc(1);

	boot_any_malloc = !lab_owns || !lab_owns(kept);
	free(kept);
	kept = boot_allocate();
	CHECK(signal(SIGUSR1, handler) != SIG_ERR);
	for (int i = 0; i < BLOCKS; i++)
		CHECK((blocks[i] = malloc((size_t)i * 3)) != NULL);
	CHECK(raise(SIGUSR1) == 0);
	allocate_in_threads();
	grow();
	malloc_trim(0);
	pid_t child = forks ? fork() : -1;
	if (child == 0) {
		allocate_in_threads();
		_exit(0);
	}
	CHECK(!forks || boot_child_succeeded(child));
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	boot_free(kept);
	free(reallocarray(reallocarray(NULL, 10, 10), 100, 100));
	free(pvalloc(5000));
	CHECK(puts(boot_any_malloc ? "malloc is another" : "malloc is the drop-in's") >= 0);
	return 0;
}
