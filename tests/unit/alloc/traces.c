/*
 * traces.c - random traces in several threads: each its own, threads that die with live blocks, blocks that live on in
 * other threads, and all of it while others trim, also by visits to threads that have freed all. A plain program, as
 * TSan and Criterion do not go together.
 *
 * Clauses: G10.11.
 */
#include "heap/registry.h"
#include "heap/thread.h"
#include "heap/visit.h"
#include "many_threads.h"

enum { THREADS = 4, SLOTS = 300 };

#if defined(LAB_THREAD_SANITIZER)
enum { SCALE = 2 };
#else
enum { SCALE = 8 };
#endif

/* ---- private: nothing is shared but the page level ---- */

static struct trace_block blocks[THREADS][SLOTS];

static void
trace_alone(size_t number)
{
	struct trace trace = {{number + 1}, blocks[number], SLOTS, 13, 23, 30, false};

	trace_run(&trace, 10000 * SCALE);
	trace_check_all(&trace);
	trace_free_all(&trace);
}

static void
run_private(void)
{
	threads_run(trace_alone, THREADS);
}

/* ---- churn: threads die with live blocks, and the next ones take over their heaps ---- */

enum { LIVES = 40 * SCALE, HEIRLOOMS = 200 };

static struct trace_block heirlooms[THREADS][HEIRLOOMS];

static void
live_and_die(size_t number)
{
	struct trace trace = {{number * 77 + trace_below(&(struct trace_random){number + threads_ended}, 1000) + 1},
	                      heirlooms[number],
	                      HEIRLOOMS,
	                      12,
	                      22,
	                      40,
	                      false};

	trace_check_all(&trace); /* what the dead left: nothing of it was given to others */
	trace_run(&trace, 600);
}

static void
run_churn(void)
{
	struct threads_member members[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		threads_begin(&members[i], live_and_die, i);
	for (size_t life = 0; life < LIVES; life++) {
		threads_join(&members[life % THREADS]);
		threads_begin(&members[life % THREADS], live_and_die, life % THREADS);
	}
	for (size_t i = 0; i < THREADS; i++) {
		threads_join(&members[i]);
		for (size_t j = 0; j < HEIRLOOMS; j++)
			trace_free_block(&heirlooms[i][j]);
	}
	REQUIRE(lab_registry_count() <= 6 * THREADS); /* the dead are found: heaps do not grow with lives */
}

/* ---- hand over: every block is freed by the thread of the next life (as larson does) ---- */

static struct trace_block handed[THREADS][SLOTS];

static void
take_over(size_t number)
{
	struct trace_random random = {number + 5};

	for (int step = 0; step < 500; step++) {
		struct trace_block *block = &handed[number][trace_below(&random, SLOTS)];
		trace_free_block(block);
		size_t size = trace_skewed(&random, step % 20 ? 10 : 17);
		trace_adopt_block(block, lab_malloc(size), size, (uint32_t)step);
	}
}

static void
run_hand_over(void)
{
	for (int life = 0; life < 20 * SCALE; life++)
		threads_run(take_over, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		for (size_t j = 0; j < SLOTS; j++)
			trace_free_block(&handed[i][j]);
}

/* ---- trim: purgers and rebuilds among allocations; the figures are read all the while ---- */

static _Atomic bool stop;

static void
trim_all_the_time(size_t number)
{
	struct lab_stats stats;

	(void)number;
	for (int i = 0; !atomic_load(&stop); i++) {
		if (i % 2)
			(void)lab_trim(i % 8 ? 0 : (size_t)1 << 20);
		lab_stats_get(&stats);
		REQUIRE(stats.reserved >= stats.committed);
		sched_yield();
	}
}

/* One thread does this until the others have done that. */
static void
run_beside(void (*all_the_time)(size_t number), void (*others)(size_t number))
{
	struct threads_member member;

	threads_begin(&member, all_the_time, 0);
	threads_run(others, THREADS - 1);
	atomic_store(&stop, true);
	threads_join(&member);
}

static void
run_trim(void)
{
	run_beside(trim_all_the_time, trace_alone);
}

/* ---- sleepers: a visitor takes away, all the time, spans from which threads take blocks that they free at once --- */

enum { BURST = 3 };

/* Each block is known by its first and last word. */
static void
burst(struct trace_random *random, uint64_t mark)
{
	size_t count = 1 + trace_below(random, BURST), words = (16 << trace_below(random, 3)) / sizeof(uint64_t);
	uint64_t *p[BURST];

	for (size_t i = 0; i < count; i++) {
		p[i] = lab_malloc(words * sizeof(uint64_t));
		REQUIRE(p[i]);
		p[i][0] = p[i][words - 1] = mark + i;
	}
	for (size_t i = 0; i < count; i++)
		REQUIRE(p[i][0] == mark + i && p[i][words - 1] == mark + i);
	for (size_t i = 0; i < count; i++)
		lab_free(p[i]);
}

static void
use_and_free_all(size_t number)
{
	struct trace_random random = {number + 1};

	for (uint64_t i = 1; i <= 100000 * SCALE; i++)
		burst(&random, (uint64_t)(number + 1) << 48 | i * BURST);
}

/* ---- holders: and holds spans of which some blocks stay, while their thread frees others and takes them again ---- */

enum { KEPT = 60, WORDS_MAX = 500 };

struct kept {
	uint64_t *p, mark;
	size_t words;
};

static void
replace(struct kept *kept, struct trace_random *random, uint64_t mark)
{
	if (kept->p) {
		REQUIRE(kept->p[0] == kept->mark && kept->p[kept->words - 1] == kept->mark);
		lab_free(kept->p);
	}
	kept->words = 2 + trace_below(random, 3) * WORDS_MAX / 2;
	kept->mark = mark;
	kept->p = trace_below(random, 4) == 0 ? lab_malloc(kept->words * sizeof(uint64_t)) : NULL;
	if (kept->p)
		kept->p[0] = kept->p[kept->words - 1] = mark;
}

static void
use_and_keep_some(size_t number)
{
	struct trace_random random = {number + 1};
	struct kept kept[KEPT] = {{0}};

	for (uint64_t i = 1; i <= 2000000 * SCALE; i++)
		replace(&kept[trace_below(&random, KEPT)], &random, (uint64_t)(number + 1) << 48 | i);
	for (size_t i = 0; i < KEPT; i++)
		lab_free(kept[i].p);
}

static void
visit_all_the_time(size_t number)
{
	(void)number;
	while (!atomic_load(&stop)) {
		struct lab_guard guard = LAB_GUARD_HERE;
		REQUIRE(lab_enter(&guard));
		lab_visit_all_thoroughly(guard.heap);
		lab_leave(&guard);
	}
}

static void
run_sleepers(void)
{
	run_beside(visit_all_the_time, use_and_free_all);
}

static void
run_holders(void)
{
	run_beside(visit_all_the_time, use_and_keep_some);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {
	        {"private", run_private}, {"churn", run_churn},       {"hand_over", run_hand_over},
	        {"trim", run_trim},       {"sleepers", run_sleepers}, {"holders", run_holders},
	};

	return threads_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
