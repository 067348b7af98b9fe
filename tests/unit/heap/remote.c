/*
 * remote.c - the remote stack, batches, and drains that are torn in each of the states that the protocol names. One
 * thread holds both heaps; "torn" is the state that a frame leaves when it never goes on, put there by hand.
 *
 * Clauses: G3.3, G9.6, G10.9.
 */
#include <criterion/criterion.h>
#include <signal.h>

#include "heap/bin.h"
#include "heap/finding.h"
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

#define PARITY ((uintptr_t)1)

enum { TID = 0x12345, BLOCKS = 100 };

static struct lab_heap *heap, *other;
static struct lab_heap *much_in; /* where a call has found that much waits */
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

static uintptr_t
pointer(const struct lab_heap *of)
{
	return lab_load_rlx(&of->remote) & ~PARITY;
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

	REQUIRE(lab_link_read((void *)(block & ~PARITY), &next));
	return next;
}

static size_t
length(uintptr_t first)
{
	size_t n = 0;

	for (; first & ~PARITY; first = next_of(first))
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
		lab_remote_push(heap, blocks[i], blocks[i]);
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
	lab_remote_push(heap, blocks[0], blocks[0]);
	link_to(blocks[1], blocks[2]);
	link_to(blocks[2], blocks[3]);
	lab_remote_push(heap, blocks[1], blocks[3]);
	cr_assert_eq(length(pointer(heap)), 4);
	cr_assert_eq(used(heap), BLOCKS, "they count as used");
	lab_remote_drain_owned(heap);
	cr_assert_eq(used(heap), BLOCKS - 4);
}

Test(remote, a_batch_goes_when_it_is_full_or_another_needs_its_place)
{
	start();
	for (unsigned i = 0; i < LAB_BATCH_MAX - 1; i++)
		lab_batch_add_owned(other, heap, blocks[i], &much_in);
	cr_assert_eq(pointer(heap), 0);
	cr_assert_eq(lab_load_rlx(&heap->remote_frees), 0);
	lab_batch_add_owned(other, heap, blocks[LAB_BATCH_MAX - 1], &much_in);
	cr_assert_eq(length(pointer(heap)), LAB_BATCH_MAX);
	cr_assert_eq(lab_load_rlx(&heap->remote_frees), LAB_BATCH_MAX);

	lab_batch_add_owned(other, heap, blocks[40], &much_in);
	lab_batch_add_owned(other, heap, blocks[41], &much_in);
	struct lab_heap *third = NULL; /* one that shares the slot */
	while (!third || third->id % LAB_BATCH_SLOTS != heap->id % LAB_BATCH_SLOTS)
		third = make_heap();
	void *its = block_of(third);
	lab_batch_add_owned(other, third, its, &much_in);
	cr_assert_eq(length(pointer(heap)), LAB_BATCH_MAX + 2);
	cr_assert_eq(pointer(third), 0);
	lab_batch_flush_owned(other);
	cr_assert_eq(length(pointer(third)), 1);
	lab_batch_flush_owned(other);
	cr_assert_eq(length(pointer(third)), 1, "sent once");
	lab_remote_drain_owned(heap);
	lab_remote_drain_owned(third);
	cr_assert_eq(used(heap), BLOCKS - LAB_BATCH_MAX - 2);
	cr_assert_eq(used(third), 0);
}

Test(remote, who_sends_learns_that_much_waits)
{
	start();
	for (int round = 0; round < 2; round++) {
		lab_store_rlx(&heap->room, (LAB_BATCH_MAX + 1) * lab_map_unit(blocks[0])->size);
		for (unsigned i = 0; i < 2 * LAB_BATCH_MAX; i++) {
			cr_assert_eq(much_in, NULL);
			REQUIRE(lab_batch_add_owned(other, heap, blocks[i], &much_in));
		}
		cr_assert_eq(much_in, heap);
		much_in = NULL;
		lab_remote_drain_owned(heap);
		cr_assert_eq(lab_load_rlx(&heap->room), LAB_WAITING_MUCH);
		for (unsigned i = 0; i < 2 * LAB_BATCH_MAX; i++)
			blocks[i] = block_of(heap);
	}
}

/* A thread that falls asleep keeps what is in its batches. */
Test(remote, batches_hold_few_bytes_whatever_the_sizes)
{
	struct lab_heap *heaps[LAB_BATCH_SLOTS];
	size_t most = 0;

	start();
	for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++)
		heaps[i] = make_heap();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t held = 0;
		for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++)
			for (unsigned n = 0; n < LAB_BATCH_MAX - 1; n++)
				lab_batch_add_owned(other, heaps[i], block_of_class(heaps[i], c), &much_in);
		for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++) {
			const struct lab_batch *batch = &other->batches[i];
			cr_assert_eq(batch->bytes, batch->count * lab_class_size(c));
			held += batch->bytes;
		}
		cr_assert_lt(held, 65536, "blocks of %zu bytes", lab_class_size(c));
		most = held > most ? held : most;
		lab_batch_flush_owned(other);
		for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++) {
			cr_assert_eq(other->batches[i].bytes, 0);
			lab_remote_drain_owned(heaps[i]);
			cr_assert_eq(used(heaps[i]), 0);
		}
	}
	cr_assert_gt(most, 32768, "small blocks are collected");
}

