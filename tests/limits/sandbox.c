/*
 * sandbox.c - a filter as servers install it, that allows what glibc's malloc needs and kills at any other call, put on
 * when threads have ended and others live: the program goes on allocating, and what the ended threads held is taken
 * over.
 *
 * Clauses: G8.9.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"
#include "load.h"
#include "process.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

enum { ENDED = 4, BLOCKS = 2000, BLOCK = 5000, ROUNDS = 6 };

static const int allowed[] = {
        SYS_brk,   SYS_mmap,          SYS_munmap, SYS_mremap,         SYS_madvise,      SYS_mprotect,
        SYS_futex, SYS_clock_gettime, SYS_write,  SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid,
        SYS_exit,  SYS_exit_group,    SYS_openat, SYS_read,           SYS_close,        SYS_newfstatat,
};

static void *left[ENDED][BLOCKS];
static pthread_barrier_t ready;

static void *
fill(void *blocks)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		((void **)blocks)[i] = malloc(BLOCK);
		REQUIRE(((void **)blocks)[i]);
		memset(((void **)blocks)[i], 1, BLOCK);
	}
	return NULL;
}

static void *
live_on(void *unused)
{
	free(malloc(BLOCK));
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&ready); /* nobody else comes; unlike pause it is a futex */
	return unused;
}

static void
put_on_filter(void)
{
	if (!filter_allow((struct filter_range){0, 0}, allowed, LENGTH(allowed))) {
		fputs("not run: no seccomp filter can be installed here\n", stderr);
		_exit(SKIPPED);
	}
}

/* Allocation of all sizes, while the ended threads' blocks are freed: their heaps are taken over, or the blocks would
 * be on nobody's list. */
static void
go_on(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		load_blocks(round);
		for (size_t i = 0; i < ENDED; i++)
			for (size_t j = round; j < BLOCKS; j += ROUNDS)
				free(left[i][j]);
		load_moves();
	}
	(void)malloc_trim(0);
}

static void
with_ended(void *living)
{
	pthread_t thread;
	struct lab_stats before = {0}, after = {0};

	if (living) {
		REQUIRE(pthread_barrier_init(&ready, NULL, 2) == 0);
		REQUIRE(pthread_create(&thread, NULL, live_on, NULL) == 0);
		pthread_barrier_wait(&ready);
	}
	for (size_t i = 0; i < ENDED; i++) {
		REQUIRE(pthread_create(&thread, NULL, fill, left[i]) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
	}
	library_stats(&before);
	put_on_filter();
	go_on();
	library_stats(&after);
	REQUIRE(after.adopted > before.adopted);
	_exit(0);
}

int
main(int argc, char **argv)
{
	static char living;

	load_start(argc, argv, 60);
	REQUIRE(library_stats);
	current_scenario = "ended threads";
	if (!process_in_child(with_ended, NULL))
		return SKIPPED;
	current_scenario = "ended threads, and one that lives";
	(void)process_in_child(with_ended, &living);
	return end_test();
}
