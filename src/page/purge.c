/* purge.c - see purge.h. */
#include "page/purge.h"
#include "base/check.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/walk.h"

enum {
	HUGE_PAGE_PAGES = 512,
	HUGE_PAGE_WORDS = HUGE_PAGE_PAGES / 64,
};

const struct lab_purge_plan lab_purge_everything = {.young = true, .insist = true, .enough = SIZE_MAX};
_Atomic uint32_t lab_purge_pending;
_Atomic bool lab_purge_is_held;
static _Atomic size_t total_pages;

/* Tells the holder; the stronger mark stays. */
static void
disturb(struct lab_segment *segment, enum lab_disturbance how)
{
	uint32_t now = lab_load_rlx(&segment->disturbed);

	while (now < (uint32_t)how && !atomic_compare_exchange_weak_explicit(&segment->disturbed, &now, (uint32_t)how,
	                                                                     memory_order_release, memory_order_relaxed))
		;
}

/* The pages of one word that are dirty and free, and of those the ones that the plan wants. */
static uint64_t
wanted_in_word(const struct lab_segment *segment, size_t word, const struct lab_purge_plan *plan, uint64_t *dirty)
{
	*dirty = lab_load_rlx(&segment->dirty[word]) & ~lab_load_rlx(&segment->taken[word]);
	if (plan->lazily)
		*dirty &= ~lab_load_rlx(&segment->lazy[word]);
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
	if (plan->in_whole)
		return is_wanted_whole(segment, 0, plan) || is_wanted_whole(segment, HUGE_PAGE_WORDS, plan);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		any |= wanted_in_word(segment, word, plan, &dirty);
	return any != 0;
}

/* Takes what is wanted of one word; returns it. acq pairs with the rel of who cleared the bits. */
static uint64_t
take_word(struct lab_segment *segment, size_t word, const struct lab_purge_plan *plan)
{
	uint64_t dirty, wanted = wanted_in_word(segment, word, plan, &dirty);

	if (!wanted)
		return 0;
	return wanted & ~lab_or_acq_rel(&segment->taken[word], wanted);
}

static void
take_pages(struct lab_segment *segment, const struct lab_purge_plan *plan, uint64_t mine[LAB_SEGMENT_WORDS])
{
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		mine[word] = plan->in_whole ? 0 : take_word(segment, word, plan);
	for (size_t first = 0; plan->in_whole && first < LAB_SEGMENT_WORDS; first += HUGE_PAGE_WORDS)
		if (is_wanted_whole(segment, first, plan) && lab_segment_take_at(segment, first * 64, HUGE_PAGE_PAGES))
			for (size_t word = first; word < first + HUGE_PAGE_WORDS; word++)
				mine[word] = ~UINT64_C(0);
}

/* madvise for one range of pages that the caller has taken; false: refused. Adds to *given how many of them were dirty. */
static bool
purge_range(struct lab_segment *segment, size_t page, size_t count, bool lazily, size_t *given)
{
	char *start = segment->base + page * LAB_PAGE_SIZE;
	size_t size = count * LAB_PAGE_SIZE, clean = lab_charge_count_clean(segment, page, count);

	if (!(lazily ? lab_os.purge_lazily(start, size) : lab_os.purge(start, size)))
		return false;
	if (lazily)
		lab_segment_mark_lazy(segment, page, count);
	else
		lab_segment_mark_fresh(segment, page, count);
	*given += count - clean;
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
purge_taken(struct lab_segment *segment, const uint64_t mine[LAB_SEGMENT_WORDS], bool lazily)
{
	size_t given = 0, taken = 0, refused = 0;

	for (size_t end, page = next_page(mine, 0, true); page < LAB_SEGMENT_PAGES; page = next_page(mine, end, true)) {
		end = next_page(mine, page, false);
		bool gone = purge_range(segment, page, end - page, lazily, &given);
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
	given = purge_taken(segment, mine, plan->lazily);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		if (mine[word])
			lab_and_rel(&segment->taken[word], ~mine[word]);
	/* after the bits: the holder that sees it sees them clear (rel, pairs with its acq) */
	disturb(segment, LAB_VIEW_IS_OLD);
	return given;
}

/* In fork's child a segment may have no holder (lab_run_free_frozen): its last run was freed while we had bits. */
static void
release_unheld(struct lab_arena *arena, size_t index, uint64_t owner)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);

	atomic_thread_fence(memory_order_seq_cst);
	if (lab_load_rlx(&segment->unheld) == owner && lab_segment_is_empty(segment))
		(void)lab_arena_release(arena, index, owner);
}

/* By epoch, which no other purger has: a fork in a handler that interrupted us has given the word our new thread id. */
static bool
has_word(const struct lab_segment *segment, uint64_t claim, uint64_t *word)
{
	*word = lab_load_acq(&segment->purge);
	return *word >> 32 == claim >> 32;
}

static void
let_go(struct lab_segment *segment, uint64_t claim)
{
	uint64_t word;

	if (has_word(segment, claim, &word))
		(void)lab_cas64(&segment->purge, word, 0);
}

/* A segment of which no page is in use is no mapping of its own any more. The caller has the purge word. */
static void
settle_free_segment(struct lab_segment *segment)
{
	if (lab_likely(!lab_load_rlx(&segment->displaced)) || !lab_segment_take_at(segment, 0, LAB_SEGMENT_PAGES))
		return;
	lab_segment_settle(segment);
	lab_segment_give(segment, 0, LAB_SEGMENT_PAGES, 0);
	disturb(segment, LAB_VIEW_IS_OLD);
}

