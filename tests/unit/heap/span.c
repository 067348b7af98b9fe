/*
 * span.c - spans of small blocks, one heap, one thread: carving, order, lists, retirement, double frees. After each
 * trace the heap is held against heap_check.h.
 *
 * Clauses: G9.6, G10.12.
 */
#include <criterion/criterion.h>
#include <signal.h>

#include "heap/bin.h"
#include "heap/finding.h"
#include "heap/refill.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "heap/take.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "inside_heap.h"
#include "trace.h"
#include "world.h"

static struct lab_unit *
unit_of(const void *p)
{
	return lab_map_unit(p);
}

static void
push(char *p)
{
	REQUIRE(free_in_span(heap, unit_of(p), p) == LAB_FREED);
}

Test(span, blocks_of_a_new_span_come_in_order_and_are_carved_page_by_page)
{
	enter();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		char *first = pop(c);
		struct lab_unit *unit = unit_of(first);
		cr_assert_eq(unit->base, first);
		cr_assert_eq((uintptr_t)first % LAB_UNIT_SIZE, 0);
		for (size_t i = 1; i < LAB_UNIT_SIZE / size; i++) {
			size_t limit = size < LAB_PAGE_SIZE ? lab_round_up(i * size, LAB_PAGE_SIZE) / size + 1 : i;
			REQUIRE(unit->carved <= limit); /* no page is touched before it is needed */
			REQUIRE(pop(c) == first + i * size);
		}
		cr_assert_eq(unit->carved, lab_unit_capacity(unit));
		cr_assert_eq(lab_freelist_head(unit->freelist_state), LAB_FREELIST_NIL);
		cr_assert_neq(unit_of(pop(c)), unit, "the next one is another span's");
		cr_assert(unit->owner_key & LAB_UNIT_CLOSED);
	}
	(void)heap_check(heap);
}

Test(span, the_block_freed_last_is_the_next_one)
{
	enter();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		char *a = pop(c), *b = pop(c);
		push(a);
		push(b);
		cr_assert_eq(pop(c), b);
		cr_assert_eq(pop(c), a);
	}
}

/* All blocks of many spans of one class, freed in different orders: every span but the current one goes back. */
static void
fill_and_free(unsigned c, unsigned order)
{
	enum { BLOCKS = 6000 };
	static char *blocks[BLOCKS];
	size_t n = 5 * (LAB_UNIT_SIZE / lab_class_size(c)) + 1;
	struct trace_random random = {order};

	if (n > BLOCKS)
		n = BLOCKS;
	for (size_t i = 0; i < n; i++)
		blocks[i] = pop(c);
	struct heap_census full = heap_check(heap);
	for (size_t i = n; order == 2 && i-- > 1;) { /* shuffle */
		size_t j = trace_below(&random, i + 1);
		char *swap = blocks[i];
		blocks[i] = blocks[j];
		blocks[j] = swap;
	}
	for (size_t i = 0; i < n; i++)
		push(blocks[order == 1 ? n - 1 - i : i]);
	struct heap_census rest = heap_check(heap);
	REQUIRE(rest.used + n == full.used);
	REQUIRE(heap->bins[c].partial == NULL);
	REQUIRE(rest.spans <= full.spans);
	if (n == 5 * (LAB_UNIT_SIZE / lab_class_size(c)) + 1)
		REQUIRE(rest.spans + 4 <= full.spans);
}

Test(span, empty_spans_are_retired_in_whatever_order_they_empty)
{
	enter();
	for (unsigned order = 0; order < 3; order++)
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c += 2)
			fill_and_free(c, order);
	cr_assert_eq(heap_check(heap).used, 0);
}

