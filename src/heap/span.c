/*
 * span.c - spans of small blocks: the lists of a bin, freeing, retirement. All _owned: the holder of the heap, inside
 * its guard. A tear anywhere loses at most the block in hand; the lists are rebuilt.
 */
#include "heap/span.h"
#include "base/check.h"
#include "heap/bin.h"
#include "heap/collected.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"

struct lab_unit lab_no_span = {.freelist_state = LAB_FREELIST_NIL};

static void
list(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_bin_push(&heap->bins[unit->size_class], unit);
	lab_poke(&heap->thinning.due, true);
}

/* With the tag that is wanted now. */
static void
open_unit(struct lab_unit *unit)
{
	lab_poke(&unit->owner_key, lab_owner_key_make(lab_unit_heap(unit), unit->base));
}

static void
close_unit(struct lab_unit *unit)
{
	lab_poke(&unit->owner_key, unit->owner_key | LAB_UNIT_CLOSED);
}

void
lab_span_list_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_collected_free_owned(heap, unit);
	unit->listed = false;
	if (lab_span_is_exhausted(unit)) {
		close_unit(unit);
	} else {
		open_unit(unit);
		list(heap, unit);
	}
}

void
lab_span_link_blocks(struct lab_unit *unit, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		lab_poke((uint16_t *)lab_unit_block(unit, (uint32_t)i),
		         (uint16_t)(i + 1 < end ? i + 1 : LAB_FREELIST_NIL));
}

void
lab_span_cut_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	uint32_t freelist_state = unit->freelist_state | LAB_FREELIST_NIL; /* `used` is right as it is */

	lab_poke(&unit->freelist_state, freelist_state);
	if (unit->current && freelist_state >> 16 == 0 && unit->carved > 0) { /* INV-SPAN-2: none is used */
		uint64_t owner;
		struct lab_segment *segment = lab_space_find(unit->base, &owner);
		lab_segment_mark_dirty(segment, lab_segment_page_of(segment, unit->base), LAB_UNIT_PAGES);
		lab_compiler_barrier();
		lab_unit_set_purged(unit, 0);
		lab_span_link_blocks(unit, 0, unit->carved);
		lab_compiler_barrier();
		lab_poke(&unit->freelist_state, lab_freelist_make(0, 0));
	}
	if (unit->listed && lab_span_is_exhausted(unit)) { /* INV-HEAP-3 */
		lab_bin_remove(&heap->bins[unit->size_class], unit);
		close_unit(unit);
	}
}

/* Length of a span's free list. A link that leads nowhere (written by a use after free) ends it. */
static uint32_t
count_free(const struct lab_unit *unit)
{
	size_t length = 0;
	uint16_t at = lab_freelist_head(unit->freelist_state);

	while (at < unit->carved && length < unit->carved) {
		length++;
		at = lab_block_link(lab_unit_block(unit, at));
	}
	return (uint32_t)length;
}

/* Blocks that are free by INV-SPAN-4. */
static uint32_t
count_purged(const struct lab_unit *unit)
{
	uint32_t count = 0;

	for (uint32_t i = 0; lab_unit_purged(unit) && i < unit->carved; i++)
		count += lab_unit_is_purged(unit, i);
	return count;
}

/* One step of INV-SPAN-2's change, on record in heap->changing while `current` and used' disagree. */
static void
set_current_mark(struct lab_heap *heap, struct lab_unit *unit, bool current, uint32_t freelist_state)
{
	heap->changing = unit;
	lab_compiler_barrier();
	unit->current = current;
	unit->aged = false;
	unit->examined = 0;
	lab_poke(&unit->freelist_state, freelist_state);
	lab_compiler_barrier();
	heap->changing = NULL;
}

void
lab_span_repair_owned(struct lab_heap *heap)
{
	struct lab_unit *unit = heap->changing;

	if (unit) {
		uint32_t used = (uint32_t)unit->carved - count_free(unit) - count_purged(unit);
		set_current_mark(heap, unit, false,
		                 lab_freelist_make(lab_freelist_head(unit->freelist_state), (used - 1) & 0xffff));
	}
}

void
lab_span_demote_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	if (unit->current)
		set_current_mark(heap, unit, false, unit->freelist_state - LAB_FREELIST_USED_ONE);
	lab_span_list_owned(heap, unit);
}

void
lab_span_promote_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	set_current_mark(heap, unit, true, unit->freelist_state + LAB_FREELIST_USED_ONE);
	lab_bin_set_current(heap, unit->size_class, unit);
}

void
lab_span_unlist_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_bin_remove(&heap->bins[unit->size_class], unit);
	lab_collected_free_owned(heap, unit);
	open_unit(unit);
}

bool
lab_span_charge_owned(struct lab_heap *heap, const struct lab_unit *unit, size_t first, size_t end)
{
	uint64_t owner;
	struct lab_segment *segment = lab_space_find(unit->base, &owner);
	size_t page = lab_segment_page_of(segment, unit->base + first);

	if (lab_likely(lab_charge_pages(segment, page, lab_segment_page_of(segment, unit->base + end - 1) + 1 - page)))
		return true;
	heap->over_limit = true;
	return false;
}

size_t
lab_span_purge(const struct lab_unit *unit, uint32_t pages)
{
	uint64_t owner;
	struct lab_segment *segment = lab_space_find(unit->base, &owner);
	size_t given = 0;

	while (pages) {
		unsigned first = lab_ctz(pages), count = lab_ctz(~(uint64_t)(pages >> first));
		if (lab_os.purge(unit->base + first * LAB_PAGE_SIZE, count * LAB_PAGE_SIZE)) {
			lab_segment_mark_fresh(segment, lab_segment_page_of(segment, unit->base) + first, count);
			given += count;
		}
		pages &= ~(uint32_t)(lab_mask(count) << first);
	}
	return given;
}