size_t
lab_purge_segment(struct lab_arena *arena, size_t index, struct lab_purge_record *record, const struct lab_purge_plan *plan)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	size_t given = 0;

	lab_assert(record->claim >> 32 != 0);
	record->arena = arena;
	record->segment = segment;
	lab_compiler_barrier();
	if (lab_cas64(&segment->purge, 0, record->claim)) {
		/* INV-ARENA-1, INV-SEG-2: sc, after the purge word. */
		uint64_t where = atomic_load(&arena->where), owner = atomic_load(&arena->owners[index]);
		if (lab_where_state(where) == LAB_ARENA_LIVE && lab_owner_kind(owner) != LAB_SEGMENT_HUGE) {
			settle_free_segment(segment);
			given = purge_free_pages(segment, plan);
			release_unheld(arena, index, owner);
		}
		let_go(segment, record->claim);
	}
	lab_compiler_barrier();
	record->segment = NULL;
	lab_add_rlx(&total_pages, given);
	return given;
}

/* Whether the segment is one of the arena's still: if the purger had not got its word, the arena may have been retired. Within a walk. */
static bool
is_there(const struct lab_arena *arena, const struct lab_segment *segment)
{
	uint64_t where = atomic_load(&arena->where);
	size_t offset = (size_t)((const char *)segment - lab_where_segments(where));

	return lab_where_is_usable(where) && offset % LAB_SEGMENT_STRIDE == 0 &&
	       offset / LAB_SEGMENT_STRIDE < lab_where_segment_count(where) &&
	       lab_arena_is_committed(arena, offset / LAB_SEGMENT_STRIDE);
}

static void
recover(struct lab_purge_record *record)
{
	struct lab_segment *segment = record->segment;
	uint64_t word;

	/* The mark first: cut short between the two, the word is still there to be let go. */
	if (is_there(record->arena, segment) && has_word(segment, record->claim, &word)) {
		disturb(segment, LAB_MAY_HAVE_ORPHANS);
		(void)lab_cas64(&segment->purge, word, 0);
	}
}

void
lab_purge_recover(struct lab_purge_record *record)
{
	struct lab_walk walk;

	if (!record->segment)
		return;
	lab_walk_begin(&walk);
	recover(record);
	lab_walk_end(&walk);
	lab_compiler_barrier();
	record->segment = NULL;
}

bool
lab_purge_is_recorded(const struct lab_purge_record *record, const struct lab_segment *segment, uint64_t word)
{
	return record->segment == segment && record->claim >> 32 == word >> 32;
}

/* Not by the thread id alone: another thread of the parent may have had the new one, where the child begins a PID namespace. */
static void
settle_word(struct lab_segment *segment, uint32_t old_tid, uint32_t new_tid, lab_purge_owner *is_forkers)
{
	uint64_t word = lab_load_rlx(&segment->purge), epoch = word >> 32;

	if (word == 0 || (epoch == 0 && word == old_tid)) /* a scan's word is let go by value by the frame that has it */
		return;
	if (epoch != 0 && is_forkers(segment, word, old_tid)) {
		(void)lab_cas64(&segment->purge, word, epoch << 32 | new_tid);
		return;
	}
	disturb(segment, LAB_MAY_HAVE_ORPHANS);
	(void)lab_cas64(&segment->purge, word, 0);
}

void
lab_purge_after_fork(uint32_t old_tid, uint32_t new_tid, lab_purge_owner *is_forkers)
{
	struct lab_arena *arena;
	struct lab_walk walk;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (lab_arena_is_committed(arena, index))
				settle_word(lab_arena_segment(arena, index), old_tid, new_tid, is_forkers);
	}
	lab_walk_end(&walk);
}

size_t
lab_purge_all(struct lab_purge_record *record, const struct lab_purge_plan *plan)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	size_t given = 0;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end && given < plan->enough; index++)
			if (lab_arena_is_committed(arena, index) && is_wanted(lab_arena_segment(arena, index), plan))
				given += lab_purge_segment(arena, index, record, plan);
	}
	lab_walk_end(&walk);
	return given;
}

/* Whether the pages of a segment are for purgers to look at. */
static bool
is_purged(const struct lab_arena *arena, size_t index)
{
	return lab_arena_is_committed(arena, index) && lab_owner_kind(lab_load_rlx(&arena->owners[index])) != LAB_SEGMENT_HUGE;
}

/* Two at once may count one look: the segment rests for one more. */
static bool
age(struct lab_segment *segment)
{
	uint8_t rest = lab_load_rlx(&segment->rest);

	if (lab_unlikely(rest != 0))
		lab_store_rlx(&segment->rest, (uint8_t)(rest - 1));
	return lab_segment_age(segment);
}

bool
lab_purge_age_all(void)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	bool any = false;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (is_purged(arena, index) && age(lab_arena_segment(arena, index)))
				any = true;
	}
	lab_walk_end(&walk);
	return any;
}

size_t
lab_purge_dirty_pages(void)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	size_t pages = 0;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (is_purged(arena, index))
				pages += lab_segment_count_dirty(lab_arena_segment(arena, index));
	}
	lab_walk_end(&walk);
	return pages;
}

size_t
lab_purge_total_pages(void)
{
	return lab_load_rlx(&total_pages);
}
