/*
 * large.c - blocks of 5 to 25 MiB, allocated, touched and freed in a loop, with several live.
 *
 * What image, video and numerical programs do. The time is mostly the kernel's: page faults, and system calls if the
 * allocator gives each block back at once; peak RSS shows how much it holds on to instead. --every N touches one page
 * in N: programs that use a part of a big buffer should pay for that part only.
 */
#include "bench.h"

static uint64_t ops = 400;
static uint64_t live = 4;
static uint64_t min_size = 5 * BENCH_MIB;
static uint64_t max_size = 25 * BENCH_MIB;
static uint64_t every = 1;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 6, 1, BENCH_MAX_OPS, "blocks to replace"},
        {"live", &live, 2, 1, BENCH_MAX_BLOCK, "blocks at a time"},
        {"min", &min_size, 5 * BENCH_MIB, BENCH_PAGE, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 25 * BENCH_MIB, BENCH_PAGE, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"every", &every, 1, 1, BENCH_MAX_BLOCK, "one page in so many is touched"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* Where the touched words are: one in each touched page, none of them in the first or last word, which bench_stamp
 * uses. */
static size_t
next_touch(size_t offset)
{
	return offset + every * BENCH_PAGE;
}

static void
fill(struct bench_slot *slot, size_t size, uint64_t key)
{
	bench_slot_fill(slot, size, key);
	for (size_t at = sizeof(key); at + 2 * sizeof(key) <= size; at = next_touch(at))
		bench_write_word((char *)slot->block + at, key + at);
}

static uint64_t
empty(struct bench_slot *slot)
{
	if (!slot->block)
		return 0;
	for (size_t at = sizeof(slot->key); at + 2 * sizeof(slot->key) <= slot->size; at = next_touch(at))
		bench_expect_word(slot->block, at, slot->key + at);
	return bench_slot_empty(slot);
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "blocks of megabytes, touched and freed", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	uint64_t state = seed, sum = 0;
	struct bench_slot *slots = bench_slots_new(live);
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &slots[bench_scale_high(random, live)];
		sum += empty(slot);
		fill(slot, bench_scale_low(random, min_size, max_size), random);
	}
	for (uint64_t i = 0; i < live; i++)
		sum += empty(&slots[i]);
	free(slots);
	bench_report(ops, start, sum);
	return 0;
}
