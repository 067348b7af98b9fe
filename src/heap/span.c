/*
 * span.c - spans of small blocks: carving, the lists of a bin, freeing, retirement. All _owned: the holder of the heap,
 * inside its guard. A tear anywhere loses at most the blocks of one carving step; the lists are rebuilt.
 */
#include "heap/span.h"
#include "base/check.h"
#include "heap/bin.h"
#include "heap/collected.h"
#include "heap/finding.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "page/map.h"

enum { CARVED_AT_ONCE = 32 };

struct lab_unit lab_no_span = {.freelist_state = LAB_FREELIST_NIL};

static void
open_unit(struct lab_unit *unit)
{
	lab_poke(&unit->owner_key, unit->owner_key & ~(uint64_t)LAB_UNIT_CLOSED);
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
		lab_bin_push(&heap->bins[unit->size_class], unit);
	}
}

/* Links the blocks [first, end), lowest first. */
static void
link_blocks(struct lab_unit *unit, size_t first, size_t end)
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
		lab_compiler_barrier();
		link_blocks(unit, 0, unit->carved);
		lab_compiler_barrier();
		lab_poke(&unit->freelist_state, lab_freelist_make(0, 0));
	}
	if (unit->listed && lab_span_is_exhausted(unit)) { /* INV-HEAP-3 */
		lab_bin_remove(&heap->bins[unit->size_class], unit);
		close_unit(unit);
	}
}

/* A head that is no block's number was a link that the program wrote to after it had freed the block that held it. */
static void
mend(struct lab_heap *heap, struct lab_unit *unit)
{
	if (lab_unlikely(lab_freelist_head(unit->freelist_state) != LAB_FREELIST_NIL &&
	                 !lab_unit_has_free(unit, lab_freelist_head(unit->freelist_state)))) {
		lab_span_cut_owned(heap, unit);
		lab_finding_note_owned(heap, LAB_FOUND_DAMAGE, unit->base);
	}
}

/* A new span of class c, empty, not current, in no list. */
static struct lab_unit *
make_span(struct lab_heap *heap, unsigned c)
{
	struct lab_pages pages = lab_pages_take_owned(heap, LAB_UNIT_PAGES, LAB_UNIT_PAGES);

	if (!pages.segment)
		return NULL;
	char *base = pages.segment->base + pages.page * LAB_PAGE_SIZE;
	struct lab_unit *unit = lab_map_unit(base);
	size_t size = lab_class_size(c);
	unit->shift = (uint8_t)lab_ctz(size);
	unit->size_class = (uint8_t)c;
	lab_poke(&unit->size, (uint32_t)size);
	lab_poke(&unit->inverse, lab_inverse_odd(size >> unit->shift));
	lab_poke(&unit->base, base);
	lab_poke(&unit->carved, 0);
	lab_poke(&unit->owner_key, lab_owner_key_make(heap, base));
	lab_poke(&unit->freelist_state, lab_freelist_make(LAB_FREELIST_NIL, 0xffff)); /* used - 1 */
	unit->collected = 0;
	unit->listed = false;
	unit->current = false;
	/* From here on the scan takes the pages for a span's. */
	lab_compiler_barrier();
	lab_unit_set_kind(unit, LAB_UNIT_IS_SPAN);
	return unit;
}

/* The end of what is to be carved from offset `first` of the span on: that of the page, and of the pages after it that
 * are dirty, which costs no memory, until there are CARVED_AT_ONCE blocks. */
static size_t
find_carve_end(const struct lab_unit *unit, size_t first, size_t size)
{
	size_t end = lab_round_up(first + 1, LAB_PAGE_SIZE);
	uint64_t owner;
	const struct lab_segment *segment = lab_space_find(unit->base, &owner);

	while (end < LAB_UNIT_SIZE && end - first < CARVED_AT_ONCE * size &&
	       !lab_segment_is_fresh(segment, lab_segment_page_of(segment, unit->base + end), 1))
		end += LAB_PAGE_SIZE;
	return end;
}

