/*
 * shared_limit.c - threads under one memory limit that all of them cannot have their fill of: the limit holds (but for
 * what is under way), waits end, and nobody starves. For TSan.
 *
 * Clauses: G9.3.
 */
#include <stdatomic.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "many_threads.h"
#include "page/charge.h"

#define LIMIT ((size_t)12 << 20)

enum { THREADS = 4, ROUNDS = 1000, HELD = 40 };

static _Atomic size_t got, refused, most;

static void
look(void)
{
	size_t now = lab_charge_count(), before = most;

	while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
		;
}

/* Each wants up to 40 blocks of up to 256 KiB at once: more than there is. */
static void
want(size_t number)
{
	struct trace_random random = {number + 1};
	char *held[HELD] = {0};

	for (int i = 0; i < ROUNDS; i++) {
		char **p = &held[trace_below(&random, HELD)];
		size_t size = 4096 + trace_below(&random, i % 50 ? 400000 : 6 << 20);
		if (*p) {
			lab_free(*p);
			*p = NULL;
		} else if ((*p = lab_malloc(size)) != NULL) {
			(*p)[0] = (*p)[size - 1] = 1;
			got++;
		} else {
			char **other = &held[trace_below(&random, HELD)];
			refused++;
			lab_free(*other); /* to let others on */
			*other = NULL;
		}
		look();
	}
	for (int j = 0; j < HELD; j++)
		lab_free(held[j]);
}

static void
share(void)
{
	REQUIRE(lab_set_param(LAB_PARAM_LIMIT, LIMIT) && lab_set_param(LAB_PARAM_WAIT_MS, 5));
	threads_run(want, THREADS);
	struct lab_stats stats;
	lab_stats_get(&stats);
	printf("%zu blocks, %zu refused, %zu waits, at most %zu of %zu pages\n", (size_t)got, (size_t)refused,
	       stats.waits, (size_t)most, LIMIT / 4096);
	REQUIRE(got > ROUNDS && stats.waits > 0);
	/* pages that a thread has taken, and gives back as they are too many, count while it does */
	REQUIRE(most <= LIMIT / 4096 + THREADS * ((6 << 20) + 400000) / 4096);
	char *p = lab_malloc(LIMIT - ((size_t)8 << 20));
	REQUIRE(p);
	lab_free(p);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {{"share", share}};

	return threads_main(argc, argv, patterns, 1);
}
