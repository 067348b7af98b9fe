/*
 * remote.c - the remote stack, outboxes, and drains that are torn in each of the states that the protocol names. One
 * thread holds both heaps; "torn" is the state that a frame leaves when it never goes on, put there by hand.
 *
 * Clauses: G3.3, G9.6, G10.9.
 */
#include <criterion/criterion.h>
#include <signal.h>

#include "heap/bin.h"
#include "heap/finding.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/refill.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "heap/take.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

#define PARITY LAB_REMOTE_PARITY

enum { TID = 0x12345, BLOCKS = 100 };

static struct lab_heap *heap, *other;
static void *blocks[BLOCKS];

static struct lab_heap *
make_heap(void)
{
	REQUIRE(lab_registry_start());
	struct lab_heap *made = lab_registry_make(TID, LAB_HEAP_CURRENT);
	REQUIRE(made);
	lab_heap_rebuild_owned(made);
	return made;
}

static void *
block_of_class(struct lab_heap *from, unsigned c)
{
	if (lab_freelist_head(from->bins[c].current->freelist_state) == LAB_FREELIST_NIL)
		REQUIRE(lab_span_refill_owned(from, c));
	return lab_span_pop_owned(from->bins[c].current);
}

static void *
block_of(struct lab_heap *from)
{
	return block_of_class(from, 3);
}

static void
start(void)
{
	world_install();
	world.deaths_are_set = true;
	world.dead_tid = 4242;
	heap = make_heap();
	other = make_heap();
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = block_of(heap);
}

static size_t
used(const struct lab_heap *of)
{
	return heap_check(of).used;
}

/* The same while a list is being taken in. */
static size_t
count_used(const struct lab_heap *of)
{
	return heap_check_within(of, true).used;
}

static uintptr_t
pointer(const struct lab_heap *of)
{
	return lab_load_rlx(&of->remote) & LAB_REMOTE_POINTER;
}

static uintptr_t
parity(const struct lab_heap *of)
{
	return lab_load_rlx(&of->remote) & PARITY;
}

/* What a listed block links to; 0: it is the last one. */
static uintptr_t
next_of(uintptr_t block)
{
	uintptr_t next;

	REQUIRE(lab_link_read((void *)(block & LAB_REMOTE_POINTER), &next));
	return next;
}

static size_t
length(uintptr_t first)
{
	size_t n = 0;

	for (; first & LAB_REMOTE_POINTER; first = next_of(first))
		REQUIRE(++n <= 2 * BLOCKS);
	return n;
}

static void
link_to(void *block, void *next)
{
	*(uint64_t *)block = lab_link_make(block, (uintptr_t)next);
}

/* What was noted while the heap was worked in; it is forgotten. */
static struct lab_finding
finding(struct lab_heap *of)
{
	struct lab_finding found = {.kind = LAB_FOUND_NOTHING};

	(void)lab_finding_take_owned(of, &found);
	return found;
}

Test(remote, pushes_keep_the_parity_and_a_take_flips_it)
{
	start();
	for (int i = 0; i < 10; i++) {
		uintptr_t before = parity(heap);
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
		cr_assert_eq(parity(heap), before);
		cr_assert_eq(pointer(heap), (uintptr_t)blocks[i]);
		if (i % 3 == 2) {
			lab_remote_drain_owned(heap);
			cr_assert_eq(parity(heap), before ^ PARITY);
			cr_assert_eq(pointer(heap), 0);
			cr_assert_eq(heap->drain, 0);
		}
	}
	lab_remote_drain_owned(heap);
	uintptr_t before = parity(heap);
	lab_remote_drain_owned(heap);
	cr_assert_eq(parity(heap), before, "nothing to take");
	cr_assert_eq(used(heap), BLOCKS - 10);
}

Test(remote, a_chain_goes_in_one_step)
{
	start();
	(void)lab_remote_push(heap, blocks[0], blocks[0], 0);
	link_to(blocks[1], blocks[2]);
	link_to(blocks[2], blocks[3]);
	(void)lab_remote_push(heap, blocks[1], blocks[3], 0);
	cr_assert_eq(length(pointer(heap)), 4);
	cr_assert_eq(used(heap), BLOCKS, "they count as used");
	lab_remote_drain_owned(heap);
	cr_assert_eq(used(heap), BLOCKS - 4);
}

