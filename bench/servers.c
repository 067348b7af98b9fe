/*
 * servers.c - ten patterns that long-running programs show: what stays resident when the work is done, and the longest
 * single call. One pattern a process, as what one leaves would be another's.
 *
 * A pattern fills the heap, gives most of it back, and ends with light use: the time in which memory is to go back to
 * the system. Each prints `live_kib`, what the program holds then, `resident_kib`, and `longest_us`, the longest of the
 * calls that were timed. The time of light use, and of sleep, is no part of `seconds`.
 */
#include "bench.h"

#include <pthread.h>

static uint64_t pattern = 1;
static uint64_t bytes = 128 * BENCH_MIB;
static uint64_t settle = 3000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"pattern", &pattern, 1, 1, 10, "which one: the table in bench/README.md"},
        {"bytes", &bytes, 2 * BENCH_MIB, BENCH_MIB, (uint64_t)1 << 34, "bytes that a pattern fills"},
        {"settle", &settle, 10, 0, 60000, "milliseconds of light use at the end"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

enum { SIZE_MEAN = 440, THREADS = 40, SESSION = 50 };

static struct bench_slot *slots; /* of all patterns; their number: */
static size_t count;
static uint64_t state, checksum;
static double longest, idle;

/* A call has ended. */
static void
note_call(double begin)
{
	double took = bench_seconds() - begin;

	longest = took > longest ? took : longest;
}

static void
fill(struct bench_slot *slot, size_t size)
{
	uint64_t key = bench_random(&state);
	double begin = bench_seconds();

	slot->block = bench_malloc(size);
	note_call(begin);
	*slot = (struct bench_slot){slot->block, size, key};
	for (size_t at = 0; at + sizeof key <= size; at += BENCH_PAGE) /* every page is used */
		bench_write_word((char *)slot->block + at, key);
	bench_stamp(slot->block, size, key);
}

static void
empty(struct bench_slot *slot)
{
	double begin = bench_seconds();

	checksum += bench_slot_empty(slot);
	note_call(begin);
}

static void
replace(struct bench_slot *slot, size_t size)
{
	if (slot->block)
		empty(slot);
	fill(slot, size);
}

static size_t
small_size(void)
{
	return bench_skewed_size((uint32_t)bench_random(&state));
}

static void
fill_with_small(void)
{
	for (size_t i = 0; i < count; i++)
		fill(&slots[i], small_size());
}

/* Frees all but one block in `survives`; 0: all. */
static void
empty_but(size_t survives)
{
	for (size_t i = 0; i < count; i++)
		if (survives == 0 || i % survives != 0)
			empty(&slots[i]);
}

static void
sleep_a_millisecond(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* A call in a while, as a server that has little to do makes: small blocks, and now and then one of some pages. */
static void
use_lightly(void)
{
	double begin = bench_seconds();

	for (unsigned i = 0; (bench_seconds() - begin) * 1000 < (double)settle; i++) {
		free(bench_malloc(i % 16 ? 100 : 50000));
		sleep_a_millisecond();
	}
	idle += bench_seconds() - begin;
}

/* ---- the patterns ---------------------------------------------------------------------------------------------- */

static void
burst(void)
{
	fill_with_small();
	empty_but(0);
	use_lightly();
}

static void
burst_then_fast_calls(void)
{
	fill_with_small();
	empty_but(0);
	double begin = bench_seconds();
	while ((bench_seconds() - begin) * 1000 < (double)settle)
		for (int i = 0; i < 1000; i++)
			free(bench_malloc(64));
	idle += bench_seconds() - begin;
}

static void
burst_then_silence(void)
{
	fill_with_small();
	empty_but(0);
	for (uint64_t ms = 0; ms < settle; ms++)
		sleep_a_millisecond();
	idle += (double)settle / 1000;
}

static void
survivors(void)
{
	fill_with_small();
	empty_but(100);
	use_lightly();
}

static pthread_barrier_t filled, done;

static void *
fill_and_sleep(void *unused)
{
	(void)unused;
	fill_with_small();
	pthread_barrier_wait(&filled);
	pthread_barrier_wait(&done);
	return NULL;
}

/* Another thread has made the blocks, and sleeps while they are freed. */
static void
freed_by_another(void)
{
	pthread_t maker;

	if (pthread_barrier_init(&filled, NULL, 2) || pthread_barrier_init(&done, NULL, 2) ||
	    pthread_create(&maker, NULL, fill_and_sleep, NULL))
		bench_fail("no thread can be made");
	pthread_barrier_wait(&filled);
	empty_but(0);
	use_lightly();
	pthread_barrier_wait(&done);
	pthread_join(maker, NULL);
}

static void *
use_and_wait(void *first)
{
	size_t share = count / THREADS;

	for (struct bench_slot *slot = first; slot < (struct bench_slot *)first + share; slot++) {
		slot->size = 16 + (size_t)(slot - slots) * 7 % 4000;
		slot->key = slot->size;
		slot->block = bench_malloc(slot->size);
		bench_stamp(slot->block, slot->size, slot->key);
	}
	pthread_barrier_wait(&filled);
	for (struct bench_slot *slot = first; slot < (struct bench_slot *)first + share; slot++)
		(void)bench_slot_empty(slot);
	return NULL;
}

static void
threads_that_end(void)
{
	pthread_t threads[THREADS];

	if (pthread_barrier_init(&filled, NULL, THREADS))
		bench_fail("no barrier can be made");
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, use_and_wait, slots + (size_t)i * (count / THREADS)))
			bench_fail("no thread can be made");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	use_lightly();
}

