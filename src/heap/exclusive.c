/* exclusive.c - see exclusive.h. Any context; every step is one CAS. */
#include "heap/exclusive.h"
#include "base/check.h"
#include "os/os.h"
#include "page/space.h"

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
	uint64_t live = lab_load_rlx(&run->state);
	bool begun = lab_cas64(&run->state, live, lab_state_make(live, marks, owner));
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
		uint64_t kept = lab_run_seq(*state) | (*state & LAB_EXCLUSIVE_MARKS);
		if (lab_cas64(&run->state, *state, kept | (uint64_t)tid << 2 | LAB_RUN_FREEING))
			return LAB_EXCLUSIVE_FREEING;
	}
	return LAB_EXCLUSIVE_NOT;
}

bool
lab_exclusive_give(struct lab_run *run, uint32_t from, uint32_t to)
{
	uint64_t state = lab_load_acq(&run->state);

	return lab_state_is_exclusive(state) && lab_state_owner(state) == from &&
	       lab_cas64(&run->state, state, lab_state_make(state, state & LAB_EXCLUSIVE_MARKS, to));
}

static void
restamp(struct lab_run *run, uint32_t old_tid, uint32_t new_tid)
{
	uint64_t state = lab_load_acq(&run->state);
	uint32_t owner = lab_state_owner(state);

	if (!lab_state_is_exclusive(state) || owner == 0 || owner == new_tid)
		return;
	(void)lab_cas64(&run->state, state, lab_state_make(state, state & LAB_EXCLUSIVE_MARKS, owner == old_tid ? new_tid : 0));
}

void
lab_exclusive_after_fork(uint32_t old_tid, uint32_t new_tid)
{
	struct lab_segment *segment;
	struct lab_huge *huge;
	uint64_t owner;

	for (size_t i = 0; lab_exclusive_is_used() && (huge = lab_huge_at(i)) != NULL; i++)
		restamp(&huge->run, old_tid, new_tid);
	for (size_t index = 0; lab_exclusive_is_used() && (segment = lab_space_next(&index, &owner)) != NULL;)
		for (size_t page = 0; page < lab_segment_pages(segment); page++)
			restamp(&segment->runs[page], old_tid, new_tid);
}
