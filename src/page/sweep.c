/* sweep.c - see sweep.h. */
#include "page/sweep.h"
#include "base/check.h"
#include "page/pending.h"
#include "page/space.h"

enum {
	WORK_OF_PAGE = 4,  /* a look at an item is 1 */
	UNMAP_PAGES = 128, /* so many pages' work is an unmapping, of clean pages too */
	LAPS = 3,          /* of lab_sweep_excess: the rest of one that was begun, one of the aged, one of the young */
};

/* Places: entries of huge blocks by number, then segments by slot. */
#define FIRST_SLOT (UINT32_C(1) << 31)

_Atomic uint64_t lab_sweep_place;
static _Atomic uint32_t left_something; /* the seq of the last sweep that did */
static _Atomic bool takes_all;
static _Atomic uint64_t excess_place; /* {the young go too, place} */

struct item {
	struct lab_huge *huge; /* or */
	struct lab_segment *segment;
	uint64_t owner;
};

/* The item at the place, or the first one behind it; *place is then behind that. False: there is none. */
static bool
next_item(uint32_t *place, struct item *item)
{
	*item = (struct item){.huge = *place < FIRST_SLOT ? lab_huge_at(*place) : NULL};
	if (item->huge) {
		++*place;
		return true;
	}
	size_t slot = *place < FIRST_SLOT ? 0 : *place - FIRST_SLOT;
	item->segment = lab_space_next(&slot, &item->owner);
	*place = FIRST_SLOT + (uint32_t)slot;
	return item->segment != NULL;
}

/* For a look at an item, and the pages of it that were given back. */
static void
spend(size_t *work, size_t given)
{
	size_t spent = 1 + given * WORK_OF_PAGE;

	*work -= spent < *work ? spent : *work;
}

/* ---- a sweep --------------------------------------------------------------------------------------------------- */

struct visitor {
	struct lab_purge_record *record;
	struct lab_slice slice;
	size_t work;        /* that may still be done */
	uint32_t seq;       /* of the sweep */
	bool all;           /* the young go too */
	bool again;         /* the last item has more to give back */
	size_t used, dirty; /* pages in what was visited */
};

static void
visit_huge(struct visitor *visitor, struct lab_huge *huge)
{
	enum lab_huge_kind kind = lab_huge_kind(huge);
	size_t given = 0;

	if (kind == LAB_HUGE_LIVE)
		visitor->used += lab_load_rlx(&huge->run.pages);
	if (kind != LAB_HUGE_CACHED)
		return;
	if (visitor->all || lab_load_rlx(&huge->aged))
		given = lab_huge_give_back(huge, visitor->work / WORK_OF_PAGE + 1, NULL);
	spend(&visitor->work, given);
	size_t dirty = lab_load_rlx(&huge->dirty);
	if (lab_huge_kind(huge) == LAB_HUGE_CACHED && dirty != 0) {
		lab_store_rlx(&huge->aged, true);
		visitor->dirty += dirty;
		visitor->again = given != 0;
	}
}

/* Two at once may count one look: the segment rests for one more. */
static void
rest(struct lab_segment *segment)
{
	uint8_t looks = lab_load_rlx(&segment->rest);

	if (lab_unlikely(looks != 0))
		lab_store_rlx(&segment->rest, (uint8_t)(looks - 1));
}

static void
visit_segment(struct visitor *visitor, struct lab_segment *segment, uint64_t owner)
{
	const struct lab_purge_plan plan = {.young = visitor->all, .in_whole = visitor->slice.in_whole};
	size_t given = 0;

	switch (lab_space_unmap_emptied(segment, owner, visitor->all, &given)) {
	case LAB_EMPTIED_UNMAPPED:
		spend(&visitor->work, given + UNMAP_PAGES);
		return;
	case LAB_EMPTIED_WAITS:
		lab_sweep_leave_something();
		break;
	case LAB_EMPTIED_STAYS:
		break;
	}
	spend(&visitor->work, lab_purge_segment(segment, visitor->record, &plan));
	rest(segment);
	visitor->dirty += lab_segment_age(segment);
	visitor->used += lab_segment_count_taken(segment);
}

static void
visit(struct visitor *visitor, const struct item *item)
{
	size_t dirty = visitor->dirty;

	visitor->again = false;
	if (item->huge)
		visit_huge(visitor, item->huge);
	else
		visit_segment(visitor, item->segment, item->owner);
	if (visitor->dirty != dirty)
		lab_store_rlx(&left_something, visitor->seq);
}

void
lab_sweep_leave_something(void)
{
	lab_store_rlx(&left_something, (uint32_t)(lab_load_rlx(&lab_sweep_place) >> 32));
}

