/*
 * sparse.c - pages of spans that are in use go back and come again: what stays, what is handed out, tears at each
 * instruction. After each trace the heap is held against heap_check.h.
 *
 * Clauses: G10.10.
 */
#include <criterion/criterion.h>

#include "heap/rebuild.h"
#include "heap/refill.h"
#include "heap/run.h"
#include "heap/sparse.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "inside_heap.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

enum { SPANS = 6 };

static void
push(char *p)
{
	REQUIRE(free_in_span(heap, lab_map_unit(p), p) == LAB_FREED);
}

/* A round, or a look at all spans. */
static void
look(bool young)
{
	static uint64_t now;

	now += 1000;
	heap->whole = 0; /* also after a rebuild */
	if (young) {
		lab_sparse_give_all_owned(heap);
		return;
	}
	do
		lab_sparse_look_owned(heap, now, 1000);
	while (heap->thinning.is_on);
}

/* Blocks of one class: those of some spans, in order. */
static struct {
	char *p[SPANS * LAB_UNIT_SIZE / 16];
	size_t count;
	unsigned c;
} blocks;

static void
fill(unsigned c, size_t spans)
{
	blocks.c = c;
	blocks.count = spans * (LAB_UNIT_SIZE / lab_class_size(c));
	for (size_t i = 0; i < blocks.count; i++) {
		blocks.p[i] = pop(c);
		trace_fill(blocks.p[i], lab_class_size(c), (uint32_t)i);
	}
	/* another span is current from here on */
	if (heap->bins[c].current != &lab_no_span) {
		lab_span_demote_owned(heap, heap->bins[c].current);
		lab_bin_set_current(heap, c, &lab_no_span);
	}
}

static void
check_contents(size_t i)
{
	size_t size = lab_class_size(blocks.c);

	REQUIRE(trace_reads_as(blocks.p[i], size, size, (uint32_t)i));
}

/* Frees all blocks but each n-th one, in an order that has nothing to do with addresses. */
static void
free_most(size_t n)
{
	for (size_t start = 0; start < 7; start++)
		for (size_t i = start; i < blocks.count; i += 7)
			if (i % n != 0)
				push(blocks.p[i]);
}

/* Pages in which no survivor lies, of the spans of which at most a fourth is used. */
static size_t
free_pages(size_t n)
{
	size_t size = lab_class_size(blocks.c), per_span = LAB_UNIT_SIZE / size, free = 0;

	for (size_t span = 0; span < SPANS; span++) {
		bool is_used[LAB_UNIT_PAGES] = {0};
		size_t used = 0, in_span = 0;
		for (size_t i = 0; i < per_span; i++) {
			if ((span * per_span + i) % n != 0)
				continue;
			used++;
			for (size_t at = i * size; at < (i + 1) * size; at += 16)
				is_used[at / LAB_PAGE_SIZE] = true;
		}
		for (size_t page = 0; page * LAB_PAGE_SIZE < per_span * size; page++)
			in_span += !is_used[page];
		free += used * 4 <= per_span ? in_span : 0;
	}
	return free;
}

Test(sparse, pages_without_a_survivor_go_back_and_come_again)
{
	static const size_t one_in[] = {5, 20, 100, 300};
	size_t given = 0;

	world_install();
	enter();
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t per_span = LAB_UNIT_SIZE / lab_class_size(c), n = one_in[c % 4];
		if (n > per_span)
			n = per_span; /* so that each span has a survivor */
		if (n < 4)
			continue; /* a fourth of the span and more is used */
		fill(c, SPANS);
		free_most(n);
		size_t before = world.purged;
		look(false);
		REQUIRE_EQUAL(world.purged, before); /* not before the next round */
		look(false);
		REQUIRE_EQUAL(world.purged - before, free_pages(n) * LAB_PAGE_SIZE);
		given += world.purged - before;
		size_t spans = heap_check(heap).spans;
		look(false);
		REQUIRE_EQUAL(world.purged - before, free_pages(n) * LAB_PAGE_SIZE); /* once */
		for (size_t i = 0; i < blocks.count; i += n)
			check_contents(i);
		/* All of it is handed out again, each block once, before there is a span more. */
		for (size_t i = 0; i < blocks.count; i++)
			if (i % n != 0) {
				blocks.p[i] = pop(c);
				trace_fill(blocks.p[i], lab_class_size(c), (uint32_t)i);
			}
		REQUIRE_EQUAL(heap_check(heap).spans, spans);
		for (size_t i = 0; i < blocks.count; i++)
			check_contents(i);
		for (size_t i = 0; i < blocks.count; i++)
			push(blocks.p[i]);
	}
	cr_assert_gt(given, 0);
	cr_assert_eq(heap_check(heap).used, 0);
}

