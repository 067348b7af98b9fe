/* purge.c - see purge.h. */
#include "page/purge.h"
#include "base/check.h"
#include "os/os.h"
#include "page/map.h"

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
	for (size_t i = page; i < page + count; i++)
		atomic_fetch_and_explicit(&segment->dirty[i / 64], ~(UINT64_C(1) << (i % 64)), memory_order_relaxed);
	return count;
}

static size_t
purge_taken(struct lab_segment *segment, const uint64_t mine[LAB_SEGMENT_WORDS])
{
	size_t given = 0, start = 0, length = 0;

	for (size_t page = 0; page < LAB_SEGMENT_PAGES; page++) {
		if (mine[page / 64] >> (page % 64) & 1) {
			if (length == 0)
				start = page;
			length++;
		} else if (length) {
			given += purge_range(segment, start, length);
			length = 0;
		}
	}
	return given + (length ? purge_range(segment, start, length) : 0);
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

size_t
lab_purge_segment(struct lab_arena *arena, size_t index, struct lab_purge_record *record)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	size_t given = 0;

	lab_assert(record->claim >> 32 != 0);
	record->segment = segment;
	lab_compiler_barrier();
	if (lab_cas64(&segment->purge, 0, record->claim)) {
		/* INV-SEG-2: sc, after the purge word. */
		if (lab_owner_kind(atomic_load(&arena->owners[index])) != LAB_SEGMENT_HUGE)
			given = purge_free_pages(segment);
		(void)lab_cas64(&segment->purge, record->claim, 0);
	}
	lab_compiler_barrier();
	record->segment = NULL;
	lab_add_rlx(&total_pages, given);
	return given;
}

void
lab_purge_recover(struct lab_purge_record *record)
{
	struct lab_segment *segment = record->segment;

	/* The mark first: cut short between the two, the word is still there to be let go. */
	if (segment && lab_load_acq(&segment->purge) == record->claim) {
		disturb(segment, LAB_MAY_HAVE_ORPHANS);
		(void)lab_cas64(&segment->purge, record->claim, 0);
	}
	lab_compiler_barrier();
	record->segment = NULL;
}

size_t
lab_purge_all(struct lab_purge_record *record, uint64_t now, uint64_t age, size_t enough)
{
	struct lab_arena *arena;
	size_t given = 0;

	for (size_t i = 0; (arena = lab_map_arena(i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end && given < enough; index++) {
			if (!lab_arena_is_committed(arena, index))
				continue;
			struct lab_segment *segment = lab_arena_segment(arena, index);
			if (now - lab_load_rlx(&segment->stamp) >= age && lab_segment_count_dirty(segment) != 0)
				given += lab_purge_segment(arena, index, record);
		}
	}
	return given;
}

size_t
lab_purge_dirty_pages(void)
{
	struct lab_arena *arena;
	size_t pages = 0;

	for (size_t i = 0; (arena = lab_map_arena(i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end; index++)
			if (lab_arena_is_committed(arena, index) &&
			    lab_owner_kind(lab_load_rlx(&arena->owners[index])) != LAB_SEGMENT_HUGE)
				pages += lab_segment_count_dirty(lab_arena_segment(arena, index));
	}
	return pages;
}

size_t
lab_purge_total_pages(void)
{
	return lab_load_rlx(&total_pages);
}
