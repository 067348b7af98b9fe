/*
 * exclusive.h - runs that belong to a thread, not to whoever has the pointer. Any context.
 *
 * The state of a run is a lease (page/segment.h). That of an exclusive one has these bits of the tag, and its owner's
 * thread id, where that of an ordinary one is LIVE alone: so ordinary blocks pay nothing, and lab_run_begin_free
 * fails for exclusive ones. While it is freed it keeps the marks.
 *
 *     bit 57  exclusive      bits 58-60  the marks: the LAB_GFP_ bits 9-11
 *
 * INV-EXCL-1  The owner in a state changes by CAS from exactly that state: to another thread by the owner; to FREEING
 *             by the owner, or by anyone if the state names nobody or a thread that was proved dead after the state
 *             was read; in a child of fork by its leader (lab_exclusive_settle). The epoch stays: it is the block's,
 *             whose address others may look up (page/huge.h).
 * INV-EXCL-2  The marks stand in the state before the kernel is told of them, and pages that were marked are taken into
 *             use again only when the kernel has put new ones in their place. So whoever frees knows what there is to
 *             undo, wherever the allocation was cut short; a free that is cut short, or that the kernel refuses, loses
 *             the block: a huge one until the freer is dead (lab_huge_finish_frees).
 */
#ifndef LAB_HEAP_EXCLUSIVE_H
#define LAB_HEAP_EXCLUSIVE_H

#include "heap/heap.h"
#include "os/os.h"

#define LAB_EXCLUSIVE_BIT        (UINT64_C(1) << 57) /* every exclusive run has it */
#define LAB_EXCLUSIVE_MARK_SHIFT 58u
#define LAB_EXCLUSIVE_MARKS      (UINT64_C(7) << LAB_EXCLUSIVE_MARK_SHIFT)

static inline bool
lab_state_is_exclusive(uint64_t state)
{
	return state & LAB_EXCLUSIVE_BIT && lab_run_kind_of(state) == LAB_RUN_LIVE;
}

/* `before`: any state of the run. */
static inline uint64_t
lab_state_make(uint64_t before, uint64_t marks, uint32_t owner)
{
	uint32_t named = owner == LAB_OS_TID_UNKNOWN ? 0 : owner;

	return lab_lease_make(lab_lease_epoch(before), named, LAB_RUN_LIVE) | marks | LAB_EXCLUSIVE_BIT;
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

/* In fork's child, a lab_lease_kind: exclusive blocks, and huge blocks that were being freed. What was other threads'
 * is nobody's; where it cannot be told which threads there are, the frees stay as they are. */
void lab_exclusive_settle(const struct lab_lease_fork *fork);

#endif
