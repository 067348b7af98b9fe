/* figures.c - see figures.h. */
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "heap/remote.h"
#include "page/charge.h"
#include "tool.h"

enum { NEW_PAGES = 1 << 20 }; /* that a process may have mapped while it was looked at */

#define FIGURE(key, bytes, counter, help)                                                                              \
	{                                                                                                              \
#key, offsetof(struct figures, key), bytes, counter, help                                              \
	}

const struct figure figures_table[] = {
        FIGURE(allocated, true, false, "in live blocks, rounded up to their size classes"),
        FIGURE(active, true, false, "in pages that are in use"),
        FIGURE(resident, true, false, "of the mappings, in memory, metadata included"),
        FIGURE(mapped, true, false, "mapped for blocks"),
        FIGURE(retained, true, false, "mapped, in free pages that take no memory"),
        FIGURE(metadata, true, false, "that describe the rest, and are in memory"),
        FIGURE(dirty, true, false, "in free pages that are not given back yet"),
        FIGURE(free_in_spans, true, false, "in free blocks of spans that are partly used"),
        FIGURE(pinned, true, false, "touched and free, kept by a few live blocks"),
        FIGURE(remote_waiting, true, false, "freed by other threads, and not taken in yet"),
        FIGURE(purged, true, true, "given back to the system so far"),
        FIGURE(blocks, false, false, "live blocks"),
        FIGURE(large, true, false, "in live blocks of whole pages"),
        FIGURE(large_blocks, false, false, "live blocks of whole pages"),
        FIGURE(huge, true, false, "in live blocks that are mappings of their own"),
        FIGURE(huge_blocks, false, false, "live blocks that are mappings of their own"),
        FIGURE(huge_cached, true, false, "in freed mappings, kept for a block to come"),
        FIGURE(segments, false, false, "segments of heaps"),
        FIGURE(empty_segments, false, false, "segments that are mapped, and nobody's"),
        FIGURE(heaps, false, false, "heaps made so far"),
        FIGURE(heaps_in_use, false, false, "heaps that a thread has"),
        FIGURE(remote_frees, false, true, "blocks freed by a thread other than their heap's"),
        FIGURE(reentrant_calls, false, true, "calls in handlers that interrupted another"),
        FIGURE(adopted_heaps, false, true, "heaps taken over from dead threads"),
        FIGURE(slow_calls, false, true, "allocations that took the slow path"),
        FIGURE(reserve, true, false, "in slots of the emergency reserve"),
        FIGURE(reserve_used, true, false, "in slots of the reserve that are in use"),
        FIGURE(reserve_grown, true, false, "in slots of the reserve added since the start"),
        FIGURE(reserve_limit, true, false, "to which the reserve may grow"),
        FIGURE(reserve_shares, true, false, "in slots that are single threads'"),
        FIGURE(reserve_failures, false, true, "atomic calls that got no memory"),
        FIGURE(limit, true, false, "that blocks and dirty pages may take"),
        FIGURE(charged, true, false, "that count for the limit"),
        FIGURE(waits, false, true, "calls that waited for memory under the limit"),
};
const size_t figures_count = sizeof figures_table / sizeof *figures_table;

uint32_t
span_live(const struct lab_unit *unit)
{
	uint32_t live = lab_unit_used(unit) - lab_unit_count_collected(unit);

	return live <= unit->carved ? live : (uint32_t)unit->carved; /* read in the middle of a change */
}

uint64_t
span_pinned(const struct lab_unit *unit)
{
	uint64_t live = span_live(unit), bytes = live * unit->size, touched = lab_unit_touched(unit);

	return live && touched > bytes ? touched - bytes : 0;
}

static void
count_span(struct census *census, const struct lab_unit *unit)
{
	struct class_figures *class = &census->classes[unit->size_class];
	uint32_t live = span_live(unit);

	class->live += live;
	class->carved += unit->carved;
	class->spans++;
	class->pinned += span_pinned(unit);
}