Test(span, only_carved_pages_of_a_retired_span_are_dirty)
{
	enter();
	unsigned c = lab_class_of(4096);
	char *blocks[17];

	for (int i = 0; i < 17; i++)
		blocks[i] = pop(c); /* a full span, and one block of the next */
	struct lab_unit *unit = unit_of(blocks[0]), *next = unit_of(blocks[16]);
	struct lab_segment *segment = lab_map_find(blocks[0]).segment;
	for (int i = 0; i < 16; i++)
		push(blocks[i]);
	cr_assert_eq(unit->kind, LAB_UNIT_IS_RETIRED);
	cr_assert_eq(unit->carved, 0);
	cr_assert_eq(lab_segment_count_dirty(segment), 16);
	lab_span_demote_owned(heap, next);
	lab_bin_set_current(heap, c, &lab_no_span);
	push(blocks[16]);
	cr_assert_eq(next->kind, LAB_UNIT_IS_RETIRED);
	cr_assert_eq(lab_segment_count_dirty(segment), 17, "one block, one page");
}

Test(span, double_frees_are_told_where_it_is_cheap)
{
	enter();
	char *a = pop(3), *b = pop(3);
	struct lab_unit *unit = unit_of(a);

	uint32_t freelist_state = unit->freelist_state;
	push(a);
	cr_assert_eq(free_in_span(heap, unit, a), LAB_FREE_DOUBLE, "the block freed last");
	cr_assert_eq(lab_block_link(a), lab_freelist_head(freelist_state), "nothing was written");
	push(b);
	cr_assert_eq(free_in_span(heap, unit, b), LAB_FREE_DOUBLE);
	cr_assert_eq(free_in_span(heap, unit, a), LAB_FREE_DOUBLE, "the span is empty");
	(void)heap_check(heap);
	cr_assert_eq(pop(3), b);
	cr_assert_eq(pop(3), a);
}

Test(span, a_full_span_is_listed_again_by_its_first_free)
{
	enter();
	unsigned c = lab_class_of(8192);
	char *blocks[24];

	for (int i = 0; i < 24; i++)
		blocks[i] = pop(c);
	struct lab_unit *first = unit_of(blocks[0]), *second = unit_of(blocks[8]);
	cr_assert(!first->listed && !second->listed);
	push(blocks[2]);
	cr_assert(first->listed && !(first->owner_key & LAB_UNIT_CLOSED));
	push(blocks[9]);
	push(blocks[3]);
	(void)heap_check(heap);
	cr_assert_eq(pop(c), blocks[9], "the fuller span, so that the other one may become empty");
	cr_assert_eq(pop(c), blocks[3], "the block freed last");
	cr_assert_eq(pop(c), blocks[2]);
	(void)heap_check(heap);
}

/* Of a class with 64 blocks a span. */
enum { SPAN_BLOCKS = 64 };

static void
fill_spans(unsigned c, size_t spans, char *blocks[][SPAN_BLOCKS])
{
	for (size_t span = 0; span < spans; span++)
		for (size_t i = 0; i < SPAN_BLOCKS; i++)
			blocks[span][i] = pop(c);
}

/* So many of each. */
static void
free_in_spans(const size_t *left, size_t spans, char *blocks[][SPAN_BLOCKS])
{
	for (size_t span = 0; span < spans; span++)
		for (size_t i = 0; i < left[span]; i++)
			push(blocks[span][i]);
}

Test(span, a_refill_takes_the_fullest_span_of_which_an_eighth_is_free)
{
	enum { SPANS = 10 };
	static const size_t left[SPANS] = {1, 7, 40, 8, 7, 20, 1, 0, 6, 0};
	static char *blocks[SPANS][SPAN_BLOCKS];
	unsigned c = lab_class_of(LAB_UNIT_SIZE / SPAN_BLOCKS);

	enter();
	fill_spans(c, SPANS, blocks);
	free_in_spans(left, SPANS, blocks);
	struct lab_unit *current = heap->bins[c].current; /* full */
	static const size_t order[] = {3, 5, 2};
	for (size_t at = 0; at < 3; at++)
		for (size_t i = 0; i < left[order[at]]; i++) {
			char *p = pop(c);
			REQUIRE(unit_of(p) == unit_of(blocks[order[at]][0]) && unit_of(p) != current);
		}
	(void)heap_check(heap);
	for (size_t i = 0; i < 7; i++) /* nothing is left of which that much is free: the emptiest */
		REQUIRE(unit_of(pop(c)) == unit_of(blocks[1][0]) || unit_of(blocks[4][0]) == heap->bins[c].current);
	for (size_t i = 0; i < 15; i++)
		(void)pop(c);
	cr_assert_eq(heap_check(heap).spans, SPANS, "what is free is used before there is a span more");
	(void)pop(c);
	cr_assert_eq(heap_check(heap).spans, SPANS + 1);
}