/* A span that is not sparse, or not for long enough, keeps its pages; so does the current one. */
Test(sparse, spans_that_are_in_use_keep_their_pages)
{
	world_install();
	enter();
	fill(lab_class_of(1024), SPANS);
	free_most(3);
	look(false);
	look(false);
	cr_assert_eq(world.purged, 0, "a third is used");
	for (size_t i = 0; i < blocks.count; i += 3)
		if (i % 2 == 0)
			push(blocks.p[i]);
	look(false); /* a sixth: aged */
	for (int i = 0; i < SPANS; i++) {
		char *p = pop(blocks.c); /* from a span that becomes current, and ceases to be */
		push(p);
		lab_span_demote_owned(heap, heap->bins[blocks.c].current);
		lab_bin_set_current(heap, blocks.c, &lab_no_span);
	}
	size_t before = world.purged;
	look(false);
	size_t pages = (world.purged - before) / LAB_PAGE_SIZE;
	cr_assert_lt(pages, SPANS * LAB_UNIT_PAGES / 2);
	(void)heap_check(heap);
}

Test(sparse, long_random_traces)
{
	enum { BLOCKS = 6000 };
	static struct {
		char *p;
		unsigned c;
	} held[BLOCKS];
	static const size_t sizes[] = {16, 48, 112, 400, 640, 1536, 3072, 5120, 8192, 20480};
	struct trace_random random = {5};
	size_t live = 0;

	world_install();
	enter();
	for (int step = 0; step < 300000; step++) {
		bool grow = step / 20000 % 2 == 0;
		if (live < BLOCKS && trace_below(&random, 8) < (grow ? 5u : 1u)) {
			unsigned c = lab_class_of(sizes[trace_below(&random, sizeof sizes / sizeof *sizes)]);
			held[live].p = pop(c);
			held[live].c = c;
			trace_fill(held[live].p, lab_class_size(c), (uint32_t)(uintptr_t)held[live].p);
			live++;
		} else if (live > 0) {
			size_t victim = trace_below(&random, live), size = lab_class_size(held[victim].c);
			char *p = held[victim].p;
			REQUIRE(trace_reads_as(p, size, size, (uint32_t)(uintptr_t)p));
			push(p);
			held[victim] = held[--live];
		}
		if (step % 500 == 0)
			look(trace_below(&random, 8) == 0);
		if (step % 5000 == 0)
			REQUIRE(heap_check(heap).used == live);
		if (step % 50000 == 0)
			lab_heap_rebuild_owned(heap);
	}
	cr_assert_gt(world.purges, 100);
	while (live > 0)
		push(held[--live].p);
	cr_assert_eq(heap_check(heap).used, 0);
}

/* As the fast path frees, which knows nothing of what was collected. */
static void
push_fast(struct lab_unit *unit, char *p)
{
	uint32_t number = (uint32_t)((size_t)(p - unit->base) / unit->size);

	*(uint16_t *)p = lab_freelist_head(unit->freelist_state);
	unit->freelist_state = lab_insert16(unit->freelist_state - LAB_FREELIST_USED_ONE, (uint16_t)number);
}

/* Blocks that a visitor has found are free for this; a span that has no others goes. */
Test(sparse, what_was_collected_counts_as_free)
{
	enum { ONE_IN = 32 }; /* two in a span */
	struct lab_heap *holder;

	world_install();
	enter();
	fill(lab_class_of(1024), SPANS);
	struct lab_unit *emptied = lab_map_unit(blocks.p[0]);
	for (size_t i = 0; i < blocks.count; i++)
		if (i % ONE_IN != 0)
			REQUIRE(lab_span_collect(heap, lab_map_unit(blocks.p[i]), blocks.p[i], &holder) == LAB_FREED);
	for (size_t i = 0; i < blocks.count; i += ONE_IN)
		if (lab_map_unit(blocks.p[i]) == emptied)
			push_fast(emptied, blocks.p[i]);
	look(true);
	struct heap_census census = heap_check(heap);
	cr_assert_eq(census.spans, SPANS - 1);
	cr_assert_eq(census.collected, 0);
	cr_assert_eq(world.purged, free_pages(ONE_IN) / SPANS * (SPANS - 1) * LAB_PAGE_SIZE);
	for (size_t i = 0; i < blocks.count; i += ONE_IN)
		if (lab_map_unit(blocks.p[i]) != emptied)
			check_contents(i);
}

/* What the system refuses is carved again as it is. */
Test(sparse, locked_pages_are_used_again)
{
	world_install();
	world.purge_fails = true;
	enter();
	fill(lab_class_of(400), SPANS);
	free_most(100);
	look(true);
	size_t spans = heap_check(heap).spans;
	for (size_t i = 0; i < blocks.count; i++)
		if (i % 100 != 0)
			blocks.p[i] = pop(blocks.c);
	cr_assert_eq(heap_check(heap).spans, spans);
}

/* Each refusal is followed by 31 rounds that try nothing. */
Test(sparse, after_a_refusal_rounds_are_left_out)
{
	world_install();
	world.purge_fails = true;
	enter();
	fill(lab_class_of(1024), SPANS);
	free_most(32);
	look(false); /* ages */
	look(false);
	cr_assert_gt(world.purges, 0);
	fill(lab_class_of(2048), SPANS);
	free_most(16);
	size_t before = world.purges;
	for (int round = 0; round < 31; round++)
		look(false);
	cr_assert_eq(world.purges, before);
	look(false); /* ages */
	look(false);
	cr_assert_gt(world.purges, before);
}