void
lab_sweep_begin(bool all)
{
	uint64_t place = lab_load_rlx(&lab_sweep_place);

	/* pairs with the same of others: one begins */
	if (place >> 32 & 1 || !lab_cas64(&lab_sweep_place, place, ((place >> 32) + 1) << 32))
		return;
	lab_store_rlx(&takes_all, all);
	/* sc: who frees after this notes it, and what was free before is visited; pairs with lab_purge_note */
	(void)atomic_exchange(&lab_purge_pending, LAB_PURGE_NOTHING);
}

/* The last item was visited. What is said here is true if we are cut short, too. */
static void
end(uint64_t place)
{
	uint32_t seq = (uint32_t)(place >> 32);

	if (lab_load_rlx(&left_something) == seq || lab_load_rlx(&lab_purge_pending) != LAB_PURGE_NOTHING)
		lab_store_rel(&lab_purge_pending, LAB_PURGE_SEEN); /* pairs with time_since of alloc/decay.c */
	(void)lab_cas64(&lab_sweep_place, place, (uint64_t)(seq + 1) << 32); /* pairs with that of lab_sweep_begin */
}

/* Visits the item at *place, and moves that on. False: another thread visits it, or has ended the sweep. */
static bool
visit_next(struct visitor *visitor, uint64_t *place, const struct item *item, uint32_t next)
{
	uint64_t behind = (uint64_t)visitor->seq << 32 | next;

	/* pairs with the same of other visitors: one of them has the item */
	if (!lab_cas64(&lab_sweep_place, *place, behind))
		return false;
	visit(visitor, item);
	if (visitor->again) /* in the next slice; pairs as above */
		(void)lab_cas64(&lab_sweep_place, behind, *place);
	*place = behind;
	return true;
}

void
lab_sweep_go_on(struct lab_purge_record *record, struct lab_slice slice)
{
	uint64_t place = lab_load_rlx(&lab_sweep_place);
	struct visitor visitor = {
	        .record = record,
	        .slice = slice,
	        .work = slice.pages * WORK_OF_PAGE,
	        .seq = (uint32_t)(place >> 32),
	        .all = lab_load_rlx(&takes_all),
	};
	bool sees_all = (uint32_t)place == 0;
	struct item item;

	while (visitor.work != 0 && visitor.seq & 1 && place >> 32 == visitor.seq) {
		uint32_t next = (uint32_t)place;
		if (!next_item(&next, &item)) {
			if (sees_all) {
				lab_count_set(visitor.used, visitor.dirty);
				*slice.own = (struct lab_count_delta){0, 0};
			}
			end(place);
			return;
		}
		if (!visit_next(&visitor, &place, &item, next)) {
			sees_all = false;
			place = lab_load_rlx(&lab_sweep_place);
		}
	}
}

/* ---- what is too much ------------------------------------------------------------------------------------------ */

static size_t
give_back(struct lab_purge_record *record, const struct item *item, bool young, size_t most, size_t *refused)
{
	const struct lab_purge_plan plan = {.young = young, .insist = true};

	*refused = 0;
	if (item->huge)
		return young || lab_load_rlx(&item->huge->aged) ? lab_huge_give_back(item->huge, most, refused) : 0;
	size_t given = lab_purge_segment(item->segment, record, &plan);
	if (lab_load_rlx(&item->segment->refusals) != 0)
		*refused = lab_segment_count_dirty(item->segment);
	return given;
}

/* Several threads at once may visit an item twice: the second one finds nothing. */
bool
lab_sweep_excess(struct lab_purge_record *record, size_t pages, size_t excess, size_t *refused)
{
	uint64_t from = lab_load_rlx(&excess_place);
	bool young = from >> 32 & 1;
	uint32_t place = (uint32_t)from;
	size_t given = 0, work = pages * WORK_OF_PAGE, in_item = 0;
	int laps = 0;

	*refused = 0;
	while (laps < LAPS && given < excess && work != 0) {
		struct item item;
		uint32_t at = place;
		if (!next_item(&place, &item)) {
			place = 0;
			young = !young;
			if (++laps < LAPS && young)
				*refused = 0;
			continue;
		}
		size_t most = work / WORK_OF_PAGE + 1;
		if (most > excess - given)
			most = excess - given;
		size_t part = give_back(record, &item, young, most, &in_item);
		*refused += young ? in_item : 0;
		given += part;
		spend(&work, part);
		if (item.huge && part != 0)
			place = at; /* it may have more */
	}
	lab_store_rlx(&excess_place, (uint64_t)young << 32 | place);
	return laps == LAPS;
}
