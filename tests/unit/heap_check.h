/*
 * heap_check.h - the oracle for a heap at rest: every list against the words that it is derived from (INV-HEAP-2,
 * INV-HEAP-3,
 * INV-SPAN-1, INV-SPAN-2, INV-PAGE-1). It counts what is there on its own, by walking all segments.
 */
#ifndef LAB_TESTS_UNIT_HEAP_CHECK_H
#define LAB_TESTS_UNIT_HEAP_CHECK_H

#include "heap/bin.h"
#include "heap/heap.h"
#include "heap/span.h"
#include "page/map.h"
#include "require.h"

struct heap_census {
	size_t segments, spans, runs, listed_spans, current_spans;
	size_t used, collected, free, carved; /* blocks; what was collected counts as used */
	size_t pages;                         /* of spans and runs */
	size_t touched;                       /* of those, that may be resident */
};

/* Frees a block of one of the heap's own spans. */
static inline enum lab_free_result
free_in_span(struct lab_heap *heap, struct lab_unit *unit, void *p)
{
	struct lab_heap *holder;
	enum lab_free_result result = lab_span_free_owned(heap, unit, p, &holder);

	REQUIRE(holder == heap);
	return result;
}

/* INV-SPAN-4: whether a block lies in a purged page. */
static inline bool
heap_check_is_purged(const struct lab_unit *unit, size_t i)
{
	for (size_t byte = i * unit->size; byte < (i + 1) * unit->size; byte += 16)
		if (lab_unit_purged(unit) >> (byte / LAB_PAGE_SIZE) & 1)
			return true;
	return false;
}

static inline size_t
heap_check_purged(const struct lab_unit *unit)
{
	size_t count = 0;

	for (size_t i = 0; lab_unit_purged(unit) && i < unit->carved; i++)
		count += heap_check_is_purged(unit, i);
	return count;
}

/* INV-PAGE-3: how many of the span's pages are dirty. Those that hold carved blocks are, unless they were purged. */
static inline size_t
heap_check_dirty(const struct lab_unit *unit)
{
	uint64_t owner;
	const struct lab_segment *segment = lab_space_find(unit->base, &owner);
	size_t first = lab_segment_page_of(segment, unit->base), count = 0;

	for (size_t page = 0; page < LAB_UNIT_PAGES; page++) {
		bool dirty = !lab_segment_is_fresh(segment, first + page, 1);
		count += dirty;
		if (page * LAB_PAGE_SIZE < unit->carved * unit->size && !(lab_unit_purged(unit) >> page & 1))
			REQUIRE(dirty);
	}
	return count;
}

static inline size_t
heap_check_free_list(const struct lab_unit *unit)
{
	size_t length = 0;

	REQUIRE(unit->size == lab_class_size(unit->size_class));
	for (uint32_t at = lab_freelist_head(unit->freelist_state); at != LAB_FREELIST_NIL;
	     at = lab_block_link(lab_unit_block(unit, at))) {
		REQUIRE(at < unit->carved && !heap_check_is_purged(unit, at));
		REQUIRE(++length <= unit->carved);
	}
	return length;
}

static inline const struct lab_unit *
heap_check_previous(const struct lab_unit *unit)
{
	return (const struct lab_unit *)(uintptr_t)(unit->purged_and_previous & lab_mask(LAB_UNIT_PURGED_SHIFT));
}

static inline bool
heap_check_is_listed(const struct lab_bin *bin, const struct lab_unit *unit)
{
	const struct lab_unit *previous = NULL;
	bool found = false;

	for (const struct lab_unit *u = bin->partial; u; previous = u, u = u->next) {
		if (previous)
			REQUIRE(heap_check_previous(u) == previous);
		if (!u->next)
			REQUIRE(heap_check_previous(bin->partial) == u); /* of the first one: the last one */
		found |= u == unit;
	}
	return found;
}

/* The cold ones are the rest of the list, and those with purged pages are among them. */
static inline void
heap_check_cold(const struct lab_bin *bin)
{
	bool is_cold = false, found = bin->cold == NULL;

	for (const struct lab_unit *u = bin->partial; u; u = u->next) {
		is_cold |= u == bin->cold;
		found |= is_cold;
		REQUIRE(is_cold || lab_unit_purged(u) == 0);
	}
	REQUIRE(found);
}

