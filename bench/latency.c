/*
 * latency.c - the time of single calls under load: malloc(64) and free, and the same of the atomic tier where the
 * library has one.
 *
 * --threads threads time each of --calls calls and the free that goes with it; --load threads meanwhile allocate and
 * free blocks of all sizes up to 4 MiB. One block in 16 is swapped with another thread's, so that frees from outside
 * are among those timed. Phases follow each other: `timer` (the same loop around an empty function: what the clock, and
 * the machine, add to every figure), `malloc`, `atomic` (lab_alloc with LAB_GFP_ATOMIC, found by dlsym; a claim that
 * got NULL is counted, and timed like any other).
 *
 * There are more threads than processors on purpose: locks show when their holder has been switched out. So the maximum
 * is a matter of the scheduler in every allocator. No sample is dropped; those during which the thread was switched out
 * are counted apart (histogram.h), and max_unswitched is the maximum of the others. Times include the clock's own cost:
 * compare with `timer`.
 *
 *     phase NAME seconds S involuntary N voluntary N minor_faults N nulls N          (of the timing threads)
 *     latency NAME samples N switched N p50 NS p90 NS p99 NS p99.9 NS p99.99 NS max NS max_unswitched NS
 *     bucket NAME LOW_NS HIGH_NS SAMPLES SWITCHED                                    (with --buckets 1)
 */
#include "bench.h"
#include "histogram.h"

#include <dlfcn.h>
#include <labyrinth/labyrinth.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { SIZE = 64, SHELF = 16, LOAD_WINDOW = 2000, MAX_THREADS = 256 };