/* A refill from a span that was full, and has one block back, would be the next slow call's cause. */
Test(span, a_span_of_which_less_than_a_128th_is_free_waits_while_there_is_memory)
{
	enum { BLOCKS = LAB_UNIT_SIZE / 32, SPANS = 4, ENOUGH = BLOCKS / 128 };
	static char *blocks[SPANS][BLOCKS];
	unsigned c = lab_class_of(32);

	world_install();
	enter();
	for (size_t span = 0; span < SPANS; span++)
		for (size_t i = 0; i < BLOCKS; i++)
			blocks[span][i] = pop(c);
	for (size_t i = 1; i < ENOUGH; i++)
		push(blocks[0][i]);
	push(blocks[1][0]);
	char *first = pop(c);
	cr_assert_eq(heap_check(heap).spans, SPANS + 1, "a new one");
	push(blocks[0][ENOUGH]);
	for (size_t i = 1; i < BLOCKS; i++)
		REQUIRE(unit_of(pop(c)) == unit_of(first));
	for (size_t i = 0; i < ENOUGH; i++)
		REQUIRE(unit_of(pop(c)) == unit_of(blocks[0][0]));
	(void)heap_check(heap);

	world.map_limit = 0;
	while (lab_pages_take_owned(heap, LAB_UNIT_PAGES, LAB_UNIT_PAGES).segment)
		;
	cr_assert_eq(pop(c), blocks[1][0], "the last one is given where there is no memory");
	cr_assert_not(lab_span_refill_owned(heap, c));
	push(blocks[2][0]);
	size_t maps = world.maps;
	cr_assert_eq(pop(c), blocks[2][0]);
	cr_assert_eq(world.maps, maps, "what there is not is not asked for at each refill");

	world.map_limit = SIZE_MAX;
	const struct lab_unit *unit = unit_of(blocks[2][0]);
	for (int refill = 1; refill < 300 && (unit == unit_of(blocks[2][0]) || unit == unit_of(blocks[3][0]));
	     refill++) {
		push(blocks[2 + refill % 2][0]);
		unit = unit_of(pop(c));
	}
	cr_assert(unit != unit_of(blocks[2][0]) && unit != unit_of(blocks[3][0]), "but after a while it is");
}

Test(span, nearly_full_spans_do_not_stay_before_those_that_are_worthwhile)
{
	enum { SPANS = 6 };
	static const size_t left[SPANS] = {1, 1, 20, 20, 0, 0};
	static char *blocks[SPANS][SPAN_BLOCKS];
	unsigned c = lab_class_of(LAB_UNIT_SIZE / SPAN_BLOCKS);

	enter();
	fill_spans(c, SPANS, blocks);
	free_in_spans(left, SPANS, blocks);
	cr_assert_eq(heap->bins[c].partial, unit_of(blocks[0][0]));
	cr_assert_eq(unit_of(pop(c)), unit_of(blocks[2][0]));
	cr_assert_eq(heap->bins[c].partial, unit_of(blocks[3][0]), "the two wait at the end");
	(void)heap_check(heap);
}

