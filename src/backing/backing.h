/*
 * backing.h - who gives the reserve its memory, keeps it resident, and makes it grow and shrink.
 *
 * Nothing here is called by the atomic tier; a claim that gets below the low mark leaves a bit in
 * lab_reserve.refill_pending, and the next slow call of the normal tier on the thread's own heap sees it.
 */
#ifndef LAB_BACKING_BACKING_H
#define LAB_BACKING_BACKING_H

#include "reserve/reserve.h"

/* By the constructor. */
void lab_backing_start(void);

/* Whether there is a reserve whose pages are the process's own. */
bool lab_backing_is_own(void);

bool lab_backing_refill(uintptr_t sp);

/* What classes that are low ask for: growth, and the callback. Any thread that is inside no heap and has no frame
 * suspended in one; sp: the API function's entry. errno stays. True if a class was grown. */
static inline bool
lab_backing_tick(uintptr_t sp)
{
	return lab_unlikely(lab_load_rlx(&lab_reserve.refill_pending)) && lab_backing_refill(sp);
}

/* lab_reserve_balance. */
bool lab_backing_balance(uintptr_t sp);

/* In the parent, whose pages fork has made copies-on-write: they are made its own again, if the reserve is in use. */
void lab_backing_after_fork(void);

/* In fork's child, a lab_lease_kind that has no leases: the copies are to be made, if the reserve is in use. */
void lab_backing_settle(const struct lab_lease_fork *fork);

#endif
