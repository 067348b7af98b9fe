/*
 * thread_end.c - a handler that interrupts the frees which libc makes for a thread after its last destructor: of the
 * second level of its thread-specific values, and of the buffer of strerror_l. At each of their instructions, one
 * thread each.
 *
 * Clauses: G2.3, G8.1.
 */
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "breakpoints.h"
#include "jump_calls.h"
#include "learn.h"
#include "stepper.h"

enum { KEYS = 40, THREADS = 300, HEAPS_MAX = 16 }; /* from the 32nd key on, values are kept in blocks */

static pthread_key_t keys[KEYS];
static _Thread_local volatile bool is_after; /* the last destructor */
static _Thread_local int rounds;
static uint32_t at;
static size_t hits;

static bool
hook(uint32_t offset)
{
	if (!is_after)
		return false;
	struct block small = new_block(512), large = new_block(50 * KIB);
	free_block(&small);
	free_block(&large);
	hits++;
	step_count_distinct(offset);
	return false;
}

static void
destructor(void *value)
{
	struct block *block = value;

	free_block(block);
	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		*block = new_block(90);
		pthread_setspecific(keys[KEYS - 1], block);
		return;
	}
	free(block);
	is_after = true;
	break_arm(at);
}

static void *
life(void *unused)
{
	struct block *block = malloc(sizeof *block);

	REQUIRE(block != NULL);
	*block = new_block(90);
	REQUIRE(strerror_l(12345, newlocale(LC_ALL_MASK, "C", NULL)) != NULL);
	REQUIRE(pthread_setspecific(keys[KEYS - 1], block) == 0);
	return unused;
}

int
main(int argc, char **argv)
{
	static const int learned_from[] = {1, 0, 16}; /* frees of one's own and of others' */
	pthread_t thread;

	start_test(argc, argv, 300);
	current_scenario = "libc's frees at the end of a thread";
	start_helper();
	step_start(learn_hook, 0);
	break_start(hook, 0);
	for (int i = 0; i < KEYS; i++)
		REQUIRE(pthread_key_create(&keys[i], destructor) == 0);
	for (int i = 0; i < 3; i++)
		learn_call(&calls[learned_from[i]]);
	for (unsigned i = 0; i < THREADS * scale; i++) {
		at = learned_offset(&calls[learned_from[i % 8 == 7 ? 2 : 0]]);
		REQUIRE(pthread_create(&thread, NULL, life, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
		break_disarm(at);
	}
	printf("%zu frees after the last destructor of %u threads were interrupted, at %zu distinct instructions\n",
	       hits, THREADS * scale, step_figures().distinct);
	REQUIRE(hits > THREADS / 4);
	if (library_stats) {
		struct lab_stats stats;
		library_stats(&stats);
		if (stats.heaps > HEAPS_MAX)
			fail("heaps grow with the threads that have lived", stats.heaps, HEAPS_MAX);
	}
	return end_test();
}
