/*
 * fixture.c - a process with known blocks, which tool.py looks into. Started under the drop-in; it says "ready" and
 * what is to be known of it, and stays until its standard input ends.
 *
 * Clauses: G12.3.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "labyrinth/labyrinth.h"

#pragma weak lab_stats_get_sized
#pragma weak lab_alloc
#pragma weak lab_cache_create
#pragma weak lab_cache_alloc
#pragma weak lab_cache_free
#pragma weak lab_cache_destroy

enum {
	BLOCKS = 1000,
	SPAN = 65536,
};

static void *kept[1 << 16];
static size_t kept_count;
static volatile int done;

static void *
keep(size_t size)
{
	void *block = malloc(size);

	if (!block)
		abort();
	memset(block, 1, size);
	kept[kept_count++] = block;
	return block;
}

static void
wait_for_the_end(const char *what)
{
	char byte;

	printf(*what ? "ready %s\n" : "ready%s\n", what);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* A thousand blocks of 100 bytes; three of 100 KiB; one of 16 MiB. */
static void
blocks(void)
{
	for (int i = 0; i < BLOCKS; i++)
		keep(100);
	for (int i = 0; i < 3; i++)
		keep(100 * 1024);
	keep((size_t)16 << 20);
	wait_for_the_end("");
}

/* Ten spans of blocks of 2048 bytes, in each of which the first block alone survives. */
static void
pinned(void)
{
	const size_t a_span = SPAN / 2048, all = 14 * a_span;
	uintptr_t last = 0;
	unsigned survivors = 0;
	char text[64];

	for (size_t i = 0; i < all; i++)
		keep(2000);
	for (size_t i = 0; i < all; i++) {
		uintptr_t span = (uintptr_t)kept[i] / SPAN;
		if (span != last && survivors < 10)
			survivors++;
		else
			free(kept[i]);
		last = span;
	}
	snprintf(text, sizeof text, "%u", survivors);
	wait_for_the_end(text);
}

/* A full span, one with a single block left, a run, a huge block, and what is none of the heap's. */
static void
pointers(void)
{
	static int not_ours;
	char text[256];
	void *full = NULL, *lone = NULL;

	for (int i = 0; i < 64; i++)
		keep(2000);
	for (int i = 0; i < 64 && !full; i++) {
		unsigned same = 0;
		for (int j = 0; j < 64; j++)
			same += (uintptr_t)kept[j] / SPAN == (uintptr_t)kept[i] / SPAN;
		if (same == SPAN / 2048)
			full = kept[i];
	}
	for (int i = 0; i < 128; i++)
		keep(4000);
	for (int i = 64; i < 192; i++)
		if (!lone && (uintptr_t)kept[i] / SPAN != (uintptr_t)kept[64] / SPAN)
			lone = kept[i];
		else if (lone)
			free(kept[i]);
	void *run = keep(200 * 1024), *huge = keep((size_t)8 << 20);
	snprintf(text, sizeof text, "%p %p %p %p %p", full, lone, run, huge, (void *)&not_ours);
	wait_for_the_end(text);
}

static void *volatile by_main; /* a block that the handler frees */

static void
on_timer(int signal)
{
	void *block = by_main;

	(void)signal;
	by_main = NULL;
	free(block);
	free(malloc(64));
	(void)done; /* so that no call is the last thing that is done */
}

/* Says "ready" twice; in between there come 500 blocks of 100 bytes, and a huge one. */
static void
grow(void)
{
	char byte;

	for (int i = 0; i < 100; i++)
		keep(100);
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) != 1)
		return;
	for (int i = 0; i < 500; i++)
		keep(100);
	keep((size_t)16 << 20);
	wait_for_the_end("");
}

/* Calls in a handler that interrupted another call: until the library has counted some. */
static void
handlers(void)
{
	struct lab_stats stats = {0};
	struct itimerval fast = {{0, 50}, {0, 50}}, none = {0};
	char text[64];

	signal(SIGALRM, on_timer);
	setitimer(ITIMER_REAL, &fast, NULL);
	while (stats.reentrant < 5) {
		for (int i = 0; i < 10000; i++) {
			if (!by_main)
				by_main = malloc(100);
			free(malloc(40000));
		}
		lab_stats_get(&stats);
	}
	setitimer(ITIMER_REAL, &none, NULL);
	lab_stats_get(&stats);
	snprintf(text, sizeof text, "%zu", stats.reentrant);
	wait_for_the_end(text);
}

static void *
churn(void *seed)
{
	unsigned state = (unsigned)(uintptr_t)seed;
	void *mine[512] = {0};

	while (!done) {
		unsigned i = (state = state * 1664525u + 1013904223u) >> 23;
		free(mine[i]);
		mine[i] = malloc((state >> 8) % 37 ? (state >> 8) % 3000 : (state >> 8) % (5u << 20) / 4 * (state % 5));
	}
	for (unsigned i = 0; i < 512; i++)
		free(mine[i]);
	return NULL;
}

/* Heaps and segments that change all the time. */
static void
storm(void)
{
	pthread_t threads[2];

	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, churn, (void *)(i + 10));
	wait_for_the_end("");
	done = 1;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

static void *
make(void *out)
{
	void **made = out;

	for (int i = 0; i < 300; i++)
		made[i] = malloc(48);
	return NULL;
}

/* 300 blocks of a thread that has ended, freed by another one; and an atomic block. */
static void
others(void)
{
	void *made[300];
	pthread_t thread;

	pthread_create(&thread, NULL, make, made);
	pthread_join(thread, NULL);
	for (int i = 0; i < 300; i++)
		free(made[i]);
	kept[0] = lab_alloc(1000, LAB_GFP_ATOMIC);
	wait_for_the_end("");
}

/* Two typed caches, and one that was destroyed: 70 of 100 objects are left in the first; the second, whose name is no
 * word, has an object in the reserve. */
static void
caches(void)
{
	struct lab_cache *things = lab_cache_create("things", 300, 0, NULL),
	                 *gone = lab_cache_create("gone", 10, 0, NULL);
	struct lab_cache *other = lab_cache_create("other \"things\"", 64, 64, NULL);

	for (int i = 0; i < 100; i++)
		kept[i] = lab_cache_alloc(things, LAB_GFP_KERNEL);
	for (int i = 0; i < 30; i++)
		lab_cache_free(things, kept[i]);
	kept[0] = lab_cache_alloc(other, LAB_GFP_ATOMIC);
	if (!kept[0] || !lab_cache_destroy(gone))
		abort();
	wait_for_the_end("");
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenes[] = {
	        {"blocks", blocks},     {"pinned", pinned}, {"pointers", pointers}, {"grow", grow},
	        {"handlers", handlers}, {"storm", storm},   {"others", others},     {"caches", caches},
	};

	for (unsigned i = 0; argc > 1 && i < sizeof scenes / sizeof *scenes; i++)
		if (strcmp(argv[1], scenes[i].name) == 0) {
			scenes[i].run();
			return argc > 2 ? atoi(argv[2]) : 0;
		}
	return 99;
}