/* Sessions of some blocks each end in any order; one in ten goes on. */
static void
sessions(void)
{
	size_t number = count / SESSION;

	fill_with_small();
	for (size_t i = number; i-- > 1;) { /* Fisher and Yates */
		size_t other = bench_random(&state) % (i + 1);
		for (size_t k = 0; k < SESSION; k++) {
			struct bench_slot slot = slots[i * SESSION + k];
			slots[i * SESSION + k] = slots[other * SESSION + k];
			slots[other * SESSION + k] = slot;
		}
	}
	for (size_t i = 0; i < number * SESSION; i++)
		if (i / SESSION % 10 != 0)
			empty(&slots[i]);
	use_lightly();
}

/* A full cache in which values are replaced by others, and the sizes drift: three times as large in the end. */
static void
drifting_cache(void)
{
	size_t entries = count / 4;

	for (size_t i = 0; i < entries * 6; i++) {
		struct bench_slot *slot = &slots[bench_random(&state) % entries];
		size_t base = 200 + i * 400 / (entries * 6);
		replace(slot, base + bench_random(&state) % base);
	}
	use_lightly();
}

/* Blocks of 0.3 to 4 MB, half of them replaced by others of another length, again and again. */
static void
large_mixed(void)
{
	size_t entries = bytes / (2 * BENCH_MIB);

	for (size_t i = 0; i < entries * 20; i++) {
		struct bench_slot *slot = &slots[bench_random(&state) % entries];
		replace(slot, 300000 + bench_random(&state) % 3700000);
	}
	use_lightly();
}

/* Buffers that grow and are cut to size again. */
static void
resized_buffers(void)
{
	size_t entries = bytes / (256 * BENCH_KIB);

	for (size_t i = 0; i < entries * 40; i++) {
		struct bench_slot *slot = &slots[bench_random(&state) % entries];
		size_t size = i % 3 ? slot->size + 10000 + slot->size / 2 : slot->size / 3 + 1000;
		size = size > BENCH_MIB ? 2000 : size;
		double begin = bench_seconds();
		void *moved = bench_opaque(realloc(slot->block, size));
		note_call(begin);
		if (!moved)
			bench_fail("realloc to %zu failed", size);
		if (slot->block)
			bench_expect_word(moved, 0, slot->key);
		*slot = (struct bench_slot){moved, size, i};
		for (size_t at = 0; at + sizeof slot->key <= size; at += BENCH_PAGE)
			bench_write_word((char *)moved + at, slot->key);
		bench_stamp(moved, size, slot->key);
	}
	use_lightly();
}

static void (*const patterns[])(void) = {
        burst,    burst_then_fast_calls, burst_then_silence, survivors,       freed_by_another, threads_that_end,
        sessions, drifting_cache,        large_mixed,        resized_buffers,
};

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "patterns of long-running programs", options, BENCH_COUNT(options));
	count = bytes / SIZE_MEAN;
	state = seed;
	slots = bench_slots_new(count);
	for (size_t i = 0; i < count; i++) /* each page is touched: what the table takes is no part of the figure */
		slots[i].size = 0;
	uint64_t table_kib = count * sizeof *slots / 1024, live = 0;
	double begin = bench_seconds();
	patterns[pattern - 1]();
	uint64_t resident = bench_resident_kib();
	for (size_t i = 0; i < count; i++)
		live += slots[i].block ? slots[i].size : 0;
	printf("live_kib %" PRIu64 "\nresident_kib %" PRIu64 "\nlongest_us %.0f\n", live / 1024,
	       resident > table_kib ? resident - table_kib : 0, longest * 1e6);
	checksum += bench_slots_free(slots, count);
	bench_report(count, begin + idle, checksum);
	return 0;
}
