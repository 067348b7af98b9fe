/*
 * orphans.h - pages of a segment that are taken but belong to no block: what a frame that was cut short had in hand.
 * _owned: by the segment's holder.
 */
#ifndef LAB_HEAP_ORPHANS_H
#define LAB_HEAP_ORPHANS_H

#include "heap/heap.h"

/* What a pass over the blocks of a segment carries along. */
struct lab_cover {
	struct lab_segment *segment;
	void (*take_span)(struct lab_heap *heap, struct lab_unit *unit); /* called for each span; or NULL */
	struct lab_heap *heap;                                           /* what take_span is given */
	uint64_t covered[LAB_SEGMENT_WORDS]; /* the pass's result: pages of spans and runs */
};

void lab_segment_cover_owned(struct lab_cover *cover);

/*
 * Frees pages that are taken but not covered by a block. Under the purge word, as a purger's pages look the same; if a
 * living purger has it the segment is marked and nothing is freed.
 */
void lab_segment_free_orphans_owned(struct lab_segment *segment, const uint64_t covered[LAB_SEGMENT_WORDS]);

/* The same for a segment whose blocks are looked up. */
void lab_segment_scan_owned(struct lab_segment *segment);

#endif
