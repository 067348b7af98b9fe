/* map.c - see map.h. */
#include "page/map.h"
#include "os/os.h"
#include "page/retire.h"

static struct lab_unit no_unit; /* limit 0: nothing passes */
struct lab_map lab_map = {.mask = 0, .units = (char *)&no_unit};

/* Published by CAS, and replaced while empty by a larger one only; acq/rel pair here, and every block's address was got after that. */
static _Atomic(struct lab_arena *) arenas[LAB_ARENA_MAX];

struct lab_arena *
lab_map_arena(size_t i)
{
	return i < LAB_ARENA_MAX ? lab_load_acq(&arenas[i]) : NULL;
}

static bool
publish(size_t i, struct lab_arena *arena)
{
	struct lab_arena *none = NULL;

	return atomic_compare_exchange_strong_explicit(&arenas[i], &none, arena, memory_order_acq_rel, memory_order_acquire);
}

bool
lab_map_start(void)
{
	struct lab_arena *first = lab_map_arena(0);

	if (!first) {
		first = lab_arena_reserve(0, true);
		if (!first)
			return false;
		if (!publish(0, first)) {
			lab_arena_unreserve(first);
			first = lab_map_arena(0);
		}
	}
	/* Every caller writes the same values. Only a free of a foreign pointer or NULL can read them before, and each
	 * mixture of old and new leads it to a descriptor: mask 0 selects the first, of either array. */
	uint64_t where = lab_load_rlx(&first->where);
	lab_poke(&lab_map.units, (char *)lab_where_units(where));
	lab_compiler_barrier();
	atomic_thread_fence(memory_order_release);
	lab_poke(&lab_map.mask, ((lab_where_size(where) >> LAB_UNIT_SHIFT) - 1) * sizeof(struct lab_unit));
	return true;
}

/* A new seat for the range, which is published with it. A seat that has too few words is left for good: others may be reading it. Since
 * the next one is at least twice as large, what is left is less than what is used. */
static bool
seat_at(size_t i, struct lab_arena *before, uint64_t where)
{
	struct lab_arena *seat = lab_arena_make_seat(where);

	if (!seat)
		return false;
	(void)lab_arena_settle(seat, where);
	if (atomic_compare_exchange_strong_explicit(&arenas[i], &before, seat, memory_order_acq_rel, memory_order_acquire))
		return true;
	lab_os.unmap(seat->reservation, seat->reserved);
	return false;
}

/* Whether the range could be given to the i-th arena. */
static bool
try_place(size_t i, uint64_t where)
{
	struct lab_arena *seat = lab_map_arena(i);

	if (!seat)
		return seat_at(i, NULL, where);
	if (lab_where_state(lab_load_rlx(&seat->where)) != LAB_ARENA_EMPTY)
		return false;
	if (seat->capacity >= lab_where_segment_count(where))
		return lab_arena_settle(seat, where);
	return seat_at(i, seat, where);
}

static bool
grow(size_t least)
{
	uint64_t where = lab_range_reserve(least);

	for (size_t i = 1; where && i < LAB_ARENA_MAX; i++)
		if (try_place(i, where))
			return true;
	if (where)
		lab_range_unreserve(where);
	return false;
}

bool
lab_map_grow(size_t least)
{
	do {
		if (grow(least))
			return true;
		if (!lab_map_arena(1)) /* nothing can be retired */
			return false;
	} while (lab_arenas_retire(0, 0) != 0); /* a handler in between may take what has come back, and leave it idle */
	return grow(least);                     /* another thread may have been quicker in retiring */
}

void
lab_map_set_huge_pages(enum lab_huge_pages when)
{
	struct lab_arena *arena;

	lab_store_rlx(&lab_arena_huge_pages, (uint32_t)when);
	for (size_t i = 0; (arena = lab_map_arena(i)) != NULL; i++)
		if (lab_where_state(lab_load_acq(&arena->where)) == LAB_ARENA_LIVE)
			lab_arena_apply_huge_pages(lab_arena_base(arena), lab_arena_size(arena));
}

struct lab_arena *
lab_map_find_arena(const void *p)
{
	for (size_t i = 0; i < LAB_ARENA_MAX; i++) {
		struct lab_arena *arena = lab_map_arena(i);
		if (!arena)
			return NULL;
		uint64_t where = lab_load_acq(&arena->where);
		if ((uintptr_t)p - (uintptr_t)lab_where_base(where) < lab_where_size(where) && lab_where_is_usable(where))
			return arena;
	}
	return NULL;
}

static bool
is_live(const struct lab_run *run)
{
	return lab_load_acq(&run->state) != LAB_RUN_DEAD;
}

/* Is the page inside a live run that starts before it? */
static bool
is_inside_run(const struct lab_segment *segment, size_t page)
{
	for (size_t start = page; start-- > 0;)
		if (is_live(&segment->runs[start]))
			return start + lab_load_rlx(&segment->runs[start].pages) > page;
	return false;
}

static void
find_in_segment(struct lab_place *place, const void *p)
{
	size_t page = lab_segment_page_of(place->segment, p);
	struct lab_run *run = &place->segment->runs[page];
	bool at_start = ((uintptr_t)p & (LAB_PAGE_SIZE - 1)) == 0;

	place->unit = lab_arena_unit(place->arena, p);
	place->run = run;
	if (lab_unit_kind_of(place->unit) == LAB_UNIT_IS_SPAN)
		place->kind = LAB_PLACE_SPAN;
	else if (at_start && is_live(run))
		place->kind = LAB_PLACE_RUN;
	else if (is_inside_run(place->segment, page) || is_live(run))
		place->kind = LAB_PLACE_INTERIOR;
	else if (lab_unit_kind_of(place->unit) == LAB_UNIT_IS_RETIRED || (at_start && lab_load_rlx(&run->pages) != 0))
		place->kind = LAB_PLACE_FREED;
}

static void
find_in_huge(struct lab_place *place, const void *p)
{
	struct lab_run *run = &place->segment->runs[0];

	place->run = run;
	place->kind = LAB_PLACE_INTERIOR;
	if (p == lab_arena_payload(place->arena, place->index)) {
		if (is_live(run))
			place->kind = LAB_PLACE_HUGE;
	}
}

struct lab_place
lab_map_find(const void *p)
{
	struct lab_place place = {.kind = LAB_PLACE_FOREIGN, .arena = lab_map_find_arena(p)};

	if (!place.arena)
		return place;
	place.index = lab_arena_index_of(place.arena, p);
	if (place.index >= place.arena->capacity || !lab_arena_is_committed(place.arena, place.index))
		return place;
	uint64_t owner = lab_load_acq(&place.arena->owners[place.index]);
	place.segment = lab_arena_segment(place.arena, place.index);
	place.heap_id = lab_owner_heap(owner);
	switch (lab_owner_kind(owner)) {
	case LAB_SEGMENT_SMALL:
		find_in_segment(&place, p);
		break;
	case LAB_SEGMENT_HUGE:
		find_in_huge(&place, p);
		break;
	default: /* FREE: what its first page was is still written there */
		if ((uintptr_t)p % LAB_PAGE_SIZE == 0 &&
		    lab_load_rlx(&place.segment->runs[lab_segment_page_of(place.segment, p)].pages) != 0)
			place.kind = LAB_PLACE_FREED;
		break;
	}
	return place;
}
