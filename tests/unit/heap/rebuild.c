/*
 * rebuild.c - torn heaps: whatever a frame that never goes on leaves behind is put there by hand, the heap is rebuilt,
 * and then every list is held against the words, and every live block against what was written into it.
 *
 * Clauses: G3.2.
 */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "heap/bin.h"
#include "heap/rebuild.h"
#include "heap/refill.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "heap/take.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "page/charge.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

enum { SLOTS = 500 };

static struct trace_block blocks[SLOTS];
static struct trace trace = {{1}, blocks, SLOTS, 13, 23, 20, false};
static struct lab_heap *heap;

/* A heap with live blocks of all kinds. */
static void
start(void)
{
	world_install();
	world.deaths_are_set = true;
	trace_run(&trace, 6000);
	heap = lab_thread.heap;
}

static void
rebuild(void)
{
	heap->whole = 0;
	lab_heap_rebuild_owned(heap);
	REQUIRE(heap->whole == 1);
}

/* Live blocks are as they were, and none is handed out again. */
static void
check_everything(void)
{
	(void)heap_check(heap);
	trace_check_all(&trace);
	trace.exact = true;
	trace_run(&trace, 3000);
	trace.exact = false;
	trace_check_all(&trace);
	(void)heap_check(heap);
}

/* ---- lists ---- */

static void
spoil_spans(struct trace_random *random)
{
	static struct lab_unit garbage;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit *wild[] = {NULL, &garbage, &lab_no_span,
		                           (struct lab_unit *)(uintptr_t)trace_next(random)};
		heap->bins[c].partial = wild[trace_below(random, 4)];
		heap->bins[c].current = wild[trace_below(random, 4)];
	}
	for (size_t i = 0; i < LAB_DIRECT_SLOTS; i++)
		heap->direct[i] = (struct lab_unit *)(uintptr_t)trace_next(random);
	for (size_t i = 0; i < lab_space()->high_water * (LAB_SLOT_SIZE / LAB_UNIT_SIZE); i++) {
		struct lab_unit *unit = lab_map_unit((char *)lab_space()->base + i * LAB_UNIT_SIZE);
		if (unit->kind != LAB_UNIT_IS_SPAN)
			continue;
		unit->next = (struct lab_unit *)(uintptr_t)trace_next(random);
		unit->purged_and_previous = trace_next(random) & lab_mask(LAB_UNIT_PURGED_SHIFT);
		unit->listed = trace_next(random) & 1;
	}
}

static void
spoil_segments(struct trace_random *random)
{
	for (unsigned bin = 0; bin < LAB_ORDER_MAX + 2; bin++)
		heap->by_order[bin] = (struct lab_segment *)(uintptr_t)trace_next(random);
	for (unsigned bin = 0; bin < LAB_RUN_BINS; bin++)
		heap->by_run[bin] = (struct lab_segment *)(uintptr_t)trace_next(random);
	struct lab_segment *segment;
	uint64_t owner;

	heap->kept = (struct lab_segment *)(uintptr_t)trace_next(random);
	heap->slots = trace_next(random);
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;) {
		if (lab_owner_state(owner) != LAB_SLOT_OWNED)
			continue;
		for (unsigned which = 0; which < LAB_SEGMENT_INDEXES; which++)
			segment->links[which] = (struct lab_segment_links){
			        .next = (struct lab_segment *)(uintptr_t)trace_next(random),
			        .previous = (struct lab_segment *)(uintptr_t)trace_next(random),
			        .bin = (int8_t)trace_next(random),
			};
		segment->greatest = (int8_t)trace_next(random);
		segment->longest = (uint16_t)trace_next(random);
		memset(segment->words, (int)trace_next(random), sizeof segment->words);
	}
}

Test(rebuild, every_list_is_made_anew_from_garbage)
{
	struct trace_random random = {77};

	start();
	for (int round = 0; round < 20; round++) {
		spoil_spans(&random);
		spoil_segments(&random);
		rebuild();
		check_everything();
	}
	trace_free_all(&trace);
	rebuild();
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.used, 0, "no block was lost");
	cr_assert_eq(census.runs, 0);
	cr_assert_eq(census.spans, 0, "an idle heap keeps no span that is empty");
	cr_assert_leq(census.segments, 1);
}

Test(rebuild, it_may_be_repeated)
{
	start();
	struct heap_census before = heap_check(heap), after;
	for (int i = 0; i < 5; i++) {
		rebuild();
		after = heap_check(heap);
		cr_assert_eq(after.used, before.used);
		cr_assert_eq(after.runs, before.runs);
		cr_assert_leq(after.segments, before.segments);
	}
	check_everything();
}

/* Cut short by a jump, and done again. */
static void
rebuild_it(void *of)
{
	lab_heap_rebuild_owned(of);
}