static void
count_segment(struct census *census, const struct segment *segment)
{
	struct figures *all = &census->all;
	uint64_t taken = 0, dirty = 0, counts = 0;

	for (size_t word = 0; word * 64 < segment->pages; word++) {
		uint64_t pages = lab_mask(segment->pages - word * 64 < 64 ? segment->pages - (unsigned)word * 64 : 64);
		taken += (uint64_t)__builtin_popcountll(segment->taken[word] & pages);
		dirty += (uint64_t)__builtin_popcountll(segment->dirty[word] & ~segment->taken[word] & pages);
		counts += (uint64_t)__builtin_popcountll((segment->dirty[word] | segment->taken[word]) & pages);
	}
	all->mapped += segment->pages * LAB_PAGE_SIZE;
	all->active += taken * LAB_PAGE_SIZE;
	all->dirty += dirty * LAB_PAGE_SIZE;
	all->charged += counts * LAB_PAGE_SIZE;
	all->retained += (segment->pages - counts) * LAB_PAGE_SIZE;
	*(segment->is_empty ? &all->empty_segments : &all->segments) += 1;
	for (size_t page = 0; page < segment->pages; page++) {
		const struct lab_unit *unit = segment_span(segment, page);
		if (unit) {
			count_span(census, unit);
			page |= LAB_UNIT_PAGES - 1;
		} else if (segment->runs[page]) {
			all->large_blocks++;
			all->large += segment->runs[page] * LAB_PAGE_SIZE;
			page += segment->runs[page] - 1;
		}
	}
}

static void
count_huge(struct figures *all, const struct lab_huge *huge)
{
	uint64_t mapped = lab_load_rlx(&huge->mapped) * LAB_PAGE_SIZE;
	uint64_t bytes = lab_load_rlx(&huge->run.pages) * LAB_PAGE_SIZE;
	uint64_t dirty = lab_load_rlx(&huge->dirty) * LAB_PAGE_SIZE;

	all->mapped += mapped;
	if (lab_huge_kind(huge) == LAB_HUGE_CACHED) {
		all->huge_cached += mapped;
		all->dirty += dirty;
		all->charged += dirty;
		all->retained += mapped > dirty ? mapped - dirty : 0;
		return;
	}
	all->active += bytes;
	all->charged += bytes;
	all->retained += mapped - bytes;
	if (lab_huge_kind(huge) == LAB_HUGE_LIVE) {
		all->huge_blocks++;
		all->huge += bytes;
	}
}

static void
count_taken(struct heap_figures *figures, const struct segment *segment)
{
	figures->segments++;
	figures->mapped += segment->pages * LAB_PAGE_SIZE;
	for (size_t page = 0; page < segment->pages; page++)
		figures->active += segment_page_is(segment->taken, page) ? LAB_PAGE_SIZE : 0;
}

struct heap_figures *
heap_figures_take(const struct snapshot *snapshot)
{
	struct heap_figures *figures = reallocate(NULL, (snapshot->heap_count + 1) * sizeof *figures);
	uint32_t *place = reallocate(NULL, LAB_HEAP_MAX * sizeof *place); /* of a heap's id, from 1; 0: none */

	memset(place, 0, LAB_HEAP_MAX * sizeof *place);
	for (size_t i = 0; i < snapshot->heap_count; i++) {
		const struct heap *heap = &snapshot->heaps[i];
		figures[i] = (struct heap_figures){
		        .id = heap->id,
		        .tid = heap->tid,
		        .state = heap->state,
		        .remote_waiting =
		                (lab_load_rlx(&heap->heap.remote) >> LAB_REMOTE_BYTES_SHIFT) * LAB_REMOTE_UNIT,
		        .remote_frees = lab_load_rlx(&heap->heap.remote_frees),
		        .reentrant_calls = heap->heap.reentrant,
		        .slow_calls = heap->heap.slow_calls,
		};
		if (heap->id < LAB_HEAP_MAX)
			place[heap->id] = (uint32_t)i + 1;
	}
	for (size_t s = 0; s < snapshot->segment_count; s++) {
		const struct segment *segment = &snapshot->segments[s];
		if (!segment->is_empty && segment->heap < LAB_HEAP_MAX && place[segment->heap] != 0)
			count_taken(&figures[place[segment->heap] - 1], segment);
	}
	free(place);
	return figures;
}

