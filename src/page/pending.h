/*
 * pending.h - the note that there may be something to give back to the system, and the program's wish that nothing
 * goes. Any context.
 */
#ifndef LAB_PAGE_PENDING_H
#define LAB_PAGE_PENDING_H

#include <stdint.h>

#include "base/atomic.h"

/*
 * Whether there may be something to give back: pages, or blocks freed into a heap whose thread may be dead. Who frees
 * sets LAB_PURGE_NOTED after the fact; a sweep clears it before it looks at anything. On machines that order a load
 * before an earlier read-modify-write a note can be missed; the next one is not.
 */
enum lab_purge_pending {
	LAB_PURGE_NOTHING = 0,
	LAB_PURGE_NOTED = 1, /* since there was nothing, or the sweep began */
	LAB_PURGE_SEEN = 2,  /* a sweep has left something, or the time of a note is known */
};
extern _Atomic uint32_t lab_purge_pending;

static inline void
lab_purge_note(void)
{
	if (lab_unlikely(lab_load_rlx(&lab_purge_pending) == LAB_PURGE_NOTHING))
		lab_store_rlx(&lab_purge_pending, LAB_PURGE_NOTED);
}

/* The program wants to keep what it has freed: pages go back when it asks for that, and where there is no room
 * otherwise. */
extern _Atomic bool lab_purge_is_held;

#endif
