/* walk.h - all dressed blocks: those with damage, and those that are left at the end. */
#ifndef LAB_DEBUG_WALK_H
#define LAB_DEBUG_WALK_H

#include "debug/dress.h"

/* Calls `visit` for each raw block that is LIVE or FREED, until it returns false. Any thread; blocks that come and go
 * meanwhile may be missed. */
void lab_dress_walk(bool (*visit)(struct lab_dress *dress, void *context), void *context);

/* Counts LIVE blocks at the sites that allocated them (insight/sites.h), for lab_leaks_report. By one thread, once,
 * where there is no heap profile. Whether there are any. */
bool lab_dress_count_left(void);

#endif
