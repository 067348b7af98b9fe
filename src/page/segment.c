/* segment.c - the page bitmap of a segment: see segment.h. */
#include "page/segment.h"
#include "base/check.h"
#include "os/os.h"
#include "page/pending.h"

/* 0 → 1 for all bits of the mask in one step, or false. */
static bool
set_bits(_Atomic uint64_t *word, uint64_t mask)
{
	uint64_t old = lab_load_rlx(word);

	do {
		if (old & mask)
			return false;
		/* pairs with the rel of clear_bits: the setter of before is done with the pages */
	} while (!atomic_compare_exchange_weak_explicit(word, &old, old | mask, memory_order_acquire,
	                                                memory_order_relaxed));
	return true;
}

static void
clear_bits(struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++) {
		uint64_t mask = lab_segment_range_mask(word, page, count);
		uint64_t before = lab_and_rel(&segment->taken[word], ~mask); /* pairs with the acq of set_bits */
		lab_assert((before & mask) == mask);                         /* INV-PAGE-1 */
		(void)before;
	}
}

bool
lab_segment_take_at(struct lab_segment *segment, size_t page, size_t count)
{
	size_t end = page + count;

	lab_assert(count != 0);
	for (size_t word = page / 64; word * 64 < end; word++) {
		if (!set_bits(&segment->taken[word], lab_segment_range_mask(word, page, count))) {
			size_t undone = word * 64 > page ? word * 64 - page : 0;
			if (undone)
				clear_bits(segment, page, undone);
			return false;
		}
	}
	return true;
}

/* A word whose zero bits are the words that are free as a whole: the buddy's second level. */
static uint64_t
taken_words(const struct lab_segment *segment)
{
	uint64_t taken = ~lab_mask(LAB_SEGMENT_WORDS);

	for (unsigned word = 0; word < LAB_SEGMENT_WORDS; word++)
		if (segment->words[word].order != LAB_BUDDY_WORD_ORDER)
			taken |= UINT64_C(1) << word;
	return taken;
}

static int
find_in_words(const struct lab_segment *segment, unsigned order)
{
	for (unsigned word = 0; word < LAB_SEGMENT_WORDS; word++) {
		if (segment->words[word].order < (int)order)
			continue;
		unsigned bit = lab_buddy_find(lab_load_rlx(&segment->taken[word]), order);
		if (bit != LAB_BUDDY_NONE)
			return (int)(word * 64 + bit);
	}
	return -1;
}

/* The lowest `count` free pages in a row, inside a word or across words; -1 if there are none. */
static int
find_run(const struct lab_segment *segment, size_t count)
{
	size_t open = 0; /* free pages just before the word */

	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++) {
		uint64_t taken = lab_load_rlx(&segment->taken[word]);
		if (taken == ~UINT64_C(0)) {
			open = 0;
			continue;
		}
		size_t low = taken ? lab_ctz(taken) : 64;
		if (open + low >= count)
			return (int)(word * 64 - open);
		uint64_t starts =
		        count <= 64 ? lab_buddy_runs(taken, (unsigned)count) & lab_mask((unsigned)(65 - count)) : 0;
		if (starts)
			return (int)(word * 64 + lab_ctz(starts));
		open = taken ? 63 - lab_log2(taken) : open + 64;
	}
	return -1;
}

/* The holder's view is a hint while a purger is at work: the CAS decides. */
static int
take_found(struct lab_segment *segment, int page, size_t count)
{
	if (page < 0 || !lab_segment_take_at(segment, (size_t)page, count))
		return -1;
	lab_segment_refresh_owned(segment, (size_t)page, count);
	return page;
}

int
lab_segment_take_run_owned(struct lab_segment *segment, size_t count)
{
	return take_found(segment, find_run(segment, count), count);
}

int
lab_segment_take_owned(struct lab_segment *segment, unsigned order, size_t count)
{
	int page;

	if (order <= LAB_BUDDY_WORD_ORDER) {
		page = find_in_words(segment, order);
	} else {
		unsigned word = lab_buddy_find(taken_words(segment), order - LAB_BUDDY_WORD_ORDER);
		page = word == LAB_BUDDY_NONE ? -1 : (int)word * 64;
	}
	return take_found(segment, page, count);
}

static void
soil_word(struct lab_segment *segment, size_t word, uint64_t mask)
{
	if ((lab_load_rlx(&segment->dirty[word]) & mask) != mask)
		atomic_fetch_or_explicit(&segment->dirty[word], mask, memory_order_relaxed);
	if (lab_load_rlx(&segment->aged[word]) & mask)
		atomic_fetch_and_explicit(&segment->aged[word], ~mask, memory_order_relaxed);
}

void
lab_segment_mark_dirty(struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		soil_word(segment, word, lab_segment_range_mask(word, page, count));
}

size_t
lab_segment_soil(struct lab_segment *segment, size_t page, size_t count, uint64_t were_clean[LAB_SEGMENT_WORDS])
{
	size_t end = page + count, clean = 0;

	for (size_t word = page / 64; word * 64 < end; word++) {
		uint64_t mask = lab_segment_range_mask(word, page, count);
		were_clean[word] = mask & ~lab_load_rlx(&segment->dirty[word]);
		clean += (size_t)__builtin_popcountll(were_clean[word]);
		soil_word(segment, word, mask);
	}
	return clean;
}

