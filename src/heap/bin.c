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

	lab_poke(&heap->bins[c].current, unit);
	for (size_t slot = low; slot <= high && slot < LAB_DIRECT_SLOTS; slot++)
		lab_poke(&heap->direct[slot], unit);
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

struct lab_unit *
lab_bin_find_free(const struct lab_bin *bin)
{
	struct lab_unit *unit = bin->partial;

	while (unit && lab_freelist_head(unit->freelist_state) == LAB_FREELIST_NIL &&
	       lab_unit_count_collected(unit) == 0)
		unit = unit->next;
	return unit;
}

/* The spans before this one go to the end of the list. */
static void
rotate(struct lab_bin *bin, struct lab_unit *unit)
{
	struct lab_unit *first = bin->partial, *last = previous_of(first);

	previous_of(unit)->next = NULL;
	last->next = first;
	bin->partial = unit;
}

struct lab_unit *
lab_bin_choose(struct lab_bin *bin)
{
	struct lab_unit *best = NULL, *unit = bin->partial;
	uint32_t capacity = unit ? lab_unit_capacity(unit) : 0, most = 0;
	bool is_worthwhile = false;
	struct lab_unit *stays = NULL; /* the first that does not wait at the end */

	for (int looks = LOOKS; unit && looks > 0; unit = unit->next, looks--) {
		uint32_t left = lab_span_left_of(unit, capacity);
		bool is_also = lab_is_worthwhile(left, capacity);
		/* of those that are worthwhile the fullest: others have time to become empty; else the emptiest */
		if (best && (is_worthwhile ? !is_also || left >= most : !is_also && left <= most))
			continue;
		if (is_also && !is_worthwhile)
			stays = unit;
		best = unit;
		most = left;
		is_worthwhile = is_also;
	}
	stays = is_worthwhile ? stays : unit;
	if (stays && stays != bin->partial)
		rotate(bin, stays);
	return best;
}