static uint64_t calls = 10000000;
static uint64_t threads = 4;
static uint64_t load = 2;
static uint64_t live = 1000;
static uint64_t live_atomic = 8;
static uint64_t buckets = 0;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"calls", &calls, 20000, 1, BENCH_MAX_OPS, "calls that each timing thread makes in a phase"},
        {"threads", &threads, 2, 1, MAX_THREADS, "threads that time their calls"},
        {"load", &load, 1, 0, MAX_THREADS, "threads that keep the allocator busy"},
        {"live", &live, 100, 1, BENCH_MIB, "blocks in each timing thread's window"},
        {"live-atomic", &live_atomic, 4, 1, BENCH_MIB, "the same in the atomic phase: the reserve is small"},
        {"buckets", &buckets, 0, 0, 1, "1: print the histograms"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* ---- what is timed --------------------------------------------------------------------------------------------- */

typedef void *take_function(size_t size);
typedef void give_function(void *block);

static void *(*lab_alloc_found)(size_t size, unsigned gfp);
static give_function *lab_free_found;

__attribute__((noinline)) static void *
take_nothing(size_t size)
{
	__asm__ volatile("" : : "r"(size) : "memory");
	return NULL;
}

__attribute__((noinline)) static void
give_nothing(void *block)
{
	__asm__ volatile("" : : "r"(block) : "memory");
}

static void *
take_atomic(size_t size)
{
	return lab_alloc_found(size, LAB_GFP_ATOMIC);
}

struct phase {
	const char *name;
	const char *take_name;
	const char *give_name;
	take_function *take;
	give_function *give;
	bool empty; /* there are no blocks */
};

/* ---- threads --------------------------------------------------------------------------------------------------- */

struct timing_thread {
	pthread_t thread;
	uint64_t state; /* of the random numbers */
	uint64_t sum;   /* of the keys that it freed */
	uint64_t nulls;
	uint64_t involuntary, voluntary, minor_faults;
	struct histogram take, give;
};

static const struct phase *phase;
static _Atomic(void *) shelf[SHELF];      /* blocks on their way from one timing thread to another */
static _Atomic(void *) load_shelf[SHELF]; /* the same of the load; they begin with their size */
static atomic_bool load_ends;
static pthread_barrier_t barrier;

/* Checks a block of this size and gives its key. */
static uint64_t
check_key(const void *block, size_t size)
{
	uint64_t key = bench_read_word(block);
	bench_check(block, size, key);
	return key;
}

static void
give_timed(struct timing_thread *self, void *block)
{
	if (!phase->empty)
		self->sum += check_key(block, SIZE);
	give_function *give = phase->give;
	switch_arm();
	uint64_t begin = ticks();
	give(block);
	uint64_t end = ticks();
	histogram_add(&self->give, end - begin, switch_seen());
}

static void *
take_timed(struct timing_thread *self, uint64_t key)
{
	take_function *take = phase->take;
	switch_arm();
	uint64_t begin = ticks();
	void *block = bench_opaque(take(SIZE));
	uint64_t end = ticks();
	histogram_add(&self->take, end - begin, switch_seen());
	if (block)
		bench_stamp(block, SIZE, key);
	else
		self->nulls += !phase->empty;
	return block;
}

static void
time_calls(struct timing_thread *self, void **window, uint64_t count)
{
	for (uint64_t call = 0; call < calls; call++) {
		uint64_t random = bench_random(&self->state);
		void **place = &window[bench_scale_high(random, count)], *old = *place;
		if (random % 16 == 0)
			old = atomic_exchange(&shelf[random / 16 % SHELF], old);
		if (old || phase->empty)
			give_timed(self, old);
		*place = take_timed(self, random);
	}
}

static void *
timing_thread(void *argument)
{
	struct timing_thread *self = argument;
	uint64_t count = phase->take == take_atomic ? live_atomic : live;
	void **window = calloc(count, sizeof(*window));
	struct rusage before, after;
	if (!window)
		bench_fail("no memory for a window");
	pthread_barrier_wait(&barrier);
	getrusage(RUSAGE_THREAD, &before);
	time_calls(self, window, count);
	getrusage(RUSAGE_THREAD, &after);
	for (uint64_t i = 0; i < count; i++)
		if (window[i])
			give_timed(self, window[i]);
	free(window);
	self->involuntary = (uint64_t)(after.ru_nivcsw - before.ru_nivcsw);
	self->voluntary = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
	self->minor_faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
	return NULL;
}

/* A block of any size that begins with its size; one in 512 is large. */
static void *
load_block(uint64_t random)
{
	bool large = random % 512 == 0;
	size_t size = large ? bench_scale_low(random >> 9, 64 * BENCH_KIB, 4 * BENCH_MIB)
	                    : bench_skewed_size((uint32_t)(random >> 9));
	void *block = bench_malloc(size + sizeof(uint64_t));
	bench_write_word(block, size);
	bench_stamp((char *)block + sizeof(uint64_t), size, random);
	return block;
}

static void
load_free(void *block)
{
	if (block)
		check_key((char *)block + sizeof(uint64_t), bench_read_word(block));
	free(block);
}

/* Blocks of all sizes; in the atomic phase, claims of 64 B to 4 KiB as well, one at a time. */
static void *
load_thread(void *argument)
{
	uint64_t state = (uintptr_t)argument;
	void **window = calloc(LOAD_WINDOW, sizeof(*window));
	if (!window)
		bench_fail("no memory for a window");
	pthread_barrier_wait(&barrier);
	while (!atomic_load(&load_ends)) {
		uint64_t random = bench_random(&state);
		void **place = &window[bench_scale_high(random, LOAD_WINDOW)], *old = *place;
		if (random / 512 % 16 == 0)
			old = atomic_exchange(&load_shelf[random / 8192 % SHELF], old);
		load_free(old);
		*place = load_block(random);
		if (phase->take == take_atomic && random % 4 == 0)
			lab_free_found(take_atomic((size_t)64 << random / 4 % 7));
	}
	for (unsigned i = 0; i < LOAD_WINDOW; i++)
		load_free(window[i]);
	free(window);
	return NULL;
}

/* ---- phases and report ----------------------------------------------------------------------------------------- */

static double ns_a_tick = 1;

static void
report_latency(const char *name, const struct histogram *histogram, bool marks)
{
	static const struct {
		const char *name;
		double part;
	} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};
	printf("latency %s samples %" PRIu64, name, histogram_total(histogram, false));
	if (marks)
		printf(" switched %" PRIu64, histogram_total(histogram, true));
	for (size_t i = 0; i < BENCH_COUNT(percentiles); i++)
		printf(" %s %.1f", percentiles[i].name,
		       (double)histogram_percentile(histogram, percentiles[i].part) * ns_a_tick);
	printf(" max %.1f", (double)histogram->max * ns_a_tick);
	if (marks)
		printf(" max_unswitched %.1f", (double)histogram->max_unswitched * ns_a_tick);
	printf("\n");
	for (unsigned i = 0; buckets && i + 1 < HISTOGRAM_BUCKETS; i++) {
		if (histogram->buckets[i].count)
			printf("bucket %s %.2f %.2f %" PRIu64 " %" PRIu64 "\n", name,
			       (double)histogram_low(i) * ns_a_tick, (double)histogram_low(i + 1) * ns_a_tick,
			       histogram->buckets[i].count, histogram->buckets[i].switched);
	}
}