/* Those of which pages have gone back, and all after a fork. */
static void
check_cold_ones_come_last(bool is_forked)
{
	enum { SPANS = 8 };
	static const size_t left[SPANS] = {20, 20, 20, 20, 20, 20, 0, 0};
	static char *blocks[SPANS][SPAN_BLOCKS];
	unsigned c = lab_class_of(LAB_UNIT_SIZE / SPAN_BLOCKS);

	enter();
	fill_spans(c, SPANS, blocks);
	free_in_spans(left, SPANS, blocks);
	struct lab_bin *bin = &heap->bins[c];
	if (is_forked) {
		lab_bin_cool(bin);
	} else {
		struct lab_unit *next, *last = unit_of(blocks[5][0]);
		for (struct lab_unit *unit = bin->partial; unit; unit = unit == last ? NULL : next) {
			next = unit->next;
			lab_bin_remove(bin, unit);
			lab_unit_set_purged(unit, 1); /* as if the first page had gone: of the list alone */
			lab_bin_push(bin, unit);
			lab_unit_set_purged(unit, 0);
		}
	}
	for (size_t i = 0; i < 20; i++) { /* touched since then */
		push(blocks[6][i]);
		push(blocks[7][i]);
	}
	cr_assert_eq(bin->partial, unit_of(blocks[6][0]));
	for (size_t round = 0; round < 100; round++) {
		char *p[30];
		for (size_t i = 0; i < 30; i++) {
			p[i] = pop(c);
			REQUIRE(unit_of(p[i]) == unit_of(blocks[6][0]) || unit_of(p[i]) == unit_of(blocks[7][0]));
		}
		for (size_t i = 0; i < 30; i++)
			push(p[i]);
	}
	size_t spans = heap_check(heap).spans;
	for (size_t i = 0; i < 5 * 20; i++)
		(void)pop(c);
	cr_assert_eq(heap_check(heap).spans, spans, "they are used before there is a span more");
}

Test(span, those_that_have_given_pages_back_are_used_last)
{
	check_cold_ones_come_last(false);
}

Test(span, those_that_a_fork_has_shared_are_used_last)
{
	check_cold_ones_come_last(true);
}

/* Among them may be what is wanted. */
Test(span, a_nearly_full_span_is_taken_while_others_frees_wait)
{
	enum { BLOCKS = LAB_UNIT_SIZE / 32, SPANS = 2, OTHERS = 600 }; /* more of these than a refill takes in */
	static char *blocks[SPANS][BLOCKS], *others[OTHERS];
	unsigned c = lab_class_of(32);

	enter();
	for (size_t span = 0; span < SPANS; span++)
		for (size_t i = 0; i < BLOCKS; i++)
			blocks[span][i] = pop(c);
	for (size_t i = 0; i < OTHERS; i++)
		others[i] = pop(lab_class_of(64));
	push(blocks[0][0]);
	for (size_t i = 0; i < OTHERS; i++)
		(void)lab_remote_push(heap, others[i], others[i], 64);
	cr_assert_eq(pop(c), blocks[0][0]);
	lab_remote_drain_owned(heap);
	(void)heap_check(heap);
}

Test(span, a_current_span_with_little_left_makes_way_for_one_that_has_more)
{
	static char *blocks[3][SPAN_BLOCKS];
	unsigned c = lab_class_of(LAB_UNIT_SIZE / SPAN_BLOCKS);

	enter();
	fill_spans(c, 3, blocks);
	for (size_t i = 0; i < 7; i++)
		push(blocks[2][i]); /* as others do, whose blocks a refill takes in first */
	REQUIRE(lab_span_refill_owned(heap, c));
	cr_assert_eq(heap->bins[c].current, unit_of(blocks[2][0]), "there is no other");
	for (size_t i = 0; i < 9; i++)
		push(blocks[0][i]);
	REQUIRE(lab_span_refill_owned(heap, c));
	cr_assert_eq(heap->bins[c].current, unit_of(blocks[0][0]));
	cr_assert(unit_of(blocks[2][0])->listed);
	REQUIRE(heap_check(heap).free == 16);
	push(blocks[2][7]);
	REQUIRE(lab_span_refill_owned(heap, c));
	cr_assert_eq(heap->bins[c].current, unit_of(blocks[0][0]), "nine are enough");
	for (size_t i = 0; i < 17; i++)
		(void)pop(c);
	struct heap_census census = heap_check(heap);
	cr_assert(census.free == 0 && census.spans == 3);
}

