/* limit.h - what a KERNEL call does when the memory limit stops it. */
#ifndef LAB_ALLOC_LIMIT_H
#define LAB_ALLOC_LIMIT_H

#include "alloc/request.h"
#include "heap/thread.h"

/*
 * For a KERNEL call that the limit has stopped, on the thread's own heap, outside of it: reclaims, tries again, and
 * waits for others' frees as long as LAB_PARAM_WAIT_MS says, trying again whenever pages are freed. NULL: in vain. A
 * handler may interrupt the wait, allocate, and leave it by a jump.
 */
void *lab_limit_allocate(struct lab_guard *guard, struct lab_request request, bool *fresh, bool *sampled);

extern _Atomic bool lab_limit_waiting;
void lab_limit_wake(void);

/* After pages were freed, outside the heap: wakes those who wait for some. */
static inline void
lab_limit_notify(void)
{
	if (lab_unlikely(lab_load_rlx(&lab_limit_waiting)))
		lab_limit_wake();
}

/* `hook` is called when memory runs short under the limit: it frees what can be done without, allocates nothing, and
 * returns the bytes; gfp: the stopped call's. From any thread, at any time, one at a time as a rule. False: no more
 * room for hooks. */
bool lab_limit_on_reclaim(size_t (*hook)(unsigned gfp));

/* Around a trim: calls that the limit stops wait for its end, as for another's reclaim. It does not wait itself. Pass
 * what the first returns to the second. */
uint64_t lab_limit_begin_trim(void);
void lab_limit_end_reclaim(uint64_t lease);

/* See lab_lease_kind. */
void lab_limit_settle(const struct lab_lease_fork *fork);

/* Calls that have waited so far. */
extern _Atomic size_t lab_limit_wait_count LAB_HIDDEN;

#endif
