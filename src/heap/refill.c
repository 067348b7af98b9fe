/*
 * refill.c - see refill.h. _owned: the holder of the heap, inside its guard. A tear anywhere loses at most the blocks
 * of one carving step; the lists are rebuilt.
 */
#include "heap/refill.h"
#include "base/check.h"
#include "base/probe.h"
#include "heap/bin.h"
#include "heap/collected.h"
#include "heap/finding.h"
#include "heap/remote.h"
#include "heap/span.h"
#include "heap/sparse.h"
#include "heap/take.h"
#include "page/map.h"

enum { CARVED_AT_ONCE = 32, REFILLS_TO_PASS = 255 };

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
	size_t size = lab_class_size(c);
	struct lab_pages pages = lab_pages_take_owned(heap, LAB_UNIT_PAGES, LAB_UNIT_PAGES);

	/* where its first block may not be carved it is not made */
	if (!pages.segment ||
	    !lab_pages_charge_owned(heap, pages, LAB_UNIT_PAGES, lab_round_up(size, LAB_PAGE_SIZE) >> LAB_PAGE_SHIFT))
		return NULL;
	char *base = pages.segment->base + pages.page * LAB_PAGE_SIZE;
	struct lab_unit *unit = lab_map_unit(base);
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
	unit->aged = false;
	unit->examined = 0;
	lab_unit_set_purged(unit, 0);
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

/* Makes the next blocks, at least one, and puts them on the span's empty list, lowest first. False: the memory limit
 * forbids it. */
static bool
carve(struct lab_heap *heap, struct lab_unit *unit)
{
	size_t size = lab_class_size(unit->size_class);
	size_t first = unit->carved * size;
	size_t count = (find_carve_end(unit, first, size) - first) / size;
	size_t left = lab_unit_capacity(unit) - unit->carved;

	if (count == 0)
		count = 1;
	if (count > left)
		count = left;
	if (!lab_span_charge_owned(heap, unit, first, first + count * size))
		return false;
	lab_span_link_blocks(unit, unit->carved, unit->carved + count);
	/* The store to carved is the claim: torn after it, these blocks are lost; torn before it, nothing happened. */
	uint16_t number = (uint16_t)unit->carved;
	lab_compiler_barrier();
	lab_poke(&unit->carved, unit->carved + count);
	lab_compiler_barrier();
	lab_poke(&unit->freelist_state, lab_insert16(unit->freelist_state, number));
	return true;
}

/* Puts the current span aside and another, which is in no list, in its place. */
static void
replace_current(struct lab_heap *heap, unsigned c, struct lab_unit *unit)
{
	struct lab_unit *old = heap->bins[c].current;

	if (old != &lab_no_span)
		lab_span_demote_owned(heap, old);
	lab_span_promote_owned(heap, unit);
}

/* Whether a new span may be made while listed ones have a few blocks: not while blocks that others have freed wait, nor
 * soon after there was no memory for one, which is only known when all has been tried. */
static bool
may_leave_alone(struct lab_heap *heap)
{
	if (lab_likely(heap->refills_to_pass == 0))
		return !lab_heap_is_freed_into(heap);
	heap->refills_to_pass--;
	return false;
}

/* The span that is to follow the current one: a listed one, or if the current span has nothing left a new one. NULL:
 * none, or no memory. In no list. */
static struct lab_unit *
find_successor(struct lab_heap *heap, unsigned c, bool is_spent)
{
	struct lab_bin *bin = &heap->bins[c];
	struct lab_unit *unit = lab_bin_choose_warm(bin), *new = NULL;

	if (is_spent && bin->cold && (!unit || !lab_span_is_worth_more(unit)))
		unit = lab_bin_choose_cold(bin);
	if (is_spent && (!unit || (!lab_span_is_enough(unit) && may_leave_alone(heap)))) {
		new = make_span(heap, c);
		if (!new && !heap->nowait)
			heap->refills_to_pass = REFILLS_TO_PASS;
	}
	if (new || !unit || !(is_spent || lab_span_is_worthwhile(unit)))
		return new;
	lab_span_unlist_owned(heap, unit);
	return unit;
}

/* Whether a block of the class can be had without carving. */
static bool
has_free(const struct lab_bin *bin)
{
	return bin->partial || lab_freelist_head(bin->current->freelist_state) != LAB_FREELIST_NIL;
}

/* Makes blocks in the current span, whose list is empty; or if no page may be touched for that, puts a listed span in
 * its place that has free blocks. False: there is none. */
static bool
make_blocks(struct lab_heap *heap, unsigned c)
{
	struct lab_unit *unit = heap->bins[c].current, *other;

	lab_assert(unit->carved != 0 || lab_unit_purged(unit) == 0);
	if (lab_likely(lab_unit_purged(unit) != 0 ? lab_sparse_carve_owned(heap, unit) : carve(heap, unit)))
		return true;
	while ((other = lab_bin_find_free(&heap->bins[c])) != NULL) {
		lab_span_unlist_owned(heap, other);
		replace_current(heap, c, other);
		mend(heap, other);
		if (lab_freelist_head(other->freelist_state) != LAB_FREELIST_NIL)
			return true;
	}
	return false;
}

bool
lab_span_refill_owned(struct lab_heap *heap, unsigned c)
{
	struct lab_bin *bin = &heap->bins[c];

	LAB_PROBE2(labyrinth, refill, heap->id, lab_class_size(c));
	for (unsigned n = 0; n < LAB_DRAINS_A_CALL && lab_remote_drain_some_owned(heap) && !has_free(bin); n++)
		;
	lab_collected_free_owned(heap, bin->current);
	mend(heap, bin->current);
	for (bool is_chosen = false;; is_chosen = true) {
		bool is_spent = bin->current == &lab_no_span || lab_span_is_exhausted(bin->current);
		if (!is_spent && (is_chosen || lab_span_is_worthwhile(bin->current)))
			break;
		struct lab_unit *next = find_successor(heap, c, is_spent);
		if (!next && is_spent)
			return false;
		if (!next)
			break;
		replace_current(heap, c, next);
		mend(heap, next); /* it may be exhausted then */
	}
	return lab_freelist_head(bin->current->freelist_state) != LAB_FREELIST_NIL || make_blocks(heap, c);
}