/* ---- outboxes ---- */

static enum lab_put_result
put(void *block)
{
	return lab_outbox_put(&other->outbox, block, lab_map_unit(block)->size);
}

/* As a free does it. */
static void
put_or_send(void *block)
{
	enum lab_put_result result = put(block);

	if (result == LAB_PUT_FULL) {
		(void)lab_outbox_send_owned(other);
		result = put(block);
	}
	REQUIRE(result == LAB_PUT_DONE);
}

Test(remote, an_outbox_is_full_by_blocks_and_is_sent_once)
{
	void *more[LAB_OUTBOX_MAX + 1];
	bool is_empty;

	start();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i <= LAB_OUTBOX_MAX; i++)
			more[i] = block_of(heap);
		for (unsigned i = 0; i < LAB_OUTBOX_MAX; i++)
			cr_assert_eq(put(more[i]), LAB_PUT_DONE);
		cr_assert_eq(put(more[LAB_OUTBOX_MAX]), LAB_PUT_FULL);
		cr_assert_eq(pointer(heap), 0);
		lab_outbox_send_owned(other);
		cr_assert_eq(length(pointer(heap)), LAB_OUTBOX_MAX);
		cr_assert_eq(put(more[LAB_OUTBOX_MAX]), LAB_PUT_DONE);
		lab_outbox_send_owned(other);
		lab_outbox_send_owned(other);
		cr_assert_eq(length(pointer(heap)), LAB_OUTBOX_MAX + 1, "sent once");
		(void)lab_outbox_position(other, &is_empty);
		cr_assert(is_empty);
		lab_remote_drain_owned(heap);
		cr_assert_eq(used(heap), BLOCKS);
		cr_assert_eq(lab_load_rlx(&heap->remote_frees), (round + 1) * (LAB_OUTBOX_MAX + 1));
	}
}

/* Also those whose batches have the same place, and one that the sender has absorbed since. */
Test(remote, each_block_goes_to_the_heap_that_its_span_names)
{
	enum { EACH = 10 };
	struct lab_heap *third = NULL;

	start();
	while (!third || third->id % LAB_BATCH_SLOTS != heap->id % LAB_BATCH_SLOTS)
		third = make_heap();
	for (int i = 0; i < EACH; i++) {
		put_or_send(blocks[i]);
		put_or_send(block_of(third));
	}
	lab_outbox_send_owned(other);
	cr_assert_eq(length(pointer(heap)), EACH);
	cr_assert_eq(length(pointer(third)), EACH);
	lab_remote_drain_owned(heap);
	lab_remote_drain_owned(third);
	cr_assert_eq(used(heap), BLOCKS - EACH);
	cr_assert_eq(used(third), 0);
	for (int i = EACH; i < BLOCKS; i++)
		put_or_send(blocks[i]);
	other->whole = 0; /* as inside a slow frame */
	lab_heap_absorb_owned(other, heap);
	other->whole = 1;
	lab_outbox_send_owned(other);
	lab_remote_drain_owned(other);
	cr_assert_eq(used(other), 0);
}

Test(remote, who_sends_learns_that_much_waits)
{
	start();
	size_t size = lab_map_unit(blocks[0])->size;
	for (int round = 0; round < 3; round++) {
		cr_assert(!lab_remote_push(heap, blocks[99], blocks[99], LAB_WAITING_MUCH - 50 * size));
		for (int i = 0; i < 60; i++)
			put_or_send(blocks[i]);
		cr_assert_eq(lab_outbox_send_owned(other), heap);
		put_or_send(blocks[60]);
		cr_assert_null(lab_outbox_send_owned(other), "told once");
		lab_remote_drain_owned(heap);
		cr_assert_eq(lab_load_rlx(&heap->remote) & ~PARITY, 0, "it is counted from take to take");
		for (int i = 0; i < BLOCKS; i++)
			if (i <= 60 || i == 99)
				blocks[i] = block_of(heap);
	}
	/* where nobody takes: told again after as much, or at once if that is asked for */
	cr_assert(!lab_remote_push(heap, blocks[0], blocks[0], size));
	lab_remote_expect_visit(heap);
	cr_assert(lab_remote_push(heap, blocks[1], blocks[1], size));
	cr_assert(!lab_remote_push(heap, blocks[2], blocks[2], LAB_WAITING_MUCH - LAB_REMOTE_UNIT));
	cr_assert(lab_remote_push(heap, blocks[3], blocks[3], 2 * size));
}

