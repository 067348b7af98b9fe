/*
 * births.c - threads that are born, allocate a little and end, some at a time.
 *
 * A thread a request, as many servers have: what an allocator sets up for a thread, and takes down, is paid each time.
 * Peak RSS shows what the ended threads leave.
 */
#include "bench.h"

#include <pthread.h>

static uint64_t ops = 20000;
static uint64_t threads = 10;
static uint64_t blocks = 1;
static uint64_t size = 128;

static const struct bench_option options[] = {
        {"ops", &ops, 500, 1, BENCH_MAX_OPS, "threads in all"},
        {"threads", &threads, 10, 1, 256, "threads at a time"},
        {"blocks", &blocks, 1, 1, BENCH_MAX_BLOCK, "blocks that each allocates and frees"},
        {"size", &size, 128, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "bytes of each"},
};

/* The argument is the thread's number, its result the sum of its keys. */
static void *
live(void *argument)
{
	uint64_t number = (uintptr_t)argument, sum = 0;
	struct bench_slot *slots = bench_slots_new(blocks);
	for (uint64_t i = 0; i < blocks; i++)
		bench_slot_fill(&slots[i], size, number * blocks + i + 1);
	sum = bench_slots_free(slots, blocks);
	return (void *)(uintptr_t)sum; /* NOLINT(performance-no-int-to-ptr) */
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "threads are born, allocate a little and end", options, BENCH_COUNT(options));
	double start = bench_seconds();
	pthread_t running[256];
	uint64_t sum = 0;
	for (uint64_t born = 0; born < ops;) {
		uint64_t now = threads < ops - born ? threads : ops - born;
		for (uint64_t i = 0; i < now; i++)
			if (pthread_create(&running[i], NULL, live, (void *)(uintptr_t)(born + i)) != 0) /* NOLINT */
				bench_fail("cannot start thread %" PRIu64, born + i);
		for (uint64_t i = 0; i < now; i++) {
			void *result;
			pthread_join(running[i], &result);
			sum += (uintptr_t)result;
		}
		born += now;
	}
	bench_report(ops, start, sum);
	return 0;
}
