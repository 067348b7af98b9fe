/*
 * first_alloc.c - allocation in handlers at both ends of a thread's life: the first allocation that a thread ever makes
 * is made in a handler, and handlers hit threads between their first instruction and the time after their last
 * destructor. (single_step.c interrupts every instruction of a first malloc.)
 *
 * Clauses: G2.3.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

enum { AT_ONCE = 4, ROUNDS = 150, HEAPS_MAX = 64 };

/* ---- the first allocation is a handler's ----------------------------------------------------------------------- */

static _Thread_local struct block from_handler;
static _Thread_local volatile sig_atomic_t handled;
static size_t first_size;

static void
allocate_in_handler(int number)
{
	int saved = errno;

	(void)number;
	from_handler = new_block(first_size);
	struct block other = new_block(first_size / 2 + 1);
	free_block(&other);
	handled = 1;
	errno = saved;
}

static void *
wait_for_handler(void *argument)
{
	sem_post(argument);
	while (!handled)
		;
	struct block mine = new_block(first_size);
	free_block(&from_handler);
	free_block(&mine);
	return NULL;
}

/* Frees a block of another thread before it has allocated. */
static void *
wait_and_free(void *argument)
{
	struct block *block = argument;

	while (!handled)
		;
	free_block(block);
	free_block(&from_handler);
	return NULL;
}

static void
first_in_handler(void)
{
	static const size_t sizes[] = {1, 100, 5000, 30000, 100 << 10, 5 << 20};
	pthread_t thread;
	sem_t started;

	signal(SIGUSR1, allocate_in_handler);
	REQUIRE(sem_init(&started, 0, 0) == 0);
	for (size_t i = 0; i < 6 * 20; i++) {
		first_size = sizes[i % 6];
		REQUIRE(pthread_create(&thread, NULL, wait_for_handler, &started) == 0);
		while (sem_wait(&started) != 0)
			;
		REQUIRE(pthread_kill(thread, SIGUSR1) == 0 && pthread_join(thread, NULL) == 0);

		struct block block = new_block(first_size);
		REQUIRE(pthread_create(&thread, NULL, wait_and_free, &block) == 0);
		REQUIRE(pthread_kill(thread, SIGUSR1) == 0 && pthread_join(thread, NULL) == 0);
		REQUIRE(block.p == NULL);
	}
}

/* ---- a storm on threads that are born and die ------------------------------------------------------------------ */

/* Where in its life a thread is. */
enum stage { BEFORE, INSIDE, DESTRUCTORS, AFTER, STAGES };

static _Thread_local volatile enum stage stage;
static _Thread_local volatile int destructor_rounds;
static _Atomic size_t hits[STAGES];
static _Atomic(struct block *) shelf[32];
static pthread_key_t key;

/* Frees what somebody has left, and leaves something. */
static void
leave_block(size_t size, unsigned place)
{
	struct block *note = malloc(sizeof *note);

	REQUIRE(note != NULL);
	*note = new_block(size);
	note = atomic_exchange(&shelf[place % 32], note);
	if (note) {
		free_block(note);
		free(note);
	}
}

static void
on_storm(int number)
{
	static _Atomic unsigned count;
	unsigned n = count++;
	int saved = errno;

	(void)number;
	hits[stage]++;
	struct block block = new_block(n % 50 == 0 ? 90000 : 30 + n % 1500);
	leave_block(20 + n % 3000, n);
	free_block(&block);
	errno = saved;
}

static void
destructor(void *value)
{
	struct block *block = value;

	stage = DESTRUCTORS;
	free_block(block);
	leave_block(100, (unsigned)destructor_rounds);
	if (++destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		*block = new_block(700);
		pthread_setspecific(key, block);
	} else {
		free(block);
		stage = AFTER;
	}
}

static void *
short_life(void *argument)
{
	uint32_t random = (uint32_t)(uintptr_t)argument;

	stage = INSIDE;
	if (random % 3 == 0)
		return NULL; /* has never allocated but in handlers */
	struct block *block = malloc(sizeof *block);
	REQUIRE(block != NULL);
	*block = new_block(random % 2000);
	pthread_setspecific(key, block);
	for (int i = 0; i < 60; i++) {
		uint32_t n = next_random(&random);
		struct block other = new_block(1 + n % 3000);
		leave_block(n % 700, n >> 10);
		free_block(&other);
	}
	return NULL;
}

static _Atomic bool stop_now;
static _Atomic size_t sent;

/* To the process: the kernel picks a thread that has not blocked it, which only the short-lived ones have not. */
static void *
send_signals(void *unused)
{
	while (!stop_now) {
		for (int i = 0; i < 4; i++, sent++)
			kill(getpid(), i % 2 ? SIGUSR2 : SIGRTMIN);
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	return unused;
}

static void
storm_on_short_lives(void)
{
	pthread_t sender, threads[AT_ONCE];
	sigset_t set;

	signal(SIGUSR2, on_storm);
	signal(SIGRTMIN, on_storm);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	REQUIRE(pthread_key_create(&key, destructor) == 0);
	REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	REQUIRE(pthread_create(&sender, NULL, send_signals, NULL) == 0);
	for (uintptr_t round = 0; round < ROUNDS * scale; round++) {
		/* a thread inherits the mask: it is born with the signals open */
		REQUIRE(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
		for (uintptr_t i = 0; i < AT_ONCE; i++)
			REQUIRE(pthread_create(&threads[i], NULL, short_life, (void *)(round * AT_ONCE + i)) == 0);
		REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
		for (int i = 0; i < AT_ONCE; i++)
			REQUIRE(pthread_join(threads[i], NULL) == 0);
	}
	stop_now = true;
	REQUIRE(pthread_join(sender, NULL) == 0);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGRTMIN, SIG_IGN);
	REQUIRE(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
	printf("%zu signals to %zu threads; handled %zu before the thread's function, %zu in it, %zu in destructors, "
	       "%zu after the "
	       "last\n",
	       (size_t)sent, (size_t)(ROUNDS * scale * AT_ONCE), (size_t)hits[BEFORE], (size_t)hits[INSIDE],
	       (size_t)hits[DESTRUCTORS], (size_t)hits[AFTER]);
	REQUIRE(hits[INSIDE] > 0);
}

static void
check_figures(void)
{
	struct lab_stats stats;

	for (int i = 0; i < 32; i++) {
		struct block *note = atomic_exchange(&shelf[i], NULL);
		if (note) {
			free_block(note);
			free(note);
		}
	}
	if (!library_stats)
		return;
	library_stats(&stats);
	if (stats.heaps > HEAPS_MAX)
		fail("heaps grow with the threads that have lived", stats.heaps, HEAPS_MAX);
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 300);
	current_scenario = "the first allocation is a handler's";
	first_in_handler();
	current_scenario = "a storm on short-lived threads";
	storm_on_short_lives();
	check_figures();
	return end_test();
}