/* A thread that falls asleep keeps what is in its outbox. */
Test(remote, outboxes_hold_few_bytes_whatever_the_sizes)
{
	start();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t held = 0, count = 0;
		void *p;
		while (put(p = block_of_class(heap, c)) == LAB_PUT_DONE) {
			held += lab_class_size(c);
			count++;
		}
		cr_assert_lt(held, 49152, "blocks of %zu bytes", lab_class_size(c));
		cr_assert(count == LAB_OUTBOX_MAX || held >= LAB_OUTBOX_BYTES, "they are collected");
		lab_outbox_send_owned(other);
		put_or_send(p);
		lab_outbox_send_owned(other);
		lab_remote_drain_owned(heap);
		cr_assert_eq(used(heap), BLOCKS);
	}
}

/* The sums are modulo 2^64. */
Test(remote, an_outbox_that_has_sent_much_goes_on)
{
	start();
	const uint64_t near_the_end[] = {UINT64_MAX - 70, (uint64_t)UINT32_MAX << 32 | 100, UINT32_MAX - 50, 0};
	for (size_t i = 0; i < sizeof near_the_end / sizeof *near_the_end; i++) {
		lab_store_rlx(&other->outbox.put, near_the_end[i]);
		lab_store_rlx(&other->outbox.taken, near_the_end[i]);
		for (int n = 0; n < 5000; n++)
			put_or_send(block_of_class(heap, 5 + (unsigned)n % 40));
		lab_outbox_send_owned(other);
		lab_remote_drain_owned(heap);
		cr_assert_eq(used(heap), BLOCKS);
	}
}

Test(remote, outboxes_for_many_heaps)
{
	enum { HEAPS = 20 };
	struct lab_heap *heaps[HEAPS];
	struct trace_random random = {4};
	size_t sent[HEAPS] = {0};

	start();
	for (int i = 0; i < HEAPS; i++)
		heaps[i] = make_heap();
	for (int step = 0; step < 20000; step++) {
		size_t i = trace_below(&random, HEAPS);
		put_or_send(block_of(heaps[i]));
		sent[i]++;
	}
	lab_outbox_send_owned(other);
	for (int i = 0; i < HEAPS; i++) {
		lab_remote_drain_owned(heaps[i]);
		cr_assert_eq(lab_load_rlx(&heaps[i]->remote_frees), sent[i]);
		cr_assert_eq(used(heaps[i]), 0);
	}
}

/* INV-OUT-2: a frame that is cut short while it puts a block in loses that one. */
static void
put_block(void *block)
{
	(void)put(block);
}

Test(remote, torn_at_any_instruction_of_a_put)
{
	long steps = 0;
	bool torn;

	do {
		start();
		for (int i = 0; i < 5; i++)
			put_or_send(blocks[i]);
		torn = tear(steps++, put_block, blocks[5]);
		put_or_send(blocks[6]);
		lab_outbox_send_owned(other);
		lab_remote_drain_owned(heap);
		cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
		size_t lost = used(heap) - (BLOCKS - 7);
		cr_assert_leq(lost, torn ? 1 : 0, "%zu after %ld steps", lost, steps);
	} while (torn);
#ifdef __x86_64__
	cr_assert_gt(steps, 10);
#endif
}

/* INV-OUT-3: the block in hand, or one batch; nothing is sent twice. */
static void
send(void *from)
{
	(void)lab_outbox_send_owned(from);
}

