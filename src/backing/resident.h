/* resident.h - how the reserve's memory is made resident, and locked where that is wanted and allowed. KERNEL contexts.
 * */
#ifndef LAB_BACKING_RESIDENT_H
#define LAB_BACKING_RESIDENT_H

#include "reserve/bank.h"

/* Why not all of it is resident and locked, as words for a person; "": it is. */
extern _Atomic(const char *) lab_resident_why_not;

/* Makes accessible pages resident, `write`: as the process's own; locks them; and makes resident what free() reads to
 * tell that an address among them is no block. False: no memory. That they are not locked is noted. */
bool lab_resident_hold(struct lab_range range, bool write);

/* The same for what is in use already: a failure is noted. */
void lab_resident_keep(struct lab_range range, bool write);

/* Gives pages of slots back, which stay accessible. False: refused, and they are held as before. */
bool lab_resident_give_back(struct lab_range slots);

#endif