/* Makes the next blocks, at least one, and puts them on the span's empty list, lowest first. */
static void
carve(struct lab_unit *unit)
{
	size_t size = lab_class_size(unit->size_class);
	size_t first = unit->carved * size;
	size_t count = (find_carve_end(unit, first, size) - first) / size;
	size_t left = lab_unit_capacity(unit) - unit->carved;

	if (count == 0)
		count = 1;
	if (count > left)
		count = left;
	link_blocks(unit, unit->carved, unit->carved + count);
	/* The store to carved is the claim: torn after it, these blocks are lost; torn before it, nothing happened. */
	uint16_t number = (uint16_t)unit->carved;
	lab_compiler_barrier();
	lab_poke(&unit->carved, unit->carved + count);
	lab_compiler_barrier();
	lab_poke(&unit->freelist_state, lab_insert16(unit->freelist_state, number));
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

/* One step of INV-SPAN-2's change, on record in heap->changing while `current` and used' disagree. */
static void
set_current_mark(struct lab_heap *heap, struct lab_unit *unit, bool current, uint32_t freelist_state)
{
	heap->changing = unit;
	lab_compiler_barrier();
	unit->current = current;
	lab_poke(&unit->freelist_state, freelist_state);
	lab_compiler_barrier();
	heap->changing = NULL;
}

void
lab_span_repair_owned(struct lab_heap *heap)
{
	struct lab_unit *unit = heap->changing;

	if (unit) {
		uint32_t used = (uint32_t)unit->carved - count_free(unit);
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

/* Out of its list, open, with all that is free. */
static void
unlist(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_bin_remove(&heap->bins[unit->size_class], unit);
	lab_collected_free_owned(heap, unit);
	open_unit(unit);
}

/* Puts the current span aside and another, which is in no list, in its place. */
static void
replace_current(struct lab_heap *heap, unsigned c, struct lab_unit *unit)
{
	struct lab_unit *old = heap->bins[c].current;

	if (old != &lab_no_span)
		lab_span_demote_owned(heap, old);
	set_current_mark(heap, unit, true, unit->freelist_state + LAB_FREELIST_USED_ONE);
	lab_bin_set_current(heap, c, unit);
}

/* The span that is to follow the current one: a listed one, or a new one if the current span has nothing left. NULL:
 * none, or no memory. In no list. */
static struct lab_unit *
find_successor(struct lab_heap *heap, unsigned c, bool is_spent)
{
	struct lab_bin *bin = &heap->bins[c];
	struct lab_unit *unit = lab_bin_choose(bin);

	if (unit && (is_spent || lab_span_is_worthwhile(unit))) {
		unlist(heap, unit);
		return unit;
	}
	return is_spent ? make_span(heap, c) : NULL;
}

bool
lab_span_refill_owned(struct lab_heap *heap, unsigned c)
{
	struct lab_bin *bin = &heap->bins[c];

	lab_batch_flush_owned(heap);
	lab_remote_drain_owned(heap);
	lab_collected_free_owned(heap, bin->current);
	mend(heap, bin->current);
	for (;;) {
		bool is_spent = bin->current == &lab_no_span || lab_span_is_exhausted(bin->current);
		if (!is_spent && lab_span_is_worthwhile(bin->current))
			break;
		struct lab_unit *next = find_successor(heap, c, is_spent);
		if (!next && is_spent)
			return false;
		if (!next)
			break;
		replace_current(heap, c, next);
		mend(heap, next); /* it may be exhausted then */
	}
	if (lab_freelist_head(bin->current->freelist_state) == LAB_FREELIST_NIL)
		carve(bin->current);
	return true;
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
	/* A carve that was cut short may have written links to the page after what is carved, and to dirty ones. */
	size_t dirty = unit->carved * lab_class_size(unit->size_class) / LAB_PAGE_SIZE + 1;

	if (dirty > LAB_UNIT_PAGES)
		dirty = LAB_UNIT_PAGES;
	if (unit->listed)
		lab_bin_remove(&heap->bins[unit->size_class], unit);
	close_unit(unit);
	unit->collected = 0;
	lab_poke(&unit->carved, 0);
	lab_unit_set_kind(unit, LAB_UNIT_IS_RETIRED);
	lab_compiler_barrier();
	lab_pages_give_owned(heap, segment, lab_segment_page_of(segment, unit->base), LAB_UNIT_PAGES, dirty);
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
	if (lab_freelist_head(freelist_state) == number)
		return LAB_FREE_DOUBLE;
	if (__builtin_sub_overflow(freelist_state, LAB_FREELIST_USED_ONE, &freed))
		return lab_span_emptied_owned(heap, unit);
	lab_poke((uint16_t *)p, lab_freelist_head(freelist_state));
	lab_compiler_barrier();
	lab_poke(&unit->freelist_state, lab_insert16(freed, number));
	if (was_closed) {
		open_unit(unit);
		if (!unit->listed)
			lab_bin_push(&heap->bins[unit->size_class], unit);
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
	if (lab_unlikely(!lab_collected_add(unit, number, p)))
		return LAB_FREE_DOUBLE;
	if (unit->current)
		return LAB_FREED;
	close_unit(unit);
	if (!unit->listed)
		lab_bin_push(&heap->bins[unit->size_class], unit);
	if (lab_unit_count_collected(unit) == lab_unit_used(unit))
		retire(heap, unit);
	return LAB_FREED;
}
