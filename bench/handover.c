/*
 * handover.c - blocks that outlive their thread, and blocks that move between live threads.
 *
 * After Larson and Krishnan, Memory allocation for long-running server applications (ISMM 1998): a thread replaces
 * blocks at random in its set; after a while it starts a successor, leaves it the set, and ends. The successor frees
 * blocks of a dead thread. In addition, one operation in --exchange swaps a block with a mailbox that all threads
 * share, so that blocks of living threads are freed by others too. It shows the cost of frees from foreign threads and
 * of birth and death of threads, and whether the memory of dead threads is used again (peak RSS).
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define MAILBOXES 64

static uint64_t ops = 40000;
static uint64_t generations = 300;
static uint64_t threads = 2;
static uint64_t live = 2000;
static uint64_t exchange = 4;
static uint64_t min_size = 16;
static uint64_t max_size = 1024;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 10000, 1, BENCH_MAX_OPS, "blocks that a thread replaces in its life"},
        {"generations", &generations, 30, 1, BENCH_MAX_BLOCK, "threads that follow each other with one set"},
        {"threads", &threads, 2, 1, 1024, "threads at a time"},
        {"live", &live, 1000, 1, BENCH_MAX_BLOCK, "blocks in a set"},
        {"exchange", &exchange, 4, 1, BENCH_MAX_BLOCK, "one operation in so many swaps with a mailbox"},
        {"min", &min_size, 16, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "smallest block, bytes"},
        {"max", &max_size, 1024, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest block, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* A slot that threads share. Whoever finds it busy goes on without it: nobody waits. */
struct mailbox {
	_Alignas(64) atomic_bool busy;
	struct bench_slot slot; /* of who set busy */
};

/* What a thread leaves its successor. Only one thread uses it at a time: thread creation orders their accesses. */
struct chain {
	_Alignas(64) struct bench_slot *slots;
	uint64_t state;      /* of the random numbers */
	uint64_t generation; /* threads that have lived */
	uint64_t sum;
};

static struct mailbox mailboxes[MAILBOXES];
static sem_t chains_done;

static void
swap_with_mailbox(struct bench_slot *slot, struct mailbox *box)
{
	/* Pairs with the release below: the swap sees the slot that the last holder left. */
	if (atomic_exchange_explicit(&box->busy, true, memory_order_acquire))
		return;
	struct bench_slot mine = *slot;
	*slot = box->slot;
	box->slot = mine;
	atomic_store_explicit(&box->busy, false, memory_order_release);
}

static void *live_and_pass_on(void *argument);

static void
start_thread(struct chain *chain)
{
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, live_and_pass_on, chain) != 0)
		bench_fail("cannot start a thread");
	pthread_attr_destroy(&attributes);
}

static void *
live_and_pass_on(void *argument)
{
	struct chain *chain = argument;
	uint64_t state = chain->state, sum = 0;
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &chain->slots[bench_scale_high(random, live)];
		if (op % exchange == 0)
			swap_with_mailbox(slot, &mailboxes[random % MAILBOXES]);
		sum += bench_slot_empty(slot);
		bench_slot_fill(slot, bench_scale_low(random, min_size, max_size), random);
	}
	chain->state = state;
	chain->sum += sum;
	if (++chain->generation < generations)
		start_thread(chain);
	else
		sem_post(&chains_done);
	return NULL;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "blocks are handed over between threads and to new threads", options,
	              BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	struct chain *chains = aligned_alloc(_Alignof(struct chain), threads * sizeof(*chains));
	if (!chains || sem_init(&chains_done, 0, 0) != 0)
		bench_fail("cannot set up %" PRIu64 " threads", threads);
	for (uint64_t i = 0; i < threads; i++) {
		chains[i] = (struct chain){.slots = bench_slots_new(live), .state = seed + i * UINT64_C(0x100000001)};
		start_thread(&chains[i]);
	}
	for (uint64_t i = 0; i < threads; i++) {
		while (sem_wait(&chains_done) != 0)
			continue;
	}
	uint64_t sum = 0;
	for (uint64_t i = 0; i < threads; i++)
		sum += chains[i].sum + bench_slots_free(chains[i].slots, live);
	for (size_t i = 0; i < MAILBOXES; i++)
		sum += bench_slot_empty(&mailboxes[i].slot);
	free(chains);
	bench_report(threads * generations * ops, start, sum);
	return 0;
}
