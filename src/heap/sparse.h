/*
 * sparse.h - gives back pages of spans that are in use: those on which every block is free. _owned: by the holder of
 * the heap, inside its guard.
 *
 * One block that survives keeps a span of 64 KiB from being retired. In a sparse span, of whose blocks at most a fourth
 * is used, the blocks of pages that are free as a whole are taken out of the free list, and the pages go back to the
 * system; they are carved again when the list is used up (INV-SPAN-4). That writes what the fast paths write, so the
 * holder does it, or a visitor that holds the span (hold.h).
 *
 * A round is a walk over the heap's spans, at most once in two decay times. A span is looked at when it has been
 * sparse, and not current, from one round to the next; then again when a fourth of the blocks that were used is left.
 */
#ifndef LAB_HEAP_SPARSE_H
#define LAB_HEAP_SPARSE_H

#include "heap/heap.h"

/* Whether a round is under way. By the heap's thread, also outside of the heap. */
static inline bool
lab_sparse_is_on(const struct lab_heap *heap)
{
	return heap && lab_peek(&heap->thinning.is_on);
}

/* Whether there may be something to do for lab_sparse_look_owned. By the heap's thread, also outside of the heap. */
static inline bool
lab_sparse_is_due(const struct lab_heap *heap)
{
	return heap && (lab_peek(&heap->thinning.due) || lab_peek(&heap->thinning.is_on));
}

/* Whether it is time for that, if a round may begin each `period` milliseconds. */
static inline bool
lab_sparse_is_timely(const struct lab_heap *heap, uint64_t now, uint64_t period)
{
	return lab_peek(&heap->thinning.is_on) || now - lab_peek(&heap->thinning.begun_at) >= period;
}

/* Goes on with the heap's round, if one is under way or it is time for one. At most a slice's work (page/sweep.h), or a
 * segment's. Whether pages went back. */
bool lab_sparse_look_owned(struct lab_heap *heap, uint64_t now, uint64_t period);

/* Takes the blocks of free pages out of the list that begins at *freelist_state, the span's own or what is kept of a
 * held one (hold.h), and gives the pages back. How many; *tried: how many there were. */
size_t lab_sparse_thin_owned(struct lab_heap *heap, struct lab_unit *unit, uint32_t *freelist_state, size_t *tried);

/* Looks at all spans of the heap, and takes sparse ones as they come. */
void lab_sparse_give_all_owned(struct lab_heap *heap);

/* Makes blocks of purged pages of the span, which has such, and puts them on its empty list. False: the memory limit
 * forbids it. */
bool lab_sparse_carve_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Ends what heap->thinning says was cut short. No block is lost. */
void lab_sparse_repair_owned(struct lab_heap *heap);

#endif
