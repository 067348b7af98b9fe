/* sleeper.c - see sleeper.h. Any context. */
#include "heap/sleeper.h"
#include "heap/bin.h"
#include "heap/span.h"
#include "os/os.h"
#include "page/map.h"

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
	lab_span_demote_owned(target, unit);
	(void)lab_span_emptied_owned(target, unit);
}

/* INV-SLEEP-1. The second fence is for processors that may show the word before what was written before it. */
static bool
exclude(const struct lab_heap *target)
{
	return lab_os.fence() && is_idle(target) && lab_os.fence();
}

/* Spans that were taken away when a visit was cut short are found by the heap's rebuild, as all are. */
static void
give_current_spans(struct lab_heap *target)
{
	struct lab_unit *taken[LAB_CLASS_COUNT];

	if (!take_away(target, taken))
		return;
	bool is_excluded = exclude(target);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		if (taken[c])
			put_back(target, c, taken[c], is_excluded);
}

/* Where the last span of it goes the segment may, too: then it is another owner's. */
static size_t
give_tails(const struct lab_segment *segment, uint64_t owner)
{
	size_t given = 0;

	for (size_t page = 0; page < lab_segment_pages(segment) && lab_load_rlx(lab_segment_owner(segment)) == owner;
	     page += LAB_UNIT_PAGES) {
		struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN)
			given += lab_span_purge_tail_owned(unit);
	}
	return given;
}

void
lab_sleeper_give_back(struct lab_heap *target)
{
	const struct lab_segment *segment;
	size_t given = 0;
	uint64_t owner;

	if (!lab_peek(&target->thread_word))
		return;
	give_current_spans(target);
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		if (lab_owner_state(owner) == LAB_SLOT_OWNED && lab_owner_heap(owner) == target->id)
			given += give_tails(segment, owner);
	lab_count_given_back_in_use(given);
}
