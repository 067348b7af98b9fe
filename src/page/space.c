/* space.c - claims, releases, unmaps and finds segments: see space.h. slots.c maps them. Any context. */
#include "page/space.h"
#include "base/check.h"
#include "base/probe.h"
#include "page/count.h"
#include "page/pending.h"
#include "page/slots.h"

enum { HOLES_MAX = 8192 }; /* an eighth of the mappings that Linux grants a process */

void
lab_space_set_huge_pages(enum lab_huge_pages when)
{
	struct lab_segment *segment;
	uint64_t owner;

	lab_store_rlx(&lab_space_huge_pages, (uint32_t)when);
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		(void)lab_os.huge_pages(segment->base, lab_segment_pages(segment) * LAB_PAGE_SIZE, when);
}

void
lab_space_hold_pages(enum lab_hold what, bool on)
{
	struct lab_segment *segment;
	uint64_t owner;
	uint32_t hold = lab_load_rlx(&lab_space_hold) & ~(uint32_t)what;

	lab_store_rlx(&lab_space_hold, hold | (on ? (uint32_t)what : 0));
	if (!on)
		return;
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		lab_space_hold_range(segment->base, lab_segment_pages(segment) * LAB_PAGE_SIZE);
}

void
lab_space_renew(struct lab_segment *segment)
{
	if (lab_likely(segment->generation == lab_segment_generation))
		return;
	if (lab_os.purge(segment->base, lab_segment_pages(segment) * LAB_PAGE_SIZE))
		lab_segment_mark_fresh(segment, 0, lab_segment_pages(segment));
	else
		lab_segment_mark_dirty(segment, 0, lab_segment_pages(segment));
	lab_poke(&segment->generation, lab_segment_generation);
}

/* ---- EMPTY segments ---- */

static bool
is_empty(uint64_t owner)
{
	return lab_owner_state(owner) == LAB_SLOT_EMPTY;
}

/* No slot from this one on was ever used. */
static size_t
slots_end(const struct lab_space *space)
{
	return lab_load_acq(&space->high_water); /* pairs with raise_high_water */
}

/* The next slot from `index` on whose hint is set; slots_end if there is none. */
static size_t
next_empty(struct lab_space *space, size_t index)
{
	size_t end = slots_end(space);

	while (index < end) {
		uint64_t bits = lab_load_rlx(&space->bits[index / 64].empty) & ~lab_mask(index % 64);
		if (bits)
			return (index & ~(size_t)63) + lab_ctz(bits);
		index = (index | 63) + 1;
	}
	return end;
}

static void
clear_hint(struct lab_space *space, size_t index)
{
	atomic_fetch_and_explicit(&space->bits[index / 64].empty, ~(UINT64_C(1) << (index % 64)), memory_order_relaxed);
}

/* The lowest one that is large enough. A hint that is set late does no harm: the state decides. */
static struct lab_segment *
claim_empty(struct lab_space *space, uint32_t heap_id, unsigned least)
{
	size_t from = lab_load_rlx(&space->lowest_empty), end = lab_load_rlx(&space->high_water),
	       index = next_empty(space, from * 64);

	lab_hint_raise(&space->lowest_empty, from, index / 64);
	for (; index < end; index = next_empty(space, index + 1)) {
		struct lab_slot *slot = &space->slots[index];
		uint64_t owner = lab_load_acq(&slot->owner); /* pairs with the CAS of lab_space_release */
		unsigned slots_log = lab_owner_slots_log(owner);
		if (!is_empty(owner) || slots_log < least ||
		    /* pairs with the same: the holder of before is done */
		    !lab_cas64(&slot->owner, owner,
		               lab_owner_make(lab_owner_seq(owner) + 1, heap_id, slots_log, LAB_SLOT_OWNED)))
			continue;
		clear_hint(space, index);
		struct lab_segment *segment = lab_load_acq(&slot->segment); /* pairs with find_metadata */
		lab_space_renew(segment);
		return segment;
	}
	return NULL;
}

