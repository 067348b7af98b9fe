/*
 * run.c - pages of a heap's segments, and blocks that are runs of them. _owned: the holder, inside its guard.
 * Source: the buddy of buddy.h, with the tail of an odd size left free (as alloc_pages_exact does in the Linux kernel).
 */
#include "heap/run.h"
#include "base/check.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/segment_index.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/purge.h"

enum { PROBES = 4 }; /* for the heaps of dead threads, before a segment is added to this one */

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

static void
refresh_all(struct lab_heap *heap, struct lab_segment *segment)
{
	lab_segment_refresh_owned(segment, 0, lab_segment_pages(segment));
	lab_segment_index_owned(heap, segment);
}

/* Pages that are wanted: a block of the buddy if they have to be aligned, else any in a row. */
struct demand {
	size_t count;
	unsigned order; /* of the aligned block that holds them */
	bool aligned;
};

/* The first page of what is wanted; -1: the segment has nothing of the kind now. */
static int
take_from(struct lab_heap *heap, struct lab_segment *segment, const struct demand *demand)
{
	int page = demand->aligned ? lab_segment_take_owned(segment, demand->order, demand->count)
	                           : lab_segment_take_run_owned(segment, demand->count);

	if (page >= 0)
		lab_segment_index_owned(heap, segment);
	else
		refresh_all(heap, segment);
	return page;
}

/*
 * Takes from the segment that fits most closely. In its bin and above any segment fits, unless a purger has pages of it
 * now: such a segment moves down, to where it fits without them (lock-free: one that did not move was given back its
 * pages by the purger).
 */
static struct lab_pages
take_from_index(struct lab_heap *heap, const struct demand *demand)
{
	struct lab_segment **bins = lab_segment_bins(heap, demand->aligned ? LAB_BY_ORDER : LAB_BY_RUN), *segment;
	unsigned bin = demand->aligned ? demand->order + 1 : lab_run_bin(lab_run_pages(demand->count));
	unsigned end = demand->aligned ? LAB_ORDER_MAX + 2 : LAB_RUN_BINS;

	for (; bin < end; bin++) {
		while ((segment = bins[bin]) != NULL) {
			int page = take_from(heap, segment, demand);
			if (page >= 0)
				return (struct lab_pages){segment, (size_t)page};
		}
	}
	return (struct lab_pages){NULL, 0};
}

/* Looks again at the segments in which a purger held pages. True if there were any. Cut short, the heap is rebuilt. */
static bool
refresh_stale(struct lab_heap *heap)
{
	uint64_t stale_marks =
	        lab_load_acq(&lab_segment_stale_marks); /* pairs with the rel of lab_segment_mark_stale */
	bool any = false;

	if (heap->stale_marks == stale_marks)
		return false;
	for (unsigned bin = 0; bin < LAB_ORDER_MAX + 2; bin++) {
		struct lab_segment *next;
		for (struct lab_segment *s = heap->by_order[bin]; s; s = next) {
			next = s->links[LAB_BY_ORDER].next;
			/* pairs with the rel of lab_segment_mark_stale: the bits that were cleared before are seen */
			uint32_t how =
			        atomic_exchange_explicit(&s->view_stale, LAB_VIEW_IS_FRESH, memory_order_acq_rel);
			if (how == LAB_VIEW_IS_FRESH)
				continue;
			if (how == LAB_MAY_HAVE_ORPHANS)
				lab_segment_scan_owned(heap, s);
			refresh_all(heap, s);
			any = true;
		}
	}
	heap->stale_marks = stale_marks;
	return any;
}

/* A segment that was just claimed. It is empty, but for a purger's pages, or what one that was cut short has left. */
static void
take_in(struct lab_heap *heap, struct lab_segment *segment)
{
	static const uint64_t nothing[LAB_SEGMENT_WORDS];

	if (!lab_segment_is_empty(segment))
		lab_segment_free_orphans_owned(segment, nothing);
	lab_segment_forget_index(segment);
	heap->slots += lab_segment_pages(segment) / LAB_SLOT_PAGES;
	refresh_all(heap, segment);
}

/* A segment that holds what is wanted: where it has to be mapped, as long as all that the heap has already. */
static bool
add_segment(struct lab_heap *heap, const struct demand *demand)
{
	unsigned least = demand->order > LAB_SLOT_ORDER ? demand->order - LAB_SLOT_ORDER : 0;
	unsigned slots_log = lab_log2(heap->slots + 1);

	if (slots_log < least)
		slots_log = least;
	if (slots_log > LAB_SLOTS_LOG_MAX)
		slots_log = LAB_SLOTS_LOG_MAX;
	struct lab_segment *segment = lab_space_claim(heap->id, slots_log, least);
	if (!segment) {
		lab_heap_make_room_owned(heap);
		segment = lab_space_claim(heap->id, least, least);
	}
	if (segment)
		take_in(heap, segment);
	return segment != NULL;
}

