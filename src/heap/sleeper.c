/* sleeper.c - see sleeper.h. Any context. */
#include "heap/sleeper.h"
#include "heap/bin.h"
#include "heap/collected.h"
#include "heap/hold.h"
#include "heap/span.h"
#include "heap/sparse.h"
#include "os/os.h"
#include "page/map.h"

/* So many pages are given back in the time that a look at a span takes. */
enum { PAGES_A_SPAN = 4 };

/* No block of it is used, but those that visitors have found. What is read while the thread runs is a guess. */
static bool
is_unused(const struct lab_unit *unit)
{
	return lab_unit_used(unit) == lab_unit_count_collected(unit);
}

/* Takes current spans away that look unused; by class, NULL: it has none. False: there is none at all. */
static bool
take_away(struct lab_heap *target, struct lab_unit *taken[LAB_CLASS_COUNT])
{
	bool any = false;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit *unit = target->bins[c].current;
		taken[c] = unit != &lab_no_span && is_unused(unit) ? unit : NULL;
		if (taken[c])
			lab_bin_set_current(target, c, &lab_no_span);
		any |= taken[c] != NULL;
	}
	return any;
}

/* Whether the thread was outside of its heap at a moment between the call and the return. The halves of a word are read
 * one after the other: a stack pointer has none of the low bits that two of the idle values have, and not the highest
 * bit, which the third one has. */
static bool
is_idle(const struct lab_heap *target)
{
	static const uintptr_t tags[] = {LAB_WORD_FAST, LAB_WORD_COUNTED, LAB_WORD_SLOW};
	const uintptr_t *word = lab_peek(&target->thread_word);

	for (size_t i = 0; LAB_GUARD && word && i < sizeof tags / sizeof *tags; i++)
		if (lab_os_reads_as((const uint64_t *)word, (uintptr_t)target | tags[i])) {
			lab_observe_poke(word);
			return true;
		}
	return false;
}

static void
put_back(struct lab_heap *target, unsigned c, struct lab_unit *unit, bool is_excluded)
{
	if (!is_excluded || !is_unused(unit)) {
		lab_bin_set_current(target, c, unit);
		return;
	}
	/* pairs with lab_poke_commit: the last block may have been freed after the look at the word; that is over */
	(void)__atomic_load_n(&unit->freelist_state, __ATOMIC_ACQUIRE);
	lab_span_demote_owned(target, unit);
	(void)lab_span_emptied_owned(target, unit);
}

/* INV-SLEEP-1. The second fence is for processors that may show the word before what was written before it. */
static bool
exclude(const struct lab_heap *target)
{
	return lab_os.fence() && is_idle(target) && lab_os.fence();
}

/* Spans that were taken away when a visit was cut short are found by the heap's rebuild, as all are. False: the thread
 * was found inside, or it cannot be told. */
static bool
give_current_spans(struct lab_heap *target)
{
	struct lab_unit *taken[LAB_CLASS_COUNT];

	if (!take_away(target, taken))
		return true;
	bool is_excluded = exclude(target);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		if (taken[c])
			put_back(target, c, taken[c], is_excluded);
	return is_excluded;
}

/* ---- pages of spans that are used ------------------------------------------------------------------------------- */

/* A quarter of what the span has touched is free, a page at least. What is read while the thread runs is a guess. */
static bool
is_worth_holding(const struct lab_unit *unit)
{
	size_t touched = lab_unit_touched(unit), used = lab_unit_used(unit) - lab_unit_count_collected(unit);
	size_t free = used <= unit->carved && used * unit->size < touched ? touched - used * unit->size : 0;

	return free >= LAB_PAGE_SIZE && free >= touched / 4;
}

/* Nobody else reads its lists: INV-HOLD-3. Pages. */
static size_t
thin_held(struct lab_heap *target, struct lab_held *held)
{
	size_t tried;

	if (held->lists.collected != 0) {
		held->lists.both = lab_collected_join(target, held->unit, held->lists);
		lab_compiler_barrier();
	}
	return lab_sparse_thin_owned(target, held->unit, &held->lists.freelist_state, &tried);
}

/* One of which blocks were collected was closed, and may be unused now. If they are collected still it was not held,
 * and a free that had found it open may be under way. */
static void
list_again(struct lab_heap *target, struct lab_unit *unit)
{
	if (unit->current || !unit->listed || lab_unit_count_collected(unit) != 0 ||
	    !(lab_peek(&unit->owner_key) & LAB_UNIT_CLOSED))
		return;
	lab_bin_remove(&target->bins[unit->size_class], unit);
	lab_span_list_owned(target, unit);
	if (lab_unit_used(unit) == 0)
		(void)lab_span_emptied_owned(target, unit);
}

/* Pages. *is_outside: false if the thread was found inside. */
static size_t
give_held(struct lab_heap *target, bool *is_outside)
{
	size_t given = 0;

	if (target->holds != 0)
		*is_outside = exclude(target);
	for (uint32_t i = 0; *is_outside && i < target->holds; i++)
		if (lab_hold_is_held(&target->held[i]))
			given += thin_held(target, &target->held[i]);
	while (target->holds != 0) {
		struct lab_unit *unit = lab_hold_release(target);
		if (*is_outside)
			list_again(target, unit);
	}
	return given;
}

/* Where the last span of it goes the segment may, too: then it is another owner's. Pages. */
static size_t
give_pages(struct lab_heap *target, const struct lab_segment *segment, uint64_t owner, bool *is_outside)
{
	size_t given = 0;

	for (size_t page = 0; page < lab_segment_pages(segment) && lab_load_rlx(lab_segment_owner(segment)) == owner;
	     page += LAB_UNIT_PAGES) {
		struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		if (lab_unit_kind_of(unit) != LAB_UNIT_IS_SPAN)
			continue;
		given += lab_span_purge_tail_owned(unit);
		if (target->holds == LAB_HELD_MAX)
			given += give_held(target, is_outside);
		if (*is_outside && lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN && is_worth_holding(unit))
			lab_hold(target, unit);
	}
	return given;
}

void
lab_sleeper_give_back(struct lab_heap *target, size_t *hand, size_t most)
{
	const struct lab_segment *segment = NULL;
	size_t given = 0, looked_at = 0, index = lab_peek(hand);
	uint64_t owner;

	if (!lab_peek(&target->thread_word))
		return;
	lab_store_rlx(&target->is_wanted, false); /* of a visitor before */
	bool is_outside = give_current_spans(target);
	while (!lab_load_rlx(&target->is_wanted) && given < most && looked_at < most / PAGES_A_SPAN &&
	       (segment = lab_space_next(&index, &owner)) != NULL) {
		if (lab_owner_state(owner) != LAB_SLOT_OWNED || lab_owner_heap(owner) != target->id)
			continue;
		looked_at += lab_segment_pages(segment) / LAB_UNIT_PAGES;
		given += give_pages(target, segment, owner, &is_outside);
	}
	lab_poke(hand, segment ? index : 0);
	given += give_held(target, &is_outside);
	lab_count_given_back_in_use(given);
}
