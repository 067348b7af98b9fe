/*
 * exclusive.h - runs that belong to a thread, not to whoever has the pointer. Any context.
 *
 * The state of an exclusive run is {marks, owner's tid, LIVE} where that of an ordinary one is LIVE alone: so ordinary blocks pay
 * nothing, and lab_run_begin_free, which goes from exactly LIVE, fails for exclusive ones.
 *
 *     bits 0-1  LAB_RUN_LIVE      bits 2-31  owner, 0 for nobody's      bits 32-35  the LAB_GFP_ bits 8-11      above  seq, of a huge block
 *
 * While it is freed it keeps the marks (bits 33-35).
 *
 * INV-EXCL-1  The owner in a state changes by CAS from exactly that state: to another thread by the owner; to FREEING by the owner, or
 *             by anyone if the state names nobody or a thread that was proved dead after the state was read; in a child of fork by its
 *             leader, before anybody there asks.
 * INV-EXCL-2  The marks stand in the state before the kernel is told of them, and pages that were marked are taken into use again only when
 *             the kernel has put new ones in their place. So whoever frees knows what there is to undo, wherever the
 *             allocation was cut short; a free that is cut short, or that the kernel refuses, loses the block: a huge one until
 *             the freer is dead (lab_huge_finish_frees).
 */
#ifndef LAB_HEAP_EXCLUSIVE_H
#define LAB_HEAP_EXCLUSIVE_H

#include "heap/heap.h"
#include "os/os.h"

#define LAB_EXCLUSIVE_SHIFT 24u                 /* from the gfp bits to the state's */
#define LAB_EXCLUSIVE_BIT   (UINT64_C(1) << 32) /* every exclusive run has it */
#define LAB_EXCLUSIVE_MARKS (UINT64_C(7) << 33)

static inline bool
lab_state_is_exclusive(uint64_t state)
{
	return state & LAB_EXCLUSIVE_BIT && (state & 3) == LAB_RUN_LIVE;
}

static inline uint32_t
lab_state_owner(uint64_t state)
{
	return (uint32_t)state >> 2;
}

/* `before`: any state of the run. */
static inline uint64_t
lab_state_make(uint64_t before, uint64_t marks, uint32_t owner)
{
	uint64_t named = owner == LAB_OS_TID_UNKNOWN ? 0 : owner;

	return lab_run_seq(before) | marks | LAB_EXCLUSIVE_BIT | named << 2 | LAB_RUN_LIVE;
}

/* Whether there was ever an exclusive run in this process: a relaxed load that spares others the look. */
bool lab_exclusive_is_used(void);

/* Makes a live run, which is the caller's, exclusive. */
void lab_exclusive_begin(struct lab_run *run, uint64_t marks, uint32_t owner);

/* Whether thread tid may free and resize a run with this state, which is exclusive. It may ask the kernel. */
bool lab_exclusive_permits(uint64_t state, uint32_t tid);

enum lab_exclusive_free {
	LAB_EXCLUSIVE_FREEING, /* won: the run is the caller's to take apart; *state is what it was */
	LAB_EXCLUSIVE_REFUSED, /* another thread's */
	LAB_EXCLUSIVE_NOT,     /* no live exclusive run */
};
enum lab_exclusive_free lab_exclusive_begin_free(struct lab_run *run, uint32_t tid, uint64_t *state);

/* From `from` to `to`. False: it is not `from`'s, or was freed meanwhile. */
bool lab_exclusive_give(struct lab_run *run, uint32_t from, uint32_t to);

/* In the child of fork: what was the forking thread's is the leader's, and what was other threads' is nobody's. Repeatable. */
void lab_exclusive_after_fork(uint32_t old_tid, uint32_t new_tid);

#endif