struct lab_segment *
lab_space_claim(uint32_t heap_id, unsigned slots_log, unsigned least)
{
	struct lab_space *space = lab_space();
	struct lab_segment *segment = claim_empty(space, heap_id, least);

	lab_assert(least <= slots_log && slots_log <= LAB_SLOTS_LOG_MAX);
	for (unsigned log = slots_log + 1; !segment && log-- > least;)
		if (lab_slots_map(space, log, heap_id, &segment) == LAB_OCCUPIED && log > least)
			log = least + 1; /* what is left is in small pieces */
	/* EMPTY segments that are too small count for the same limits */
	if (!segment && lab_space_unmap_empty() != 0)
		(void)lab_slots_map(space, least, heap_id, &segment);
	return segment;
}

bool
lab_space_release(struct lab_segment *segment, uint64_t owner)
{
	struct lab_space *space = lab_space();
	size_t index = lab_slot_index(space, segment->slot);
	uint64_t empty = lab_owner_make(lab_owner_seq(owner), 0, lab_owner_slots_log(owner), LAB_SLOT_EMPTY);

	lab_assert(lab_owner_state(owner) == LAB_SLOT_OWNED);
	if (!lab_cas64(&segment->slot->owner, owner, empty)) /* pairs with the acq of claim_empty */
		return false;
	atomic_fetch_or_explicit(&space->bits[index / 64].empty, UINT64_C(1) << (index % 64), memory_order_relaxed);
	lab_hint_lower(&space->lowest_empty, index / 64);
	lab_purge_note();
	return true;
}

/* Whether a thread has the slots: INV-SPACE-1. */
static bool
are_used(const struct lab_space *space, size_t index, unsigned slots_log)
{
	uint64_t mask = lab_mask(1u << slots_log) << (index % 64);

	return (lab_load_rlx(&space->bits[index / 64].used) & mask) == mask;
}

static bool
unmap(struct lab_space *space, struct lab_segment *segment, uint64_t owner)
{
	struct lab_slot *slot = segment->slot;
	unsigned slots_log = lab_owner_slots_log(owner);
	size_t index = lab_slot_index(space, slot), slots = (size_t)1 << slots_log;
	uint64_t seq = lab_owner_seq(owner);

	lab_assert(is_empty(owner));
	/* sc: INV-SPACE-2; pairs with the purge word of lab_purge_segment */
	if (!lab_cas64(&slot->owner, owner, lab_owner_make(seq, 0, slots_log, LAB_SLOT_UNMAPPING)))
		return false;
	lab_assert(are_used(space, index, slots_log));    /* INV-SPACE-1 */
	bool is_held = atomic_load(&segment->purge) != 0; /* sc, after the CAS, with which it pairs */
	if (is_held || !lab_os.unmap(segment->base, slots * LAB_SLOT_SIZE)) {
		if (!is_held)
			lab_store_rlx(&segment->was_empty, LAB_NEVER_UNMAPPED);
		atomic_store(&slot->owner, owner); /* pairs with the acq of claim_empty */
		return false;
	}
	for (size_t i = slots; i-- > 0;)
		/* pairs with the acq of lab_space_find */
		lab_store_rel(&slot[i].owner, lab_owner_make(i == 0 ? seq : lab_owner_seq(lab_load_rlx(&slot[i].owner)),
		                                             0, slots_log, LAB_SLOT_FREE));
	clear_hint(space, index);
	lab_slots_give(space, index, slots_log);
	LAB_PROBE2(labyrinth, segment_unmap, segment->base, slots * LAB_SLOT_SIZE);
	return true;
}

bool
lab_space_unmap(struct lab_segment *segment, uint64_t owner)
{
	uint64_t mask = lab_os_hold_signals();
	bool done = unmap(lab_space(), segment, owner);

	lab_os_release_signals(mask);
	return done;
}

/* Holes between mapped segments: about as many as there are mappings for segments. */
static size_t
count_holes(const struct lab_space *space)
{
	size_t words = (slots_end(space) + 63) / 64, holes = 0;
	uint64_t before = 0; /* the last bit of the word before */

	for (size_t word = 0; word < words; word++) {
		uint64_t used = lab_load_rlx(&space->bits[word].used);
		holes += (size_t)__builtin_popcountll(~used & (used << 1 | before));
		before = used >> 63;
	}
	return holes;
}