/* Pages that are clean are not touched before they are needed; dirty ones are there. */
Test(span, dirty_pages_are_carved_ahead)
{
	unsigned c = lab_class_of(1024);
	char *blocks[64];

	enter();
	for (size_t i = 0; i < 4 * 6; i++) /* six pages of it */
		blocks[i] = pop(c);
	struct lab_unit *unit = unit_of(blocks[0]);
	cr_assert_eq(unit->carved, 24);
	lab_span_demote_owned(heap, unit);
	lab_bin_set_current(heap, c, &lab_no_span);
	for (size_t i = 0; i < 4 * 6; i++)
		push(blocks[i]);
	cr_assert_eq(unit->kind, LAB_UNIT_IS_RETIRED);
	(void)pop(c);
	cr_assert_eq(heap->bins[c].current, unit, "the same pages");
	cr_assert_eq(unit->carved, 24, "what is dirty");
	for (size_t i = 1; i < 29; i++)
		(void)pop(c);
	cr_assert_eq(unit->carved, 32, "a page at a time");
	(void)heap_check(heap);
}

Test(span, carving_ahead_is_bounded)
{
	enter();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		bool fresh;
		char *all = lab_run_alloc_owned(heap, LAB_UNIT_PAGES, LAB_UNIT_PAGES, &fresh);
		struct lab_place place = lab_map_find(all);
		REQUIRE(lab_run_begin_free(place.run, 1)); /* all of it is dirty */
		lab_run_free_owned(heap, place.segment, place.run);
		(void)pop(c);
		const struct lab_unit *unit = heap->bins[c].current;
		size_t size = lab_class_size(c), step = LAB_PAGE_SIZE > 32 * size ? LAB_PAGE_SIZE : 32 * size;
		REQUIRE(unit->base == all);
		REQUIRE(unit->carved * size <= step + LAB_PAGE_SIZE);
		REQUIRE(unit->carved * size + LAB_PAGE_SIZE + size > step || unit->carved == lab_unit_capacity(unit));
	}
}

Test(span, long_random_traces_against_a_set)
{
	enum { BLOCKS = 3000 };
	static struct {
		char *p;
		unsigned c;
	} blocks[BLOCKS];
	struct trace_random random = {11};
	size_t live = 0;

	enter();
	for (int step = 0; step < 300000; step++) {
		bool grow = (step / 20000) % 2 == 0;
		if (live < BLOCKS && trace_below(&random, 8) < (grow ? 5u : 3u)) {
			unsigned c = lab_class_of(trace_skewed(&random, 15));
			char *p = pop(c);
			blocks[live].p = p;
			blocks[live++].c = c;
			memset(p, (int)c,
			       lab_class_size(c)); /* the trace tests look at contents; here only links matter */
		} else if (live > 0) {
			size_t victim = trace_below(&random, live);
			char *p = blocks[victim].p;
			unsigned c = blocks[victim].c;
			REQUIRE(p[0] == (char)c && p[lab_class_size(c) - 1] == (char)c);
			push(p);
			blocks[victim] = blocks[--live];
		}
		if (step % 5000 == 0)
			REQUIRE(heap_check(heap).used == live);
	}
	while (live > 0)
		push(blocks[--live].p);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.used, 0);
	cr_assert_eq(census.listed_spans, 0);
	cr_assert_eq(census.spans, census.current_spans);
}

/* INV-SPAN-1 with a link that a use after free has overwritten: the repair ends there instead of following it. */
Test(span, a_repair_stops_at_a_link_that_leads_nowhere)
{
	enter();
	char *blocks[50];

	for (int i = 0; i < 50; i++)
		blocks[i] = pop(5);
	for (int i = 0; i < 50; i++)
		push(blocks[i]);
	struct lab_unit *unit = unit_of(blocks[0]);
	*(uint16_t *)blocks[25] = 12345;
	heap->changing = unit;
	lab_span_repair_owned(heap);
	cr_assert_null(heap->changing);
	cr_assert(!unit->current);
	uint32_t used = ((unit->freelist_state >> 16) + 1) & 0xffff;
	cr_assert_eq(used, unit->carved - 25);
}

/* ---- writes to freed blocks (INV-SPAN-1): a head that is no block's number is never made an address ---- */

enum { FREED = 20, KEPT = 20 };