static void
start_thread(pthread_t *thread, void *(*run)(void *argument), void *argument)
{
	if (pthread_create(thread, NULL, run, argument) != 0)
		bench_fail("cannot start a thread");
}

/* Frees what is left on the shelves; gives the sum of the timing threads' keys. */
static uint64_t
empty_shelves(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < SHELF; i++) {
		void *block = atomic_exchange(&shelf[i], NULL);
		if (block) {
			sum += check_key(block, SIZE);
			phase->give(block);
		}
		load_free(atomic_exchange(&load_shelf[i], NULL));
	}
	return sum;
}

/* Adds what the timing threads have found to the first of them, and prints it. */
static uint64_t
report_phase(struct timing_thread *timing, double seconds, bool marks)
{
	for (uint64_t i = 1; i < threads; i++) {
		histogram_merge(&timing->take, &timing[i].take);
		histogram_merge(&timing->give, &timing[i].give);
		timing->sum += timing[i].sum;
		timing->nulls += timing[i].nulls;
		timing->involuntary += timing[i].involuntary;
		timing->voluntary += timing[i].voluntary;
		timing->minor_faults += timing[i].minor_faults;
	}
	printf("phase %s seconds %.3f involuntary %" PRIu64 " voluntary %" PRIu64 " minor_faults %" PRIu64
	       " nulls %" PRIu64 "\n",
	       phase->name, seconds, timing->involuntary, timing->voluntary, timing->minor_faults, timing->nulls);
	report_latency(phase->take_name, &timing->take, marks);
	if (!phase->empty)
		report_latency(phase->give_name, &timing->give, marks);
	return timing->sum;
}

/* Runs one phase; gives the sum of the keys. */
static uint64_t
run_phase(const struct phase *next, bool marks)
{
	size_t bytes = threads * sizeof(struct timing_thread);
	struct timing_thread *timing =
	        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	pthread_t loads[MAX_THREADS];
	if (timing == MAP_FAILED)
		bench_fail("no memory for histograms");
	phase = next;
	atomic_store(&load_ends, false);
	pthread_barrier_init(&barrier, NULL, (unsigned)(threads + load + 1));
	for (uint64_t i = 0; i < threads; i++) {
		timing[i].state = seed + i * UINT64_C(0x100000001);
		start_thread(&timing[i].thread, timing_thread, &timing[i]);
	}
	for (uint64_t i = 0; i < load; i++)
		start_thread(&loads[i], load_thread, (void *)(uintptr_t)(seed + ~i));
	pthread_barrier_wait(&barrier);
	double start = bench_seconds();
	for (uint64_t i = 0; i < threads; i++)
		pthread_join(timing[i].thread, NULL);
	double seconds = bench_seconds() - start;
	atomic_store(&load_ends, true);
	for (uint64_t i = 0; i < load; i++)
		pthread_join(loads[i], NULL);
	uint64_t sum = empty_shelves() + report_phase(timing, seconds, marks);
	pthread_barrier_destroy(&barrier);
	munmap(timing, bytes);
	return sum;
}

/* Nanoseconds a tick, from both clocks over 50 ms. */
static double
calibrate(void)
{
	uint64_t ns = clock_ns(), begin = ticks();
	do
		sched_yield();
	while (clock_ns() - ns < 50000000);
	uint64_t end = ticks();
	return (double)(clock_ns() - ns) / (double)(end - begin);
}

int
main(int argc, char **argv)
{
	static const struct phase timer = {"timer", "timer", NULL, take_nothing, give_nothing, true};
	static const struct phase plain = {"malloc", "malloc", "free", malloc, free, false};
	bench_options(argc, argv, "the time of single calls under load", options, BENCH_COUNT(options));
	lab_alloc_found = (void *(*)(size_t, unsigned))(uintptr_t)dlsym(RTLD_DEFAULT, "lab_alloc");
	lab_free_found = (give_function *)(uintptr_t)dlsym(RTLD_DEFAULT, "lab_free");
	const struct phase atomic = {"atomic", "atomic-claim", "atomic-release", take_atomic, lab_free_found, false};
	double start = bench_seconds();
	ns_a_tick = calibrate();
	bool marks = switch_start();
	printf("clock %.4f ns a tick, context switches are %s\n", ns_a_tick, marks ? "marked" : "not seen");
	run_phase(&timer, marks);
	uint64_t sum = run_phase(&plain, marks);
	if (lab_alloc_found && lab_free_found)
		run_phase(&atomic, marks); /* not in the checksum: other mallocs do not have it, and NULL is allowed */
	bench_report(2 * threads * calls, start, sum);
	return 0;
}