static size_t
empty_a_few_spans(void)
{
	void *kept[300];
	size_t n = 0;

	for (unsigned c = 40; c < 60; c++) { /* partly used spans whose blocks were all freed by others */
		for (int i = 0; i < 15; i++)
			kept[n++] = lab_malloc(lab_class_size(c));
	}
	for (size_t i = 0; i < n; i++) {
		struct lab_unit *unit = lab_map_find(kept[i]).unit;
		lab_span_demote_owned(heap, unit);
		lab_bin_set_current(heap, unit->size_class, &lab_no_span);
	}
	heap->whole = 0; /* demoting by hand leaves the lists double */
	for (size_t i = 0; i < n; i++) {
		*(uint64_t *)kept[i] = lab_link_make(kept[i], lab_load_rlx(&heap->remote) & ~(uintptr_t)1);
		lab_store_rlx(&heap->remote, (uintptr_t)kept[i] | (lab_load_rlx(&heap->remote) & 1));
	}
	return n;
}

Test(rebuild, cut_short_at_any_step_it_is_done_again)
{
	bool torn = true;

	for (long steps = 0; torn; steps += TEAR_COARSER * (steps / 4 + 1000)) {
		start();
		size_t before = heap_check(heap).used;
		(void)empty_a_few_spans();
		heap->whole = 1; /* as a thread that died outside of it leaves it */
		torn = tear(steps, rebuild_it, heap);
		if (torn && steps == 1000L * TEAR_COARSER)
			cr_assert(!heap->whole, "who takes it over rebuilds it");
		rebuild();
		struct heap_census census = heap_check(heap);
		cr_assert_geq(census.used, before);
		cr_assert_leq(census.used, before + 1, "at most the block in hand is lost");
		trace_check_all(&trace);
		trace_free_all(&trace);
	}
}

/* ---- spans ---- */

Test(rebuild, a_change_of_the_current_span_that_was_cut_short)
{
	start();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit *unit = heap->bins[c].current;
		if (unit == &lab_no_span)
			continue;
		size_t used = heap_check(heap).used;
		heap->changing = unit;
		switch (c % 3) { /* becoming current or ceasing to be: one word is new, the other old */
		case 0:
			unit->current = false;
			break;
		case 1:
			unit->freelist_state -= LAB_FREELIST_USED_ONE;
			break;
		default:
			break; /* nothing yet */
		}
		rebuild();
		cr_assert_eq(heap_check(heap).used, used);
		lab_free(lab_malloc(lab_class_size(c))); /* one that is current again */
	}
	check_everything();
}

/* make_span is cut short before the unit is said to be a span. */
Test(rebuild, a_span_that_was_not_finished)
{
	start();
	struct lab_pages pages = lab_pages_take_owned(heap, LAB_UNIT_PAGES, LAB_UNIT_PAGES);
	struct lab_unit *unit = lab_map_unit(pages.segment->base + pages.page * LAB_PAGE_SIZE);
	unit->collected = 7;
	unit->base = (char *)1234;
	rebuild();
	cr_assert(!(lab_load_rlx(&pages.segment->taken[pages.page / 64]) >> (pages.page % 64) & 1));
	check_everything();
}

/* carve is cut short before it has raised `carved`: its links are in pages that were not carved. When the span is
 * retired these pages must not count as fresh. */
Test(rebuild, pages_in_which_carving_was_cut_short_are_not_fresh)
{
	world_install();
	char *p = lab_malloc(1024);
	struct lab_unit *unit = lab_map_find(p).unit;
	char *base = unit->base;

	heap = lab_thread.heap;
	cr_assert(lab_span_charge_owned(heap, unit, unit->carved * 1024, (unit->carved + 4) * 1024));
	for (size_t i = unit->carved; i < unit->carved + 4; i++) /* the next page's blocks */
		*(uint16_t *)(base + i * 1024) = (uint16_t)((i + 1) * 1024);
	rebuild();
	lab_free(p);
	rebuild(); /* the span goes back */
	cr_assert_eq(unit->kind, LAB_UNIT_IS_RETIRED);
	struct lab_pages first = lab_pages_take_owned(heap, 1, 1); /* a page that was carved is known to be dirty */
	cr_assert_eq(first.segment->base + first.page * LAB_PAGE_SIZE, base);
	unsigned char *zeroed = lab_calloc(1, 15 * LAB_PAGE_SIZE);
	cr_assert_eq((char *)zeroed, base + LAB_PAGE_SIZE);
	cr_assert(trace_is_zero(zeroed, 15 * LAB_PAGE_SIZE), "calloc gave a block that is not zero");
}

/* ---- pages ---- */

