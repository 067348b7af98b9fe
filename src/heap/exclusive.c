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
	/* pairs with the acq of those who ask for the owner */
	bool begun = lab_cas64(&run->state, live, lab_state_make(live, marks, owner));
	lab_assert(begun);
	(void)begun;
}

bool
lab_exclusive_permits(uint64_t state, uint32_t tid)
{
	return lab_lease_tid(state) == tid || lab_lease_is_free(state, tid, lab_os.thread_is_dead);
}

enum lab_exclusive_free
lab_exclusive_begin_free(struct lab_run *run, uint32_t tid, uint64_t *state)
{
	/* acq pairs with the CAS of whoever made or gave the run */
	while (lab_state_is_exclusive(*state = lab_load_acq(&run->state))) {
		if (!lab_exclusive_permits(*state, tid))
			return LAB_EXCLUSIVE_REFUSED;
		uint64_t freeing = lab_lease_make(lab_lease_epoch(*state), tid, LAB_RUN_FREEING);
		/* pairs with the acq of another who frees it, and of fork's child */
		if (lab_cas64(&run->state, *state, freeing | (*state & LAB_EXCLUSIVE_MARKS)))
			return LAB_EXCLUSIVE_FREEING;
	}
	return LAB_EXCLUSIVE_NOT;
}

bool
lab_exclusive_give(struct lab_run *run, uint32_t from, uint32_t to)
{
	uint64_t state = lab_load_acq(&run->state); /* pairs with the CAS of who made or gave the run */

	/* the CAS pairs with the acq of those who ask for the owner: what the giver wrote is the new owner's */
	return lab_state_is_exclusive(state) && lab_lease_tid(state) == from &&
	       lab_cas64(&run->state, state, lab_state_make(state, state & LAB_EXCLUSIVE_MARKS, to));
}

static bool
is_to_settle(uint64_t state, const struct lab_lease_fork *fork)
{
	if (lab_run_kind_of(state) == LAB_RUN_FREEING)
		return lab_lease_is_forkers(state, fork) || fork->is_here(fork->new_tid);
	return lab_state_is_exclusive(state);
}

static void
settle(struct lab_run *run, const struct lab_lease_fork *fork)
{
	uint64_t state = lab_load_acq(&run->state); /* pairs with the CAS of its last owner, or freer */

	if (is_to_settle(state, fork))
		(void)lab_lease_settle(&run->state, fork, lab_lease_nobodys(state));
}

void
lab_exclusive_settle(const struct lab_lease_fork *fork)
{
	struct lab_segment *segment;
	struct lab_huge *huge;
	uint64_t owner;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++)
		settle(&huge->run, fork);
	for (size_t index = 0; lab_exclusive_is_used() && (segment = lab_space_next(&index, &owner)) != NULL;)
		for (size_t page = 0; page < lab_segment_pages(segment); page++)
			settle(&segment->runs[page], fork);
}
