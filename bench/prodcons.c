/*
 * prodcons.c - pairs of threads: one allocates, the other frees.
 *
 * Every block is freed by a thread that never allocates, through a bounded queue: the extreme of remote frees. It shows
 * their cost, and whether the memory finds its way back to the allocating thread: peak RSS must stay near what the
 * queue can hold. The queue is a single-producer single-consumer ring (Lamport 1983, with the other side's index cached
 * as in FastForward's successors), so that it costs little itself. A side that must wait sleeps in the end, and goes on
 * when half of the queue is ready for it: otherwise threads that share a processor could change places for every block,
 * and the time would be the scheduler's. (With sched_yield, a busy third program made runs up to ten times longer.)
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>

#define SPINS 4000 /* looks at the other side's index, some 10 µs, before the thread sleeps */

static uint64_t ops = 3000000;
static uint64_t pairs = 1;
static uint64_t queue = 4096;
static uint64_t min_size = 16;
static uint64_t max_size = 1024;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 50000, 1, BENCH_MAX_OPS, "blocks through each queue"},
        {"pairs", &pairs, 1, 1, 512, "pairs of a producer and a consumer"},
        {"queue", &queue, 1024, 1, BENCH_MAX_BLOCK, "blocks that a queue holds"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 1024, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* Entries made … taken + queue - 1 may be written by the producer, taken … made - 1 read by the consumer; index modulo
 * queue. */
struct channel {
	_Alignas(64) atomic_uint_fast64_t made; /* written by the producer */
	uint64_t state;
	pthread_t producer;
	_Alignas(64) atomic_uint_fast64_t taken; /* written by the consumer */
	uint64_t sum;
	pthread_t consumer;
	_Alignas(64) struct bench_slot *ring;
};

/* Waits until *index >= wanted, and gives what it is then. The acquire pairs with the other side's release of its
 * index. */
static uint64_t
wait_for(const atomic_uint_fast64_t *index, uint64_t wanted)
{
	for (unsigned spins = 0;; spins++) {
		uint64_t seen = atomic_load_explicit(index, memory_order_acquire);
		if (seen >= wanted)
			return seen;
		if (spins >= SPINS)
			nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
	}
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *
produce(void *argument)
{
	struct channel *channel = argument;
	uint64_t state = channel->state, taken = 0, place = 0;
	for (uint64_t made = 0; made < ops; made++) {
		uint64_t random = bench_random(&state);
		struct bench_slot block;
		bench_slot_fill(&block, bench_scale_low(random, min_size, max_size), random);
		if (made >= taken + queue)
			taken = wait_for(&channel->taken, made - queue / 2);
		channel->ring[place] = block;
		place = place + 1 == queue ? 0 : place + 1;
		atomic_store_explicit(&channel->made, made + 1, memory_order_release);
	}
	return NULL;
}

static void *
consume(void *argument)
{
	struct channel *channel = argument;
	uint64_t sum = 0, made = 0, place = 0;
	for (uint64_t taken = 0; taken < ops; taken++) {
		if (made <= taken)
			made = wait_for(&channel->made, least(taken + (queue + 1) / 2, ops));
		struct bench_slot block = channel->ring[place];
		place = place + 1 == queue ? 0 : place + 1;
		atomic_store_explicit(&channel->taken, taken + 1, memory_order_release);
		sum += bench_slot_empty(&block);
	}
	channel->sum = sum;
	return NULL;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "one thread allocates, another frees", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	struct channel *channels = aligned_alloc(_Alignof(struct channel), pairs * sizeof(*channels));
	if (!channels)
		bench_fail("cannot set up %" PRIu64 " pairs", pairs);
	for (uint64_t i = 0; i < pairs; i++) {
		struct channel *channel = &channels[i];
		memset(channel, 0, sizeof(*channel));
		channel->ring = bench_slots_new(queue);
		channel->state = seed + i * UINT64_C(0x100000001);
		if (pthread_create(&channel->consumer, NULL, consume, channel) != 0 ||
		    pthread_create(&channel->producer, NULL, produce, channel) != 0)
			bench_fail("cannot start pair %" PRIu64, i);
	}
	uint64_t sum = 0;
	for (uint64_t i = 0; i < pairs; i++) {
		pthread_join(channels[i].producer, NULL);
		pthread_join(channels[i].consumer, NULL);
		sum += channels[i].sum;
		free(channels[i].ring);
	}
	free(channels);
	bench_report(pairs * ops, start, sum);
	return 0;
}
