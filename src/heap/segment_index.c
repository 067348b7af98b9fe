/*
 * segment_index.c - a heap's segments by what they have free: lists that are doubly linked, one for each bin.
 */
#include "heap/segment_index.h"

static void
list_remove(struct lab_heap *heap, struct lab_segment *segment, enum lab_segment_index index)
{
	struct lab_segment_links *links = &segment->links[index];

	if (links->bin < 0)
		return;
	if (links->previous)
		links->previous->links[index].next = links->next;
	else
		lab_segment_bins(heap, index)[links->bin] = links->next;
	if (links->next)
		links->next->links[index].previous = links->previous;
	links->bin = -1;
}

static void
list_move(struct lab_heap *heap, struct lab_segment *segment, enum lab_segment_index index, unsigned bin)
{
	struct lab_segment_links *links = &segment->links[index];
	struct lab_segment **first = &lab_segment_bins(heap, index)[bin];

	if (links->bin == (int8_t)bin)
		return;
	list_remove(heap, segment, index);
	*links = (struct lab_segment_links){.next = *first, .bin = (int8_t)bin};
	if (*first)
		(*first)->links[index].previous = segment;
	*first = segment;
}

void
lab_segment_index_owned(struct lab_heap *heap, struct lab_segment *segment)
{
	list_move(heap, segment, LAB_BY_ORDER, (unsigned)(segment->greatest + 1));
	list_move(heap, segment, LAB_BY_RUN, lab_run_bin(segment->longest));
}

void
lab_segment_unindex_owned(struct lab_heap *heap, struct lab_segment *segment)
{
	list_remove(heap, segment, LAB_BY_ORDER);
	list_remove(heap, segment, LAB_BY_RUN);
}

void
lab_segment_forget_index(struct lab_segment *segment)
{
	for (unsigned index = 0; index < LAB_SEGMENT_INDEXES; index++)
		segment->links[index].bin = -1;
}
