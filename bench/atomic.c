/*
 * atomic.c - what a claim and a release of the atomic tier cost: time, alone and against other threads, beside malloc
 * and free of the same process; and instructions, one by one, in the best case and in the worst.
 *
 * The library's functions are found by dlsym; under a malloc without them, the times of malloc and free are all that
 * there is.
 *
 *     time CALLS THREADS threads ns_a_pair MEDIAN MIN MAX          CALLS: atomic, malloc, or empty (the loop alone)
 *     instructions STATE FLAGS size BYTES claim N release N          release -: the claim got NULL
 *
 * Instructions are counted by the processor's trap flag (x86-64): from the first of lab_alloc or lab_free to its
 * return, both included. The states:
 *
 *     free        nothing is taken but --held slots: the first try succeeds
 *     used-up     with the same flags and size, until NULL: what is free is out of reach
 *     full        all that any request can have is taken: the claim fails, having looked at every word
 *     one-left    full, then one slot is released and claimed again, each in turn: the longest search that succeeds
 *
 * A claim's retries after lost races are not among these: they are bounded by 64 a word (reserve.h).
 *
 * --call 1, 2, 3 runs one loop (claims and releases; malloc and free; claims that fail), for instructions.sh; --empty 1
 * the loop without them.
 */
#include "bench.h"

#include <dlfcn.h>
#include <labyrinth/labyrinth.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { ROUNDS = 7, MAX_THREADS = 64, MAX_HELD = 1024, MAX_SLOTS = 1 << 20, MIN_SLOT = 32, MAX_SLOT = 65536 };
enum { CALL_ALL, CALL_ATOMIC, CALL_MALLOC, CALL_FAILING };

#define GFP_MIN      (LAB_GFP_ATOMIC & ~LAB_GFP_HIGH) /* reaches as deep as re-entrant malloc */
#define GFP_MEMALLOC (LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC)

static const struct {
	const char *name;
	unsigned gfp;
} depths[] = {{"min", GFP_MIN}, {"ATOMIC", LAB_GFP_ATOMIC}, {"ATOMIC|MEMALLOC", GFP_MEMALLOC}};

static uint64_t pairs = 5000000;
static uint64_t size = 64;
static uint64_t held = 4;
static uint64_t threads = 2;
static uint64_t call = CALL_ALL;
static uint64_t empty = 0;
static uint64_t most = 0;

static const struct bench_option options[] = {
        {"pairs", &pairs, 20000, 1, BENCH_MAX_OPS, "pairs that each thread makes in a round"},
        {"size", &size, 64, BENCH_MIN_BLOCK, MAX_SLOT, "bytes"},
        {"held", &held, 4, 0, MAX_HELD, "blocks of that size that each thread holds meanwhile"},
        {"threads", &threads, 2, 1, MAX_THREADS, "threads of the contended rounds"},
        {"call", &call, CALL_ALL, CALL_ALL, CALL_FAILING, "0: everything; 1, 2, 3: one loop, see the source"},
        {"empty", &empty, 0, 0, 1, "1: with --call, the loop without the calls"},
        {"most", &most, 0, 0, BENCH_MIB, "fail if a pair takes more instructions on the first try; 0: any number"},
};

typedef void *alloc_function(size_t size, unsigned gfp);
typedef void free_function(void *block);

static alloc_function *lab_alloc_found;
static free_function *lab_free_found;

static void *
alloc_plain(size_t bytes, unsigned gfp)
{
	(void)gfp;
	return malloc(bytes);
}

static void *
alloc_static(size_t bytes, unsigned gfp)
{
	static _Alignas(16) char block[MAX_SLOT];
	(void)bytes, (void)gfp;
	return block;
}

static void
free_static(void *block)
{
	(void)block;
}

/* Two functions that belong together. */
struct calls {
	const char *name;
	alloc_function *alloc;
	free_function *free;
};

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* The loop. Every block is stamped, so that a slot given to two threads is seen. A claim may get NULL: then nothing is
 * released. */
static uint64_t
loop_pairs(const struct calls *calls, uint64_t count, uint64_t key)
{
	uint64_t nulls = 0;
	for (uint64_t i = 0; i < count; i++) {
		void *block = bench_opaque(calls->alloc(size, LAB_GFP_ATOMIC));
		if (__builtin_expect(!block, 0)) {
			nulls++;
			continue;
		}
		bench_write_word(block, key + i);
		block = bench_opaque(block);
		if (calls->alloc != alloc_static)
			bench_expect_word(block, 0, key + i);
		calls->free(block);
	}
	return nulls;
}

struct worker {
	pthread_t thread;
	const struct calls *calls;
	uint64_t key;
	uint64_t nulls;
	double seconds; /* its own: a thread that only waits may be woken late */
};

static pthread_barrier_t barrier;

