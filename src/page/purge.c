/* purge.c - see purge.h. */
#include "page/purge.h"
#include "base/check.h"
#include "os/os.h"
#include "page/walk.h"

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

/* Takes the pages of one word that are dirty and free; returns them. acq pairs with the rel of who cleared the bits. */
static uint64_t
take_dirty(struct lab_segment *segment, size_t word)
{
	uint64_t wanted = lab_load_rlx(&segment->dirty[word]) & ~lab_load_rlx(&segment->taken[word]);

	if (!wanted)
		return 0;
	return wanted & ~lab_or_acq_rel(&segment->taken[word], wanted);
}

/* madvise for one range of pages that the caller has taken. */
static size_t
purge_range(struct lab_segment *segment, size_t page, size_t count)
{
	if (!lab_os.purge(segment->base + page * LAB_PAGE_SIZE, count * LAB_PAGE_SIZE))
		return 0;
	lab_segment_mark_fresh(segment, page, count);
	return count;
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

static size_t
purge_taken(struct lab_segment *segment, const uint64_t mine[LAB_SEGMENT_WORDS])
{
	size_t given = 0;

	for (size_t end, page = next_page(mine, 0, true); page < LAB_SEGMENT_PAGES; page = next_page(mine, end, true)) {
		end = next_page(mine, page, false);
		given += purge_range(segment, page, end - page);
	}
	return given;
}

/* Takes, purges and gives back the segment's dirty free pages. The caller has the purge word. */
static size_t
purge_free_pages(struct lab_segment *segment)
{
	uint64_t mine[LAB_SEGMENT_WORDS], any = 0;
	size_t given;

	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		any |= mine[word] = take_dirty(segment, word);
	if (!any)
		return 0;
	given = purge_taken(segment, mine);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++)
		if (mine[word])
			lab_and_rel(&segment->taken[word], ~mine[word]);
	/* after the bits: the holder that sees it sees them clear (rel, pairs with its acq) */
	disturb(segment, LAB_VIEW_IS_OLD);
	return given;
}

/* The purge word, if it is that of the claim: by the epoch, as fork's child gives the word of a frame that goes on in it the new id. */
static uint64_t
word_of(const struct lab_segment *segment, uint64_t claim)
{
	uint64_t word = lab_load_acq(&segment->purge);

	return word >> 32 == claim >> 32 ? word : 0;
}

static void
let_go(struct lab_segment *segment, uint64_t claim)
{
	uint64_t word = word_of(segment, claim);

	if (word != 0)
		(void)lab_cas64(&segment->purge, word, 0);
}

size_t
lab_purge_segment(struct lab_arena *arena, size_t index, struct lab_purge_record *record)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	size_t given = 0;

	lab_assert(record->claim >> 32 != 0);
	record->arena = arena;
	record->segment = segment;
	lab_compiler_barrier();
	if (lab_cas64(&segment->purge, 0, record->claim)) {
		/* INV-ARENA-1, INV-SEG-2: sc, after the purge word. */
		if (lab_where_state(atomic_load(&arena->where)) == LAB_ARENA_LIVE &&
		    lab_owner_kind(atomic_load(&arena->owners[index])) != LAB_SEGMENT_HUGE)
			given = purge_free_pages(segment);
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

	/* The mark first: cut short between the two, the word is still there to be let go. */
	if (is_there(record->arena, segment) && word_of(segment, record->claim) != 0) {
		disturb(segment, LAB_MAY_HAVE_ORPHANS);
		let_go(segment, record->claim);
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

static void
settle_word(struct lab_segment *segment, uint32_t old_tid, uint32_t new_tid)
{
	uint64_t claim = lab_load_rlx(&segment->purge);
	uint32_t tid = (uint32_t)claim;

	if (claim == 0 || tid == new_tid)
		return;
	if (tid == old_tid) { /* a scan's word, of epoch 0, is let go by value by the frame that has it */
		if (claim >> 32 == 0)
			return;
		(void)lab_cas64(&segment->purge, claim, claim - old_tid + new_tid);
		return;
	}
	disturb(segment, LAB_MAY_HAVE_ORPHANS);
	(void)lab_cas64(&segment->purge, claim, 0);
}

void
lab_purge_after_fork(uint32_t old_tid, uint32_t new_tid)
{
	struct lab_arena *arena;
	struct lab_walk walk;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (lab_arena_is_committed(arena, index))
				settle_word(lab_arena_segment(arena, index), old_tid, new_tid);
	}
	lab_walk_end(&walk);
}

/* Another thread's stamp may be newer than our `now`. */
static bool
is_old_enough(uint64_t stamp, uint64_t now, uint64_t age)
{
	return stamp <= now ? now - stamp >= age : age == 0;
}

size_t
lab_purge_all(struct lab_purge_record *record, uint64_t now, uint64_t age, size_t enough)
{
	struct lab_arena *arena;
	struct lab_walk walk;
	size_t given = 0;

	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end && given < enough; index++) {
			if (!lab_arena_is_committed(arena, index))
				continue;
			struct lab_segment *segment = lab_arena_segment(arena, index);
			if (is_old_enough(lab_load_rlx(&segment->stamp), now, age) && lab_segment_count_dirty(segment) != 0)
				given += lab_purge_segment(arena, index, record);
		}
	}
	lab_walk_end(&walk);
	return given;
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
			if (lab_arena_is_committed(arena, index) &&
			    lab_owner_kind(lab_load_rlx(&arena->owners[index])) != LAB_SEGMENT_HUGE)
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