enum lab_emptied
lab_space_unmap_emptied(struct lab_segment *segment, uint64_t owner, bool young, size_t *dirty)
{
	if (!is_empty(owner))
		return LAB_EMPTIED_STAYS;
	uint64_t was = atomic_exchange_explicit(&segment->was_empty, owner, memory_order_relaxed);
	size_t pages = lab_segment_count_dirty(segment);
	if (!(young || was == owner || was == LAB_NEVER_UNMAPPED))
		return LAB_EMPTIED_WAITS;
	if (count_holes(lab_space()) > HOLES_MAX)
		return LAB_EMPTIED_STAYS;
	if (!lab_space_unmap(segment, owner))
		return lab_load_rlx(&segment->was_empty) == LAB_NEVER_UNMAPPED ? LAB_EMPTIED_STAYS : LAB_EMPTIED_WAITS;
	*dirty += pages;
	lab_count_given_back(pages);
	return LAB_EMPTIED_UNMAPPED;
}

size_t
lab_space_unmap_empty(void)
{
	struct lab_space *space = lab_space();
	size_t bytes = 0, dirty = 0;

	if (!space)
		return 0;
	for (size_t index = next_empty(space, 0), end = slots_end(space); index < end;
	     index = next_empty(space, index + 1)) {
		uint64_t owner = lab_load_acq(&space->slots[index].owner); /* pairs with the CAS of lab_space_release */
		struct lab_segment *segment = lab_load_acq(&space->slots[index].segment); /* pairs with find_metadata */
		if (segment && lab_space_unmap_emptied(segment, owner, true, &dirty) == LAB_EMPTIED_UNMAPPED)
			bytes += LAB_SLOT_SIZE << lab_owner_slots_log(owner);
	}
	return bytes;
}

/* ---- looking ---- */

struct lab_segment *
lab_space_next(size_t *index, uint64_t *owner)
{
	struct lab_space *space = lab_space();
	size_t end = space ? slots_end(space) : 0;

	while (*index < end) {
		uint64_t used = lab_load_rlx(&space->bits[*index / 64].used) & ~lab_mask(*index % 64);
		if (!used) {
			*index = (*index | 63) + 1;
			continue;
		}
		size_t at = (*index & ~(size_t)63) + lab_ctz(used);
		*owner = lab_load_acq(&space->slots[at].owner); /* pairs with the rel of map_slots */
		bool is_mapped = is_empty(*owner) || lab_owner_state(*owner) == LAB_SLOT_OWNED;
		*index = at + ((size_t)1 << (is_mapped ? lab_owner_slots_log(*owner) : 0));
		struct lab_segment *segment = lab_load_acq(&space->slots[at].segment); /* pairs with find_metadata */
		if (is_mapped && segment)
			return segment;
	}
	return NULL;
}

struct lab_segment *
lab_space_find(const void *p, uint64_t *owner)
{
	struct lab_space *space = lab_space();
	size_t index = space ? ((uintptr_t)p - space->base) >> LAB_SLOT_SHIFT : 0;

	if (!space || index >= space->slot_count)
		return NULL;
	*owner = lab_load_acq(&space->slots[index].owner); /* pairs with the rel of map_slots and unmap */
	if (lab_owner_state(*owner) == LAB_SLOT_PART || lab_owner_state(*owner) == LAB_SLOT_FREE) {
		index &= ~(((size_t)1 << lab_owner_slots_log(*owner)) - 1);
		*owner = lab_load_acq(&space->slots[index].owner); /* pairs with the same */
	}
	struct lab_segment *segment = lab_load_acq(&space->slots[index].segment); /* pairs with find_metadata */
	/* else it is another, shorter segment by now */
	return segment && lab_segment_page_of(segment, p) < segment->capacity ? segment : NULL;
}

size_t
lab_space_table_size(void)
{
	return lab_space() ? lab_space()->table_size : 0;
}

size_t
lab_space_mapped(void)
{
	size_t bytes = 0;
	uint64_t owner;

	for (size_t index = 0; lab_space_next(&index, &owner) != NULL;)
		bytes += LAB_SLOT_SIZE << lab_owner_slots_log(owner);
	return bytes;
}
