/*
 * segment_index.h - a heap's segments in two indexes: by the order of the greatest free block, and by the longest run
 * of free pages. _owned: by the holder of the heap, inside its guard. All in constant time.
 */
#ifndef LAB_HEAP_SEGMENT_INDEX_H
#define LAB_HEAP_SEGMENT_INDEX_H

#include "heap/heap.h"

/* The lists of one index: the first segment of each bin. */
static inline struct lab_segment **
lab_segment_bins(struct lab_heap *heap, enum lab_segment_index index)
{
	return index == LAB_BY_ORDER ? heap->by_order : heap->by_run;
}

/* Puts the segment where INV-HEAP-3 wants it, in both indexes, from the holder's view of it. */
void lab_segment_index_owned(struct lab_heap *heap, struct lab_segment *segment);

/* Takes the segment out of both. */
void lab_segment_unindex_owned(struct lab_heap *heap, struct lab_segment *segment);

/* A segment that is new to the heap, or whose heap's indexes were emptied, is in no list. */
void lab_segment_forget_index(struct lab_segment *segment);

#endif
