/*
 * churn.c - one thread that replaces small blocks at random in a window of live ones.
 *
 * What most programs do most of the time, with little between the calls: it shows the cost of the fast path over many
 * small size classes. The window is small enough for the caches, so that memory behaviour hardly matters.
 */
#include "bench.h"

static uint64_t ops = 40000000;
static uint64_t live = 2000;
static uint64_t min_size = 16;
static uint64_t max_size = 512;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 2000000, 1, BENCH_MAX_OPS, "blocks to replace"},
        {"live", &live, 2000, 1, BENCH_MAX_BLOCK, "blocks in the window"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 512, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

static uint64_t
churn(struct bench_slot *slots)
{
	uint64_t state = seed, sum = 0;
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &slots[bench_scale_high(random, live)];
		sum += bench_slot_empty(slot);
		bench_slot_fill(slot, bench_scale_low(random, min_size, max_size), random);
	}
	return sum;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "one thread replaces small blocks in a window", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	struct bench_slot *slots = bench_slots_new(live);
	uint64_t sum = churn(slots);
	sum += bench_slots_free(slots, live);
	bench_report(ops, start, sum);
	return 0;
}
