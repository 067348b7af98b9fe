/*
 * checked.c - the memory limit with the profiles `debug` and `secure`, which keep freed blocks for a while: they count,
 * and go before a call fails. NULL is for what does not fit beside the blocks that are in use.
 *
 * Clauses: G9.9.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define MIB ((size_t)1 << 20)

enum { HELD = 48, ROUNDS = 400, THREADS = 3 };

/* Of a limit of 64 MiB 48 are in use. */
static void *held[HELD];

static void
use_and_free(size_t size)
{
	unsigned char *p = malloc(size);

	REQUIRE(p != NULL);
	memset(p, 1, size);
	free(p);
}

static void
one_size_after_another(void)
{
	static const size_t sizes[] = {MIB, 40, 300000, 20000, 5 * MIB, 2000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (int round = 0; round < ROUNDS; round++)
			use_and_free(sizes[i]);
}

static void *
one_size(void *unused)
{
	for (int round = 0; round < ROUNDS; round++)
		use_and_free(600000);
	return unused;
}

static void
threads_at_once(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, one_size, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 600);
	for (int i = 0; i < HELD; i++) {
		held[i] = malloc(MIB - 8192);
		REQUIRE(held[i] != NULL);
		memset(held[i], 2, MIB - 8192);
	}
	REQUIRE(malloc(40 * MIB) == NULL);
	one_size_after_another();
	threads_at_once();
	return end_test();
}
