/*
 * census.c - figures, taken by walking what everybody may read: owner words, bitmaps, descriptors, counters. Nothing is
 * decided by them. Any context; O(segments), and for each its descriptors.
 */
#include <string.h>

#include "alloc/census.h"
#include "alloc/limit.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/purge.h"
#include "reserve/reserve.h"

static void
count_span(struct lab_census *census, const struct lab_unit *unit)
{
	unsigned c = unit->size_class;
	const struct lab_heap *heap = lab_unit_heap(unit);
	bool is_current = lab_peek(&heap->bins[c].current) == unit;
	uint32_t used = ((lab_peek(&unit->freelist_state) >> 16) + !is_current) & 0xffff; /* INV-SPAN-2 */
	size_t carved = lab_peek(&unit->carved);

	if (used > carved)
		used = (uint32_t)carved; /* read in the middle of a change */
	census->classes[c].live += used;
	census->classes[c].carved += carved;
	census->classes[c].spans++;
	census->touched += lab_unit_touched(unit);
}

static void
count_segment(struct lab_census *census, const struct lab_segment *segment)
{
	for (size_t page = 0; page < lab_segment_pages(segment); page++) {
		const struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		const struct lab_run *run = &segment->runs[page];
		if (!(lab_load_rlx(&segment->taken[page / 64]) >> (page % 64) & 1))
			continue;
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN) {
			if (page % LAB_UNIT_PAGES == 0)
				count_span(census, unit);
			page |= LAB_UNIT_PAGES - 1;
		} else if (lab_run_kind_of(lab_load_acq(&run->state)) ==
		           LAB_RUN_LIVE) { /* pairs with the rel of heap/take.c */
			census->runs++;
			census->run_bytes += lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT;
		}
	}
}

static void
count_huge(struct lab_census *census)
{
	struct lab_huge *huge;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		enum lab_huge_kind kind = lab_huge_kind(huge);
		size_t mapped = lab_load_rlx(&huge->mapped) << LAB_PAGE_SHIFT;
		if (kind == LAB_HUGE_FREE || kind == LAB_HUGE_BUSY)
			continue;
		census->stats.reserved += mapped;
		census->stats.committed += mapped;
		if (kind == LAB_HUGE_LIVE) {
			census->stats.huge_blocks++;
			census->stats.huge += lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT;
		}
	}
}

/* Bytes that describe a segment. */
static size_t
metadata_of(const struct lab_segment *segment)
{
	size_t slots = lab_segment_pages(segment) / LAB_SLOT_PAGES, units = lab_segment_pages(segment) / LAB_UNIT_PAGES;

	return sizeof *segment + segment->capacity * sizeof segment->runs[0] + slots * sizeof(struct lab_slot) +
	       units * sizeof(struct lab_unit);
}

static void
note_segment(struct lab_census *census, const struct lab_segment *segment, uint64_t owner)
{
	struct lab_segment_census *sum = &census->segments[lab_owner_slots_log(owner)];

	census->stats.metadata += metadata_of(segment);
	sum->bytes += lab_segment_pages(segment) * LAB_PAGE_SIZE;
	if (lab_owner_state(owner) != LAB_SLOT_OWNED) {
		sum->empty++;
		return;
	}
	sum->owned++;
	sum->taken += lab_segment_count_taken(segment) * LAB_PAGE_SIZE;
	census->stats.active += lab_segment_count_taken(segment) * LAB_PAGE_SIZE;
}

static void
count_segments(struct lab_census *census)
{
	struct lab_segment *segment;
	uint64_t owner;

	census->stats.reserved = lab_space_table_size();
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;) {
		census->stats.committed += lab_segment_pages(segment) * LAB_PAGE_SIZE;
		note_segment(census, segment, owner);
		if (lab_owner_state(owner) != LAB_SLOT_OWNED)
			continue;
		census->stats.segments++;
		count_segment(census, segment);
	}
	census->stats.reserved += census->stats.committed;
}

static void
count_heaps(struct lab_census *census)
{
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		enum lab_heap_state state = lab_registry_state(id);
		if (state == LAB_HEAP_UNUSED)
			continue;
		census->heaps_in[state]++;
		const struct lab_heap *heap = lab_registry_heap(id);
		census->stats.heaps++;
		census->stats.remote_frees += lab_load_rlx(&heap->remote_frees);
		census->stats.reentrant += lab_peek(&heap->reentrant);
		census->stats.adopted += lab_peek(&heap->adopted);
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
			census->classes[c].allocations += lab_peek(&heap->allocations[c]);
	}
}

