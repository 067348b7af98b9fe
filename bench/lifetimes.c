/*
 * lifetimes.c - one thread, a large live set, skewed sizes, and lifetimes from a few operations to the whole run.
 *
 * The live blocks lie in tiers of 1, 2, 4, … slots. Each step picks a tier, then a slot in it, and replaces the block
 * there: a block of tier i lives for about tiers * 2^i steps, so that lifetimes are spread evenly over all orders of
 * magnitude. Short-lived and long-lived blocks come from the same calls, and the sizes drift from phase to phase, so
 * that the holes that dead blocks leave never fit quite: peak RSS against the `peak_live` line (bytes asked for) shows
 * fragmentation. Blocks are written in full, as programs do, so that each byte asked for counts in RSS.
 */
#include "bench.h"

static uint64_t ops = 4000000;
static uint64_t tiers = 17;
static uint64_t phases = 4;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 150000, 1, BENCH_MAX_OPS, "blocks to replace"},
        {"tiers", &tiers, 13, 1, 28, "tiers of lifetimes; there are 2^tiers - 1 live blocks"},
        {"phases", &phases, 4, 1, 1000, "phases, each with sizes of its own"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

struct population {
	struct bench_slot *slots; /* slot 0 is unused: tier i is slots 2^i … 2^(i+1) - 1 */
	uint64_t live;            /* bytes in live blocks, as asked for */
	uint64_t peak;            /* the most that was */
	uint64_t sum;
};

/* Sizes of phase p are the skewed ones times 1, 5/4, 6/4, 7/4 in turn; those of 16 KiB and more stay as they are. */
static size_t
size_in_phase(uint32_t bits, uint64_t phase)
{
	size_t size = bench_skewed_size(bits);
	return size < 16 * BENCH_KIB ? size * (4 + phase % 4) / 4 : size;
}

static void
replace(struct population *people, size_t index, size_t size, uint64_t key)
{
	struct bench_slot *slot = &people->slots[index];
	if (slot->block)
		people->live -= slot->size;
	people->sum += bench_slot_empty(slot);
	slot->block = bench_malloc(size);
	slot->size = size;
	slot->key = key;
	memset(slot->block, (int)(key & 0xff), size);
	bench_stamp(slot->block, size, key);
	people->live += size;
	if (people->live > people->peak)
		people->peak = people->live;
}

static void
live_and_die(struct population *people)
{
	uint64_t state = seed;
	for (size_t i = 1; i < (size_t)1 << tiers; i++) {
		uint64_t random = bench_random(&state);
		replace(people, i, size_in_phase((uint32_t)random, 0), random);
	}
	uint64_t phase_length = ops / phases + 1;
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t where = bench_random(&state), what = bench_random(&state);
		size_t tier = (size_t)1 << bench_scale_high(where, tiers);
		size_t index = tier + bench_scale((uint32_t)where, tier);
		replace(people, index, size_in_phase((uint32_t)what, op / phase_length), what);
	}
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a large live set with random lifetimes and skewed sizes", options,
	              BENCH_COUNT(options));
	double start = bench_seconds();
	size_t count = (size_t)1 << tiers;
	struct population people = {.slots = bench_slots_new(count)};
	live_and_die(&people);
	uint64_t sum = people.sum + bench_slots_free(people.slots, count);
	printf("peak_live %" PRIu64 "\n", people.peak);
	bench_report(ops + count - 1, start, sum);
	return 0;
}
