/*
 * sharing.c - threads that write to small blocks of their own again and again: do two of them share a cache line?
 *
 * Active false sharing: the allocator gives neighbouring blocks to different threads (--passive 0). Passive: one
 * thread has allocated neighbouring blocks and hands one to each other thread, which frees it and allocates one of
 * the same size (--passive 1): an allocator that gives the same block back keeps the line shared for good. The time
 * is that of the writes; where lines are shared it is several times as long, on machines whose processors have
 * caches of their own.
 */
#include "bench.h"

#include <pthread.h>

#define MOST 64

static uint64_t ops = 3000;
static uint64_t threads = 2;
static uint64_t writes = 50000;
static uint64_t size = 16;
static uint64_t passive = 0;

static const struct bench_option options[] = {
        {"ops", &ops, 20, 1, BENCH_MAX_OPS, "blocks that each thread allocates, one after the other"},
        {"threads", &threads, 2, 1, MOST, "threads"},
        {"writes", &writes, 1000, 1, BENCH_MAX_OPS, "writes to each block"},
        {"size", &size, 16, BENCH_MIN_BLOCK, BENCH_MIB, "bytes of a block"},
        {"passive", &passive, 0, 0, 1, "1: the first blocks are one thread's"},
};

struct worker {
	pthread_t thread;
	void *given; /* --passive: a block of the main thread's; or NULL */
	uint64_t sum;
};

static void *
work(void *argument)
{
	struct worker *worker = argument;
	uint64_t sum = 0;
	free(worker->given);
	for (uint64_t op = 0; op < ops; op++) {
		volatile uint64_t *word = bench_malloc(size);
		*word = 0;
		for (uint64_t i = 0; i < writes; i++)
			*word = *word + 1;
		sum += *word;
		free((void *)word);
	}
	worker->sum = sum;
	return NULL;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "threads write to small blocks of their own", options, BENCH_COUNT(options));
	double start = bench_seconds();
	static struct worker workers[MOST];
	uint64_t sum = 0;
	for (uint64_t i = 0; i < threads && passive; i++)
		workers[i].given = bench_malloc(size);
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			bench_fail("cannot start thread %" PRIu64, i);
	for (uint64_t i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].sum;
	}
	bench_report(threads * ops, start, sum);
	return 0;
}
