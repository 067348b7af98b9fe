/*
 * rebuild.c - makes a heap's lists from the truth: owner words, page bitmaps, spans' hot words. For a heap that was left in the
 * middle of something (a jump, a dead thread), and for a new one. _owned. Every step can be cut short and done again.
 */
#include <string.h>

#include "base/check.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/map.h"

/* Length of a span's free list. A link that leads nowhere (written by a use after free) ends the list there. */
static size_t
count_free(struct lab_unit *unit)
{
	size_t size = lab_class_size(unit->size_class), length = 0;
	uint32_t at = lab_hot_head(unit->hot);

	if (at != LAB_HOT_NIL && (at % size != 0 || at / size >= unit->limit))
		lab_poke(&unit->hot, unit->hot | LAB_HOT_NIL);
	at = lab_hot_head(unit->hot);
	while (at != LAB_HOT_NIL && length < unit->limit) {
		uint16_t *link = (uint16_t *)(unit->base + at);
		uint32_t next = lab_peek(link);
		length++;
		if (next != LAB_HOT_NIL && (next % size != 0 || next / size >= unit->limit || length == unit->limit)) {
			lab_poke(link, LAB_HOT_NIL);
			next = LAB_HOT_NIL;
		}
		at = next;
	}
	return length;
}

static void
rebuild_span(struct lab_heap *heap, struct lab_unit *unit)
{
	uint32_t used = (uint32_t)(unit->limit - count_free(unit));

	/* No span is current yet: INV-SPAN-2. */
	lab_poke(&unit->hot, lab_hot_make(lab_hot_head(unit->hot), (used - 1) & 0xffff));
	lab_span_list_owned(heap, unit);
}

