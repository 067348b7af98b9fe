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

/* Pages that were taken just now count as in use. */
void lab_pages_count_taken_owned(struct lab_heap *heap, const struct lab_segment *segment, size_t page, size_t count);

/* Gives pages back; the first `dirty` of them may have been written to. */
void lab_pages_give_owned(struct lab_heap *heap, struct lab_segment *segment, size_t page, size_t count, size_t dirty);

/* Gives the heap's empty segments to whoever wants one; `keep`: all but the largest. */
void lab_segments_release_owned(struct lab_heap *heap, bool keep);
/* In need: what the heap keeps free, and all that is nobody's, is unmapped. It counts for the limits of the process. */
void lab_heap_make_room_owned(struct lab_heap *heap);

/* Units that were retired spans are plain pages once a run lies over them, or over a part of them. */
void lab_run_forget_retired(struct lab_pages pages, size_t count);

/* Frees a run whose LIVE→FREEING this thread, or the one that pushed it, has won. */
void lab_run_free_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run);

/* The same in a frozen heap's segment, which has no holder: by whoever has won it. */
void lab_run_free_frozen(struct lab_segment *segment, struct lab_run *run);

/* Changes a live run's length in place, if the pages behind it are free. */
bool lab_run_resize_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run, size_t count);

/* LIVE → FREEING, by tid: true for the one freer that wins. Not of an exclusive block. Any thread. */
bool lab_run_begin_free(struct lab_run *run, uint32_t tid);

#endif
