/* orphans.c - see orphans.h. Every step can be cut short and done again. */
#include <string.h>

#include "heap/current.h"
#include "heap/orphans.h"
#include "os/os.h"
#include "page/map.h"
#include "page/purge.h"

static void
cover(struct lab_cover *cover, size_t page, size_t count)
{
	for (size_t i = page; i < page + count && i < lab_segment_pages(cover->segment); i++)
		cover->covered[i / 64] |= UINT64_C(1) << (i % 64);
}

/* What starts at a page: its length in pages, or 1. A span in a segment of ours is ours, whatever heap it was made
 * in. */
static size_t
cover_block(struct lab_cover *c, size_t page)
{
	struct lab_unit *unit = lab_map_unit(c->segment->base + page * LAB_PAGE_SIZE);
	struct lab_run *run = &c->segment->runs[page];

	if (page % LAB_UNIT_PAGES == 0 && lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN && unit->carved == 0)
		lab_unit_set_kind(unit, LAB_UNIT_IS_RETIRED); /* made or retired by halves: its pages are orphans */
	if (page % LAB_UNIT_PAGES == 0 && lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN) {
		if (c->take_span)
			c->take_span(c->heap, unit);
		cover(c, page, LAB_UNIT_PAGES);
		return LAB_UNIT_PAGES;
	}
	/* A run whose freer was cut short before it handed the run over stays FREEING: it is the block in hand that is
	 * lost. The load pairs with the rel of lab_run_alloc_owned. */
	if (lab_run_kind_of(lab_load_acq(&run->state)) == LAB_RUN_DEAD)
		return 1;
	size_t count = lab_load_rlx(&run->pages);
	cover(c, page, count);
	return count;
}

void
lab_segment_cover_owned(struct lab_cover *cover)
{
	size_t step;

	memset(cover->covered, 0, sizeof cover->covered);
	for (size_t page = 0; page < lab_segment_pages(cover->segment); page += step) {
		uint64_t taken = lab_load_rlx(&cover->segment->taken[page / 64]) >> (page % 64);
		if (taken & 1)
			step = cover_block(cover, page);
		else
			step = taken ? lab_ctz(taken) : 64 - page % 64;
	}
}

/* The purge word, for a scan. Also from a scan of ours, which a jump has left: one frame has the segment. */
static bool
win_purge_word(struct lab_segment *segment, uint64_t mine)
{
	uint64_t seen = lab_load_acq(&segment->purge); /* pairs with the CAS of who let go */
	bool is_left = lab_lease_tid(seen) == lab_lease_tid(mine) && lab_lease_tag(seen) == LAB_PURGE_SCANS;

	if (is_left)
		return lab_cas64(&segment->purge, seen, mine); /* pairs with the acq above, of the next scan */
	return lab_lease_win(&segment->purge, seen, mine, lab_os.thread_is_dead);
}

static uint64_t
orphans_in_word(const struct lab_segment *segment, size_t word, const uint64_t covered[LAB_SEGMENT_WORDS])
{
	/* pairs with the rel of who cleared bits: those are free */
	return lab_load_acq(&segment->taken[word]) & lab_segment_word_mask(segment, word) & ~covered[word];
}

void
lab_segment_free_orphans_owned(struct lab_segment *segment, const uint64_t covered[LAB_SEGMENT_WORDS])
{
	uint64_t mine = lab_lease_new(lab_current_tid(), LAB_PURGE_SCANS), any = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++)
		any |= orphans_in_word(segment, word, covered);
	if (!any && lab_load_acq(&segment->purge) == 0) /* pairs with the CAS of who let go */
		return;
	/* also where there is nothing to free: a scan or a purger that was cut short may have left the word */
	if (!win_purge_word(segment, mine)) {
		lab_segment_mark_stale(segment, LAB_MAY_HAVE_ORPHANS);
		return;
	}
	for (size_t word = 0; word < lab_segment_words(segment); word++) {
		uint64_t orphans = orphans_in_word(segment, word, covered);
		/* pairs with the acq of who takes the pages; those that were written to are dirty: INV-PAGE-3 */
		if (orphans)
			lab_and_rel(&segment->taken[word], ~orphans);
	}
	(void)lab_lease_release(&segment->purge, mine, 0);
}

void
lab_segment_scan_owned(struct lab_segment *segment)
{
	struct lab_cover cover = {.segment = segment};

	lab_segment_cover_owned(&cover);
	lab_segment_free_orphans_owned(segment, cover.covered);
}
