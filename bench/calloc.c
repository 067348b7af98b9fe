/*
 * calloc.c - zeroed blocks, mostly small and a few large, replaced in a window.
 *
 * Used memory must be cleared again, fresh pages of the kernel need not be: an allocator that knows which is which
 * saves the clearing of large blocks, and the page faults that it brings. Blocks are dirtied before they are freed, so
 * that one that is not cleared is found: small blocks are looked at in full, large ones in one word out of 512 bytes.
 */
#include "bench.h"

#define STRIDE 512 /* bytes between the words of a large block that are looked at */

static uint64_t ops = 5000000;
static uint64_t live = 1000;
static uint64_t max_small = 1024;
static uint64_t large_one_in = 5000;
static uint64_t min_large = 64 * BENCH_KIB;
static uint64_t max_large = 4 * BENCH_MIB;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 200000, 1, BENCH_MAX_OPS, "blocks to replace"},
        {"live", &live, 1000, 2, BENCH_MAX_BLOCK, "blocks in the window; one in 50 of them is for large blocks"},
        {"max-small", &max_small, 1024, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest small block, bytes"},
        {"large-one-in", &large_one_in, 5000, 1, BENCH_MAX_BLOCK, "one block in so many is large"},
        {"min-large", &min_large, 64 * BENCH_KIB, BENCH_PAGE, BENCH_MAX_BLOCK, "smallest large block, bytes"},
        {"max-large", &max_large, 1 * BENCH_MIB, BENCH_PAGE, BENCH_MAX_BLOCK, "largest large block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* How far apart the words of a block that are looked at and dirtied lie. */
static size_t
stride_of(size_t size)
{
	return size <= max_small ? sizeof(uint64_t) : STRIDE;
}

static void
fill(struct bench_slot *slot, size_t size, uint64_t key)
{
	char *block = bench_opaque(calloc(1, size));
	if (!block)
		bench_fail("calloc(1, %zu) failed", size);
	size_t last = size - sizeof(uint64_t), stride = stride_of(size);
	uint64_t found = bench_read_word(block + last);
	for (size_t at = 0; at < last; at += stride)
		found |= bench_read_word(block + at);
	if (found != 0)
		bench_fail("calloc(1, %zu) gave a block that is not zeroed: %p", size, (void *)block);
	for (size_t at = 0; at < last; at += stride)
		bench_write_word(block + at, ~key);
	bench_stamp(block, size, key);
	*slot = (struct bench_slot){.block = block, .size = size, .key = key};
}

static uint64_t
run(struct bench_slot *slots)
{
	uint64_t state = seed, sum = 0, larges = live / 50 + 1;
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t where = bench_random(&state), what = bench_random(&state);
		bool large = bench_scale((uint32_t)where, large_one_in) == 0;
		struct bench_slot *slot = large ? &slots[bench_scale_high(where, larges)]
		                                : &slots[larges + bench_scale_high(where, live - larges)];
		size_t size = large ? bench_scale_low(what, min_large, max_large)
		                    : bench_scale_low(what, BENCH_MIN_BLOCK, max_small);
		sum += bench_slot_empty(slot);
		fill(slot, size, what);
	}
	return sum;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "zeroed blocks, small and large", options, BENCH_COUNT(options));
	if (min_large > max_large)
		bench_fail("--min-large is above --max-large");
	double start = bench_seconds();
	struct bench_slot *slots = bench_slots_new(live);
	uint64_t sum = run(slots);
	sum += bench_slots_free(slots, live);
	bench_report(ops, start, sum);
	return 0;
}