static bool
send_torn(long steps)
{
	enum { EACH = 15 };

	start();
	struct lab_heap *third = make_heap();
	for (int i = 0; i < EACH; i++) {
		put_or_send(blocks[i]);
		put_or_send(block_of(third));
	}
	bool torn = tear(steps, send, other);
	other->whole = 0;
	lab_heap_rebuild_owned(other);
	lab_remote_drain_owned(heap);
	lab_remote_drain_owned(third);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
	cr_assert_eq(finding(third).kind, LAB_FOUND_NOTHING);
	size_t lost = used(heap) - (BLOCKS - EACH) + used(third);
	cr_assert(lost == 0 || (torn && (lost == 1 || lost == EACH)), "%zu blocks after %ld steps", lost, steps);
	return torn;
}

Test(remote, torn_at_any_instruction_of_a_send)
{
	long steps = 0;

	while (send_torn(steps))
		steps += 7 * TEAR_COARSER;
#ifdef __x86_64__
	cr_assert_gt(steps, 500);
#endif
}

/* A call takes its share, and the next one goes on: the rest is nobody else's. */
Test(remote, a_refill_takes_a_share_of_what_waits)
{
	enum { MANY = 3000 };
	static void *p[MANY];

	start();
	for (int i = 0; i < MANY; i++)
		p[i] = block_of(heap);
	for (int i = 0; i < MANY; i++)
		(void)lab_remote_push(heap, p[i], p[i], 64);
	size_t before = used(heap), calls = 0, last = before;
	while (lab_remote_drain_some_owned(heap)) {
		size_t now = count_used(heap);
		cr_assert_lt(now, last);
		cr_assert_leq(last - now, MANY / 4);
		last = now;
		cr_assert(lab_heap_is_freed_into(heap));
		calls++;
	}
	cr_assert_gt(calls, 4);
	cr_assert_eq(used(heap), before - MANY);
	/* no span is made, and none carved, while blocks of the class wait, behind whatever others */
	for (int i = 0; i < MANY; i++)
		p[i] = i < MANY / 2 ? block_of_class(heap, 7) : block_of(heap);
	struct heap_census census = heap_check(heap);
	for (int i = MANY - 1; i >= 0; i--)
		(void)lab_remote_push(heap, p[i], p[i], 64);
	while (lab_freelist_head(heap->bins[3].current->freelist_state) != LAB_FREELIST_NIL)
		(void)block_of(heap);
	REQUIRE(lab_span_refill_owned(heap, 3));
	lab_remote_drain_owned(heap);
	cr_assert_leq(heap_check(heap).carved, census.carved);
}

/* ---- torn drains (INV-REM-1, INV-REM-2) ---- */

enum { LISTED = 20 };

static void
push_all(void)
{
	for (int i = 0; i < LISTED; i++)
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
}

/* What the CAS of take does. */
static uintptr_t
take_by_hand(void)
{
	uintptr_t list = lab_load_rlx(&heap->remote);

	lab_store_rlx(&heap->remote, (list & PARITY) ^ PARITY);
	return list;
}

static void
recover(void)
{
	heap->whole = 0;
	lab_heap_rebuild_owned(heap);
	REQUIRE(heap->drain == 0 && pointer(heap) == 0);
}

/* Every state in both parities: a round of push and drain flips it. */
static void
start_with_parity(int flips)
{
	start();
	while (flips-- > 0) {
		(void)lab_remote_push(heap, blocks[BLOCKS - 1], blocks[BLOCKS - 1], 0);
		lab_remote_drain_owned(heap);
		REQUIRE((blocks[BLOCKS - 1] = block_of(heap)) != NULL);
	}
	push_all();
}

Test(remote, torn_between_the_record_and_the_take)
{
	for (int flips = 0; flips < 2; flips++) {
		start_with_parity(flips);
		heap->drain = lab_load_rlx(&heap->remote);
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED);
	}
}

Test(remote, torn_between_the_record_and_the_take_and_others_pushed_since)
{
	for (int flips = 0; flips < 2; flips++) {
		start_with_parity(flips);
		heap->drain = lab_load_rlx(&heap->remote);
		(void)lab_remote_push(heap, blocks[LISTED], blocks[LISTED], 0);
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED - 1, "each is freed once");
	}
}

Test(remote, torn_after_the_take)
{
	for (int flips = 0; flips < 2; flips++) {
		start_with_parity(flips);
		heap->drain = take_by_hand();
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED);
	}
}

