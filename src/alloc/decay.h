/* decay.h - when free pages go back to the system. Any context, outside of every heap. */
#ifndef LAB_ALLOC_DECAY_H
#define LAB_ALLOC_DECAY_H

#include "heap/sparse.h"
#include "heap/thread.h"
#include "page/pending.h"
#include "page/sweep.h"

/* Returns to the system some of what has been free for long enough, if it is time to look, or a sweep or a round over
 * sparse spans (heap/sparse.h) is under way. Not inside a heap; the guard is for its use. */
void lab_decay_work(struct lab_guard *guard);

/* The same by whoever comes by. */
static inline void
lab_decay_poll(struct lab_guard *guard)
{
	if (lab_load_rlx(&lab_purge_pending) != LAB_PURGE_NOTHING || lab_sweep_is_on() ||
	    lab_sparse_is_due(lab_thread.heap))
		lab_decay_work(guard);
}

/* The same by who has freed so many pages: what is free and dirty beyond what may be goes back as well, about as many
 * as were freed, or a slice. */
void lab_decay_tick(struct lab_guard *guard, size_t pages);

/* After a frame that freed pages has left the heap: who waits for memory is told as well. */
void lab_decay_note_freed(struct lab_guard *guard, size_t pages);

/* By who has freed blocks into another's heap, in which much waits now: its thread sleeps, perhaps. */
void lab_decay_visit(struct lab_guard *guard, struct lab_heap *heap);

/* Pages that threads which rest keep for themselves (heap/visit.h). By the background thread: a filter may kill at what
 * it takes to learn that a thread rests (ADR 26). */
void lab_decay_rest(struct lab_guard *guard);

#endif
