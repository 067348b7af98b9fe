/*
 * take.h - pages for spans and runs: from the heap's own segments, else from the heaps of the dead, else from a new
 * segment. _owned: by the holder of the heap, inside its guard.
 */
#ifndef LAB_HEAP_TAKE_H
#define LAB_HEAP_TAKE_H

#include "heap/run.h"

/* `count` pages of the heap's segments at a multiple of `align` pages; count and align at most LAB_SEGMENT_PAGES. Where
 * align is 1, pages that are free for any run of lab_run_pages(count) are found. Before one is written to
 * it is charged for. */
struct lab_pages lab_pages_take_owned(struct lab_heap *heap, size_t count, size_t align);

/* Charges for the first of `count` pages that were just taken, before they are used. False: the memory limit forbids
 * it, heap->over_limit says so, and all of them are given back. */
bool lab_pages_charge_owned(struct lab_heap *heap, struct lab_pages pages, size_t count, size_t charged);

/* A block of `count` pages. *fresh: it reads as zero. */
void *lab_run_alloc_owned(struct lab_heap *heap, size_t count, size_t align, bool *fresh);

/* The same for a block that has grown, and is to grow in place when it grows again: as many pages behind it are free,
 * if that can be had. */
void *lab_run_alloc_growing_owned(struct lab_heap *heap, size_t count, bool *fresh);

#endif
