/*
 * spike.c - the heap swells and shrinks again and again, each time with blocks of another size, and few survivors.
 *
 * Servers see this: a burst of requests allocates a lot, almost all of it is freed, and a few blocks stay behind,
 * scattered over all pages. An allocator that binds memory to a size for good, or to the few blocks that are left,
 * needs new memory for each spike: peak RSS shows it. The line `settled_rss_kib` is the resident set after the last
 * spike, with the survivors still live: what the process would go on holding. It is read at once, or after --settle
 * milliseconds of light use, since most allocators give memory back with a delay.
 */
#include "bench.h"

static uint64_t bytes = 64 * BENCH_MIB;
static uint64_t spikes = 8;
static uint64_t one_in = 100;
static uint64_t settle = 0;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"bytes", &bytes, 4 * BENCH_MIB, 16 * BENCH_KIB, (uint64_t)1 << 36, "bytes asked for in a spike"},
        {"spikes", &spikes, 3, 1, 1000, "spikes"},
        {"one-in", &one_in, 100, 1, BENCH_MAX_BLOCK, "one block in so many survives its spike"},
        {"settle", &settle, 0, 0, 60000, "milliseconds of light use before settled_rss_kib is read"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* The blocks of a spike are this long, up to half as much again. */
static const size_t base_sizes[] = {64, 400, 48, 2000, 160, 1000};

/* What a run carries from spike to spike. */
struct run {
	void **blocks;                /* of one spike; room for the largest */
	struct bench_slot *survivors; /* room for `room` */
	size_t survived;
	size_t room;
	uint64_t state; /* of the random numbers */
	uint64_t sum;
};

/* Blocks in a spike: each has base bytes and up to half as much again, so a quarter more on average. */
static size_t
blocks_in_spike(uint64_t index)
{
	size_t base = base_sizes[index % BENCH_COUNT(base_sizes)];
	return bytes / (base + base / 4);
}

static void
keep(struct run *run, struct bench_slot slot)
{
	if (run->survived == run->room)
		bench_fail("more than %zu survivors", run->room);
	run->survivors[run->survived++] = slot;
}

/* Makes the blocks of a spike, then frees all but the survivors. Keys and sizes come from the same random numbers,
 * which the second pass draws anew, so that the table costs 8 bytes a block. */
static void
spike(struct run *run, uint64_t index)
{
	size_t count = blocks_in_spike(index), base = base_sizes[index % BENCH_COUNT(base_sizes)],
	       max = base + base / 2;
	uint64_t replay = run->state;
	for (size_t i = 0; i < count; i++) {
		uint64_t key = bench_random(&run->state);
		size_t size = bench_scale_low(key, base, max);
		run->blocks[i] = bench_malloc(size);
		bench_stamp(run->blocks[i], size, key);
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t key = bench_random(&replay);
		struct bench_slot slot = {.block = run->blocks[i], .size = bench_scale_low(key, base, max), .key = key};
		if (bench_scale_high(key, one_in) == 0)
			keep(run, slot);
		else
			run->sum += bench_slot_empty(&slot);
	}
}

/* Light use: a small block now and then, as in a process that waits for requests. */
static void
idle(uint64_t milliseconds)
{
	for (uint64_t i = 0; i < milliseconds; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		free(bench_malloc(100));
	}
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "the heap swells and shrinks, with other sizes each time", options,
	              BENCH_COUNT(options));
	double start = bench_seconds();
	size_t most = 0, total = 0;
	for (uint64_t i = 0; i < spikes; i++) {
		size_t count = blocks_in_spike(i);
		most = count > most ? count : most;
		total += count;
	}
	struct run run = {.state = seed, .room = one_in == 1 ? total : total / one_in * 3 / 2 + 1000};
	run.blocks = bench_malloc(most * sizeof(*run.blocks));
	run.survivors = bench_slots_new(run.room);
	for (uint64_t i = 0; i < spikes; i++)
		spike(&run, i);
	free(run.blocks);
	idle(settle);
	uint64_t resident = bench_resident_kib();
	uint64_t sum = run.sum + bench_slots_free(run.survivors, run.survived);
	printf("settled_rss_kib %" PRIu64 "\n", resident);
	bench_report(total, start, sum);
	return 0;
}