static void *
work(void *argument)
{
	struct worker *worker = argument;
	void *blocks[MAX_HELD];
	for (uint64_t i = 0; i < held; i++)
		blocks[i] = worker->calls->alloc(size, LAB_GFP_ATOMIC);
	pthread_barrier_wait(&barrier);
	double start = bench_seconds();
	worker->nulls = loop_pairs(worker->calls, pairs, worker->key);
	worker->seconds = bench_seconds() - start;
	pthread_barrier_wait(&barrier); /* the held blocks are held until all have ended */
	for (uint64_t i = 0; i < held; i++)
		if (blocks[i])
			worker->calls->free(blocks[i]);
	return NULL;
}

/* Nanoseconds that a pair takes in each of `count` threads, on average. */
static double
time_round(const struct calls *calls, uint64_t count)
{
	struct worker workers[MAX_THREADS];
	pthread_barrier_init(&barrier, NULL, (unsigned)count);
	for (uint64_t i = 0; i < count; i++) {
		workers[i] = (struct worker){.calls = calls, .key = i << 40};
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			bench_fail("cannot start a thread");
	}
	double seconds = 0;
	uint64_t nulls = 0;
	for (uint64_t i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		nulls += workers[i].nulls;
		seconds += workers[i].seconds;
	}
	pthread_barrier_destroy(&barrier);
	if (nulls)
		printf("note: %s, %" PRIu64 " threads: %" PRIu64 " calls got NULL\n", calls->name, count, nulls);
	return seconds * 1e9 / (double)(pairs * count);
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static const struct calls empty_calls = {"empty", alloc_static, free_static};
static const struct calls malloc_calls = {"malloc", alloc_plain, free};

/* All kinds in turn in each round, alone and together. */
static void
time_all(const struct calls *kinds, size_t kind_count)
{
	double times[3][2][ROUNDS];
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t kind = 0; kind < kind_count; kind++)
			for (unsigned many = 0; many < 2; many++)
				times[kind][many][round] = time_round(&kinds[kind], many ? threads : 1);
	for (size_t kind = 0; kind < kind_count; kind++)
		for (unsigned many = 0; many < 2; many++) {
			double *row = times[kind][many];
			qsort(row, ROUNDS, sizeof(*row), compare_doubles);
			printf("time %s %" PRIu64 " threads ns_a_pair %.2f %.2f %.2f\n", kinds[kind].name,
			       many ? threads : 1, row[ROUNDS / 2], row[0], row[ROUNDS - 1]);
		}
}

/* ---- the state of the reserve ---------------------------------------------------------------------------------- */

/* Slots that were taken, and by requests of how many bytes; room for MAX_SLOTS. */
static struct {
	void *block;
	size_t bytes;
} * taken;
static size_t taken_count;

static void
use_up(size_t bytes, unsigned gfp)
{
	void *block;
	while ((block = lab_alloc_found(bytes, gfp)) != NULL) {
		if (taken_count == MAX_SLOTS)
			bench_fail("more than %d slots", MAX_SLOTS);
		taken[taken_count].block = block;
		taken[taken_count++].bytes = bytes;
	}
}

/* Takes every slot that there is, the largest first. */
static void
use_up_all(void)
{
	for (size_t bytes = MAX_SLOT; bytes >= MIN_SLOT; bytes /= 2)
		use_up(bytes, GFP_MEMALLOC);
}

static void
release_all(void)
{
	while (taken_count > 0)
		lab_free_found(taken[--taken_count].block);
}

