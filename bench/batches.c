/*
 * batches.c - batches of equal blocks: half of each batch is freed first in, first out, the other half last in,
 * first out.
 *
 * Parsers, compilers and request handlers allocate a lot of the same and free all of it at the end of a step,
 * forwards or backwards. The lengths run from 4 to 1,600 blocks, so that they lie below and above what caches of
 * free blocks hold.
 */
#include "bench.h"

#define LONGEST 1600

static uint64_t ops = 30000000;
static uint64_t min_size = 16;
static uint64_t max_size = 400;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 200000, 1, BENCH_MAX_OPS, "blocks, about"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 400, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

static struct bench_slot batch[LONGEST];

/* 4 … 1,600, as many short ones as long ones on a logarithmic scale. */
static uint64_t
length_of(uint64_t random)
{
	uint64_t length = UINT64_C(4) << bench_scale_high(random, 9);
	length += bench_scale((uint32_t)random, length);
	return length < LONGEST ? length : LONGEST;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "batches of equal blocks, freed in order and in reverse", options,
	              BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	uint64_t state = seed, sum = 0, done = 0;
	while (done < ops) {
		uint64_t length = length_of(bench_random(&state)), half = length / 2;
		size_t size = bench_scale_low(bench_random(&state), min_size, max_size);
		for (uint64_t i = 0; i < length; i++)
			bench_slot_fill(&batch[i], size, done + i);
		for (uint64_t i = 0; i < half; i++)
			sum += bench_slot_empty(&batch[i]);
		for (uint64_t i = length; i > half; i--)
			sum += bench_slot_empty(&batch[i - 1]);
		done += length;
	}
	bench_report(done, start, sum);
	return 0;
}
