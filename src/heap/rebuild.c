/*
 * rebuild.c - makes a heap's lists from the truth: owner words, page bitmaps, spans' freelist states. For a heap that
 * was left in the middle of something (a jump, a dead thread), for a new one, and to take over a dead thread's heap.
 * _owned. Every step can be cut short and done again.
 */
#include <string.h>

#include "base/check.h"
#include "heap/bin.h"
#include "heap/current.h"
#include "heap/finding.h"
#include "heap/heap.h"
#include "heap/hold.h"
#include "heap/orphans.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/segment_index.h"
#include "heap/span.h"
#include "heap/sparse.h"
#include "heap/visitor.h"
#include "page/map.h"
#include "page/pending.h"
#include "page/purge.h"

enum { ABSORBED_PAGES = 256, PART_OF_USED = 8 };

static void
take_span(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_poke(&unit->owner_key, lab_owner_key_make(heap, unit->base));
	lab_span_demote_owned(heap, unit);
}

static bool
covers_any(const struct lab_cover *cover)
{
	uint64_t any = 0;

	for (unsigned word = 0; word < LAB_SEGMENT_WORDS; word++)
		any |= cover->covered[word];
	return any != 0;
}

static void
rebuild_segment(struct lab_heap *heap, struct lab_segment *segment)
{
	struct lab_cover cover = {.segment = segment, .take_span = take_span, .heap = heap};

	lab_segment_cover_owned(&cover);
	if (!covers_any(&cover)) /* perhaps claimed just now, by a frame that was cut short: INV-PAGE-3 */
		lab_space_renew(segment);
	lab_segment_free_orphans_owned(segment, cover.covered);
	lab_segment_refresh_owned(segment, 0, lab_segment_pages(segment));
	lab_segment_forget_index(segment);
	lab_segment_index_owned(heap, segment);
	heap->slots += lab_segment_pages(segment) / LAB_SLOT_PAGES;
}

/*
 * Before a segment changes hands its spans name the new heap, closed: whoever has to do with them until they are listed
 * asks the segment whose they are (lab_span_free_owned). So neither heap touches them if the change is cut short,
 * before it is rebuilt.
 */
static void
name_new_heap(const struct lab_heap *heap, const struct lab_segment *segment)
{
	for (size_t page = 0; page < lab_segment_pages(segment); page += LAB_UNIT_PAGES) {
		struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN)
			lab_poke(&unit->owner_key, lab_owner_key_make(heap, unit->base) | LAB_UNIT_CLOSED);
	}
	atomic_thread_fence(
	        memory_order_release); /* pairs with the acq of lab_space_find, after the CAS that follows */
}

/* Pages that may be free and dirty while those of the dead come to them: what a thread that lived needed at once is not
 * what the one that absorbs it needs. */
static size_t
most_absorbed(void)
{
	size_t part = lab_count_used() / PART_OF_USED;

	return part > ABSORBED_PAGES ? part : ABSORBED_PAGES;
}

/* A segment of a dead thread's heap. */
static void
absorb_segment(struct lab_heap *heap, struct lab_segment *segment, uint64_t owner)
{
	name_new_heap(heap, segment);
	/* pairs with the acq of lab_space_find */
	(void)lab_cas64(lab_segment_owner(segment), owner,
	                lab_owner_make(lab_owner_seq(owner) + 1, heap->id, lab_owner_slots_log(owner), LAB_SLOT_OWNED));
	rebuild_segment(heap, segment);
	if (!lab_load_rlx(&lab_purge_is_held) && lab_count_dirty(&heap->counts) > most_absorbed())
		(void)lab_purge_segment(segment, lab_thread_purge_owned(heap), &lab_purge_everything);
}

/* Everything of heap from_id goes into the lists of `heap`. */
static void
rebuild_segments(struct lab_heap *heap, uint32_t from_id)
{
	struct lab_segment *segment;
	uint64_t owner;

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;) {
		if (lab_owner_state(owner) != LAB_SLOT_OWNED || lab_owner_heap(owner) != from_id)
			continue;
		if (from_id == heap->id)
			rebuild_segment(heap, segment);
		else
			absorb_segment(heap, segment, owner);
	}
}

static void
retire_empty_spans(struct lab_heap *heap)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit *next;
		for (struct lab_unit *unit = heap->bins[c].partial; unit; unit = next) {
			next = unit->next;
			if (unit->freelist_state >> 16 == 0xffff)
				(void)lab_span_emptied_owned(heap, unit);
		}
	}
}

void
lab_heap_rebuild_owned(struct lab_heap *heap)
{
	heap->whole = LAB_HEAP_TORN; /* it may be a dead thread's that was whole: cut short here, it is not */
	lab_compiler_barrier();
	lab_purge_recover(&heap->purge);
	lab_visit_recover(heap);
	lab_hold_repair_owned(heap);
	lab_sparse_repair_owned(heap);
	lab_span_repair_owned(heap);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		lab_bin_set_current(heap, c, &lab_no_span);
		heap->bins[c].partial = heap->bins[c].cold = NULL;
	}
	memset(heap->by_order, 0, sizeof heap->by_order);
	memset(heap->by_run, 0, sizeof heap->by_run);
	heap->kept = NULL;
	heap->slots = 0;
	rebuild_segments(heap, heap->id);
	lab_remote_resume_owned(heap);
	lab_remote_drain_owned(heap);
	retire_empty_spans(heap);
	lab_segments_release_owned(heap, true);
	(void)lab_outbox_send_owned(heap);
	lab_compiler_barrier();
	heap->whole = LAB_HEAP_WHOLE;
}

void
lab_heap_absorb_owned(struct lab_heap *heap, struct lab_heap *dead)
{
	uint64_t word = lab_registry_word(dead);

	lab_assert(heap->whole ==
	           LAB_HEAP_TORN); /* a slow frame is inside: cut short here, it is rebuilt, with what has come over */
	lab_heap_rebuild_owned(dead);
	dead->whole = LAB_HEAP_TORN; /* its lists are void from here on */
	lab_compiler_barrier();
	rebuild_segments(heap, dead->id);
	lab_segments_release_owned(heap, true);
	lab_heap_rebuild_owned(dead); /* now empty */
	lab_finding_pass_owned(dead, heap);
	dead->frame = 0;
	lab_registry_give_back(dead, word);
}
