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

/* Before `next`, which is listed; NULL: at the end. */
static void
insert(struct lab_bin *bin, struct lab_unit *unit, struct lab_unit *next)
{
	struct lab_unit *first = bin->partial, *previous = first ? previous_of(next ? next : first) : unit;

	unit->next = next;
	unit->listed = true;
	set_previous(unit, previous);
	if (next == first)
		bin->partial = unit;
	else
		previous->next = unit;
	if (first)
		set_previous(next ? next : first, unit);
}

void
lab_bin_push(struct lab_bin *bin, struct lab_unit *unit)
{
	insert(bin, unit, bin->cold);
	if (lab_unlikely(lab_unit_purged(unit) != 0))
		bin->cold = unit;
}

void
lab_bin_remove(struct lab_bin *bin, struct lab_unit *unit)
{
	struct lab_unit *first = bin->partial;

	if (bin->cold == unit)
		bin->cold = unit->next;
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

void
lab_bin_cool(struct lab_bin *bin)
{
	bin->cold = bin->partial;
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

/* Of the spans from *first to the one before `end`. Those before the first that is worthwhile, or all that were looked
 * at, are moved before `end` if others are left. */
static struct lab_unit *
choose(struct lab_bin *bin, struct lab_unit **first, struct lab_unit *end)
{
	struct lab_unit *best = NULL, *first_worthwhile = NULL, *unit = *first;
	uint32_t capacity = unit ? lab_unit_capacity(unit) : 0, most = 0;

	for (int looks = LOOKS; unit != end && looks > 0; unit = unit->next, looks--) {
		uint32_t left = lab_span_left_of(unit, capacity);
		bool is_also = lab_is_worthwhile(left, capacity);
		/* of those that are worthwhile the fullest: others have time to become empty; else the emptiest */
		if (best && (first_worthwhile ? !is_also || left >= most : !is_also && left <= most))
			continue;
		if (is_also && !first_worthwhile)
			first_worthwhile = unit;
		best = unit;
		most = left;
	}
	struct lab_unit *stays = first_worthwhile ? first_worthwhile : unit;
	while (stays != end && *first != stays) {
		struct lab_unit *waits = *first;
		lab_bin_remove(bin, waits);
		insert(bin, waits, end);
	}
	return best;
}

struct lab_unit *
lab_bin_choose_warm(struct lab_bin *bin)
{
	return choose(bin, &bin->partial, bin->cold);
}

struct lab_unit *
lab_bin_choose_cold(struct lab_bin *bin)
{
	return choose(bin, &bin->cold, NULL);
}
