/* exclusive.c - see exclusive.h. Any context; every step is one CAS. */
#include "heap/exclusive.h"
#include "base/check.h"
#include "os/os.h"
#include "page/walk.h"

static _Atomic bool used;

bool
lab_exclusive_is_used(void)
{
	return lab_load_rlx(&used);
}

void
lab_exclusive_begin(struct lab_run *run, uint64_t marks, uint32_t owner)
{
	lab_store_rlx(&used, true);
	lab_compiler_barrier();
	bool begun = lab_cas64(&run->state, LAB_RUN_LIVE, lab_state_make(marks, owner));
	lab_assert(begun);
	(void)begun;
}

bool
lab_exclusive_permits(uint64_t state, uint32_t tid)
{
	uint32_t owner = lab_state_owner(state);

	if (owner == tid || owner == 0)
		return true;
	bool dead = lab_os.thread_is_dead(owner);
	atomic_thread_fence(memory_order_seq_cst); /* INV-EXCL-1: the state was read before the proof, the CAS comes after */
	return dead;
}

enum lab_exclusive_free
lab_exclusive_begin_free(struct lab_run *run, uint32_t tid, uint64_t *state)
{
	/* acq pairs with the CAS of whoever made or gave the run */
	while (lab_state_is_exclusive(*state = lab_load_acq(&run->state))) {
		if (!lab_exclusive_permits(*state, tid))
			return LAB_EXCLUSIVE_REFUSED;
		if (lab_cas64(&run->state, *state, (*state & LAB_EXCLUSIVE_MARKS) | (uint64_t)tid << 2 | LAB_RUN_FREEING))
			return LAB_EXCLUSIVE_FREEING;
	}
	return LAB_EXCLUSIVE_NOT;
}

bool
lab_exclusive_give(struct lab_run *run, uint32_t from, uint32_t to)
{
	uint64_t state = lab_load_acq(&run->state);

	return lab_state_is_exclusive(state) && lab_state_owner(state) == from &&
	       lab_cas64(&run->state, state, lab_state_make(state & LAB_EXCLUSIVE_MARKS, to));
}

static void
restamp(struct lab_run *run, uint32_t old_tid, uint32_t new_tid)
{
	uint64_t state = lab_load_acq(&run->state);
	uint32_t owner = lab_state_owner(state);

	if (!lab_state_is_exclusive(state) || owner == 0 || owner == new_tid)
		return;
	(void)lab_cas64(&run->state, state, lab_state_make(state & LAB_EXCLUSIVE_MARKS, owner == old_tid ? new_tid : 0));
}

static void
restamp_segment(const struct lab_arena *arena, size_t index, uint32_t old_tid, uint32_t new_tid)
{
	enum lab_segment_kind kind = lab_owner_kind(lab_load_acq(&arena->owners[index]));
	struct lab_segment *segment = lab_arena_segment(arena, index);

	for (size_t page = 0; page < (kind == LAB_SEGMENT_SMALL ? LAB_SEGMENT_PAGES : kind == LAB_SEGMENT_HUGE); page++)
		restamp(&segment->runs[page], old_tid, new_tid);
}

void
lab_exclusive_after_fork(uint32_t old_tid, uint32_t new_tid)
{
	struct lab_arena *arena;
	struct lab_walk walk;

	lab_walk_begin(&walk);
	for (size_t i = 0; lab_exclusive_is_used() && (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (lab_arena_is_committed(arena, index))
				restamp_segment(arena, index, old_tid, new_tid);
	}
	lab_walk_end(&walk);
}
