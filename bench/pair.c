/*
 * pair.c - a tight loop of malloc and free of one size.
 *
 * For counting the instructions of a pair under valgrind (instructions.sh): --empty 1 runs the same loop on a static
 * block, so that the difference is the two calls and nothing else. As a timing it is the best case that an allocator
 * has: the same block, in the cache, each time. Do not take it for more.
 *
 * A few blocks of the size stay live meanwhile, as in any program. With --held 0 each free leaves its page empty, and
 * allocators that look after empty pages at once (mimalloc) do so each time: a case of its own, not the common one.
 */
#include "bench.h"

static uint64_t pairs = 120000000;
static uint64_t size = 32;
static uint64_t held = 16;
static uint64_t empty = 0;

static const struct bench_option options[] = {
        {"pairs", &pairs, 5000000, 1, BENCH_MAX_OPS, "pairs of malloc and free"},
        {"size", &size, 32, BENCH_MIN_BLOCK, BENCH_MIB, "bytes"},
        {"held", &held, 16, 0, BENCH_MIB, "blocks of that size that stay live"},
        {"empty", &empty, 0, 0, 1, "1: the loop without malloc and free"},
};

/* Stands for bench_malloc in the empty loop, its check included. */
static void *
borrow_static(size_t bytes)
{
	static _Alignas(16) char block[BENCH_MIB];
	void *borrowed = bench_opaque(block);
	if (!borrowed)
		bench_fail("no block of %zu bytes", bytes);
	return borrowed;
}

static uint64_t
loop_pairs(void)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < pairs; i++) {
		void *block = bench_malloc(size);
		bench_stamp(block, size, i);
		block = bench_opaque(block);
		bench_check(block, size, i);
		free(block);
		sum += i;
	}
	return sum;
}

static uint64_t
loop_empty(void)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < pairs; i++) {
		void *block = borrow_static(size);
		bench_stamp(block, size, i);
		block = bench_opaque(block);
		bench_check(block, size, i);
		sum += i;
	}
	return sum;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a tight loop of malloc and free", options, BENCH_COUNT(options));
	double start = bench_seconds();
	struct bench_slot *slots =
	        held > 0 ? bench_slots_new(held) : NULL; /* a table could be of the same size class */
	for (uint64_t i = 0; i < held; i++)
		bench_slot_fill(&slots[i], size, ~i);
	uint64_t sum = empty ? loop_empty() : loop_pairs();
	sum += bench_slots_free(slots, held);
	bench_report(pairs, start, sum);
	return 0;
}