/* ---- instructions ---------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
static volatile sig_atomic_t traps;

static void
on_trap(int number)
{
	(void)number;
	traps++;
}

/* The red zone of the caller's frame is stepped over. */
#define SET_TRAP_FLAG(change)                                                                                          \
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" change ", (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"   \
	                 :                                                                                             \
	                 :                                                                                             \
	                 : "memory", "cc")

__attribute__((noinline)) static uint64_t
steps_of_alloc(alloc_function *alloc, size_t bytes, unsigned gfp, void **result)
{
	traps = 0;
	SET_TRAP_FLAG("orl $0x100");
	void *block = alloc(bytes, gfp);
	SET_TRAP_FLAG("andl $~0x100");
	*result = block;
	return (uint64_t)traps;
}

__attribute__((noinline)) static uint64_t
steps_of_free(free_function *release, void *block)
{
	traps = 0;
	SET_TRAP_FLAG("orl $0x100");
	release(block);
	SET_TRAP_FLAG("andl $~0x100");
	return (uint64_t)traps;
}

/* One instruction each: what the steps above count besides the call. */
void *atomic_one_alloc(size_t bytes, unsigned gfp);
void atomic_one_free(void *block);
__asm__(".text\n.globl atomic_one_alloc\natomic_one_alloc:\n\tret\n.globl atomic_one_free\natomic_one_free:\n\tret\n");

static uint64_t
count_claim(size_t bytes, unsigned gfp, void **block)
{
	void *nothing;
	uint64_t around = steps_of_alloc(atomic_one_alloc, bytes, gfp, &nothing) - 1;
	return steps_of_alloc(lab_alloc_found, bytes, gfp, block) - around;
}

static uint64_t
count_release(void *block)
{
	uint64_t around = steps_of_free(atomic_one_free, block) - 1;
	return steps_of_free(lab_free_found, block) - around;
}

/* A claim, and the release of what it got; gives the sum. */
static uint64_t
count_pair(const char *state, const char *flags, size_t bytes, unsigned gfp)
{
	void *block;
	uint64_t claim = count_claim(bytes, gfp, &block), release = block ? count_release(block) : 0;
	printf("instructions %s %s size %zu claim %" PRIu64, state, flags, bytes, claim);
	printf(block ? " release %" PRIu64 "\n" : " release -\n", release);
	return claim + release;
}

/* The reserve is full: releases each slot in turn, and claims it again by a request like that which had got it. */
static void
count_one_left(void)
{
	uint64_t most_claim = 0, most_release = 0;
	for (size_t i = 0; i < taken_count; i++) {
		void *block;
		uint64_t release = count_release(taken[i].block);
		uint64_t claim = count_claim(taken[i].bytes, GFP_MEMALLOC, &block);
		if (block != taken[i].block)
			bench_fail("of a full reserve, %p was released, and a claim got %p", taken[i].block, block);
		most_claim = claim > most_claim ? claim : most_claim;
		most_release = release > most_release ? release : most_release;
	}
	printf("instructions one-left ATOMIC|MEMALLOC size any claim %" PRIu64 " release %" PRIu64
	       " (the most of %zu slots)\n",
	       most_claim, most_release, taken_count);
}

static void
count_all(void)
{
	void *keep[MAX_HELD];
	sigaction(SIGTRAP, &(struct sigaction){.sa_handler = on_trap}, NULL);
	for (uint64_t i = 0; i < held; i++)
		keep[i] = lab_alloc_found(size, LAB_GFP_ATOMIC);
	uint64_t first_try = count_pair("free", "ATOMIC", size, LAB_GFP_ATOMIC);
	for (uint64_t i = 0; i < held; i++)
		if (keep[i])
			lab_free_found(keep[i]);
	for (size_t i = 0; i < BENCH_COUNT(depths); i++) {
		use_up(size, depths[i].gfp);
		count_pair("used-up", depths[i].name, size, depths[i].gfp);
		release_all();
	}
	use_up_all();
	for (size_t i = 0; i < BENCH_COUNT(depths); i++) {
		count_pair("full", depths[i].name, MIN_SLOT, depths[i].gfp);
		count_pair("full", depths[i].name, MAX_SLOT, depths[i].gfp);
	}
	count_one_left();
	release_all();
	if (most > 0 && first_try > most)
		bench_fail("a claim and a release take %" PRIu64 " instructions on the first try, more than %" PRIu64,
		           first_try, most);
}
#else
static void
count_all(void)
{
	if (most > 0)
		bench_fail("instructions cannot be counted on this processor");
	printf("note: instructions cannot be counted on this processor\n");
}
#endif

/* ---- one loop, for callgrind ----------------------------------------------------------------------------------- */

static void
run_one_loop(const struct calls *kinds)
{
	const struct calls *calls = call == CALL_MALLOC ? &malloc_calls : kinds;
	void *blocks[MAX_HELD];
	if (!calls->alloc)
		bench_fail("this malloc has no lab_alloc");
	if (call == CALL_FAILING)
		use_up_all();
	for (uint64_t i = 0; i < held; i++)
		blocks[i] = calls->alloc(size, LAB_GFP_ATOMIC);
	uint64_t nulls = loop_pairs(empty ? &empty_calls : calls, pairs, 0);
	if (!empty && nulls != (call == CALL_FAILING ? pairs : 0))
		bench_fail("%" PRIu64 " calls got NULL", nulls);
	for (uint64_t i = 0; i < held; i++)
		if (blocks[i])
			calls->free(blocks[i]);
	release_all();
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "what a claim and a release of the atomic tier cost", options, BENCH_COUNT(options));
	lab_alloc_found = (alloc_function *)(uintptr_t)dlsym(RTLD_DEFAULT, "lab_alloc");
	lab_free_found = (free_function *)(uintptr_t)dlsym(RTLD_DEFAULT, "lab_free");
	bool found = lab_alloc_found && lab_free_found;
	const struct calls kinds[] = {{"atomic", lab_alloc_found, lab_free_found}, malloc_calls, empty_calls};
	size_t bytes = MAX_SLOTS * sizeof(*taken);
	taken = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (taken == MAP_FAILED)
		bench_fail("no memory for a table");
	double start = bench_seconds();
	if (call != CALL_ALL) {
		run_one_loop(kinds);
	} else {
		time_all(kinds + !found, BENCH_COUNT(kinds) - !found);
		if (found)
			count_all();
		else if (most > 0)
			bench_fail("this malloc has no lab_alloc");
	}
	bench_report(pairs, start, 0);
	return 0;
}