Test(remote, batches_for_many_heaps)
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
		lab_batch_add_owned(other, heaps[i], block_of(heaps[i]), &much_in);
		sent[i]++;
	}
	lab_batch_flush_owned(other);
	for (int i = 0; i < HEAPS; i++) {
		cr_assert_eq(lab_load_rlx(&heaps[i]->remote_frees), sent[i]);
		lab_remote_drain_owned(heaps[i]);
		cr_assert_eq(used(heaps[i]), 0);
	}
}

/* ---- torn drains (INV-REM-1, INV-REM-2) ---- */

enum { LISTED = 20 };

static void
push_all(void)
{
	for (int i = 0; i < LISTED; i++)
		lab_remote_push(heap, blocks[i], blocks[i]);
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
		lab_remote_push(heap, blocks[BLOCKS - 1], blocks[BLOCKS - 1]);
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
		lab_remote_push(heap, blocks[LISTED], blocks[LISTED]);
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
		lab_remote_push(heap, blocks[LISTED], blocks[LISTED]);
		lab_remote_push(heap, blocks[LISTED + 1], blocks[LISTED + 1]);
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
			void *block = (void *)(list & ~PARITY);
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
		lab_remote_push(heap, run, run);
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
	void *first = (void *)(heap->drain & ~PARITY);
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
			lab_batch_add_owned(heap, other, block_of_class(other, c), &much_in);
		}
	for (int i = 0; i < 50; i++) {
		bool fresh;
		void *p = lab_run_alloc_owned(other, 10, 1, &fresh);
		REQUIRE(lab_run_begin_free(lab_map_find(p).run, TID));
		lab_remote_push(other, p, p);
	}
	lab_batch_flush_owned(heap);
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
	lab_remote_push(heap, blocks[0], blocks[0]);
	lab_remote_push(heap, run, run);
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
	lab_remote_push(heap, run, run); /* the freer's last act; it knew the heap from before */
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
	lab_remote_push(heap, blocks[0], blocks[0]);
	lab_remote_drain_owned(heap);
	lab_remote_push(heap, blocks[0], blocks[0]);
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
		lab_remote_push(heap, blocks[i * 7], blocks[i * 7]);
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
		lab_remote_push(heap, blocks[i], blocks[i]);
	lab_span_demote_owned(heap, heap->bins[3].current);
	lab_bin_set_current(heap, 3, &lab_no_span);
	lab_remote_drain_owned(heap);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_NOTHING);
	lab_remote_push(heap, blocks[5], blocks[5]);
	lab_remote_drain_owned(heap);
	struct lab_finding found = finding(heap);
	cr_assert_eq(found.kind, LAB_FOUND_DOUBLE_FREE);
	cr_assert_eq(found.block, blocks[5]);
	(void)heap_check(heap);
}

Test(remote, the_block_collected_last_is_not_collected_again)
{
	start();
	cr_assert(lab_batch_add_owned(other, heap, blocks[0], &much_in));
	cr_assert_not(lab_batch_add_owned(other, heap, blocks[0], &much_in));
	cr_assert(lab_batch_add_owned(other, heap, blocks[1], &much_in));
	lab_batch_flush_owned(other);
	lab_remote_drain_owned(heap);
	cr_assert_eq(used(heap), BLOCKS - 2);
}

/* One that waits is freed again: the list has a ring, and ends where it comes to a block that it has freed. */
Test(remote, a_block_that_waits_is_freed_again)
{
	start();
	for (int i = 0; i < 5; i++)
		lab_remote_push(heap, blocks[i], blocks[i]);
	lab_remote_push(heap, blocks[2], blocks[2]);
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

Test(remote, a_write_to_a_block_in_a_batch_is_found)
{
	start();
	for (int i = 0; i < LISTED; i++)
		REQUIRE(lab_batch_add_owned(other, heap, blocks[i], &much_in));
	*(void **)blocks[10] = blocks[50];
	lab_batch_flush_owned(other);
	cr_assert_eq(finding(other).kind, LAB_FOUND_NOTHING);
	lab_remote_drain_owned(heap);
	cr_assert_eq(finding(heap).kind, LAB_FOUND_DAMAGE);
	cr_assert_eq(used(heap), BLOCKS - 9);
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
		lab_remote_push(heap, runs[i], runs[i]);
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
		lab_remote_push(heap, blocks[i], blocks[i]);
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
		lab_remote_push(heap, blocks[i], blocks[i]);
	memset(blocks[1], 0, 8);
	lab_remote_drain_owned(heap);
	lab_leave(&guard);
}