Test(remote, torn_after_the_take_and_others_pushed_since)
{
	for (int flips = 0; flips < 2; flips++) {
		start_with_parity(flips);
		heap->drain = take_by_hand();
		(void)lab_remote_push(heap, blocks[LISTED], blocks[LISTED], 0);
		(void)lab_remote_push(heap, blocks[LISTED + 1], blocks[LISTED + 1], 0);
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED - 2);
	}
}

Test(remote, torn_between_taking_a_block_off_the_record_and_freeing_it)
{
	for (int at = 0; at < LISTED; at++) {
		start_with_parity(at % 2);
		uintptr_t list = take_by_hand();
		for (int i = 0; i < at; i++) { /* freed already */
			void *block = (void *)(list & LAB_REMOTE_POINTER);
			list = next_of(list) | (list & PARITY);
			REQUIRE(free_in_span(heap, lab_map_find(block).unit, block) == LAB_FREED);
		}
		heap->drain = next_of(list) | (list & PARITY); /* one is in hand */
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED + 1, "at most one block is missing");
	}
}

/* The same by a jump out of the drain itself, of blocks and of runs. */
static void
drain(void *of)
{
	lab_remote_drain_owned(of);
}

static bool
drain_torn(long steps)
{
	enum { RUNS = 3 };
	bool fresh;

	start_with_parity(steps % 2);
	for (int i = 0; i < RUNS; i++) {
		void *run = lab_run_alloc_owned(heap, 10, 1, &fresh);
		REQUIRE(lab_run_begin_free(lab_map_find(run).run, TID));
		(void)lab_remote_push(heap, run, run, 0);
	}
	bool torn = tear(steps, drain, heap);
	recover();
	size_t lost = heap_check(heap).runs + used(heap) - (BLOCKS - LISTED);
	cr_assert_leq(lost, torn ? 1 : 0, "%zu blocks are missing after %ld steps", lost, steps);
	for (int i = LISTED; i < BLOCKS; i++)
		REQUIRE(free_in_span(heap, lab_map_find(blocks[i]).unit, blocks[i]) == LAB_FREED);
	return torn;
}

Test(remote, torn_at_any_instruction_of_a_drain)
{
	long steps = 0;

	while (drain_torn(steps))
		steps += 13 * TEAR_COARSER;
#ifdef __x86_64__
	cr_assert_gt(steps, 500);
#endif
}

Test(remote, torn_at_the_end_of_a_drain)
{
	for (int flips = 0; flips < 2; flips++) {
		start_with_parity(flips);
		lab_remote_drain_owned(heap);
		heap->drain = parity(heap) ^ PARITY; /* {null, old parity} */
		recover();
		cr_assert_eq(used(heap), BLOCKS - LISTED);
	}
}

Test(remote, a_recovery_that_is_torn_itself_is_done_again)
{
	start_with_parity(0);
	heap->drain = take_by_hand();
	uintptr_t second = next_of(heap->drain) | (heap->drain & PARITY);
	void *first = (void *)(heap->drain & LAB_REMOTE_POINTER);
	heap->drain = second; /* the first resume freed one */
	REQUIRE(free_in_span(heap, lab_map_find(first).unit, first) == LAB_FREED);
	recover();
	recover();
	cr_assert_eq(used(heap), BLOCKS - LISTED);
}

/* ---- other blocks ---- */

static void
absorb(void)
{
	other->whole = 0; /* as inside a slow frame */
	lab_heap_absorb_owned(other, heap);
	other->whole = 1;
}

Test(remote, blocks_of_every_class_and_runs_empty_their_spans)
{
	start();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		for (size_t i = 0; i < LAB_UNIT_SIZE / lab_class_size(c) * 2; i++) {
			void *p = block_of_class(other, c);
			(void)lab_remote_push(other, p, p, lab_class_size(c));
		}
	for (int i = 0; i < 50; i++) {
		bool fresh;
		void *p = lab_run_alloc_owned(other, 10, 1, &fresh);
		REQUIRE(lab_run_begin_free(lab_map_find(p).run, TID));
		(void)lab_remote_push(other, p, p, 0);
	}
	lab_remote_drain_owned(other);
	struct heap_census census = heap_check(other);
	cr_assert_eq(census.used, 0);
	cr_assert_eq(census.runs, 0);
	cr_assert_eq(census.spans, census.current_spans);
}

