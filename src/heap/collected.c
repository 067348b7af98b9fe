/* collected.c - see collected.h. Any context. */
#include "heap/collected.h"
#include "heap/finding.h"

bool
lab_collected_add(struct lab_unit *unit, uint16_t number, void *block)
{
	uint32_t count = lab_unit_count_collected(unit), head = lab_freelist_head(unit->collected);

	if (lab_unlikely(count >= lab_unit_used(unit) || (count != 0 && head == number)))
		return false;
	lab_poke((uint16_t *)block, (uint16_t)(count ? head : LAB_FREELIST_NIL));
	lab_compiler_barrier();
	unit->collected = lab_freelist_make(number, count + 1); /* commits */
	return true;
}

/* The last of the blocks that were collected; NULL: the program has written to one of them since it freed it. Its own
 * link says nothing: a frame that was cut short may have linked it to the free list already. */
static char *
last_collected(const struct lab_unit *unit, uint32_t collected)
{
	uint32_t at = lab_freelist_head(collected);
	char *block = NULL;

	for (uint32_t left = collected >> 16; left > 0; left--) {
		if (!lab_unit_has_free(unit, at))
			return NULL;
		block = lab_unit_block(unit, at);
		at = lab_block_link(block);
	}
	return block;
}

uint64_t
lab_collected_join(struct lab_heap *heap, const struct lab_unit *unit, union lab_unit_lists lists)
{
	uint32_t count = lists.collected >> 16;
	uint32_t freelist_state = lists.freelist_state - count * LAB_FREELIST_USED_ONE;
	char *last = last_collected(unit, lists.collected);

	if (lab_likely(last != NULL)) {
		lab_poke((uint16_t *)last, lab_freelist_head(freelist_state));
		freelist_state = lab_insert16(freelist_state, lab_freelist_head(lists.collected));
		lab_compiler_barrier();
	} else {
		lab_finding_note_owned(heap, LAB_FOUND_DAMAGE, unit->base);
	}
	return ((union lab_unit_lists){.freelist_state = freelist_state}).both;
}

void
lab_collected_free_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	if (lab_unlikely(lab_unit_count_collected(unit) != 0)) /* the store commits */
		lab_poke(&unit->both, lab_collected_join(heap, unit, (union lab_unit_lists){.both = unit->both}));
}
