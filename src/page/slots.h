/* slots.h - takes, maps and gives back slots of the window. Private to space.c and slots.c; the rules are in
 * space.h. */
#ifndef LAB_PAGE_SLOTS_H
#define LAB_PAGE_SLOTS_H

#include "page/window.h"

static inline size_t
lab_slot_index(const struct lab_space *space, const struct lab_slot *slot)
{
	return (size_t)(slot - space->slots);
}

static inline char *
lab_slot_address(const struct lab_space *space, size_t index)
{
	return (char *)(space->base + (index << LAB_SLOT_SHIFT));
}

/* A word of bits has something again. `hint`: no word below it has any. */
static inline void
lab_hint_lower(_Atomic size_t *hint, size_t word)
{
	if (lab_load_rlx(hint) > word)
		lab_store_rlx(hint, word);
}

/* A search from the hint `from` on has found nothing below `word`. It may miss what was given back meanwhile. */
static inline void
lab_hint_raise(_Atomic size_t *hint, size_t from, size_t word)
{
	if (word != from)
		(void)atomic_compare_exchange_strong_explicit(hint, &from, word, memory_order_relaxed,
		                                              memory_order_relaxed);
}

/* Clears the used bits of slots that the caller has taken, and has unmapped or never mapped. */
void lab_slots_give(struct lab_space *space, size_t index, unsigned slots_log);

/* Maps a segment of 2^slots_log slots for the heap, at the lowest free addresses. LAB_OCCUPIED: no place is free, or
 * others are everywhere. *segment stays as it is unless the result is LAB_MAPPED. */
enum lab_mapped lab_slots_map(struct lab_space *space, unsigned slots_log, uint32_t heap_id,
                              struct lab_segment **segment);

#endif
