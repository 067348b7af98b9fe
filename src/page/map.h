/* map.h - what a pointer is. Any context. */
#ifndef LAB_PAGE_MAP_H
#define LAB_PAGE_MAP_H

#include "page/huge.h"
#include "page/space.h"
#include "reserve/reserve.h"

enum lab_place_kind {
	LAB_PLACE_FOREIGN, /* not in a segment, or in no block's pages; or inside a huge block (lab_huge_around) */
	LAB_PLACE_SPAN, /* in a span of small blocks: unit; lab_unit_is_block tells whether one starts at the pointer */
	LAB_PLACE_RUN,  /* the start of a run of pages: segment, run */
	LAB_PLACE_HUGE, /* the start of a huge block: huge, run */
	LAB_PLACE_SLOT, /* in the emergency reserve, at a promised slot */
	LAB_PLACE_SHARE,    /* in a share, by which a thread has or the reserve has got more slots: share */
	LAB_PLACE_INTERIOR, /* inside a run, not at its start */
	LAB_PLACE_FREED,    /* the start of something that was freed before */
};

struct lab_place {
	enum lab_place_kind kind;
	struct lab_segment *segment;
	struct lab_unit *unit;
	struct lab_run *run;
	struct lab_huge *huge;
	struct lab_share *share;
	uint32_t heap_id; /* of the segment, when it was looked at: lab_place_heap says it anew */
};

/* What p is: any pointer value, in any thread, at any time. Of a block of the caller's the answer is exact. */
struct lab_place lab_map_find(const void *p);

/* The same, of a pointer that lies in no promised slot of the reserve. */
struct lab_place lab_map_find_outside_reserve(const void *p);

/* As lab_map_find, at once for a block of a span, of which `unit` is then all that is told. */
static inline struct lab_place
lab_map_find_block(const void *p)
{
	struct lab_unit *unit = lab_map_unit(p);

	if (lab_likely(lab_unit_is_block(unit, p)))
		return (struct lab_place){.kind = LAB_PLACE_SPAN, .unit = unit};
	return lab_map_find(p);
}

/* The bytes of the live block that starts at p, whose place this is; 0: none does. */
size_t lab_place_size(const struct lab_place *place, const void *p);

/* The start of the block that p starts or lies in, which may be a free one of a span, and its bytes; NULL: none. Any
 * pointer, at any time; O(pages, huge blocks). */
char *lab_map_block_around(const void *p, size_t *size);

/* What p is instead, in words of a report. */
const char *lab_place_fault(const struct lab_place *place, const void *p);

/* The id of the heap that holds the segment of a run now. */
static inline uint32_t
lab_place_heap(const struct lab_place *place)
{
	return lab_owner_heap(
	        lab_load_acq(lab_segment_owner(place->segment))); /* pairs with the CAS of whoever took it over */
}

#endif
