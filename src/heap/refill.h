/* refill.h - what follows when the current span of a class has no free block: malloc's slow path. _owned: by the holder
 * of the heap, inside its guard. */
#ifndef LAB_HEAP_REFILL_H
#define LAB_HEAP_REFILL_H

#include "heap/heap.h"

/* Sees to it that bins[c].current has a free block: drains, mends, carves, takes a better listed span, or makes one.
 * False: no memory. */
bool lab_span_refill_owned(struct lab_heap *heap, unsigned c);

#endif
