/* take.c - see take.h. _owned: the holder, inside its guard. */
#include "heap/take.h"
#include "heap/claim.h"
#include "heap/orphans.h"
#include "heap/segment_index.h"
#include "page/charge.h"
#include "page/pending.h"
#include "page/purge.h"

enum { PROBES = 4 }; /* for the heaps of dead threads, before a segment is added to this one */

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
				return (struct lab_pages){.segment = segment, .page = (size_t)page};
		}
	}
	return (struct lab_pages){0};
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
				lab_segment_scan_owned(s);
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

static struct lab_pages
take_pages(struct lab_heap *heap, size_t count, size_t align)
{
	const struct demand demand = {count, lab_log2_up(count > align ? count : align), align > 1};
	struct lab_pages pages = take_from_index(heap, &demand);

	if (pages.segment || heap->nowait)
		return pages;
	if (refresh_stale(heap)) {
		pages = take_from_index(heap, &demand);
		lab_segments_release_owned(heap, true);
	}
	/* A heap that has nothing gets a segment of its own: what the dead have goes to those who lie where they
	 * lay. */
	if (!pages.segment && heap->slots == 0 && add_segment(heap, &demand))
		pages = take_from_index(heap, &demand);
	while (!pages.segment && (lab_thread_absorb_dead_owned(heap, PROBES) || add_segment(heap, &demand)))
		pages = take_from_index(heap, &demand);
	return pages;
}

bool
lab_pages_charge_owned(struct lab_heap *heap, struct lab_pages pages, size_t count, size_t charged)
{
	if (lab_likely(lab_charge_pages(pages.segment, pages.page, charged)))
		return true;
	lab_pages_give_owned(heap, pages.segment, pages.page, count, 0);
	heap->over_limit = true;
	return false;
}

struct lab_pages
lab_pages_take_owned(struct lab_heap *heap, size_t count, size_t align)
{
	struct lab_pages pages = take_pages(heap, count, align);

	if (pages.segment)
		lab_pages_count_taken_owned(heap, pages.segment, pages.page, count);
	return pages;
}

/* The first `count` of a row of twice as many. Cut short, the heap has orphans. */
static struct lab_pages
take_with_room(struct lab_heap *heap, size_t count)
{
	struct lab_pages pages = {0};

	if (2 * count > LAB_SEGMENT_PAGES || lab_charge_is_limited()) /* at a limit there may be room for the one */
		return pages;
	const struct demand demand = {2 * count, lab_log2_up(2 * count), false};
	/* where nothing goes back to the system nothing is mapped for it either */
	pages = lab_load_rlx(&lab_purge_is_held) ? take_from_index(heap, &demand) : take_pages(heap, 2 * count, 1);
	if (!pages.segment)
		return pages;
	lab_segment_give(pages.segment, pages.page + count, count, 0);
	lab_segment_refresh_owned(pages.segment, pages.page + count, count);
	lab_segment_index_owned(heap, pages.segment);
	lab_pages_count_taken_owned(heap, pages.segment, pages.page, count);
	return pages;
}

/* A live run of pages that were taken; NULL: of none, or they would be too many. */
static void *
make_run(struct lab_heap *heap, struct lab_pages pages, size_t count, bool *fresh)
{
	if (!pages.segment)
		return NULL;
	bool is_fresh = lab_segment_is_fresh(pages.segment, pages.page, count);
	if (lab_unlikely(!lab_pages_charge_owned(heap, pages, count, count)))
		return NULL;
	*fresh = is_fresh;
	lab_run_forget_retired(pages, count);
	struct lab_run *run = &pages.segment->runs[pages.page];
	lab_store_rlx(&run->pages, count);
	lab_store_rel(&run->state, lab_run_state(LAB_RUN_LIVE)); /* pairs with the acq of lab_map_find */
	return pages.segment->base + pages.page * LAB_PAGE_SIZE;
}

void *
lab_run_alloc_owned(struct lab_heap *heap, size_t count, size_t align, bool *fresh)
{
	return make_run(heap, lab_pages_take_owned(heap, count, align), count, fresh);
}

void *
lab_run_alloc_growing_owned(struct lab_heap *heap, size_t count, bool *fresh)
{
	struct lab_pages pages = take_with_room(heap, count);

	return pages.segment ? make_run(heap, pages, count, fresh) : lab_run_alloc_owned(heap, count, 1, fresh);
}
