/* purge.c - see purge.h. */
#include "page/purge.h"
#include "base/check.h"
#include "base/probe.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/count.h"
#include "page/space.h"

enum {
	HUGE_PAGE_PAGES = 512,
	HUGE_PAGE_WORDS = HUGE_PAGE_PAGES / 64,
};

const struct lab_purge_plan lab_purge_everything = {.young = true, .insist = true};

/* The pages of one word that are dirty and free, and of those the ones that the plan wants. */
static uint64_t
wanted_in_word(const struct lab_segment *segment, size_t word, const struct lab_purge_plan *plan, uint64_t *dirty)
{
	*dirty = lab_load_rlx(&segment->dirty[word]) & ~lab_load_rlx(&segment->taken[word]);
	return plan->young ? *dirty : *dirty & lab_load_rlx(&segment->aged[word]);
}

/* Whether all of a huge page is free, and what is dirty of it wanted. */
static bool
is_wanted_whole(const struct lab_segment *segment, size_t first_word, const struct lab_purge_plan *plan)
{
	uint64_t any = 0, dirty;

	for (size_t word = first_word; word < first_word + HUGE_PAGE_WORDS; word++) {
		any |= wanted_in_word(segment, word, plan, &dirty);
		if (lab_load_rlx(&segment->taken[word]) != 0 || dirty != wanted_in_word(segment, word, plan, &dirty))
			return false;
	}
	return any != 0;
}

static bool
is_wanted(const struct lab_segment *segment, const struct lab_purge_plan *plan)
{
	uint64_t any = 0, dirty;

	if (!plan->insist && lab_unlikely(lab_load_rlx(&segment->rest) != 0))
		return false;
	if (plan->in_whole) {
		for (size_t first = 0; first + HUGE_PAGE_WORDS <= lab_segment_words(segment); first += HUGE_PAGE_WORDS)
			if (is_wanted_whole(segment, first, plan))
				return true;
		return false;
	}
	for (size_t word = 0; word < lab_segment_words(segment); word++)
		any |= wanted_in_word(segment, word, plan, &dirty);
	return any != 0;
}

/* Takes what is wanted of one word; returns it. */
static uint64_t
take_word(struct lab_segment *segment, size_t word, const struct lab_purge_plan *plan)
{
	uint64_t dirty, wanted = wanted_in_word(segment, word, plan, &dirty);

	if (!wanted)
		return 0;
	return wanted & ~lab_or_acq_rel(&segment->taken[word], wanted); /* pairs with the rel of who cleared the bits */
}

static void
take_pages(struct lab_segment *segment, const struct lab_purge_plan *plan, uint64_t mine[LAB_SEGMENT_WORDS])
{
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		mine[word] = plan->in_whole || word >= lab_segment_words(segment) ? 0 : take_word(segment, word, plan);
	for (size_t first = 0; plan->in_whole && first + HUGE_PAGE_WORDS <= lab_segment_words(segment);
	     first += HUGE_PAGE_WORDS)
		if (is_wanted_whole(segment, first, plan) && lab_segment_take_at(segment, first * 64, HUGE_PAGE_PAGES))
			for (size_t word = first; word < first + HUGE_PAGE_WORDS; word++)
				mine[word] = ~UINT64_C(0);
}

/* madvise for one range of pages that the caller has taken; false: refused. Adds to *given how many of them were
 * dirty. */
static bool
purge_range(struct lab_segment *segment, size_t page, size_t count, size_t *given)
{
	char *start = segment->base + page * LAB_PAGE_SIZE;
	lab_assert(lab_segment_are_taken(segment, page, count)); /* INV-PAGE-2 */
	size_t size = count * LAB_PAGE_SIZE, clean = lab_charge_count_clean(segment, page, count);

	if (!lab_os.purge(start, size))
		return false;
	lab_segment_mark_fresh(segment, page, count);
	*given += count - clean;
	LAB_PROBE2(labyrinth, purge, start, size);
	return true;
}

/* The first page from `page` on whose bit is `set`; LAB_SEGMENT_PAGES if there is none. */
static size_t
next_page(const uint64_t bits[LAB_SEGMENT_WORDS], size_t page, bool set)
{
	while (page < LAB_SEGMENT_PAGES) {
		uint64_t word = (set ? bits[page / 64] : ~bits[page / 64]) & ~lab_mask(page % 64);
		if (word)
			return (page & ~(size_t)63) + lab_ctz(word);
		page = (page | 63) + 1;
	}
	return LAB_SEGMENT_PAGES;
}

/* By who has the purge word. */
static void
note_refusal(struct lab_segment *segment)
{
	uint8_t refusals = lab_load_rlx(&segment->refusals);

	if (1 << refusals < LAB_PURGE_REST_MAX)
		lab_store_rlx(&segment->refusals, (uint8_t)++refusals);
	lab_store_rlx(&segment->rest, (uint8_t)(1 << refusals));
}

static void
note_success(struct lab_segment *segment)
{
	if (lab_unlikely(lab_load_rlx(&segment->refusals) != 0)) {
		lab_store_rlx(&segment->refusals, 0);
		lab_store_rlx(&segment->rest, 0);
	}
}

