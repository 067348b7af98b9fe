/*
 * resident.h - how what the atomic tier touches is made resident, and locked where that is wanted and allowed. KERNEL
 * contexts.
 *
 * RLIMIT_MEMLOCK is the program's. So all of it is locked, or nothing: if it takes at most a quarter of the limit, and
 * the system lets each part be locked. With LABYRINTH_RESERVE_LOCK=1 the limit is not looked at, and the system alone
 * decides. A share for which the quarter has no room is resident and not locked.
 */
#ifndef LAB_BACKING_RESIDENT_H
#define LAB_BACKING_RESIDENT_H

#include "reserve/bank.h"

/* Why not all of it is resident and locked, as words for a person; "": it is. */
extern _Atomic(const char *) lab_resident_why_not;

/* All of it: slots, shares, this library, and what free() reads to tell that an address among slots is no block. What
 * fails is noted. */
void lab_resident_hold_all(void);

/* The same for the memory of a share. False: no memory. That it is not locked is noted. */
bool lab_resident_hold(struct lab_range slots);

/* Gives pages of slots back, which stay accessible. False: refused, and they are held as before. */
bool lab_resident_give_back(struct lab_range slots);

#endif
