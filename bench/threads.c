/*
 * threads.c - several threads, each of which churns blocks of its own.
 *
 * Nothing is shared but the allocator: what a thread loses against `churn` is what the allocator makes it lose (locks,
 * shared counters, blocks of two threads in one cache line). Run it with --threads 1, 2, 4, … for a scaling curve; the
 * work is --ops for each thread, so that perfect scaling is a constant time while there are cores.
 */
#include "bench.h"

#include <pthread.h>

static uint64_t ops = 30000000;
static uint64_t threads = 2;
static uint64_t live = 2000;
static uint64_t min_size = 16;
static uint64_t max_size = 512;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 1000000, 1, BENCH_MAX_OPS, "blocks that each thread replaces"},
        {"threads", &threads, 2, 1, 1024, "threads"},
        {"live", &live, 2000, 1, BENCH_MAX_BLOCK, "blocks in each thread's window"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 512, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

struct worker {
	pthread_t thread;
	uint64_t state; /* of the random numbers */
	uint64_t sum;   /* written once, when the thread ends */
};

static void *
churn(void *argument)
{
	struct worker *worker = argument;
	uint64_t state = worker->state, sum = 0;
	struct bench_slot *slots = bench_slots_new(live);
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &slots[bench_scale_high(random, live)];
		sum += bench_slot_empty(slot);
		bench_slot_fill(slot, bench_scale_low(random, min_size, max_size), random);
	}
	worker->sum = sum + bench_slots_free(slots, live);
	return NULL;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "threads churn blocks of their own", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	struct worker *workers = bench_malloc(threads * sizeof(*workers));
	for (uint64_t i = 0; i < threads; i++) {
		workers[i].state = seed + i * UINT64_C(0x100000001);
		if (pthread_create(&workers[i].thread, NULL, churn, &workers[i]) != 0)
			bench_fail("cannot start thread %" PRIu64, i);
	}
	uint64_t sum = 0;
	for (uint64_t i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].sum;
	}
	free(workers);
	bench_report(threads * ops, start, sum);
	return 0;
}