/* While spans are listed one may become sparse by fast frees, which note nothing: rounds go on. */
Test(sparse, rounds_are_due_while_spans_are_listed)
{
	world_install();
	enter();
	fill(lab_class_of(1024), SPANS);
	look(false);
	cr_assert(!lab_sparse_is_due(heap), "all are full");
	free_most(2);
	for (int round = 0; round < 3; round++) {
		look(false);
		cr_assert(lab_sparse_is_due(heap));
	}
	struct lab_unit *unit = lab_map_unit(blocks.p[0]);
	for (size_t i = 2; i < blocks.count; i += 2)
		if (lab_map_unit(blocks.p[i]) == unit)
			push_fast(unit, blocks.p[i]);
	look(false); /* ages */
	look(false);
	cr_assert_gt(world.purged, 0);
}

/* A link that leads to a block in use, by a write after free: the span keeps its pages, and the block what it holds. */
Test(sparse, a_damaged_list_purges_nothing)
{
	world_install();
	enter();
	fill(lab_class_of(LAB_PAGE_SIZE), 1);
	free_most(8);
	struct lab_unit *unit = lab_map_unit(blocks.p[0]);
	uint16_t head = lab_freelist_head(unit->freelist_state);
	*(uint16_t *)blocks.p[0] = LAB_FREELIST_NIL; /* what a program may have there */
	*(uint16_t *)lab_unit_block(unit, head) = 0; /* the number of that block */
	look(true);
	cr_assert_eq(world.purged, 0);
	cr_assert_eq(lab_unit_purged(unit), 0);
}

/* By the holder and by a visitor. */
Test(sparse, a_double_free_of_a_purged_block_is_one)
{
	struct lab_heap *holder;

	world_install();
	enter();
	fill(lab_class_of(LAB_PAGE_SIZE), 1);
	free_most(8);
	look(true);
	cr_assert_gt(world.purged, 0);
	size_t free = heap_check(heap).free;
	cr_assert_eq(free_in_span(heap, lab_map_unit(blocks.p[1]), blocks.p[1]), LAB_FREE_DOUBLE);
	cr_assert_eq(lab_span_collect(heap, lab_map_unit(blocks.p[1]), blocks.p[1], &holder), LAB_FREE_DOUBLE);
	cr_assert_eq(heap_check(heap).free, free);
}

/* ---- tears ---- */

static void
look_torn(void *unused)
{
	(void)unused;
	look(true);
}

static void
pop_torn(void *unused)
{
	(void)unused;
	REQUIRE(lab_span_refill_owned(heap, blocks.c));
}

/* One span, one survivor in 40; a list that goes to and fro between the pages. */
static size_t
make_sparse_span(void)
{
	fill(lab_class_of(640), 1);
	free_most(40);
	return heap_check(heap).free;
}

Test(sparse, a_look_that_is_cut_short_loses_no_block)
{
	long steps = 0;
	bool torn = true;

	world_install();
	enter();
	for (; torn; steps += 1 + steps / 100) {
		size_t free = make_sparse_span();
		torn = tear(steps, look_torn, NULL);
		lab_heap_rebuild_owned(heap);
		REQUIRE_EQUAL(heap_check(heap).free, free);
		for (size_t i = 0; i < blocks.count; i += 40) {
			check_contents(i);
			push(blocks.p[i]);
		}
		REQUIRE(heap_check(heap).spans == 0);
	}
	cr_assert_gt(steps, 100);
}

Test(sparse, a_refill_from_purged_pages_that_is_cut_short_loses_a_step)
{
	enum { STEP = LAB_PAGE_SIZE / 640 + 2 };
	long steps = 0;
	bool torn = true;

	world_install();
	enter();
	for (; torn; steps++) {
		size_t free = make_sparse_span();
		struct lab_unit *unit = lab_map_unit(blocks.p[0]);
		look(true);
		REQUIRE(lab_unit_purged(unit) != 0);
		while (lab_freelist_head(unit->freelist_state) !=
		       LAB_FREELIST_NIL) { /* the blocks of pages that stay */
			REQUIRE(pop(blocks.c) != NULL && heap->bins[blocks.c].current == unit);
			free--;
		}
		torn = tear(steps, pop_torn, NULL);
		lab_heap_rebuild_owned(heap);
		size_t left = heap_check_free_list(unit) + heap_check_purged(unit);
		REQUIRE(left <= free && left + STEP >= free);
		for (size_t i = 0; i < blocks.count; i += 40)
			check_contents(i);
		lab_unit_set_kind(unit, LAB_UNIT_IS_RETIRED); /* what is lost cannot be freed: its pages are orphans */
		lab_heap_rebuild_owned(heap);
	}
	cr_assert_gt(steps, 50);
}
