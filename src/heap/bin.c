/* bin.c - see bin.h. */
#include "heap/bin.h"

enum { LOOKS = 8 }; /* listed spans from which a refill chooses */

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
		unit->previous = unit;
		bin->partial = unit;
		return;
	}
	unit->previous = first->previous;
	first->previous->next = unit;
	first->previous = unit;
}

void
lab_bin_remove(struct lab_bin *bin, struct lab_unit *unit)
{
	struct lab_unit *first = bin->partial;

	if (unit->next)
		unit->next->previous = unit->previous;
	else
		first->previous = unit->previous;
	if (unit == first)
		bin->partial = unit->next;
	else
		unit->previous->next = unit->next;
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