static size_t
purge_taken(struct lab_segment *segment, const uint64_t mine[LAB_SEGMENT_WORDS])
{
	size_t given = 0, taken = 0, refused = 0;

	for (size_t end, page = next_page(mine, 0, true); page < LAB_SEGMENT_PAGES; page = next_page(mine, end, true)) {
		end = next_page(mine, page, false);
		bool gone = purge_range(segment, page, end - page, &given);
		taken += gone;
		refused += !gone;
		if (taken == 0 && refused == LAB_PURGE_TRIES)
			break;
	}
	if (refused)
		note_refusal(segment);
	else
		note_success(segment);
	return given;
}

/* Takes, purges and gives back the pages that are wanted. The caller has the purge word. */
static size_t
purge_free_pages(struct lab_segment *segment, const struct lab_purge_plan *plan)
{
	uint64_t mine[LAB_SEGMENT_WORDS], any = 0;
	size_t given;

	take_pages(segment, plan, mine);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		any |= mine[word];
	if (!any)
		return 0;
	given = purge_taken(segment, mine);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		if (mine[word]) /* pairs with the acq of set_bits in segment.c */
			lab_and_rel(&segment->taken[word], ~mine[word]);
	/* after the bits: the holder that sees it sees them clear (rel, pairs with its acq) */
	lab_segment_mark_stale(segment, LAB_VIEW_IS_OLD);
	return given;
}

/* In fork's child a segment may have no holder (lab_run_free_frozen): its last run was freed while we had bits. */
static void
release_unheld(struct lab_segment *segment, uint64_t owner)
{
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence of lab_run_free_frozen */
	if (lab_load_rlx(&segment->unheld) == owner && lab_segment_is_empty(segment))
		(void)lab_space_release(segment, owner);
}

size_t
lab_purge_segment(struct lab_segment *segment, struct lab_purge_record *record, const struct lab_purge_plan *plan)
{
	size_t given = 0;

	lab_assert(lab_lease_tid(record->claim) != 0);
	if (!is_wanted(segment, plan))
		return 0;
	record->segment = segment;
	lab_compiler_barrier();
	/* sc: INV-SPACE-2; the CAS and the load pair with the UNMAPPING of unmap in space.c, and its load of the purge
	 * word */
	if (lab_cas64(&segment->purge, 0, record->claim)) {
		uint64_t owner = atomic_load(lab_segment_owner(segment)); /* pairs as said above */
		if (lab_segment_is_mapped(segment, owner)) {
			given = purge_free_pages(segment, plan);
			release_unheld(segment, owner);
		}
		(void)lab_lease_release(&segment->purge, record->claim, 0);
	}
	lab_compiler_barrier();
	record->segment = NULL;
	lab_count_given_back(given);
	return given;
}

void
lab_purge_recover(struct lab_purge_record *record)
{
	struct lab_segment *segment = record->segment;

	/* The mark first: cut short between the two, the word is still there to be let go. The load pairs with the CAS
	 * of lab_purge_segment. */
	if (segment && lab_lease_is_same(lab_load_acq(&segment->purge), record->claim)) {
		lab_segment_mark_stale(segment, LAB_MAY_HAVE_ORPHANS);
		(void)lab_lease_release(&segment->purge, record->claim, 0);
	}
	lab_compiler_barrier();
	record->segment = NULL;
}

void
lab_purge_settle(const struct lab_lease_fork *fork)
{
	struct lab_segment *segment;
	uint64_t owner;

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		if (lab_lease_settle(&segment->purge, fork, 0) == LAB_LEASE_ORPHANED)
			lab_segment_mark_stale(segment, LAB_MAY_HAVE_ORPHANS);
}

/* Of the huge blocks: by whom an entry is BUSY it does not say. */
static bool
is_huge_under_way(uint32_t tid)
{
	const struct lab_huge *huge;
	bool is = false;

	for (size_t i = 0; !is && (huge = lab_huge_at(i)) != NULL; i++) {
		uint64_t state = lab_load_acq(&huge->run.state); /* pairs with the rel of lab_huge_set_state */
		is = lab_huge_kind_of(state) == LAB_HUGE_BUSY ||
		     (lab_huge_kind_of(state) == LAB_HUGE_FREEING && lab_lease_tid(state) != tid);
	}
	return is;
}

bool
lab_purge_is_under_way(uint32_t tid)
{
	struct lab_segment *segment;
	uint64_t owner;
	bool is = is_huge_under_way(tid);

	for (size_t index = 0; !is && (segment = lab_space_next(&index, &owner)) != NULL;) {
		uint64_t purge = lab_load_acq(&segment->purge); /* pairs with the CAS of whoever has it */
		is = lab_lease_tid(purge) != tid && !lab_lease_is_free(purge, tid, lab_os.thread_is_dead);
	}
	return is;
}

void
lab_purge_all(struct lab_purge_record *record)
{
	struct lab_segment *segment;
	uint64_t owner;

	(void)lab_huge_purge(SIZE_MAX);
	(void)lab_space_unmap_empty();
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		(void)lab_purge_segment(segment, record, &lab_purge_everything);
}

size_t
lab_purge_dirty_pages(void)
{
	struct lab_segment *segment;
	uint64_t owner;
	size_t pages = lab_huge_dirty_pages();

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		pages += lab_segment_count_dirty(segment);
	return pages;
}

size_t
lab_purge_total_pages(void)
{
	return (size_t)lab_load_rlx(&lab_counts.given_back);
}
