/*
 * claim.h - how a heap becomes a thread's: births, borrowing, absorption, and what jumps have left. The rules
 * (INV-THREAD-…) stand in thread.h. Any context.
 */
#ifndef LAB_HEAP_CLAIM_H
#define LAB_HEAP_CLAIM_H

#include "heap/current.h"

/*
 * Whether a call at sp that meets the frame `flag` is to try the proof that the frame is gone, which costs system
 * calls: at the 1st, 2nd, 4th, 8th … meeting. Meetings from below the frame, as by a handler's calls, count by
 * themselves: they seldom prove anything. Meetings from above count by the place of the call (16 KiB of stack), from 0
 * again at each change of place: a handler on an alternate stack at a higher address proves nothing, the frame that the
 * jump went to can, and the first must not use up the second's tries. A meeting counts when it was not worth a proof,
 * or the proof has failed: a call that is left in the middle of a proof has said nothing about the frame.
 */
bool lab_is_worth_a_proof(struct lab_meetings *met, uintptr_t flag, uintptr_t sp);
void lab_count_failed_proof(struct lab_meetings *met, uintptr_t flag, uintptr_t sp);

/* Whether a frame of the thread may be suspended that borrows. */
bool lab_is_borrowing(const struct lab_thread *t, uintptr_t sp);

/*
 * The thread's heap, for life: that of the thread that was born last where this one lies, if that is dead, as libc uses
 * stacks again; else an idle one, that of another dead thread, or a new one. tid: the thread's. The word is busy
 * already: a handler borrows meanwhile. NULL: there is none and none can be made.
 */
struct lab_heap *lab_win_at_birth(struct lab_thread *t, uint32_t tid);

/* A heap for a call that cannot have its thread's own: guard->heap and word. False: there is none and none can be made.
 * in_shared_memory_child: by a frame that is not the thread's. */
bool lab_win_to_borrow(struct lab_thread *t, struct lab_guard *guard, bool in_shared_memory_child);

/* The one that was borrowed last, if it is idle. */
bool lab_win_again(struct lab_thread *t, struct lab_guard *guard);

void lab_give_back_borrowed(struct lab_thread *t, struct lab_guard *guard);

/* Repairs one of the heaps that a jump has left, and gives it back. Inside the thread's own heap, entered when the word
 * was idle or proved stale. */
void lab_repair_one_left(struct lab_thread *t, uintptr_t sp);

/* Finds a dead thread's heap by up to `probes` questions and puts all that it holds into `heap`, which the caller is
 * inside. */
bool lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes);

/* Repairs a heap whose thread is dead, or an idle one that blocks were freed into, and leaves it idle, with no segment
 * and no span that is empty. False: none was found by up to `probes` questions. The caller is inside `into`.
 * Adds to *blocks how many were taken in. */
bool lab_thread_clear_one_owned(struct lab_heap *into, unsigned probes, size_t *blocks);

/* What spans keep that are in use: pages of sparse ones (sparse.h) in this heap and in idle ones, and what threads that
 * sleep keep for themselves (sleeper.h). It costs more to be had again than what is free. */
void lab_thread_squeeze_owned(struct lab_heap *heap);

#endif
