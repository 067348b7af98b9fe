/* retire.c - see retire.h. */
#include "page/retire.h"
#include "os/os.h"
#include "page/walk.h"

static uint64_t
with_walk(uint64_t where, enum lab_arena_state state, const struct lab_walk *walk)
{
	return lab_where_make(where, state, lab_walk_tag(walk));
}

static bool
is_unused(const struct lab_arena *arena)
{
	size_t end = atomic_load(&arena->high_water);

	for (size_t index = 0; index < end; index++)
		if (lab_owner_kind(atomic_load(&arena->owners[index])) != LAB_SEGMENT_FREE)
			return false;
	return true;
}

/* A purge word left by a purger that is dead keeps the arena too, until that thread's heap is repaired: it is not for long. */
static bool
is_purged(const struct lab_arena *arena)
{
	size_t end = atomic_load(&arena->high_water);

	for (size_t index = 0; index < end; index++)
		if (lab_arena_is_committed(arena, index) && atomic_load(&lab_arena_segment(arena, index)->purge) != 0)
			return true;
	return false;
}

/* As in a seat that was never used: the owner words go on counting. Late claimers undo what they write (INV-ARENA-1). */
static void
reset_words(struct lab_arena *arena)
{
	for (size_t i = 0; i < (arena->capacity + 63) / 64; i++) {
		lab_store_rlx(&arena->committed[i], 0);
		lab_store_rlx(&arena->free_hint[i], ~UINT64_C(0));
	}
	lab_store_rlx(&arena->high_water, 0);
	lab_store_rlx(&arena->idle_since, 0);
}

/* `mine` names this walk: nobody else does anything here. Returns the bytes unmapped. */
static size_t
unmap_payload(struct lab_arena *arena, uint64_t mine)
{
	if (!lab_range_unmap_payload(arena, mine)) {
		(void)lab_cas64(&arena->where, mine, lab_where_make(mine, LAB_ARENA_LIVE, 0));
		return 0;
	}
	reset_words(arena);
	uint64_t age = lab_walk_next_age();
	atomic_store(&arena->retired, age);
	(void)lab_cas64(&arena->where, mine, lab_where_make(mine, LAB_ARENA_WAITING, age));
	return lab_where_size(mine);
}

static void
unmap_metadata(struct lab_arena *arena, uint64_t mine)
{
	bool gone = lab_range_unmap_metadata(arena, mine);

	(void)lab_cas64(&arena->where, mine, gone ? 0 : lab_where_make(mine, LAB_ARENA_WAITING, atomic_load(&arena->retired)));
}

/* Whether it has been idle for so long. If it was not looked at since it was used last, that begins now. */
static bool
is_idle_for(struct lab_arena *arena, uint64_t now, uint64_t age)
{
	uint64_t since = lab_load_rlx(&arena->idle_since);

	if (!is_unused(arena))
		return false;
	if (since == 0)
		lab_store_rlx(&arena->idle_since, now + 1);
	return age == 0 || (since != 0 && now + 1 >= since && now + 1 - since >= age);
}

/* From LIVE, or what another attempt has left. A claimer that comes in between may have let go again by now: then it is tried once more. */
static size_t
try_retire(struct lab_arena *arena, uint64_t now, uint64_t age, const struct lab_walk *walk)
{
	uint64_t where;

	while (lab_where_is_usable(where = atomic_load(&arena->where)) && is_idle_for(arena, now, age)) {
		uint64_t trying = lab_where_make(where, LAB_ARENA_RETIRING, lab_add_rlx(&arena->attempts, 1) + 1);
		uint64_t mine = with_walk(where, LAB_ARENA_UNMAPPING, walk);
		if (!lab_cas64(&arena->where, where, trying))
			continue;
		if (!is_unused(arena) || is_purged(arena)) {
			(void)lab_cas64(&arena->where, trying, lab_where_make(where, LAB_ARENA_LIVE, 0));
			break;
		}
		if (lab_cas64(&arena->where, trying, mine))
			return unmap_payload(arena, mine);
	}
	return 0;
}

/* Goes on with what another walk was doing, if that is over. */
static size_t
take_over(struct lab_arena *arena, const struct lab_walk *walk)
{
	uint64_t where = atomic_load(&arena->where), mine = with_walk(where, LAB_ARENA_UNMAPPING, walk);

	if (lab_where_state(where) != LAB_ARENA_UNMAPPING || !lab_walk_is_over(lab_where_tag(where)))
		return 0;
	return lab_cas64(&arena->where, where, mine) ? unmap_payload(arena, mine) : 0;
}

/* The second half of it. */
static void
forget(struct lab_arena *arena, const struct lab_walk *walk)
{
	uint64_t where = atomic_load(&arena->where), mine = with_walk(where, LAB_ARENA_FORGETTING, walk);
	uint64_t retired = atomic_load(&arena->retired);
	bool is_due = false;

	if (lab_where_state(where) == LAB_ARENA_WAITING)
		is_due = lab_walk_none_before(retired, walk);
	else if (lab_where_state(where) == LAB_ARENA_FORGETTING)
		is_due = lab_walk_is_over(lab_where_tag(where));
	if (is_due && lab_cas64(&arena->where, where, mine))
		unmap_metadata(arena, mine);
}

bool
lab_arenas_are_idle(void)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	bool any = false;

	lab_walk_begin(&walk);
	for (size_t i = 1; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		uint64_t where = atomic_load(&arena->where);
		any |= where != 0 && (!lab_where_is_usable(where) || is_unused(arena));
	}
	lab_walk_end(&walk);
	return any;
}

size_t
lab_arenas_retire(uint64_t now, uint64_t age)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	size_t unmapped = 0;

	lab_walk_begin(&walk);
	for (size_t i = 1; walk.slot >= 0 && (arena = lab_walk_arena(&walk, i)) != NULL; i++)
		unmapped += try_retire(arena, now, age, &walk) + take_over(arena, &walk);
	for (size_t i = 1; walk.slot >= 0 && (arena = lab_walk_arena(&walk, i)) != NULL; i++)
		forget(arena, &walk);
	lab_walk_end(&walk);
	return unmapped;
}