/* What no single walk knows. */
static void
add_up(struct lab_census *census)
{
	struct lab_stats *stats = &census->stats;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_class_stats *class = &census->classes[c];
		class->size = lab_class_size(c);
		stats->blocks += class->live;
		stats->in_use += class->live * class->size;
		stats->free_in_spans += (class->carved - class->live) * class->size;
	}
	stats->runs = census->runs;
	stats->blocks += census->runs + stats->huge_blocks;
	stats->in_use += census->run_bytes + stats->huge;
	stats->active += stats->huge;
	stats->metadata += stats->heaps * offsetof(struct lab_heap, allocations);
	size_t holds_data = stats->active + stats->dirty; /* counted at other moments than `committed` */
	stats->retained = stats->committed > holds_data ? stats->committed - holds_data : 0;
	stats->resident = census->touched + census->run_bytes + stats->huge + stats->dirty + stats->metadata +
	                  stats->reserve_total;
}

void
lab_census_take(struct lab_census *census)
{
	struct lab_stats *stats = &census->stats;

	memset(census, 0, sizeof *census);
	count_segments(census);
	count_huge(census);
	count_heaps(census);
	stats->dirty = lab_purge_dirty_pages() << LAB_PAGE_SHIFT;
	stats->purged = lab_purge_total_pages() << LAB_PAGE_SHIFT;
	stats->limit = lab_charge_is_limited() ? lab_load_rlx(&lab_charge_limit) << LAB_PAGE_SHIFT : SIZE_MAX;
	stats->charged = lab_charge_is_limited() ? lab_charge_count() << LAB_PAGE_SHIFT : 0;
	stats->waits = lab_load_rlx(&lab_limit_wait_count);
	struct lab_reserve_bytes reserve = lab_reserve_bytes();
	stats->reserve_total = reserve.total;
	stats->reserve_used = reserve.used;
	add_up(census);
}

/* The place of a heap in an array of those that were used. */
static size_t
place_of(uint32_t heap)
{
	size_t place = 0;

	for (uint32_t id = 0; id < heap; id++)
		place += lab_registry_state(id) != LAB_HEAP_UNUSED;
	return place;
}

static size_t
begin_heaps(char *heaps, size_t count, size_t size)
{
	size_t used = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		enum lab_heap_state state = lab_registry_state(id);
		if (state == LAB_HEAP_UNUSED)
			continue;
		const struct lab_heap *heap = lab_registry_heap(id);
		if (used < count) {
			memset(heaps + used * size, 0, size);
			*(struct lab_heap_stats *)(void *)(heaps + used * size) = (struct lab_heap_stats){
			        .id = id,
			        .owner = lab_heap_state_is_owned(state) ? (int)lab_registry_tid(id) : 0,
			        .state = lab_heap_state_name(state),
			        .remote_frees = lab_load_rlx(&heap->remote_frees),
			        .reentrant = lab_peek(&heap->reentrant),
			        .adopted = lab_peek(&heap->adopted),
			};
		}
		used++;
	}
	return used;
}

size_t
lab_census_heaps(void *heaps, size_t count, size_t size)
{
	struct lab_segment *segment;
	uint64_t owner;
	size_t used = begin_heaps(heaps, count, size);

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;) {
		if (lab_owner_state(owner) != LAB_SLOT_OWNED)
			continue;
		size_t place = place_of(lab_owner_heap(owner));
		if (place >= count || place >= used)
			continue;
		struct lab_heap_stats *heap = (void *)((char *)heaps + place * size);
		if (heap->id != lab_owner_heap(owner))
			continue;
		heap->segments++;
		heap->mapped += lab_segment_pages(segment) * LAB_PAGE_SIZE;
		heap->active += lab_segment_count_taken(segment) * LAB_PAGE_SIZE;
	}
	return used;
}

const char *
lab_heap_state_name(enum lab_heap_state state)
{
	static const char *const names[] = {"unused", "idle", "current", "borrowed", "held", "absorbing", "frozen"};

	return names[state];
}