/* Whether they are dirty is known: what was to be written to was marked before. */
Test(rebuild, pages_without_a_block_are_freed)
{
	start();
	for (int round = 0; round < 10; round++) {
		size_t count = 5 + (size_t)round;
		struct lab_pages pages = lab_pages_take_owned(heap, count, 1);
		cr_assert(lab_charge_pages(pages.segment, pages.page, 1));
		bool second = lab_segment_is_fresh(pages.segment, pages.page + 1, 1);
		memset(pages.segment->base + pages.page * LAB_PAGE_SIZE, 1, LAB_PAGE_SIZE);
		rebuild();
		for (size_t page = pages.page; page < pages.page + count; page++)
			cr_assert(!(lab_load_rlx(&pages.segment->taken[page / 64]) >> (page % 64) & 1));
		cr_assert(!lab_segment_is_fresh(pages.segment, pages.page, 1));
		cr_assert_eq(lab_segment_is_fresh(pages.segment, pages.page + 1, 1), second);
	}
	check_everything();
}

Test(rebuild, pages_that_were_written_to_when_a_frame_was_cut_short_are_not_taken_for_fresh)
{
	world_install();
	void *kept = lab_malloc(1);
	heap = lab_thread.heap;
	struct lab_pages pages = lab_pages_take_owned(heap, 20, 1);
	cr_assert(lab_segment_is_fresh(pages.segment, pages.page, 20));
	cr_assert(lab_charge_pages(pages.segment, pages.page, 20));
	memset(pages.segment->base + pages.page * LAB_PAGE_SIZE, 1, 20 * LAB_PAGE_SIZE);
	rebuild();
	void *p = lab_calloc(20, LAB_PAGE_SIZE);
	cr_assert_eq((char *)p, pages.segment->base + pages.page * LAB_PAGE_SIZE);
	cr_assert(trace_is_zero(p, 20 * LAB_PAGE_SIZE));
	lab_free(p);
	lab_free(kept);
}

Test(rebuild, a_live_purgers_pages_are_left_a_dead_ones_are_freed)
{
	start();
	struct lab_pages pages = lab_pages_take_owned(heap, 30, 1);
	_Atomic uint64_t *purge = &pages.segment->purge;

	lab_store_rlx(purge, lab_lease_make(7, 555, LAB_PURGE_GIVES_BACK));
	lab_store_rlx(&pages.segment->view_stale, 0);
	rebuild();
	size_t page = pages.page + 3;
	cr_assert(lab_load_rlx(&pages.segment->taken[page / 64]) >> (page % 64) & 1, "its holder is alive");
	cr_assert_eq(lab_load_rlx(purge), lab_lease_make(7, 555, LAB_PURGE_GIVES_BACK));
	cr_assert_eq(lab_load_rlx(&pages.segment->view_stale), LAB_MAY_HAVE_ORPHANS, "to be looked at again");
	world.dead_tid = 555;
	rebuild();
	cr_assert(!(lab_load_rlx(&pages.segment->taken[page / 64]) >> (page % 64) & 1));
	cr_assert_eq(lab_load_rlx(purge), 0);
	check_everything();
}

static jmp_buf out;

static void
jump_out_of_purge(void *first, size_t size)
{
	(void)first;
	(void)size;
	if (heap->purge.segment)
		longjmp(out, 1);
}

/* A purge is on record in the heap: its bits are orphans, in this heap's segments and in others'. */
Test(rebuild, a_purge_that_was_cut_short_is_undone)
{
	start();
	trace_free_all(&trace);
	trace_run(&trace, 500);
	size_t before = lab_purge_dirty_pages();
	cr_assert_gt(before, 100);
	world.on_purge = jump_out_of_purge;
	if (setjmp(out) == 0)
		(void)lab_trim(0);
	world.on_purge = NULL;
	struct lab_segment *segment = heap->purge.segment;
	cr_assert(segment && lab_load_rlx(&segment->purge) == heap->purge.claim);
	rebuild();
	cr_assert_null(heap->purge.segment);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	lab_thread.word = (uintptr_t)heap | LAB_WORD_FAST; /* the frame is gone */
	check_everything();
}

Test(rebuild, runs_that_were_being_resized)
{
	start();
	unsigned char *p = lab_malloc(20 * LAB_PAGE_SIZE);
	struct lab_place place = lab_map_find(p);
	size_t page = lab_segment_page_of(place.segment, p), length = lab_load_rlx(&place.run->pages);

	if (lab_segment_take_at(place.segment, page + length, 4)) { /* growth: pages taken, length not yet raised */
		rebuild();
		cr_assert(lab_segment_take_at(place.segment, page + length, 4), "they were given back");
		lab_segment_give(place.segment, page + length, 4, 4);
		rebuild();
	}
	lab_store_rlx(&place.run->pages, 10); /* shrinking: length lowered, pages not yet given */
	rebuild();
	cr_assert(lab_segment_take_at(place.segment, page + 10, 3));
	lab_segment_give(place.segment, page + 10, 3, 3);
	rebuild();
	cr_assert_eq(lab_usable_size(p), 10 * LAB_PAGE_SIZE);
	lab_free(p);
	check_everything();
}

