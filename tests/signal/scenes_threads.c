/* scenes_threads.c - remote frees, births, dead threads: see scenes.h. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "calls.h"
#include "scenes.h"

enum { REMOTE_BLOCKS = 150 };

struct exchange {
	struct block mine[REMOTE_BLOCKS], theirs[REMOTE_BLOCKS];
	size_t sizes;
};

static size_t
remote_size(size_t sizes, int i)
{
	return sizes == 0 ? 16 + (size_t)i % 60 * 16 : i % 10 ? sizes : 60 * KIB;
}

/* Frees the main thread's blocks, and leaves it some of its own. */
static void *
free_and_allocate(void *argument)
{
	struct exchange *exchange = argument;

	for (int i = 0; i < REMOTE_BLOCKS; i++) {
		free_block(&exchange->mine[i]);
		exchange->theirs[i] = new_block(remote_size(exchange->sizes, i));
	}
	return NULL;
}

/* SIGTRAP is not blocked in any thread; only the main one is stepped. */
static void
run_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, function, argument) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

/* Another thread frees the main one's blocks: they are drained under the stepper, and the dead thread's heap is taken
 * over. */
void
scene_remote_frees(void)
{
	static struct exchange exchange;

	for (int round = 0; round < 4; round++) {
		exchange.sizes = round % 2 ? 3000 : 0;
		for (int i = 0; i < REMOTE_BLOCKS; i++)
			exchange.mine[i] = new_block(remote_size(exchange.sizes, i));
		run_thread(free_and_allocate, &exchange);
		for (int i = 0; i < 12; i++)
			exchange.mine[i] = step_new(remote_size(exchange.sizes, i));
		struct block run = step_new(70 * KIB); /* a slow path: drains */
		step_free(&run);
		for (int i = 0; i < REMOTE_BLOCKS; i++) {
			if (i < 80)
				step_free(&exchange.theirs[i]);
			else
				free_block(&exchange.theirs[i]);
			free_block(&exchange.mine[i]);
		}
	}
}

static struct exchange background;
static bool background_stops;

static void *
free_all_the_time(void *unused)
{
	while (!__atomic_load_n(&background_stops, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < REMOTE_BLOCKS; i++) {
			unsigned char *p = __atomic_load_n(&background.mine[i].p, __ATOMIC_ACQUIRE);
			if (!p)
				continue;
			check_block(&background.mine[i]);
			__atomic_store_n(&background.mine[i].p, NULL, __ATOMIC_RELEASE);
			free(p);
			struct block own = new_block(200);
			free_block(&own);
		}
		sched_yield();
	}
	return unused;
}

/* The same at the same time: drains meet pushes. */
void
scene_remote_frees_at_the_same_time(void)
{
	pthread_t thread;

	background_stops = false;
	REQUIRE(pthread_create(&thread, NULL, free_all_the_time, NULL) == 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < REMOTE_BLOCKS; i += 3) {
			if (__atomic_load_n(&background.mine[i].p, __ATOMIC_ACQUIRE))
				continue;
			struct block block = i % 9 ? new_block(remote_size(0, i)) : step_new(i % 2 ? 900 : 50 * KIB);
			background.mine[i].size = block.size;
			background.mine[i].seed = block.seed;
			__atomic_store_n(&background.mine[i].p, block.p, __ATOMIC_RELEASE);
		}
	}
	__atomic_store_n(&background_stops, true, __ATOMIC_RELEASE);
	REQUIRE(pthread_join(thread, NULL) == 0);
	for (int i = 0; i < REMOTE_BLOCKS; i++)
		free_block(&background.mine[i]);
}

static pthread_barrier_t sleeps, wakes;

/* What it keeps: spans of which no block is used, and one with a block and pages that are dirty from before. */
static void *
use_and_sleep(void *unused)
{
	struct block run = new_block(200 * KIB), kept, blocks[20];

	free_block(&run);
	kept = new_block(48);
	for (size_t i = 0; i < 20; i++)
		blocks[i] = new_block(100 + 300 * i);
	for (size_t i = 0; i < 20; i++)
		free_block(&blocks[i]);
	(void)pthread_barrier_wait(&sleeps);
	(void)pthread_barrier_wait(&wakes);
	for (size_t i = 0; i < 20; i++)
		blocks[i] = new_block(100 + 300 * i);
	for (size_t i = 0; i < 20; i++)
		free_block(&blocks[i]);
	free_block(&kept);
	return unused;
}

/* A trim takes from a thread that sleeps what only its fast paths use. */
void
scene_sleeping_thread(void)
{
	pthread_t thread;

	REQUIRE(pthread_barrier_init(&sleeps, NULL, 2) == 0 && pthread_barrier_init(&wakes, NULL, 2) == 0);
	REQUIRE(pthread_create(&thread, NULL, use_and_sleep, NULL) == 0);
	(void)pthread_barrier_wait(&sleeps);
	step_trim();
	(void)pthread_barrier_wait(&wakes);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

static void *
first_call_of_thread(void *argument)
{
	size_t size = *(size_t *)argument;
	struct block block = step_new(size);

	step_free(&block);
	block = step_calloc(1, size);
	step_free(&block);
	return NULL;
}

static void *
first_free_of_thread(void *argument)
{
	step_free(argument);
	struct block block = step_new(100);
	step_free(&block);
	return NULL;
}

/* The first calls of a thread: its heap is made, or taken over from a dead thread. */
void
scene_births(void)
{
	size_t sizes[] = {100, 100, 20 * KIB, 200 * KIB, 5 * MIB};

	for (int i = 0; i < 5; i++)
		run_thread(first_call_of_thread, &sizes[i]);
	for (int i = 0; i < 3; i++) {
		struct block block = new_block(sizes[i + 1]);
		run_thread(first_free_of_thread, &block);
	}
}

static void *
die_with_blocks(void *argument)
{
	struct exchange *exchange = argument;

	for (int i = 0; i < REMOTE_BLOCKS; i++)
		exchange->theirs[i] = new_block(i % 30 == 0 ? 200 * KIB : remote_size(0, i));
	return NULL;
}

/* Slow paths that take over the heaps of several dead threads, which hold live blocks. */
void
scene_dead_threads(void)
{
	enum { THREADS = 4 };
	static struct exchange exchanges[THREADS];
	struct block blocks[6];

	for (int i = 0; i < THREADS; i++)
		run_thread(die_with_blocks, &exchanges[i]);
	for (int i = 0; i < 6; i++)
		blocks[i] = step_new(3 * MIB);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < REMOTE_BLOCKS; j++)
			(j % 8 ? free_block : step_free)(&exchanges[i].theirs[j]);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
}