static void
cover(uint64_t covered[LAB_SEGMENT_WORDS], size_t page, size_t count)
{
	for (size_t i = page; i < page + count && i < LAB_SEGMENT_PAGES; i++)
		covered[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Marks what spans and runs cover, and lists the spans. */
static void
rebuild_blocks(struct lab_heap *heap, struct lab_arena *arena, struct lab_segment *segment, uint64_t covered[LAB_SEGMENT_WORDS])
{
	for (size_t page = 0; page < LAB_SEGMENT_PAGES; page++) {
		char *start = segment->base + page * LAB_PAGE_SIZE;
		struct lab_unit *unit = lab_arena_unit(arena, start);
		struct lab_run *run = &segment->runs[page];
		bool taken = lab_load_rlx(&segment->taken[page / 64]) >> (page % 64) & 1;
		if (!taken)
			continue;
		if (page % LAB_UNIT_PAGES == 0 && unit->kind == LAB_UNIT_IS_SPAN && lab_unit_heap(unit) == heap) {
			cover(covered, page, LAB_UNIT_PAGES);
			rebuild_span(heap, unit);
			page += LAB_UNIT_PAGES - 1;
		} else if (lab_load_acq(&run->state) != LAB_RUN_DEAD) {
			cover(covered, page, lab_load_rlx(&run->pages));
			page += lab_load_rlx(&run->pages) - 1;
		}
	}
}

/* The purge word, for a scan: from nobody, or from a dead purger, by CAS from the exact value. */
static bool
win_purge_word(struct lab_segment *segment, uint64_t claim)
{
	uint64_t now = lab_load_acq(&segment->purge);

	if (now != 0 && now != claim && !lab_os.thread_is_dead((uint32_t)now))
		return false;
	return lab_cas64(&segment->purge, now, claim);
}

/* Frees pages that are taken but in no block: what a frame that was cut short had in hand. */
static void
free_orphans(struct lab_segment *segment, const uint64_t covered[LAB_SEGMENT_WORDS])
{
	uint64_t claim = lab_thread_tid();

	if (!win_purge_word(segment, claim)) {
		lab_store_rel(&segment->disturbed, 1);
		return;
	}
	for (unsigned word = 0; word < LAB_SEGMENT_WORDS; word++) {
		uint64_t orphans = lab_load_acq(&segment->taken[word]) & ~covered[word];
		if (orphans) {
			atomic_fetch_or_explicit(&segment->dirty[word], orphans, memory_order_relaxed);
			lab_and_rel(&segment->taken[word], ~orphans);
		}
	}
	(void)lab_cas64(&segment->purge, claim, 0);
}

static void
rebuild_segment(struct lab_heap *heap, struct lab_arena *arena, size_t index, uint64_t owner)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	uint64_t covered[LAB_SEGMENT_WORDS] = {0};

	if (!lab_arena_is_committed(arena, index)) {
		(void)lab_arena_release(arena, index, owner); /* claimed, and cut short there */
		return;
	}
	rebuild_blocks(heap, arena, segment, covered);
	free_orphans(segment, covered);
	lab_segment_refresh_owned(segment, 0, LAB_SEGMENT_PAGES);
	segment->bucket = -1;
	lab_segment_bucket_owned(heap, segment);
}

/* A huge segment of ours that no live block covers: a claim or a release was cut short. Returns the segments to skip. */
static size_t
rebuild_huge(struct lab_arena *arena, size_t index, uint64_t owner)
{
	if (lab_arena_is_committed(arena, index)) {
		struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
		if (lab_load_acq(&run->state) != LAB_RUN_DEAD)
			return (lab_load_rlx(&run->pages) + LAB_SEGMENT_PAGES - 1) / LAB_SEGMENT_PAGES;
		lab_segment_mark_dirty(lab_arena_segment(arena, index), 0, LAB_SEGMENT_PAGES);
	}
	(void)lab_arena_release(arena, index, owner);
	return 1;
}

static void
rebuild_segments(struct lab_heap *heap)
{
	struct lab_arena *arena;

	for (size_t i = 0; (arena = lab_map_arena(i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end;) {
			uint64_t owner = lab_load_acq(&arena->owners[index]);
			size_t step = 1;
			if (lab_owner_kind(owner) == LAB_SEGMENT_SMALL && lab_owner_heap(owner) == heap->id)
				rebuild_segment(heap, arena, index, owner);
			else if (lab_owner_kind(owner) == LAB_SEGMENT_HUGE && lab_owner_heap(owner) == heap->id)
				step = rebuild_huge(arena, index, owner);
			index += step;
		}
	}
}

/* Runs whose freer won and died before it could hand them over. The remote stack has been emptied since it died. */
static void
free_abandoned_runs(struct lab_heap *heap)
{
	for (int bucket = 0; bucket <= LAB_ORDER_MAX; bucket++) {
		struct lab_segment *next;
		for (struct lab_segment *s = heap->buckets[bucket]; s; s = next) {
			next = s->next;
			for (size_t page = 0; page < LAB_SEGMENT_PAGES; page++) {
				uint64_t state = lab_load_acq(&s->runs[page].state);
				if ((state & 3) == LAB_RUN_FREEING && lab_os.thread_is_dead((uint32_t)(state >> 2)))
					lab_run_free_owned(heap, s, &s->runs[page]);
			}
		}
	}
}

static void
retire_empty_spans(struct lab_heap *heap)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit *next;
		for (struct lab_unit *unit = heap->bins[c].partial; unit; unit = next) {
			next = unit->next;
			if (unit->hot >> 16 == 0xffff)
				(void)lab_span_emptied_owned(heap, unit);
		}
	}
}

void
lab_heap_rebuild_owned(struct lab_heap *heap)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		lab_bin_set_current(heap, c, &lab_no_span);
		heap->bins[c].partial = NULL;
	}
	memset(heap->buckets, 0, sizeof heap->buckets);
	rebuild_segments(heap);
	lab_remote_resume_owned(heap);
	lab_remote_drain_owned(heap);
	free_abandoned_runs(heap);
	retire_empty_spans(heap);
	lab_batch_flush_owned(heap);
	lab_compiler_barrier();
	heap->torn = 0;
}
