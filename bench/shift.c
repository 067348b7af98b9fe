/*
 * shift.c - a live set of constant bytes whose block sizes shift from phase to phase.
 *
 * A cache whose values grow over the weeks, a program that changes its record format: memory that is bound to the
 * sizes of yesterday is lost today. In each phase blocks of the phase's sizes replace randomly chosen older ones
 * until nothing of the phase before is left. `peak_live` is the most bytes that were asked for at once, to hold peak
 * RSS against; `settled_rss_kib` is what is resident at the end, with the live set still in place.
 */
#include "bench.h"

static uint64_t live = 48 * BENCH_MIB;
static uint64_t phases = 9;
static uint64_t rounds = 3;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"live", &live, BENCH_MIB, BENCH_MIB / 4, UINT64_C(1) << 36, "bytes that are live"},
        {"phases", &phases, 3, 1, 9, "phases: sizes about 24, 48, … 6144"},
        {"rounds", &rounds, 1, 1, 1000, "times that the live set is replaced in each phase"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

static struct bench_slot *slots;
static uint64_t count, bytes, peak, sum, ops;

static void
empty(uint64_t at)
{
	bytes -= slots[at].size;
	sum += bench_slot_empty(&slots[at]);
	slots[at] = slots[--count];
}

static void
add(size_t size, uint64_t key)
{
	bench_slot_fill(&slots[count++], size, key);
	bytes += size;
	ops++;
	if (bytes > peak)
		peak = bytes;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a live set whose sizes shift", options, BENCH_COUNT(options));
	double start = bench_seconds();
	uint64_t state = seed;
	slots = bench_slots_new(live / BENCH_MIN_BLOCK + 1);
	for (uint64_t phase = 0; phase < phases; phase++) {
		size_t middle = (size_t)24 << phase;
		for (uint64_t made = 0; made < live * rounds;) {
			uint64_t random = bench_random(&state);
			size_t size = bench_scale_low(random, middle * 2 / 3, middle * 4 / 3);
			while (count > 0 && bytes + size > live)
				empty(bench_scale_high(bench_random(&state), count));
			add(size, random);
			made += size;
		}
	}
	printf("peak_live %" PRIu64 "\n", peak);
	printf("settled_rss_kib %" PRIu64 "\n", bench_resident_kib());
	while (count > 0)
		empty(count - 1);
	free(slots);
	bench_report(ops, start, sum);
	return 0;
}
