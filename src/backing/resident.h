/*
 * resident.h - how the reserve's memory is made resident, and locked where that is wanted and allowed. What could not be done is remembered.
 * KERNEL contexts.
 */
#ifndef LAB_BACKING_RESIDENT_H
#define LAB_BACKING_RESIDENT_H

#include "reserve/bank.h"

/* Why not all of it is resident and locked, as words for a person; "": it is. */
extern _Atomic(const char *) lab_resident_why_not;

/* Makes accessible pages resident, `write`: as the process's own, and locks them. */
void lab_resident_hold(struct lab_range range, bool write);

/* Without a lock: pages that fork has made copy-on-write. */
void lab_resident_copy(struct lab_range range, bool write);

/* Makes resident what free() reads to tell that an address of the range is no block. */
void lab_resident_hold_descriptors(struct lab_range slots);

/* All three for slots. False: no memory. */
bool lab_resident_fill(struct lab_range slots);

/* Gives their pages back, which stay accessible. False: refused, and they are held as before. */
bool lab_resident_give_back(struct lab_range slots);

#endif