/* A push that was under way while the heap of the block was taken over. */
Test(remote, a_block_whose_span_changed_heap_is_sent_on)
{
	start();
	bool fresh;
	void *run = lab_run_alloc_owned(heap, 10, 1, &fresh);
	REQUIRE(lab_run_begin_free(lab_map_find(run).run, TID));
	absorb(); /* heap is idle now, and empty */
	cr_assert_eq(used(other), BLOCKS);
	(void)lab_remote_push(heap, blocks[0], blocks[0], 0);
	(void)lab_remote_push(heap, run, run, 0);
	cr_assert_eq(lab_registry_take_if_idle(TID, LAB_HEAP_BORROWED, heap->id), heap);
	lab_remote_drain_owned(heap);
	cr_assert_eq(pointer(heap), 0);
	cr_assert_eq(length(pointer(other)), 2);
	lab_remote_drain_owned(other);
	struct heap_census census = heap_check(other);
	cr_assert_eq(census.used, BLOCKS - 1);
	cr_assert_eq(census.runs, 0);
}

/* The freer of a run died after its push to a heap that had been taken over. If the new holder frees the run as
 * abandoned, what is on the old heap's stack must not free the next block at that place. */
Test(remote, a_run_on_an_old_heaps_stack_is_freed_once)
{
	bool fresh;

	start();
	void *run = lab_run_alloc_owned(heap, 10, 1, &fresh);
	REQUIRE(lab_run_begin_free(lab_map_find(run).run, 4242));
	absorb();
	(void)lab_remote_push(heap, run, run, 0); /* the freer's last act; it knew the heap from before */
	lab_heap_rebuild_owned(other);
	void *again = lab_run_alloc_owned(other, 10, 1, &fresh); /* at the same place, if the run was freed */
	cr_assert_eq(lab_registry_take_if_idle(TID, LAB_HEAP_BORROWED, heap->id), heap);
	lab_remote_drain_owned(heap);
	lab_remote_drain_owned(other);
	cr_assert_eq(lab_load_rlx(&lab_map_find(again).run->state), lab_run_state(LAB_RUN_LIVE), "it lived");
}

Test(remote, dropping_forgets_the_list_and_keeps_the_parity)
{
	start_with_parity(1);
	uintptr_t before = parity(heap);
	lab_heap_forget_frees(heap);
	cr_assert_eq(pointer(heap), 0);
	cr_assert_eq(parity(heap), before);
	lab_remote_drain_owned(heap);
	cr_assert_eq(used(heap), BLOCKS, "they are lost, as in a child of fork");
}

/* ---- misuse that a drain meets (INV-REM-3): noted; the heap is whole; the line comes when the heap is left ------ */

Test(remote, the_same_block_twice_is_found)
{
	start();
	(void)lab_remote_push(heap, blocks[0], blocks[0], 0);
	lab_remote_drain_owned(heap);
	(void)lab_remote_push(heap, blocks[0], blocks[0], 0);
	lab_remote_drain_owned(heap);
	struct lab_finding found = finding(heap);
	cr_assert_eq(found.kind, LAB_FOUND_DOUBLE_FREE);
	cr_assert_eq(found.block, blocks[0]);
	/* the push has written over its link in the list: the list is cut, and its blocks come back when the span is
	 * empty */
	for (int i = 1; i < BLOCKS; i++)
		REQUIRE(free_in_span(heap, lab_map_find(blocks[i]).unit, blocks[i]) == LAB_FREED);
	for (size_t i = 0; i < 2 * LAB_UNIT_SIZE / lab_class_size(3); i++)
		REQUIRE(block_of(heap));
}

