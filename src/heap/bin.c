/* bin.c - see bin.h. */
#include "heap/bin.h"

enum { LOOKS = 8 }; /* listed spans from which a refill chooses */

static struct lab_unit *
previous_of(const struct lab_unit *unit)
{
	return (struct lab_unit *)(uintptr_t)(unit->purged_and_previous & lab_mask(LAB_UNIT_PURGED_SHIFT));
}

static void
set_previous(struct lab_unit *unit, const struct lab_unit *previous)
{
	uint64_t purged = (uint64_t)lab_unit_purged(unit) << LAB_UNIT_PURGED_SHIFT;

	lab_poke(&unit->purged_and_previous, purged | (uintptr_t)previous);
}

void
lab_bin_set_current(struct lab_heap *heap, unsigned c, struct lab_unit *unit)
{
	size_t low = c == 0 ? 0 : lab_class_size(c - 1) / 16 + 1;
	size_t high = lab_class_size(c) / 16;

	heap->bins[c].current = unit;
	for (size_t slot = low; slot <= high && slot < LAB_DIRECT_SLOTS; slot++)
		heap->direct[slot] = unit;
}

void
lab_bin_push(struct lab_bin *bin, struct lab_unit *unit)
{
	struct lab_unit *first = bin->partial;

	unit->next = NULL;
	unit->listed = true;
	if (!first) {
		set_previous(unit, unit);
		bin->partial = unit;
		return;
	}
	set_previous(unit, previous_of(first));
	previous_of(first)->next = unit;
	set_previous(first, unit);
}

void
lab_bin_remove(struct lab_bin *bin, struct lab_unit *unit)
{
	struct lab_unit *first = bin->partial;

	if (unit->next)
		set_previous(unit->next, previous_of(unit));
	else
		set_previous(first, previous_of(unit));
	if (unit == first)
		bin->partial = unit->next;
	else
		previous_of(unit)->next = unit->next;
	unit->listed = false;
}

/* Which of two listed spans is to become current: the fuller one, so that the other has time to become empty; but
 * rather one that is worthwhile. */
static bool
is_better(const struct lab_unit *unit, const struct lab_unit *than)
{
	bool is_fuller = lab_span_left(unit) < lab_span_left(than);

	return lab_span_is_worthwhile(unit) ? is_fuller || !lab_span_is_worthwhile(than)
	                                    : !lab_span_is_worthwhile(than) && !is_fuller;
}

struct lab_unit *
lab_bin_choose(struct lab_bin *bin)
{
	struct lab_unit *best = bin->partial, *next;
	int looks = LOOKS;

	for (struct lab_unit *unit = best; unit && looks > 0; unit = next, looks--) {
		next = unit->next;
		if (is_better(unit, best))
			best = unit;
		if (!lab_span_is_worthwhile(unit)) {
			lab_bin_remove(bin, unit);
			lab_bin_push(bin, unit);
		}
	}
	return best;
}