static int
by_active_bytes(const void *left, const void *right)
{
	const struct heap_figures *a = left, *b = right;

	if (a->active != b->active)
		return a->active < b->active ? 1 : -1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void
count_heaps(struct census *census, const struct snapshot *snapshot)
{
	struct figures *all = &census->all;
	struct heap_figures *heaps = heap_figures_take(snapshot);
	size_t shown = snapshot->heap_count < HEAPS_SHOWN ? snapshot->heap_count : HEAPS_SHOWN;

	for (size_t i = 0; i < snapshot->heap_count; i++) {
		const struct lab_heap *heap = &snapshot->heaps[i].heap;
		all->heaps++;
		all->heaps_in_use += lab_heap_state_is_owned(heaps[i].state);
		all->remote_frees += heaps[i].remote_frees;
		all->reentrant_calls += heaps[i].reentrant_calls;
		all->adopted_heaps += heap->adopted;
		all->slow_calls += heaps[i].slow_calls;
		all->remote_waiting += heaps[i].remote_waiting;
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
			census->classes[c].allocations += heap->allocations[c];
	}
	qsort(heaps, snapshot->heap_count, sizeof *heaps, by_active_bytes);
	memcpy(census->heaps, heaps, shown * sizeof *heaps);
	census->heaps_shown = shown;
	free(heaps);
}

static void
count_reserve(struct figures *all, const struct snapshot *snapshot)
{
	const struct lab_reserve *reserve = &snapshot->reserve;

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		const struct lab_pool *pool = &reserve->pools[c];
		all->reserve += (uint64_t)pool->zones[LAB_ZONES] << (c + LAB_RESERVE_MIN_SHIFT);
		all->reserve_used += (uint64_t)snapshot->reserve_used[c] << (c + LAB_RESERVE_MIN_SHIFT);
	}
	for (size_t i = 0; i < snapshot->share_count; i++) {
		const struct snapshot_share *share = &snapshot->shares[i];
		if (!share->open)
			continue;
		*(share->everybodys ? &all->reserve_grown : &all->reserve_shares) += share->bytes;
		all->reserve_used += share->everybodys ? share->used : 0;
	}
	all->reserve += all->reserve_grown;
	all->reserve_limit = reserve->limit;
	all->reserve_failures = lab_load_rlx(&reserve->failures);
}

/* Pages in memory of blocks and of what describes them. Where the kernel does not say, what should be. */
static void
count_resident(struct figures *all, const struct snapshot *snapshot)
{
	const struct target *target = snapshot->target;
	size_t data = 0, described = 0, reserve = 0;
	size_t most = target_pages(target) + NEW_PAGES; /* whatever it says of itself */
	bool known = target->pagemap >= 0;

	for (size_t i = 0; known && i < snapshot->segment_count; i++) {
		const struct segment *segment = &snapshot->segments[i];
		known = target_resident(target, segment->base, segment->base + segment->pages * LAB_PAGE_SIZE, &data,
		                        &most);
	}
	for (size_t i = 0; known && i < snapshot->huge_count; i++) {
		uintptr_t base = (uintptr_t)lab_load_rlx(&snapshot->huge[i].base);
		known = target_resident(target, base, base + lab_load_rlx(&snapshot->huge[i].mapped) * LAB_PAGE_SIZE,
		                        &data, &most);
	}
	known = known && target_resident(target, snapshot->space_start, snapshot->space_end, &described, &most);
	for (size_t i = 0; known && i < snapshot->heap_count; i++) {
		uintptr_t heap = snapshot->heaps_base + (size_t)snapshot->heaps[i].id * LAB_HEAP_STRIDE;
		known = target_resident(target, heap, heap + sizeof(struct lab_heap), &described, &most);
	}
	if (known && snapshot->reserve.start)
		known = target_resident(target, (uintptr_t)snapshot->reserve.start,
		                        (uintptr_t)snapshot->reserve.start + snapshot->reserve.memory, &reserve, &most);
	all->metadata = described * LAB_PAGE_SIZE;
	all->resident = known ? (data + described + reserve) * LAB_PAGE_SIZE
	                      : all->active + all->dirty + all->metadata + all->reserve;
}

void
census_take(struct census *census, const struct snapshot *snapshot)
{
	struct figures *all = &census->all;

	memset(census, 0, sizeof *census);
	for (size_t i = 0; i < snapshot->segment_count; i++)
		count_segment(census, &snapshot->segments[i]);
	for (size_t i = 0; i < snapshot->huge_count; i++)
		count_huge(all, &snapshot->huge[i]);
	count_heaps(census, snapshot);
	count_reserve(all, snapshot);
	count_resident(all, snapshot);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct class_figures *class = &census->classes[c];
		class->size = lab_class_size(c);
		all->blocks += class->live;
		all->allocated += class->live * class->size;
		all->free_in_spans += (class->carved - class->live) * class->size;
		all->pinned += class->pinned;
	}
	all->blocks += all->large_blocks + all->huge_blocks;
	all->allocated += all->large + all->huge;
	all->purged = (uint64_t)lab_load_rlx(&snapshot->counts.given_back) * LAB_PAGE_SIZE;
	all->waits = snapshot->waits;
	all->limit = snapshot->limit == LAB_CHARGE_UNLIMITED ? UINT64_MAX : snapshot->limit * LAB_PAGE_SIZE;
}
