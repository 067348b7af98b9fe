/*
 * remote.c - blocks that are freed by other threads than allocated them, in every pattern: from one to one, round a
 * ring, from all to all, runs of pages and huge blocks, and blocks that are resized on their way. A plain program, as
 * TSan and Criterion do not go together.
 *
 * Clauses: G10.9.
 */
#include "heap/registry.h"
#include "heap/thread.h"
#include "heap/visit.h"
#include "many_threads.h"
#include "page/map.h"

#if defined(LAB_THREAD_SANITIZER)
enum { SCALE = 2 };
#else
enum { SCALE = 8 };
#endif

enum { THREADS = 4, DEPTH = 512 };

/* A mailbox: what one thread puts in another takes out. A full or empty slot is passed over. */
struct box {
	_Atomic(struct trace_block *) slots[DEPTH];
};

static struct box boxes[THREADS];

/* The pattern: which sizes, and whether blocks are resized by who frees them. */
static struct {
	unsigned bits, large_bits;
	bool resize;
	size_t steps;
} mode;

/* The header of a message is a block of the heap as well, and is freed by the receiver, too. */
static struct trace_block *
make_message(struct trace_random *random)
{
	bool large = mode.large_bits && trace_below(random, 8) == 0;
	size_t size = trace_skewed(random, large ? mode.large_bits : mode.bits);
	struct trace_block *message = lab_malloc(sizeof *message);

	REQUIRE(message);
	trace_adopt_block(message, lab_malloc(size), size, (uint32_t)trace_next(random));
	return message;
}

static void
consume(struct trace_block *message, struct trace_random *random)
{
	if (!message)
		return;
	trace_check_block(message);
	if (mode.resize && trace_below(random, 2)) {
		size_t size = trace_skewed(random, mode.large_bits ? mode.large_bits : mode.bits);
		size_t kept = size < message->size ? size : message->size;
		unsigned char *p = lab_realloc(message->p, size, LAB_GFP_KERNEL);
		REQUIRE(p && trace_reads_as(p, kept, message->size, message->seed));
		trace_adopt_block(message, p, size, message->seed);
	}
	trace_free_block(message);
	lab_free(message);
}

static void
put(struct box *box, struct trace_random *random)
{
	_Atomic(struct trace_block *) *slot = &box->slots[trace_below(random, DEPTH)];
	struct trace_block *message = make_message(random);

	consume(atomic_exchange_explicit(slot, message, memory_order_acq_rel),
	        random); /* what was there is ours to free */
}

static void
get(struct box *box, struct trace_random *random)
{
	_Atomic(struct trace_block *) *slot = &box->slots[trace_below(random, DEPTH)];

	consume(atomic_exchange_explicit(slot, NULL, memory_order_acq_rel), random);
}

static void
empty_boxes(void)
{
	struct trace_random random = {1};

	for (size_t i = 0; i < THREADS; i++)
		for (size_t j = 0; j < DEPTH; j++)
			consume(atomic_exchange(&boxes[i].slots[j], NULL), &random);
}

/* Even threads produce for the odd ones. */
static void
act_in_pairs(size_t number)
{
	struct trace_random random = {number + 1};

	for (size_t i = 0; i < mode.steps; i++)
		if (number % 2 == 0)
			put(&boxes[number], &random);
		else
			get(&boxes[number - 1], &random);
}

static void
act_in_a_ring(size_t number)
{
	struct trace_random random = {number + 1};

	for (size_t i = 0; i < mode.steps; i++) {
		put(&boxes[(number + 1) % THREADS], &random);
		get(&boxes[number], &random);
	}
}

static void
act_all_to_all(size_t number)
{
	struct trace_random random = {number + 1};

	for (size_t i = 0; i < mode.steps; i++) {
		put(&boxes[trace_below(&random, THREADS)], &random);
		get(&boxes[trace_below(&random, THREADS)], &random);
	}
}

static void
run(void (*act)(size_t number))
{
	for (int life = 0; life < 3; life++) /* those of the next life free what the dead allocated */
		threads_run(act, THREADS);
	empty_boxes();
}

static void
run_pairs(void)
{
	mode.bits = 10;
	mode.steps = 8000 * SCALE;
	run(act_in_pairs);
	struct lab_stats stats;
	lab_stats_get(&stats);
	REQUIRE(stats.remote_frees > 1000);
}

static void
run_ring(void)
{
	mode.bits = 12;
	mode.steps = 5000 * SCALE;
	run(act_in_a_ring);
}

static void
run_all_to_all(void)
{
	mode.bits = 12;
	mode.steps = 5000 * SCALE;
	run(act_all_to_all);
}

static void
run_runs(void)
{
	mode.bits = 16;
	mode.large_bits = 23;
	mode.steps = 800 * SCALE;
	run(act_all_to_all);
}

/* Two threads visit the others' heaps all the while, whether those are in fast paths, in slow ones, or asleep. */

static _Atomic unsigned workers_left;
static _Atomic size_t visits;

static void
act_or_visit(size_t number)
{
	struct trace_random random = {number + 1};

	if (number < THREADS - 2) {
		for (size_t i = 0; i < mode.steps; i++) {
			put(&boxes[trace_below(&random, THREADS)], &random);
			get(&boxes[trace_below(&random, THREADS)], &random);
		}
		atomic_fetch_sub(&workers_left, 1);
		return;
	}
	while (atomic_load(&workers_left) > 0) {
		struct lab_guard guard = LAB_GUARD_HERE;
		get(&boxes[trace_below(&random, THREADS)], &random); /* so that something waits for each */
		if (lab_enter(&guard)) {
			(void)lab_visit_all(guard.heap, true);
			lab_leave(&guard);
			lab_add_rlx(&visits, 1);
		}
		sched_yield();
	}
}

static void
run_visits(void)
{
	mode.bits = 11;
	mode.large_bits = 18;
	mode.steps = 4000 * SCALE;
	for (int life = 0; life < 3; life++) {
		atomic_store(&workers_left, THREADS - 2);
		threads_run(act_or_visit, THREADS);
	}
	empty_boxes();
	REQUIRE(visits > 10);
	for (int i = 0; i < 20; i++) /* those who have ended may look alive for a moment */
		(void)lab_trim(0);
	struct lab_stats stats;
	lab_stats_get(&stats);
	REQUIRE(stats.blocks < 10 && lab_space_mapped() <= (size_t)8 << 20);
}

static void
run_resize(void)
{
	mode.bits = 14;
	mode.large_bits = 23;
	mode.resize = true;
	mode.steps = 800 * SCALE;
	run(act_all_to_all);
}

/* Nothing is lost: when the threads have ended and their heaps are absorbed, nothing is live. */
static void
run_and_count(void)
{
	struct lab_stats stats;

	run_all_to_all();
	for (int i = 0; i < 3; i++)
		(void)lab_trim(0);
	lab_stats_get(&stats);
	REQUIRE(stats.heaps <= 6 * THREADS);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {
	        {"pairs", run_pairs}, {"ring", run_ring},     {"all_to_all", run_and_count},
	        {"runs", run_runs},   {"resize", run_resize}, {"visits", run_visits},
	};

	return threads_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