/* Units that were retired spans are plain pages once a run lies over them. */
static void
forget_retired(struct lab_pages pages, size_t count)
{
	char *start = pages.segment->base + pages.page * LAB_PAGE_SIZE;

	for (char *p = start; p < start + count * LAB_PAGE_SIZE; p += LAB_UNIT_SIZE)
		lab_unit_set_kind(lab_map_unit(p), LAB_UNIT_IS_PAGES);
	lab_unit_set_kind(lab_map_unit(start + count * LAB_PAGE_SIZE - 1), LAB_UNIT_IS_PAGES);
}

static struct lab_pages
take_pages(struct lab_heap *heap, size_t count, size_t align)
{
	const struct demand demand = {count, lab_log2_up(count > align ? count : align), align > 1};
	struct lab_pages pages = take_from_index(heap, &demand);

	if (pages.segment || heap->nowait)
		return pages;
	if (refresh_stale(heap)) {
		pages = take_from_index(heap, &demand);
		lab_segments_release_spare_owned(heap);
	}
	/* A heap that has nothing gets a segment of its own: what the dead have goes to those who lie where they
	 * lay. */
	if (!pages.segment && heap->slots == 0 && add_segment(heap, &demand))
		pages = take_from_index(heap, &demand);
	while (!pages.segment && (lab_thread_absorb_dead_owned(heap, PROBES) || add_segment(heap, &demand)))
		pages = take_from_index(heap, &demand);
	return pages;
}

/* Pages that were taken just now count as in use. */
static void
count_taken(struct lab_heap *heap, const struct lab_segment *segment, size_t page, size_t count)
{
	size_t dirty = count - lab_charge_count_clean(segment, page, count);

	lab_count_owned(&heap->counts, (int64_t)count, -(int64_t)dirty);
}

struct lab_pages
lab_pages_take_owned(struct lab_heap *heap, size_t count, size_t align)
{
	struct lab_pages pages = take_pages(heap, count, align);

	if (pages.segment)
		count_taken(heap, pages.segment, pages.page, count);
	if (pages.segment && lab_charge_is_limited() && !lab_charge_taken(pages.segment, pages.page, count)) {
		lab_pages_give_owned(heap, pages.segment, pages.page, count, 0);
		heap->over_limit = true;
		pages.segment = NULL;
	}
	return pages;
}

/* All that are whole; `keep`: but one. */
static void
release_whole(struct lab_heap *heap, bool keep)
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
lab_segments_release_spare_owned(struct lab_heap *heap)
{
	release_whole(heap, true);
}

void
lab_segments_release_empty_owned(struct lab_heap *heap)
{
	release_whole(heap, false);
}

void
lab_heap_make_room_owned(struct lab_heap *heap)
{
	lab_segments_release_empty_owned(heap);
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
	lab_segment_refresh_owned(segment, page, count);
	lab_segment_index_owned(heap, segment);
	keep_one(heap, segment);
	heap->freed_pages += dirty;
}

void *
lab_run_alloc_owned(struct lab_heap *heap, size_t count, size_t align, bool *fresh)
{
	struct lab_pages pages = lab_pages_take_owned(heap, count, align);

	if (!pages.segment)
		return NULL;
	forget_retired(pages, count);
	*fresh = lab_segment_is_fresh(pages.segment, pages.page, count);
	struct lab_run *run = &pages.segment->runs[pages.page];
	lab_store_rlx(&run->pages, count);
	lab_store_rel(&run->state, lab_run_state(LAB_RUN_LIVE)); /* pairs with the acq of lab_map_find */
	return pages.segment->base + pages.page * LAB_PAGE_SIZE;
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
		count_taken(heap, segment, page + old, count - old);
		if (!lab_charge_taken(segment, page + old, count - old)) {
			lab_pages_give_owned(heap, segment, page + old, count - old, 0);
			return false;
		}
		lab_segment_refresh_owned(segment, page + old, count - old);
		lab_segment_index_owned(heap, segment);
		forget_retired((struct lab_pages){segment, page + old}, count - old);
		lab_compiler_barrier(); /* a frame that is cut short here leaves orphans, behind a run as it was */
		lab_store_rlx(&run->pages, count);
	} else if (count < old) {
		lab_store_rlx(&run->pages, count);
		lab_compiler_barrier(); /* a frame that is cut short here leaves orphans, behind a run as it is to be */
		lab_pages_give_owned(heap, segment, page + count, old - count, old - count);
	}
	return true;
}