static inline void
heap_check_span(const struct lab_heap *heap, const struct lab_unit *unit, struct heap_census *census)
{
	const struct lab_bin *bin = &heap->bins[unit->size_class];
	bool current = bin->current == unit, listed = heap_check_is_listed(bin, unit);
	size_t length = heap_check_free_list(unit);
	size_t used = ((unit->freelist_state >> 16) + !current) & 0xffff, purged = heap_check_purged(unit);
	bool collected = lab_unit_count_collected(unit) != 0; /* INV-SPAN-3 */
	bool exhausted = length + purged == 0 && unit->carved == lab_unit_capacity(unit);

	REQUIRE(lab_unit_heap(unit) == heap);
	REQUIRE_EQUAL(used + length + purged, unit->carved); /* INV-SPAN-1 */
	REQUIRE(unit->carved <= lab_unit_capacity(unit));
	REQUIRE(unit->current == current);
	REQUIRE(unit->listed == listed);
	REQUIRE(!(current && listed));
	REQUIRE(current || listed || exhausted); /* INV-HEAP-3 */
	REQUIRE(!listed || !exhausted || collected);
	REQUIRE(!collected || current || listed);
	REQUIRE(lab_unit_count_collected(unit) <= used);
	if (!current)
		REQUIRE(used > 0); /* else it would have been retired */
	REQUIRE(((unit->owner_key & LAB_UNIT_CLOSED) != 0) == (!current && (!listed || collected)));
	census->spans++;
	census->listed_spans += listed;
	census->current_spans += current;
	census->used += used;
	census->collected += lab_unit_count_collected(unit);
	census->free += length + purged;
	census->carved += unit->carved;
	census->pages += LAB_UNIT_PAGES;
	census->touched += heap_check_dirty(unit);
}

static inline void
heap_check_is_indexed(struct lab_segment *const *bins, const struct lab_segment *segment, enum lab_segment_index index)
{
	const struct lab_segment *previous = NULL;
	bool found = false;

	for (const struct lab_segment *s = bins[segment->links[index].bin]; s; s = s->links[index].next) {
		REQUIRE(s->links[index].previous == previous);
		found |= s == segment;
		previous = s;
	}
	REQUIRE(found);
}

static inline void
heap_check_segment(const struct lab_heap *heap, const struct lab_segment *segment, struct heap_census *census)
{
	census->segments++;
	REQUIRE(segment->links[LAB_BY_ORDER].bin == segment->greatest + 1);
	REQUIRE(segment->links[LAB_BY_RUN].bin == (int)lab_run_bin(segment->longest));
	heap_check_is_indexed(heap->by_order, segment, LAB_BY_ORDER);
	heap_check_is_indexed(heap->by_run, segment, LAB_BY_RUN);
	for (size_t page = 0; page < lab_segment_pages(segment);) {
		const struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		const struct lab_run *run = &segment->runs[page];
		bool taken = lab_load_rlx(&segment->taken[page / 64]) >> (page % 64) & 1;
		size_t length = 1;
		if (taken && page % LAB_UNIT_PAGES == 0 && unit->kind == LAB_UNIT_IS_SPAN) {
			heap_check_span(heap, unit, census);
			length = LAB_UNIT_PAGES;
		} else if (taken) {
			REQUIRE(lab_run_kind_of(lab_load_rlx(&run->state)) != LAB_RUN_DEAD); /* or an orphan */
			length = lab_load_rlx(&run->pages);
			census->runs++;
			census->pages += length;
			census->touched += length;
		}
		for (size_t i = page; i < page + length; i++) /* all of the block is taken */
			REQUIRE((lab_load_rlx(&segment->taken[i / 64]) >> (i % 64) & 1) == taken);
		page += length;
	}
}

/* Checks everything that the heap has; returns what it counted. may_drain: while a list is being taken in. */
static inline struct heap_census
heap_check_within(const struct lab_heap *heap, bool may_drain)
{
	struct heap_census census = {0};
	const struct lab_segment *segment;
	uint64_t owner;
	size_t listed = 0, current = 0, slots = 0;

	REQUIRE((may_drain || heap->drain == 0) && heap->changing == NULL && heap->thinning.unit == NULL &&
	        heap->found.kind == LAB_FOUND_NOTHING);
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		if (lab_owner_state(owner) == LAB_SLOT_OWNED && lab_owner_heap(owner) == heap->id) {
			heap_check_segment(heap, segment, &census);
			slots += lab_segment_pages(segment) / LAB_SLOT_PAGES;
		}
	REQUIRE_EQUAL(slots, heap->slots);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		heap_check_cold(&heap->bins[c]);
		for (const struct lab_unit *u = heap->bins[c].partial; u; u = u->next)
			listed++;
		current += heap->bins[c].current != &lab_no_span;
	}
	REQUIRE_EQUAL(listed, census.listed_spans);
	REQUIRE_EQUAL(current, census.current_spans);
	for (size_t slot = 0; slot < LAB_DIRECT_SLOTS; slot++)
		REQUIRE(heap->direct[slot] == heap->bins[lab_class_of(slot * 16)].current);
	return census;
}

static inline struct heap_census
heap_check(const struct lab_heap *heap)
{
	return heap_check_within(heap, false);
}

#endif