/* A span that is current does not go back when it is empty: its list is made anew. */
Test(remote, the_same_block_twice_in_an_empty_span_is_found)
{
	start();
	for (int i = 0; i < BLOCKS; i++)
		REQUIRE(free_in_span(heap, lab_map_find(blocks[i]).unit, blocks[i]) == LAB_FREED);
	for (int i = 0; i < 2; i++) {
		(void)lab_remote_push(heap, blocks[i * 7], blocks[i * 7], 0);
		lab_remote_drain_owned(heap);
		cr_assert_eq(finding(heap).kind, LAB_FOUND_DOUBLE_FREE);
		struct heap_census census = heap_check(heap);
		cr_assert_eq(census.used, 0);
		cr_assert_eq(census.free, census.carved);
	}
}

Test(remote, a_block_of_a_retired_span_is_found)
{
	start();
	for (int i = 0; i < BLOCKS; i++)
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
	lab_span_demote_owned(heap, heap->bins[3].current);
	lab_bin_set_current(heap, 3, &lab_no_span);
	lab_remote_drain_owned(heap);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
	(void)lab_remote_push(heap, blocks[5], blocks[5], 0);
	lab_remote_drain_owned(heap);
	struct lab_finding found = finding(heap);
	cr_assert_eq(found.kind, LAB_FOUND_DOUBLE_FREE);
	cr_assert_eq(found.block, blocks[5]);
	(void)heap_check(heap);
}

Test(remote, the_block_that_was_put_in_last_is_not_put_in_again)
{
	start();
	cr_assert_eq(put(blocks[0]), LAB_PUT_DONE);
	cr_assert_eq(put(blocks[0]), LAB_PUT_DOUBLE);
	cr_assert_eq(put(blocks[1]), LAB_PUT_DONE);
	lab_outbox_send_owned(other);
	lab_remote_drain_owned(heap);
	cr_assert_eq(used(heap), BLOCKS - 2);
	cr_assert_eq(put(blocks[2]), LAB_PUT_DONE);
	lab_outbox_send_owned(other);
	lab_remote_drain_owned(heap);
	cr_assert_eq(block_of(heap), blocks[2]);
	cr_assert_eq(put(blocks[2]), LAB_PUT_DONE, "it was used again meanwhile");
}

/* One that waits in an outbox is freed again: that is found when it is taken in. */
Test(remote, a_block_in_an_outbox_is_freed_again)
{
	for (int last = 0; last < 2; last++) {
		start();
		for (int i = 0; i < 5; i++)
			put_or_send(blocks[i]);
		put_or_send(blocks[last ? 0 : 2]);
		lab_outbox_send_owned(other);
		lab_remote_drain_owned(heap);
		struct lab_finding found = finding(last ? other : heap);
		cr_assert_eq(found.kind, last ? LAB_FOUND_DOUBLE_FREE : LAB_FOUND_DAMAGE);
		cr_assert_eq(found.block, blocks[last ? 0 : 2]);
		(void)heap_check(heap);
	}
}

/* One that waits is freed again: the list has a ring, and ends where it comes to a block that it has freed. */
Test(remote, a_block_that_waits_is_freed_again)
{
	start();
	for (int i = 0; i < 5; i++)
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
	(void)lab_remote_push(heap, blocks[2], blocks[2], 0);
	lab_remote_drain_owned(heap);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_DAMAGE);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.used, BLOCKS - 3, "4, 3 and 2 are free; what came before is lost");
}

enum { PATTERNS = 12 };

/* Writes of a program to a block that it has freed. */
static void
write_to_freed(unsigned char *p, int pattern)
{
	static char elsewhere[64];
	const uintptr_t pointers[] = {0,
	                              1,
	                              UINTPTR_MAX,
	                              0x4141414141414141,
	                              (uintptr_t)blocks[50],
	                              (uintptr_t)blocks[51] + 16,
	                              (uintptr_t)elsewhere};

	switch (pattern) {
	case 0:
		p[0] ^= 1;
		break;
	case 1:
		p[1] ^= 0x80;
		break;
	case 2:
		p[7] ^= 1;
		break;
	case 3:
		*(uint32_t *)(void *)p = 0;
		break;
	case 4:
		*(uint16_t *)(void *)p = 48;
		break;
	default:
		*(uintptr_t *)(void *)p = pointers[pattern - 5];
	}
}

