/* walk.h - all dressed blocks: those with damage, and those that are left at the end. */
#ifndef LAB_DEBUG_WALK_H
#define LAB_DEBUG_WALK_H

#include "debug/dress.h"

/* Calls `visit` for each raw block that is LIVE or FREED, until it returns false. Any thread; blocks that come and go
 * meanwhile may be missed. */
void lab_dress_walk(bool (*visit)(struct lab_dress *dress, void *context), void *context);

/* Writes the list of LIVE blocks, by who allocated them, to stderr. By one thread, once. */
void lab_dress_list_leaks(void);

#endif
