/*
 * fan.c - some threads allocate, others free: N producers and one consumer, or one producer and N consumers.
 *
 * prodcons.c has pairs, whose two threads touch nobody else's memory. Here one heap is freed into by several threads
 * at once (--consumers), or one thread frees into several heaps in turn (--producers): requests that workers take in
 * and one thread ends, or that one thread takes in and workers end. Each producer has a ring of its own to each
 * consumer (Lamport 1983), fills them in turn, and the consumers empty theirs in turn, so that no lock is measured.
 * A side that finds nothing to do gives up the processor: with more threads than processors the time is the
 * scheduler's in part.
 */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define RING 1024 /* blocks */

static uint64_t ops = 2000000;
static uint64_t producers = 3;
static uint64_t consumers = 1;
static uint64_t min_size = 16;
static uint64_t max_size = 256;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 40000, 1, BENCH_MAX_OPS, "blocks in all"},
        {"producers", &producers, 3, 1, 64, "threads that allocate"},
        {"consumers", &consumers, 1, 1, 64, "threads that free"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 256, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* From one producer to one consumer. */
struct ring {
	_Alignas(64) atomic_uint_fast64_t made;  /* written by the producer */
	_Alignas(64) atomic_uint_fast64_t taken; /* written by the consumer */
	bool closed;                             /* the consumer's: it has met the end */
	struct bench_slot blocks[RING];
};

struct worker {
	pthread_t thread;
	uint64_t index;
	uint64_t sum;
};

static struct ring *rings; /* that of producer p to consumer c is rings[p * consumers + c] */

/* The acquire pairs with the consumer's release: the place is empty. */
static void
put(struct ring *ring, const struct bench_slot *block)
{
	uint64_t made = atomic_load_explicit(&ring->made, memory_order_relaxed);
	while (made - atomic_load_explicit(&ring->taken, memory_order_acquire) == RING)
		sched_yield();
	ring->blocks[made % RING] = *block;
	atomic_store_explicit(&ring->made, made + 1, memory_order_release); /* pairs with the acquire of take_all */
}

static uint64_t
share_of(uint64_t producer)
{
	return ops / producers + (producer < ops % producers);
}

static void *
produce(void *argument)
{
	struct worker *worker = argument;
	struct ring *mine = &rings[worker->index * consumers];
	uint64_t state = seed + worker->index * UINT64_C(0x100000001);
	for (uint64_t i = 0; i < share_of(worker->index); i++) {
		uint64_t random = bench_random(&state);
		struct bench_slot block;
		bench_slot_fill(&block, bench_scale_low(random, min_size, max_size), random);
		put(&mine[i % consumers], &block);
	}
	for (uint64_t c = 0; c < consumers; c++) {
		struct bench_slot last = {.block = NULL};
		put(&mine[c], &last); /* an empty slot: the end */
	}
	return NULL;
}

/* Frees what the ring holds. *any: it held something. True: its producer has ended. */
static bool
take_all(struct ring *ring, uint64_t *sum, bool *any)
{
	uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
	uint64_t made = atomic_load_explicit(&ring->made, memory_order_acquire); /* pairs with the release of put */
	for (; taken != made; taken++) {
		struct bench_slot block = ring->blocks[taken % RING];
		atomic_store_explicit(&ring->taken, taken + 1,
		                      memory_order_release); /* pairs with the acquire of put */
		*any = true;
		if (!block.block)
			return true;
		*sum += bench_slot_empty(&block);
	}
	return false;
}

static void *
consume(void *argument)
{
	struct worker *worker = argument;
	for (uint64_t ended = 0; ended < producers;) {
		bool any = false;
		for (uint64_t p = 0; p < producers; p++) {
			struct ring *ring = &rings[p * consumers + worker->index];
			if (!ring->closed && take_all(ring, &worker->sum, &any)) {
				ring->closed = true;
				ended++;
			}
		}
		if (!any)
			sched_yield();
	}
	return NULL;
}

static void
start(struct worker *workers, uint64_t count, void *(*run)(void *))
{
	for (uint64_t i = 0; i < count; i++) {
		workers[i].index = i;
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0)
			bench_fail("cannot start thread %" PRIu64, i);
	}
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "some threads allocate, others free", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double begin = bench_seconds();
	static struct worker makers[64], takers[64];
	uint64_t sum = 0;
	rings = aligned_alloc(_Alignof(struct ring), producers * consumers * sizeof(*rings));
	if (!rings)
		bench_fail("cannot set up the rings");
	memset(rings, 0, producers * consumers * sizeof(*rings));
	start(takers, consumers, consume);
	start(makers, producers, produce);
	for (uint64_t i = 0; i < producers; i++)
		pthread_join(makers[i].thread, NULL);
	for (uint64_t i = 0; i < consumers; i++) {
		pthread_join(takers[i].thread, NULL);
		sum += takers[i].sum;
	}
	free(rings);
	bench_report(ops, begin, sum);
	return 0;
}