static void
damage(int pattern, int at)
{
	start();
	push_all();
	write_to_freed(blocks[at], pattern);
	lab_remote_drain_owned(heap);
	struct lab_finding found = finding(heap);
	cr_assert_eq(found.kind, LAB_FOUND_DAMAGE, "pattern %d", pattern);
	cr_assert_eq(found.block, blocks[at]);
	cr_assert_eq(found.start, lab_map_find(blocks[at]).unit->base);
	cr_assert_eq(found.bytes, LAB_UNIT_SIZE);
	cr_assert_eq(found.block_size, lab_class_size(3));
	cr_assert_eq(used(heap), BLOCKS - (LISTED - 1 - (size_t)at), "what came later is free, the rest is lost");
	for (int i = LISTED; i < BLOCKS; i++)
		REQUIRE(free_in_span(heap, lab_map_find(blocks[i]).unit, blocks[i]) == LAB_FREED);
	(void)heap_check(heap);
}

Test(remote, a_write_to_a_block_that_waits_is_found)
{
	for (int pattern = 0; pattern < PATTERNS; pattern++)
		for (int at = 0; at < LISTED; at += 6)
			damage(pattern, at);
}

Test(remote, a_write_to_a_block_in_an_outbox_does_no_harm)
{
	start();
	for (int i = 0; i < LISTED; i++)
		put_or_send(blocks[i]);
	*(void **)blocks[10] = blocks[50];
	lab_outbox_send_owned(other);
	lab_remote_drain_owned(heap);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
	cr_assert_eq(used(heap), BLOCKS - LISTED);
}

Test(remote, a_write_to_a_run_that_waits_is_found)
{
	void *runs[3], *live;
	bool fresh;

	start();
	live = lab_run_alloc_owned(heap, 10, 1, &fresh);
	for (int i = 0; i < 3; i++) {
		runs[i] = lab_run_alloc_owned(heap, 10, 1, &fresh);
		REQUIRE(lab_run_begin_free(lab_map_find(runs[i]).run, TID));
		(void)lab_remote_push(heap, runs[i], runs[i], 0);
	}
	*(void **)runs[1] = live;
	lab_remote_drain_owned(heap);
	struct lab_finding found = finding(heap);
	cr_assert_eq(found.kind, LAB_FOUND_DAMAGE);
	cr_assert_eq(found.start, runs[1]);
	cr_assert_eq(found.bytes, 10 * LAB_PAGE_SIZE);
	cr_assert_eq(heap_check(heap).runs, 3, "one is free");
}

/* Also where a link is well formed by chance. */
Test(remote, a_link_to_what_is_no_block_is_not_followed)
{
	static char elsewhere[64] __attribute__((aligned(16)));
	bool fresh;

	start();
	void *live = lab_run_alloc_owned(heap, 10, 1, &fresh);
	void *const wrong[] = {elsewhere,  (char *)blocks[50] + 16, live, (char *)live + 4096,
	                       (void *)16, (void *)0x7ffffffff000};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
		link_to(blocks[i], wrong[i]);
		lab_remote_drain_owned(heap);
		cr_assert_neq(finding(heap).kind, LAB_FOUND_NOTHING);
		cr_assert_eq(used(heap), BLOCKS - 1 - i, "the block itself is free");
	}
	cr_assert_eq(lab_load_rlx(&lab_map_find(live).run->state), lab_run_state(LAB_RUN_LIVE));
}

/* Damage in a list that somebody else takes in: it is found, and passed on to the heap that is left in the end. */
Test(remote, damage_in_an_absorbed_heaps_list_is_found)
{
	start();
	push_all();
	memset(blocks[10], 0, 8);
	absorb();
	cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
	cr_assert_eq(finding(other).kind, LAB_FOUND_DAMAGE);
	cr_assert_eq(used(other), BLOCKS - 9);
}

Test(remote, what_was_found_is_reported_when_the_heap_is_left, .signal = SIGABRT)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	world_install();
	REQUIRE(lab_enter(&guard));
	heap = guard.heap;
	for (int i = 0; i < 3; i++)
		blocks[i] = block_of(heap);
	for (int i = 0; i < 3; i++)
		(void)lab_remote_push(heap, blocks[i], blocks[i], 0);
	memset(blocks[1], 0, 8);
	lab_remote_drain_owned(heap);
	lab_leave(&guard);
}
