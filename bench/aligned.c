/*
 * aligned.c - blocks at alignments from 32 bytes to 64 KiB, beside ordinary ones.
 *
 * Vector code, direct I/O and page-sized buffers ask for them: what an alignment costs in time, and in memory where the
 * allocator rounds the block up or leaves a gap before it.
 */
#include "bench.h"

static uint64_t ops = 3000000;
static uint64_t live = 2000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 50000, 1, BENCH_MAX_OPS, "blocks to replace"},
        {"live", &live, 500, 1, BENCH_MAX_BLOCK, "blocks in the window"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* Half of the alignments are 64, a cache line; 1 in 64 is 64 KiB. */
static size_t
alignment(uint64_t random)
{
	static const uint8_t shifts[] = {5, 6, 6, 6, 7, 8, 12, 6};
	return random % 64 == 0 ? 65536 : (size_t)1 << shifts[random >> 8 & 7];
}

static void
fill(struct bench_slot *slot, uint64_t random)
{
	size_t align = alignment(random);
	slot->size = bench_skewed_size((uint32_t)(random >> 32));
	slot->key = random;
	if (posix_memalign(&slot->block, align, slot->size) != 0)
		bench_fail("posix_memalign(%zu, %zu) failed", align, slot->size);
	slot->block = bench_opaque(slot->block);
	if ((uintptr_t)slot->block % align != 0)
		bench_fail("%p is not a multiple of %zu", slot->block, align);
	bench_stamp(slot->block, slot->size, slot->key);
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "aligned blocks", options, BENCH_COUNT(options));
	double start = bench_seconds();
	struct bench_slot *slots = bench_slots_new(live);
	uint64_t state = seed, sum = 0;
	for (uint64_t op = 0; op < ops; op++) {
		struct bench_slot *slot = &slots[bench_scale_high(bench_random(&state), live)];
		sum += bench_slot_empty(slot);
		fill(slot, bench_random(&state));
	}
	sum += bench_slots_free(slots, live);
	bench_report(ops, start, sum);
	return 0;
}