void
lab_segment_unsoil(struct lab_segment *segment, size_t page, size_t count, const uint64_t clean[LAB_SEGMENT_WORDS])
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		atomic_fetch_and_explicit(&segment->dirty[word], ~clean[word], memory_order_relaxed);
}

void
lab_segment_mark_fresh(struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		atomic_fetch_and_explicit(&segment->dirty[word], ~lab_segment_range_mask(word, page, count),
		                          memory_order_relaxed);
}

void
lab_segment_give(struct lab_segment *segment, size_t page, size_t count, size_t dirty)
{
	lab_assert(page + count <= lab_segment_pages(segment) && dirty <= count);
	if (dirty)
		lab_segment_mark_dirty(segment, page, dirty);
	clear_bits(segment, page, count);
	if (dirty)
		lab_purge_note();
}

bool
lab_segment_are_taken(const struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		if (~lab_load_rlx(&segment->taken[word]) & lab_segment_range_mask(word, page, count))
			return false;
	return true;
}

bool
lab_segment_is_fresh(const struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		if (lab_load_rlx(&segment->dirty[word]) & lab_segment_range_mask(word, page, count))
			return false;
	return true;
}

static struct lab_word_view
view_of(uint64_t taken)
{
	return (struct lab_word_view){
	        .order = (int8_t)lab_buddy_greatest(taken),
	        .low = (uint8_t)(taken ? lab_ctz(taken) : 64),
	        .high = (uint8_t)(taken ? 63 - lab_log2(taken) : 64),
	        .longest = (uint8_t)lab_buddy_longest(taken),
	};
}

/* From the words' views those of the segment. */
static void
sum_up(struct lab_segment *segment)
{
	size_t longest = 0, open = 0; /* open: free pages just before the word */
	int greatest = -1;

	for (size_t word = 0; word < lab_segment_words(segment); word++) {
		const struct lab_word_view *view = &segment->words[word];
		if (view->order > greatest)
			greatest = view->order;
		if (view->longest > longest)
			longest = view->longest;
		if (open + view->low > longest)
			longest = open + view->low;
		open = view->low == 64 ? open + 64 : view->high;
	}
	if (greatest == LAB_BUDDY_WORD_ORDER)
		greatest += lab_buddy_greatest(taken_words(segment));
	segment->greatest = (int8_t)greatest;
	segment->longest = (uint16_t)longest;
}

void
lab_segment_refresh_owned(struct lab_segment *segment, size_t page, size_t count)
{
	for (size_t word = page / 64; word * 64 < page + count; word++)
		segment->words[word] = view_of(lab_load_rlx(&segment->taken[word]));
	sum_up(segment);
}

uint32_t lab_segment_generation;
_Atomic uint64_t lab_segment_stale_marks;

void
lab_segment_mark_stale(struct lab_segment *segment, enum lab_view_state how)
{
	uint32_t now = lab_load_rlx(&segment->view_stale);

	/* both pair with the acq of the holder (refresh_stale in heap/take.c): it sees the bits that were cleared
	 * before */
	while (now < (uint32_t)how &&
	       !atomic_compare_exchange_weak_explicit(&segment->view_stale, &now, (uint32_t)how, memory_order_release,
	                                              memory_order_relaxed))
		;
	atomic_fetch_add_explicit(&lab_segment_stale_marks, 1, memory_order_release); /* pairs as well */
}

bool
lab_segment_is_empty(const struct lab_segment *segment)
{
	uint64_t any = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++)
		/* pairs with the rel of clear_bits */
		any |= lab_load_acq(&segment->taken[word]) & lab_segment_word_mask(segment, word);
	return any == 0;
}

void
lab_segment_begin(struct lab_segment *segment, size_t pages)
{
	lab_assert(pages <= segment->capacity && lab_is_power_of_two(pages));
	lab_store_rlx(&segment->pages, (uint32_t)pages);
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++) {
		lab_store_rlx(&segment->taken[word], ~lab_segment_word_mask(segment, word));
		lab_store_rlx(&segment->dirty[word], 0);
		lab_store_rlx(&segment->aged[word], 0);
		segment->words[word] = view_of(~UINT64_C(0));
	}
	lab_store_rlx(&segment->view_stale, LAB_VIEW_IS_FRESH);
	lab_store_rlx(&segment->unheld, 0);
	lab_store_rlx(&segment->was_empty, 0);
	lab_poke(&segment->generation, lab_segment_generation);
}

/* The pages of a word that are dirty and free. */
static uint64_t
dirty_in_word(const struct lab_segment *segment, size_t word)
{
	return lab_load_rlx(&segment->dirty[word]) & ~lab_load_rlx(&segment->taken[word]);
}

size_t
lab_segment_count_dirty(const struct lab_segment *segment)
{
	size_t pages = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++)
		pages += (size_t)__builtin_popcountll(dirty_in_word(segment, word));
	return pages;
}

size_t
lab_segment_count_taken(const struct lab_segment *segment)
{
	size_t pages = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++)
		pages += (size_t)__builtin_popcountll(lab_load_rlx(&segment->taken[word]) &
		                                      lab_segment_word_mask(segment, word));
	return pages;
}

size_t
lab_segment_age(struct lab_segment *segment)
{
	size_t pages = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++) {
		uint64_t dirty = dirty_in_word(segment, word);
		if (dirty & ~lab_load_rlx(&segment->aged[word]))
			atomic_fetch_or_explicit(&segment->aged[word], dirty, memory_order_relaxed);
		pages += (size_t)__builtin_popcountll(dirty);
	}
	return pages;
}
