/* map.c - see map.h. */
#include "page/map.h"

_Atomic uint32_t lab_unit_open_tag = LAB_UNIT_OPEN;

static bool
is_live(const struct lab_run *run)
{
	return lab_run_kind_of(lab_load_acq(&run->state)) != LAB_RUN_DEAD; /* pairs with the rel of heap/take.c */
}

/* The live run that the page lies in; NULL: none. */
static const struct lab_run *
find_run_around(const struct lab_segment *segment, size_t page)
{
	for (size_t start = page + 1; start-- > 0;)
		if (is_live(&segment->runs[start]))
			return start + lab_load_rlx(&segment->runs[start].pages) > page ? &segment->runs[start] : NULL;
	return NULL;
}

static void
find_in_segment(struct lab_place *place, const void *p)
{
	size_t page = lab_segment_page_of(place->segment, p);
	const struct lab_run *run = place->run;
	bool at_start = (uintptr_t)p % LAB_PAGE_SIZE == 0;

	if (lab_unit_kind_of(place->unit) == LAB_UNIT_IS_SPAN)
		place->kind = LAB_PLACE_SPAN;
	else if (at_start && is_live(run))
		place->kind = LAB_PLACE_RUN;
	else if (find_run_around(place->segment, page))
		place->kind = LAB_PLACE_INTERIOR;
	else if (lab_unit_kind_of(place->unit) == LAB_UNIT_IS_RETIRED || (at_start && lab_load_rlx(&run->pages) != 0))
		place->kind = LAB_PLACE_FREED;
}

/* Of a segment that has no owner, or is unmapped: its metadata still says what was there. */
static bool
was_block(const struct lab_place *place, const void *p)
{
	return lab_unit_kind_of(place->unit) == LAB_UNIT_IS_RETIRED ||
	       ((uintptr_t)p % LAB_PAGE_SIZE == 0 && lab_load_rlx(&place->run->pages) != 0);
}

/* p is in no segment that a heap owns. */
static void
find_huge(struct lab_place *place, const void *p)
{
	bool was;

	place->huge = lab_huge_find(p, &was);
	if (place->huge) {
		place->kind = LAB_PLACE_HUGE;
		place->run = &place->huge->run;
	} else if (was || (place->segment && was_block(place, p))) {
		place->kind = LAB_PLACE_FREED;
	}
}

/* Shares before the table of huge blocks, whose pages may fault. */
static void
find_elsewhere(struct lab_place *place, const void *p)
{
	place->share = lab_share_find(p);
	if (place->share)
		place->kind = LAB_PLACE_SHARE;
	else
		find_huge(place, p);
}

struct lab_place
lab_map_find(const void *p)
{
	return lab_reserve_contains(p) ? (struct lab_place){.kind = LAB_PLACE_SLOT} : lab_map_find_outside_reserve(p);
}

struct lab_place
lab_map_find_outside_reserve(const void *p)
{
	struct lab_place place = {.kind = LAB_PLACE_FOREIGN};
	uint64_t owner = 0;

	place.segment = lab_space_find(p, &owner);
	if (place.segment) {
		place.unit = lab_map_unit(p);
		place.run = &place.segment->runs[lab_segment_page_of(place.segment, p)];
		place.heap_id = lab_owner_heap(owner);
	}
	if (lab_owner_state(owner) == LAB_SLOT_OWNED && place.segment)
		find_in_segment(&place, p);
	else
		find_elsewhere(&place, p);
	return place;
}

size_t
lab_place_size(const struct lab_place *place, const void *p)
{
	switch (place->kind) {
	case LAB_PLACE_SPAN:
		return lab_unit_is_block(place->unit, p) ? lab_peek(&place->unit->size) : 0;
	case LAB_PLACE_RUN:
	case LAB_PLACE_HUGE: {
		bool is_live = lab_run_kind_of(lab_load_rlx(&place->run->state)) == LAB_RUN_LIVE;
		return is_live ? lab_load_rlx(&place->run->pages) << LAB_PAGE_SHIFT : 0;
	}
	case LAB_PLACE_SLOT:
		return lab_reserve_slot_size(p);
	case LAB_PLACE_SHARE:
		return lab_share_slot_size(place->share, p);
	default:
		return 0;
	}
}

/* The carved block of a span that p lies in; NULL: none. */
static inline char *
find_in_span(const void *p, size_t *size)
{
	const struct lab_unit *unit = lab_map_unit(p);
	size_t offset = (uintptr_t)p - (uintptr_t)lab_peek(&unit->base);
	uint64_t carved = lab_peek(&unit->carved);

	if (offset >= LAB_UNIT_SIZE || carved == 0)
		return NULL;
	*size = lab_peek(&unit->size);
	uint32_t number = (uint32_t)offset / (uint32_t)*size;
	return number < carved ? lab_unit_block(unit, number) : NULL;
}

char *
lab_map_block_around(const void *p, size_t *size)
{
	char *block = find_in_span(p, size);
	const struct lab_run *run;
	struct lab_huge *huge;

	if (lab_likely(block != NULL))
		return block;
	struct lab_place place = lab_map_find(p);
	switch (place.kind) {
	case LAB_PLACE_SPAN: /* not carved */
		return NULL;
	case LAB_PLACE_RUN:
	case LAB_PLACE_INTERIOR:
		run = find_run_around(place.segment, lab_segment_page_of(place.segment, p));
		if (!run)
			return NULL;
		*size = lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT;
		return place.segment->base + (size_t)(run - place.segment->runs) * LAB_PAGE_SIZE;
	case LAB_PLACE_SLOT:
	case LAB_PLACE_SHARE:
		*size = lab_place_size(&place, p);
		return *size ? (char *)(uintptr_t)p : NULL;
	default:
		huge = lab_huge_around(p);
		if (!huge)
			return NULL;
		*size = lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT;
		return lab_load_rlx(&huge->base);
	}
}

const char *
lab_place_fault(const struct lab_place *place, const void *p)
{
	switch (place->kind) {
	case LAB_PLACE_RUN:
	case LAB_PLACE_HUGE:
	case LAB_PLACE_FREED:
		return "double free";
	case LAB_PLACE_FOREIGN:
		if (!lab_huge_around(p))
			return "not a block of this heap";
		/* fall through */
	default:
		return "not the start of a block";
	}
}
