/* decay.h - when free pages go back to the system. Any context, outside of every heap. */
#ifndef LAB_ALLOC_DECAY_H
#define LAB_ALLOC_DECAY_H

#include "heap/thread.h"
#include "page/purge.h"

/* Returns to the system what has been free for long enough, if it is time to look. Not inside a heap; the guard is for
 * its use. */
void lab_decay_look(struct lab_guard *guard);

/* The same by whoever comes by. */
static inline void
lab_decay_poll(struct lab_guard *guard)
{
	if (lab_load_rlx(&lab_purge_pending) != LAB_PURGE_NOTHING)
		lab_decay_look(guard);
}

/* The same by who has freed pages: sees to the trim threshold as well. */
void lab_decay_tick(struct lab_guard *guard);

#endif
