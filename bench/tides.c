/*
 * tides.c - memory over time: a server that is idle most of the time, and now and then has a spike of requests.
 *
 * Every --period milliseconds blocks of mixed sizes are made, --bytes in all, held for --hold milliseconds while some
 * of them are replaced, and freed but for one in --one-in, which lives until the next spike. Between spikes a few small
 * blocks come and go each millisecond. A thread samples what the program asked for and what is resident. One line a
 * sample: `sample MS LIVE_KIB RSS_KIB`; then the processor time of the program, in which the price of giving memory
 * back shows, as page faults.
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { SAMPLE_MS = 10, SAMPLES_MAX = 100000 };

static uint64_t bytes = 256 * BENCH_MIB;
static uint64_t spikes = 8;
static uint64_t period = 1500;
static uint64_t hold = 100;
static uint64_t one_in = 200;
static uint64_t tail = 3000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"bytes", &bytes, 4 * BENCH_MIB, 16 * BENCH_KIB, (uint64_t)1 << 36, "bytes asked for in a spike"},
        {"spikes", &spikes, 2, 1, 1000, "spikes"},
        {"period", &period, 30, 1, 600000, "milliseconds from one spike to the next"},
        {"hold", &hold, 5, 0, 600000, "milliseconds for which a spike's blocks are held"},
        {"one-in", &one_in, 200, 1, BENCH_MAX_BLOCK, "one block in so many lives until the next spike"},
        {"tail", &tail, 30, 0, 600000, "milliseconds of light use after the last spike"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

struct sample {
	uint32_t ms, live_kib, rss_kib;
};

static struct sample samples[SAMPLES_MAX];
static _Atomic uint64_t live;
static _Atomic bool done;
static double start;

static uint64_t
milliseconds(void)
{
	return (uint64_t)((bench_seconds() - start) * 1000);
}

static void
nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Allocates nothing. */
static void *
watch(void *count)
{
	for (size_t n = 0; !atomic_load(&done) && n < SAMPLES_MAX; n++) {
		samples[n] = (struct sample){(uint32_t)milliseconds(), (uint32_t)(atomic_load(&live) / 1024),
		                             (uint32_t)bench_resident_kib()};
		*(size_t *)count = n + 1;
		nanosleep(&(struct timespec){.tv_nsec = SAMPLE_MS * 1000000}, NULL);
	}
	return NULL;
}

/* Most blocks are small, most bytes are in larger ones. */
static size_t
some_size(uint64_t key)
{
	uint64_t shift = bench_scale_low(key, 4, 15);
	return bench_scale_high(key, (uint64_t)1 << shift) + ((uint64_t)1 << shift);
}

static void
fill(struct bench_slot *slot, uint64_t *state)
{
	uint64_t key = bench_random(state);
	size_t size = some_size(key);
	bench_slot_fill(slot, size, key);
	memset((char *)slot->block + sizeof(key), 1, size - 2 * sizeof(key));
	atomic_fetch_add(&live, size);
}

static uint64_t
empty(struct bench_slot *slot)
{
	if (slot->block)
		atomic_fetch_sub(&live, slot->size);
	return bench_slot_empty(slot);
}

struct tide {
	struct bench_slot *slots;
	size_t room, used;
	uint64_t state, sum, made;
};

static void
rise(struct tide *tide)
{
	for (size_t i = 0; i < tide->room && atomic_load(&live) < bytes; i++) {
		tide->sum += empty(&tide->slots[i]); /* a survivor of the last spike */
		fill(&tide->slots[i], &tide->state);
		tide->used = i + 1 > tide->used ? i + 1 : tide->used;
		tide->made++;
	}
}

/* Some of the blocks are replaced. */
static void
stay(struct tide *tide, uint64_t until)
{
	while (milliseconds() < until) {
		for (int i = 0; i < 100; i++) {
			size_t at = bench_scale_low(bench_random(&tide->state), 0, tide->used - 1);
			tide->sum += empty(&tide->slots[at]);
			fill(&tide->slots[at], &tide->state);
		}
		nap();
	}
}

static void
fall(struct tide *tide)
{
	for (size_t i = 0; i < tide->used; i++)
		if (i % one_in != 0)
			tide->sum += empty(&tide->slots[i]);
}

/* Light use, as in a process that waits for requests. */
static void
wait_until(struct tide *tide, uint64_t until)
{
	struct bench_slot few[20] = {0};
	while (milliseconds() < until) {
		for (size_t i = 0; i < BENCH_COUNT(few); i++)
			fill(&few[i], &tide->state);
		for (size_t i = 0; i < BENCH_COUNT(few); i++)
			(void)empty(&few[i]);
		nap();
	}
}

static void
report(const struct tide *tide, size_t count)
{
	struct rusage usage;
	for (size_t i = 0; i < count; i++)
		printf("sample %u %u %u\n", samples[i].ms, samples[i].live_kib, samples[i].rss_kib);
	getrusage(RUSAGE_SELF, &usage);
	printf("cpu %.6f\n", (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	                             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
	bench_report(tide->made, start, 0); /* how often blocks are replaced depends on the time */
}

int
main(int argc, char **argv)
{
	pthread_t watcher;
	size_t count = 0;
	bench_options(argc, argv, "memory over time: spikes of requests, and light use between them", options,
	              BENCH_COUNT(options));
	struct tide tide = {.state = seed, .room = bytes / 512};
	tide.slots = bench_slots_new(tide.room);
	start = bench_seconds();
	if (pthread_create(&watcher, NULL, watch, &count) != 0)
		bench_fail("no thread");
	for (uint64_t i = 0; i < spikes; i++) {
		uint64_t begin = i * period;
		wait_until(&tide, begin);
		rise(&tide);
		stay(&tide, milliseconds() + hold);
		fall(&tide);
	}
	wait_until(&tide, milliseconds() + tail);
	atomic_store(&done, true);
	pthread_join(watcher, NULL);
	(void)bench_slots_free(tide.slots, tide.room);
	report(&tide, count);
	return 0;
}
