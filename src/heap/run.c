/*
 * run.c - pages of a heap's segments, and blocks that are runs of them: all but how they are found (take.c). _owned:
 * the holder, inside its guard.
 * Source: the buddy of buddy.h, with the tail of an odd size left free (as alloc_pages_exact does in the Linux kernel).
 */
#include "heap/run.h"
#include "base/check.h"
#include "heap/segment_index.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/pending.h"
#include "page/purge.h"

/* Whether no page of the segment is in use. The holder's view alone may be older than a purger's bits. */
static bool
is_whole(const struct lab_segment *segment)
{
	return segment->greatest == (int)lab_segment_whole_order(segment) && lab_segment_is_empty(segment);
}

static void
release(struct lab_heap *heap, struct lab_segment *segment)
{
	lab_segment_unindex_owned(heap, segment);
	heap->slots -= lab_segment_pages(segment) / LAB_SLOT_PAGES;
	if (heap->kept == segment)
		heap->kept = NULL;
	(void)lab_space_release(segment, lab_load_rlx(lab_segment_owner(segment)));
}

/* A heap keeps one segment that is free as a whole, the largest. */
static void
keep_one(struct lab_heap *heap, struct lab_segment *segment)
{
	struct lab_segment *kept = heap->kept;

	if (!is_whole(segment))
		return;
	if (kept && kept != segment && is_whole(kept)) {
		bool is_larger = lab_segment_pages(segment) > lab_segment_pages(kept);
		heap->kept = is_larger ? segment : kept;
		release(heap, is_larger ? kept : segment);
	} else {
		heap->kept = segment;
	}
}

void
lab_run_forget_retired(struct lab_pages pages, size_t count)
{
	char *start = pages.segment->base + pages.page * LAB_PAGE_SIZE;

	for (char *p = start; p < start + count * LAB_PAGE_SIZE; p += LAB_UNIT_SIZE)
		lab_unit_set_kind(lab_map_unit(p), LAB_UNIT_IS_PAGES);
	lab_unit_set_kind(lab_map_unit(start + count * LAB_PAGE_SIZE - 1), LAB_UNIT_IS_PAGES);
}

void
lab_pages_count_taken_owned(struct lab_heap *heap, const struct lab_segment *segment, size_t page, size_t count)
{
	size_t dirty = count - lab_charge_count_clean(segment, page, count);

	lab_count_owned(&heap->counts, (int64_t)count, -(int64_t)dirty);
}

void
lab_segments_release_owned(struct lab_heap *heap, bool keep)
{
	heap->kept = NULL; /* so that what keep_one releases was visited before */
	for (unsigned bin = LAB_SLOT_ORDER + 1; bin < LAB_ORDER_MAX + 2; bin++) {
		struct lab_segment *next;
		for (struct lab_segment *segment = heap->by_order[bin]; segment; segment = next) {
			next = segment->links[LAB_BY_ORDER].next;
			if (keep)
				keep_one(heap, segment);
			else if (is_whole(segment))
				release(heap, segment);
		}
	}
}

void
lab_heap_make_room_owned(struct lab_heap *heap)
{
	lab_segments_release_owned(heap, false);
	(void)lab_huge_purge(SIZE_MAX);
	(void)lab_space_unmap_empty();
}

void
lab_pages_give_owned(struct lab_heap *heap, struct lab_segment *segment, size_t page, size_t count, size_t dirty)
{
	/* before they are given: then they are anybody's to purge */
	size_t behind = count - dirty - lab_charge_count_clean(segment, page + dirty, count - dirty);

	lab_count_owned(&heap->counts, -(int64_t)count, (int64_t)(dirty + behind));
	lab_segment_give(segment, page, count, dirty);
	if (behind)
		lab_purge_note();
	lab_segment_refresh_owned(segment, page, count);
	lab_segment_index_owned(heap, segment);
	keep_one(heap, segment);
	heap->freed_pages += dirty + behind;
}

bool
lab_run_begin_free(struct lab_run *run, uint32_t tid)
{
	uint64_t state =
	        lab_load_acq(&run->state); /* pairs with the rel of lab_run_alloc_owned, and lab_huge_set_state */

	/* the CAS pairs with the acq of another who frees it, and of who takes it from a list */
	return lab_lease_tag(state) == LAB_RUN_LIVE &&
	       lab_cas64(&run->state, state, lab_lease_make(lab_lease_epoch(state), tid, LAB_RUN_FREEING));
}

void
lab_run_free_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run)
{
	size_t count = lab_load_rlx(&run->pages);

	lab_store_rlx(&run->state, lab_run_state(LAB_RUN_DEAD));
	lab_compiler_barrier();
	lab_pages_give_owned(heap, segment, (size_t)(run - segment->runs), count, count);
}

/*
 * Nobody takes pages in this segment any more but to purge them, so that its bits are only cleared, each by who set it
 * or who frees the run that it belongs to: INV-PAGE-1. The thread that finds the segment empty gives it back, from the
 * word that this thread has read while its run still covered the segment: no other word can be the same. A purger that
 * has bits when the last run goes reads that word in `unheld`.
 */
void
lab_run_free_frozen(struct lab_segment *segment, struct lab_run *run)
{
	size_t count = lab_load_rlx(&run->pages);
	uint64_t owner = lab_load_acq(lab_segment_owner(segment)); /* pairs with the CAS of its last holder */

	lab_store_rlx(&segment->unheld, owner);
	lab_store_rlx(&run->state, lab_run_state(LAB_RUN_DEAD));
	lab_compiler_barrier();
	lab_count(-(int64_t)count, (int64_t)count);
	lab_segment_give(segment, (size_t)(run - segment->runs), count, count);
	/* pairs with release_unheld's: one of us sees that both have cleared their bits */
	atomic_thread_fence(memory_order_seq_cst);
	if (lab_segment_is_empty(segment))
		(void)lab_space_release(segment, owner);
}

bool
lab_run_resize_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run, size_t count)
{
	size_t page = (size_t)(run - segment->runs), old = lab_load_rlx(&run->pages);

	if (page + count > lab_segment_pages(segment))
		return false;
	if (count > old) {
		if (!lab_segment_take_at(segment, page + old, count - old))
			return false;
		lab_pages_count_taken_owned(heap, segment, page + old, count - old);
		if (!lab_charge_pages(segment, page + old, count - old)) {
			lab_pages_give_owned(heap, segment, page + old, count - old, 0);
			return false;
		}
		lab_segment_refresh_owned(segment, page + old, count - old);
		lab_segment_index_owned(heap, segment);
		lab_run_forget_retired((struct lab_pages){.segment = segment, .page = page + old}, count - old);
		lab_compiler_barrier(); /* a frame that is cut short here leaves orphans, behind a run as it was */
		lab_store_rlx(&run->pages, count);
	} else if (count < old) {
		lab_store_rlx(&run->pages, count);
		lab_compiler_barrier(); /* a frame that is cut short here leaves orphans, behind a run as it is to be */
		lab_pages_give_owned(heap, segment, page + count, old - count, old - count);
	}
	return true;
}