/* It may be on the way to the heap's remote stack: nobody else frees it. */
Test(rebuild, runs_whose_free_has_begun_stay)
{
	start();
	void *p = lab_malloc(100000);
	struct lab_place place = lab_map_find(p);

	cr_assert(lab_run_begin_free(place.run, 666));
	world.dead_tid = 666;
	rebuild();
	cr_assert_eq(lab_run_kind_of(lab_load_rlx(&place.run->state)), LAB_RUN_FREEING);
	check_everything();
	(void)lab_remote_push(heap, p, p, 0);
	rebuild();
	cr_assert_eq(lab_run_kind_of(lab_load_rlx(&place.run->state)), LAB_RUN_DEAD);
	check_everything();
}

/* ---- segments ---- */

/* Claimed, and its heap knows nothing of it yet. */
Test(rebuild, a_segment_that_was_just_claimed_is_found)
{
	start();
	for (unsigned log = 0; log <= LAB_SLOTS_LOG_MAX; log++) {
		size_t slots = heap->slots;
		struct lab_segment *segment = lab_space_claim(heap->id, log, log);
		cr_assert(segment);
		rebuild();
		bool released = lab_owner_state(lab_load_rlx(lab_segment_owner(segment))) == LAB_SLOT_EMPTY;
		cr_assert(released || heap->kept == segment || heap->slots >= slots,
		          "free as a whole, it is kept or released");
		check_everything();
	}
}

/* ---- a dead thread's heap is taken over ---- */

static void
absorb(struct lab_heap *dead)
{
	heap->whole = 0; /* as inside a slow frame */
	lab_heap_absorb_owned(heap, dead);
	heap->whole = 1;
}

Test(rebuild, absorbing_moves_every_block_and_leaves_an_empty_idle_heap)
{
	start();
	for (int round = 0; round < 5; round++) {
		struct lab_heap *dead = heap;
		struct heap_census theirs = heap_check(dead);
		heap = lab_registry_make(lab_os_tid(), LAB_HEAP_CURRENT);
		lab_heap_rebuild_owned(heap);
		lab_thread.heap = heap;
		lab_thread.word = (uintptr_t)heap | LAB_WORD_FAST;
		struct trace own = {{9}, (struct trace_block[50]){{0}}, 50, 12, 0, 0, false};
		trace_run(&own, 300); /* spans of its own in the same classes */
		struct heap_census ours = heap_check(heap);

		absorb(dead);
		struct heap_census both = heap_check(heap);
		cr_assert_eq(both.used, theirs.used + ours.used);
		cr_assert_eq(both.runs, theirs.runs + ours.runs);
		cr_assert_eq(lab_registry_state(dead->id), LAB_HEAP_IDLE);
		cr_assert_eq(heap_check(dead).segments, 0);
		trace_free_all(&own);
		check_everything();
	}
	trace_free_all(&trace);
	rebuild();
	cr_assert_eq(heap_check(heap).used, 0);
}

Test(rebuild, absorbing_a_torn_heap_finishes_its_drain_and_sends_its_batches)
{
	start();
	struct lab_heap *dead = lab_registry_make(4711, LAB_HEAP_CURRENT),
	                *third = lab_registry_make(4712, LAB_HEAP_CURRENT);
	void *p[40];

	lab_heap_rebuild_owned(dead);
	lab_heap_rebuild_owned(third);
	for (int i = 0; i < 40; i++) {
		struct lab_heap *from = i < 20 ? dead : third;
		if (lab_freelist_head(from->bins[2].current->freelist_state) == LAB_FREELIST_NIL)
			REQUIRE(lab_span_refill_owned(from, 2));
		p[i] = lab_span_pop_owned(from->bins[2].current);
	}
	for (int i = 0; i < 10; i++) { /* a list that was taken and not yet processed */
		*(uint64_t *)p[i] = lab_link_make(p[i], dead->drain & ~(uintptr_t)1);
		dead->drain = (uintptr_t)p[i];
	}
	lab_store_rlx(&dead->remote, 1); /* the other parity */
	dead->batches[third->id % LAB_BATCH_SLOTS] = (struct lab_batch){third, p[20], p[20], 64};
	*(uint64_t *)p[20] = lab_link_make(p[20], 0);
	dead->whole = 0;
	size_t before = heap_check(heap).used;
	absorb(dead);
	cr_assert_eq(heap_check(heap).used, before + 10);
	cr_assert_eq(lab_load_rlx(&third->remote) & LAB_REMOTE_POINTER, (uintptr_t)p[20]);
	check_everything();
}