size_t
lab_span_purge_tail_owned(const struct lab_unit *unit)
{
	uint64_t owner;
	const struct lab_segment *segment = lab_space_find(unit->base, &owner);
	size_t first = lab_segment_page_of(segment, unit->base);
	size_t end = lab_round_up(unit->carved * unit->size, LAB_PAGE_SIZE) / LAB_PAGE_SIZE;
	uint32_t dirty =
	        (uint32_t)(lab_load_rlx(&segment->dirty[first / 64]) >> (first % 64) & lab_mask(LAB_UNIT_PAGES));

	return lab_span_purge(unit, dirty & ~(uint32_t)lab_mask((unsigned)end));
}

void *
lab_span_pop_owned(struct lab_unit *unit)
{
	char *block = lab_unit_block(unit, lab_freelist_head(unit->freelist_state));

	lab_assert(lab_unit_has_free(unit, lab_freelist_head(unit->freelist_state)));
	lab_poke(&unit->freelist_state,
	         lab_insert16(unit->freelist_state + LAB_FREELIST_USED_ONE, lab_block_link(block)));
	return block;
}

static void
retire(struct lab_heap *heap, struct lab_unit *unit)
{
	uint64_t owner;
	struct lab_segment *segment = lab_space_find(unit->base, &owner);

	if (unit->listed)
		lab_bin_remove(&heap->bins[unit->size_class], unit);
	close_unit(unit);
	unit->collected = 0;
	lab_poke(&unit->carved, 0);
	lab_unit_set_kind(unit, LAB_UNIT_IS_RETIRED);
	lab_compiler_barrier();
	lab_pages_give_owned(heap, segment, lab_segment_page_of(segment, unit->base), LAB_UNIT_PAGES, 0);
}

enum lab_free_result
lab_span_emptied_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	if (heap->bins[unit->size_class].current == unit)
		return LAB_FREE_DOUBLE; /* it was empty already */
	retire(heap, unit);
	return LAB_FREED;
}

static struct lab_heap *
holder_of_segment(const char *base)
{
	uint64_t owner = 0;

	(void)lab_space_find(base, &owner);
	return lab_registry_heap(lab_owner_heap(owner));
}

static struct lab_heap *
holder_of_span(const struct lab_heap *heap, const struct lab_unit *unit, bool *is_closed)
{
	uint64_t key = lab_peek(&unit->owner_key); /* once: while it is read another heap may be taking the span */
	struct lab_heap *holder = lab_owner_key_heap(key, unit->base);

	*is_closed = key & LAB_UNIT_CLOSED;
	return holder == heap && *is_closed ? holder_of_segment(unit->base) : holder;
}

static uint16_t
number_of(const struct lab_unit *unit, const char *p)
{
	return (uint16_t)lab_unit_block_number((uint64_t)(p - unit->base), unit->inverse, unit->shift);
}

enum lab_free_result
lab_span_free_owned(struct lab_heap *heap, struct lab_unit *unit, void *p, struct lab_heap **holder)
{
	bool was_closed;
	uint16_t number = number_of(unit, p);

	*holder = holder_of_span(heap, unit, &was_closed);
	if (lab_unlikely(*holder != heap))
		return LAB_FREE_FOREIGN;
	if (lab_unlikely(lab_unit_count_collected(unit) != 0)) {
		if (lab_unit_count_collected(unit) == lab_unit_used(unit))
			return LAB_FREE_DOUBLE;
		lab_collected_free_owned(heap, unit);
	}
	uint32_t freelist_state = unit->freelist_state, freed;
	/* nothing is written before it is known to be no double free: the block may be in the list */
	if (lab_freelist_head(freelist_state) == number || lab_unlikely(lab_unit_is_purged(unit, number)))
		return LAB_FREE_DOUBLE;
	if (__builtin_sub_overflow(freelist_state, LAB_FREELIST_USED_ONE, &freed))
		return lab_span_emptied_owned(heap, unit);
	lab_poke((uint16_t *)p, lab_freelist_head(freelist_state));
	lab_compiler_barrier();
	lab_poke(&unit->freelist_state, lab_insert16(freed, number));
	open_unit(unit);
	if (was_closed) {
		if (!unit->listed)
			list(heap, unit);
	}
	return LAB_FREED;
}

/*
 * The holder may be in a fast path. Where that is a free in this span which has found it open, it may make the count
 * equal after this has looked: the span goes when the holder, or a rebuild, meets it.
 */
enum lab_free_result
lab_span_collect(struct lab_heap *heap, struct lab_unit *unit, void *p, struct lab_heap **holder)
{
	uint16_t number = number_of(unit, p);
	bool was_closed;

	*holder = holder_of_span(heap, unit, &was_closed);
	if (lab_unlikely(*holder != heap))
		return LAB_FREE_FOREIGN;
	if (lab_unlikely(lab_unit_is_purged(unit, number) || !lab_collected_add(unit, number, p)))
		return LAB_FREE_DOUBLE;
	if (unit->current)
		return LAB_FREED;
	close_unit(unit);
	if (!unit->listed)
		list(heap, unit);
	if (lab_unit_count_collected(unit) == lab_unit_used(unit))
		retire(heap, unit);
	return LAB_FREED;
}