/* Frees blocks of class c, writes `link` to the one that was freed as the n-th, and pops until that shows. */
static void
damage(unsigned c, int n, uint16_t link)
{
	char *kept[KEPT], *freed[FREED];
	struct lab_finding found;

	for (int i = 0; i < KEPT; i++)
		kept[i] = pop(c);
	for (int i = 0; i < FREED; i++)
		freed[i] = pop(c);
	struct lab_unit *unit = unit_of(kept[0]);
	if (link < unit->carved || unit != unit_of(freed[FREED - 1])) {
		for (int i = 0; i < FREED; i++)
			push(freed[i]);
		for (int i = 0; i < KEPT; i++)
			push(kept[i]);
		return; /* a block's number, which no check can tell from the right one; or too large a class */
	}
	for (int i = 0; i < FREED; i++)
		push(freed[i]);
	*(uint16_t *)(void *)freed[n] = link;
	for (int i = FREED; i-- > n;)
		REQUIRE(pop(c) == freed[i]);
	cr_assert_not(lab_finding_take_owned(heap, &found), "it has become the head, and was not used yet");
	char *next = pop(c);
	struct lab_unit *its = unit_of(next);
	REQUIRE(lab_unit_is_block(its, next));
	for (int i = 0; i < KEPT; i++)
		REQUIRE(next != kept[i]);
	bool is_nil = link == LAB_FREELIST_NIL;
	REQUIRE(lab_finding_take_owned(heap, &found) == !is_nil);
	if (!is_nil) {
		REQUIRE(found.kind == LAB_FOUND_DAMAGE);
		REQUIRE(found.start == unit->base && found.bytes == LAB_UNIT_SIZE &&
		        found.block_size == lab_class_size(c));
	}
	push(next);
	for (int i = n; i < FREED; i++)
		push(freed[i]);
	for (int i = 0; i < KEPT; i++)
		push(kept[i]); /* the lost ones count as used */
}

Test(span, a_link_that_was_written_to_is_never_an_address)
{
	enter();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c += 3)
		for (unsigned link = 1; link <= 0xffff; link += 257)
			damage(c, (int)(link % FREED), (uint16_t)link);
	damage(2, 3, 0xffff);
	for (int bit = 0; bit < 16; bit++)
		damage(2, 5, (uint16_t)(0x8000 | 1u << bit));
}

Test(span, a_damaged_list_in_a_span_that_is_not_current_is_found_when_it_is)
{
	enter();
	unsigned c = lab_class_of(8192);
	char *blocks[24];
	struct lab_finding found;

	for (int i = 0; i < 24; i++)
		blocks[i] = pop(c);
	push(blocks[2]);
	for (int i = 9; i < 12; i++)
		push(blocks[i]);
	push(blocks[3]); /* the first span: 3, 2. The second has one more */
	*(uint16_t *)(void *)blocks[3] = 777;
	cr_assert_eq(pop(c), blocks[3]);
	cr_assert_not(lab_finding_take_owned(heap, &found));
	cr_assert_eq(pop(c), blocks[11], "the first one is exhausted");
	cr_assert(lab_finding_take_owned(heap, &found));
	cr_assert_eq(found.kind, LAB_FOUND_DAMAGE);
	for (int i = 0; i < 8; i++)
		if (i != 2)
			push(blocks[i]);
	cr_assert_eq(unit_of(blocks[0])->kind, LAB_UNIT_IS_RETIRED, "what was lost comes back with the span");
}

/* Where none is used all is known: the list is made anew. */
Test(span, an_empty_current_span_is_mended)
{
	enter();
	char *blocks[FREED];
	struct lab_finding found;

	for (int i = 0; i < FREED; i++)
		blocks[i] = pop(5);
	struct lab_unit *unit = unit_of(blocks[0]);
	for (int i = 0; i < FREED; i++)
		push(blocks[i]);
	lab_poke(&unit->freelist_state, lab_insert16(unit->freelist_state, 40000));
	REQUIRE(lab_span_refill_owned(heap, 5));
	cr_assert(lab_finding_take_owned(heap, &found));
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.used, 0);
	cr_assert_eq(census.free, census.carved);
}
