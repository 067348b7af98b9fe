/*
 * rebuild.h - a heap's lists are made anew from what is always true. For a heap that was left in the middle of
 * something, by a jump or a death, for a new one, and to take over a dead thread's. _owned: by the holder of the heap,
 * inside its guard.
 */
#ifndef LAB_HEAP_REBUILD_H
#define LAB_HEAP_REBUILD_H

#include "heap/heap.h"

/* Makes every list of the heap anew from the owner words, bitmaps and spans, and finishes a torn drain. Also how a new
 * heap is initialised. Repeatable if it is cut short. */
void lab_heap_rebuild_owned(struct lab_heap *heap);

/*
 * Takes over all that `dead` holds, another heap that the caller has won, and makes that one an empty idle heap. This
 * is the only way in which spans change heap: both heaps are the caller's. A remote free that was under way to the old
 * heap is forwarded by whoever drains it next.
 */
void lab_heap_absorb_owned(struct lab_heap *heap, struct lab_heap *dead);

#endif
