/*
 * process.c - what a process under test does: the workload under the plan, once or often; then everything that there
 * is, without it; then the workload again, in which nothing may fail. At the end the figures go to the harness.
 */
#include <string.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/lifecycle.h"
#include "alloc/release.h"
#include "faults.h"
#include "heap/registry.h"
#include "heap/remote.h"

enum { LARGEST = 32 << 20, SEGMENT = 4 << 20, METADATA = 1 << 20, DEEPEST = 60 };

/* What must not grow with repetitions. */
struct extent {
	size_t mapped; /* bytes */
	size_t lost;   /* segments */
	struct lab_stats stats;
};

/* Inside so many heaps at once, each a handler's to the one before, so that all that this thread can borrow come by. */
static void
drain_all(size_t depth)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (depth == 0 || !lab_enter(&guard))
		return;
	lab_remote_drain_owned(guard.heap);
	drain_all(depth - 1);
	lab_leave(&guard);
}

/* Heaps that a handler could be lent, this thread's own included: one more makes a new one. */
static size_t
lendable(void)
{
	size_t heaps = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		heaps += lab_registry_state(id) != LAB_HEAP_UNUSED;
	return heaps < DEEPEST ? heaps : DEEPEST;
}

/* What was freed into heaps of the dead, and into idle ones, waits there for who finds or borrows them. */
static void
take_in_what_waits(void)
{
	struct lab_stats before, after;

	do {
		lab_stats_get(&before);
		lab_before_fork();
		lab_after_fork_in_parent();
		lab_stats_get(&after);
	} while (after.adopted != before.adopted);
	drain_all(lendable());
}

static struct extent
extent_now(void)
{
	take_in_what_waits();
	(void)lab_trim(0); /* what is free and kept is of no interest */
	struct extent now = {.mapped = fault_mapped(), .lost = fault_lost()};
	lab_stats_get(&now.stats);
	return now;
}

static void
require_no_growth(const struct extent *before, bool loses)
{
	struct extent now = extent_now();
	size_t losses = loses ? now.lost - before->lost : 0;

	REQUIRE_EQUAL(now.stats.blocks, before->stats.blocks);
	REQUIRE_EQUAL(now.stats.in_use, before->stats.in_use);
	REQUIRE(now.stats.heaps <= before->stats.heaps + 1); /* one that a jump has left, and nobody has found yet */
	/* memory is mapped as it is used: each heap may keep a segment, and metadata stays where a segment was */
	REQUIRE(now.stats.reserved <= before->stats.reserved + (now.stats.heaps + losses) * SEGMENT + losses * LARGEST);
	REQUIRE(now.stats.committed <=
	        before->stats.committed + (now.stats.heaps + losses) * SEGMENT + losses * LARGEST);
	REQUIRE(now.stats.segments <= before->stats.segments + losses + 1); /* and keep a segment there */
	if (!fault_keeps_mappings()) /* else what an alignment did not need stays */
		REQUIRE(now.mapped <=
		        before->mapped + (now.stats.heaps + losses) * SEGMENT + losses * LARGEST + METADATA);
}

static void
run_once(const struct fault_workload *workload)
{
	fault_arm();
	workload->run();
	fault_disarm();
	if (fault_run->plan.form == FAULT_ONCE) /* one call failed: one that was made with it may have */
		REQUIRE(lab_load_rlx(&fault_run->nulls) <= 1);
}

/* Where the first calls of each repetition succeed, each gets a little further than the one before, until it has what
 * it needs. */
static unsigned
warm_after(unsigned repetitions)
{
	return fault_run->plan.form == FAULT_FROM ? repetitions * 3 / 4 : repetitions / 3;
}

static void
repeat(const struct fault_workload *workload)
{
	unsigned repetitions = fault_run->plan.repetitions;
	struct extent warm = {0};

	for (unsigned i = 0; i < repetitions; i++) {
		if (i == warm_after(repetitions))
			warm = extent_now();
		run_once(workload);
	}
	if (repetitions > 1 && !fault_hides_deaths())
		require_no_growth(&warm, workload->loses);
}

_Noreturn void
fault_be_process(const struct fault_workload *workload)
{
	alarm(fault_run->plan.repetitions > 1 ? 1200 : 200);
	if (!workload->spawned) {
		fault_install();
		if (workload->prepare)
			workload->prepare();
		run_once(workload);
	} else {
		workload->run();
		fault_disarm();
	}
	unsigned long calls = fault_run->calls, of_kind[FAULT_KINDS];
	static uint8_t kinds[FAULT_CALLS];
	memcpy(of_kind, (const void *)fault_run->of_kind, sizeof of_kind);
	memcpy(kinds, fault_run->kinds, sizeof kinds);
	if (!workload->spawned)
		repeat(workload);
	fault_every_kind();
	lab_store_rlx(&fault_run->nulls, 0);
	workload->run();
	REQUIRE_EQUAL(lab_load_rlx(&fault_run->nulls), 0);
	take_in_what_waits();
	(void)lab_trim(0);
	lab_stats_get(&fault_run->end);
	REQUIRE(fault_run->end.dirty == 0 || fault_hides_deaths());
	lab_store_rlx(&fault_run->calls, calls);
	memcpy((void *)fault_run->of_kind, of_kind, sizeof of_kind);
	memcpy(fault_run->kinds, kinds, sizeof kinds);
	_exit(0);
}
