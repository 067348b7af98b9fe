/*
 * run.h - pages of a heap's segments, and blocks that are runs of them. _owned: by the holder of the heap, inside its
 * guard.
 */
#ifndef LAB_HEAP_RUN_H
#define LAB_HEAP_RUN_H

#include "heap/heap.h"

struct lab_pages {
	struct lab_segment *segment; /* NULL: no memory */
	size_t page;
};

/* `count` pages of the heap's segments at a multiple of `align` pages; count and align at most LAB_SEGMENT_PAGES. Where
 * align is 1, pages that are free for any run of lab_run_pages(count) are found. */
struct lab_pages lab_pages_take_owned(struct lab_heap *heap, size_t count, size_t align);

/* Gives them back; the first `dirty` of them may have been written to. */
void lab_pages_give_owned(struct lab_heap *heap, struct lab_segment *segment, size_t page, size_t count, size_t dirty);

/* Gives the heap's empty segments to whoever wants one, all but the largest. */
void lab_segments_release_spare_owned(struct lab_heap *heap);
/* In need: what the heap keeps free, and all that is nobody's, is unmapped. It counts for the limits of the process. */
void lab_heap_make_room_owned(struct lab_heap *heap);
/* All of them: for a heap that nobody is going to use soon. */
void lab_segments_release_empty_owned(struct lab_heap *heap);

/* A block of `count` pages. *fresh: it reads as zero. */
void *lab_run_alloc_owned(struct lab_heap *heap, size_t count, size_t align, bool *fresh);

/* Frees a run whose LIVE→FREEING this thread, or the one that pushed it, has won. */
void lab_run_free_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run);

/* The same in a frozen heap's segment, which has no holder: by whoever has won it. */
void lab_run_free_frozen(struct lab_segment *segment, struct lab_run *run);

/* Changes a live run's length in place, if the pages behind it are free. */
bool lab_run_resize_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run, size_t count);

/* LIVE → FREEING, by tid: true for the one freer that wins. Not of an exclusive block. Any thread. */
bool lab_run_begin_free(struct lab_run *run, uint32_t tid);

#endif
