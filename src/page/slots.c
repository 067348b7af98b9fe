/* slots.c - see slots.h. Any context. */
#include "page/slots.h"
#include "base/check.h"
#include "base/probe.h"
#include "page/segment.h"

enum {
	REFUSALS_AT_ONCE = 8, /* so many places in a row are tried one by one */
	REFUSALS_MAX = 64,    /* so many in a search, then it gives up */
};

/* What one step of opening the table makes writable. */
#define PIECE_SHIFT 26 /* 64 MiB of the window: a page or two of slots, 64 KiB of units */

/* The bits of 2^slots_log slots in their word. */
static uint64_t
used_mask(size_t index, unsigned slots_log)
{
	return lab_mask(1u << slots_log) << (index % 64);
}

static void
raise_high_water(struct lab_space *space, size_t end)
{
	size_t now = lab_load_rlx(&space->high_water);

	/* pairs with the acq of those who walk the slots */
	while (now < end && !atomic_compare_exchange_weak_explicit(&space->high_water, &now, end, memory_order_release,
	                                                           memory_order_relaxed))
		;
}

/* ---- addresses: the used bits ---- */

void
lab_slots_give(struct lab_space *space, size_t index, unsigned slots_log)
{
	uint64_t mask = used_mask(index, slots_log);
	uint64_t before = lab_and_rel(&space->bits[index / 64].used, ~mask); /* pairs with the CAS of take_in_word */

	lab_assert((before & mask) == mask); /* INV-SPACE-1 */
	(void)before;
	for (unsigned log = 0; log <= LAB_SLOTS_LOG_MAX; log++)
		lab_hint_lower(&space->lowest[log], index / 64);
}

/* Takes the lowest 2^slots_log free slots of a word; their index, or -1. */
static long
take_in_word(struct lab_space *space, size_t word, unsigned slots_log)
{
	_Atomic uint64_t *bits = &space->bits[word].used;
	uint64_t used = lab_load_rlx(bits);

	for (;;) {
		unsigned bit = lab_buddy_find(used, slots_log);
		if (bit == LAB_BUDDY_NONE)
			return -1;
		/* pairs with the rel of lab_slots_give: what was there is unmapped */
		if (atomic_compare_exchange_weak_explicit(bits, &used, used | used_mask(bit, slots_log),
		                                          memory_order_acquire, memory_order_relaxed))
			return (long)(word * 64 + bit);
	}
}

/* ---- mapping ---- */

/* Makes what describes the slots writable. Repeatable. */
static bool
open_table(struct lab_space *space, size_t index)
{
	const size_t slots = (size_t)1 << (PIECE_SHIFT - LAB_SLOT_SHIFT);
	const size_t units = (size_t)1 << (PIECE_SHIFT - LAB_UNIT_SHIFT);
	struct lab_unit *unit = lab_map_unit(lab_slot_address(space, index & ~(slots - 1)));
	struct lab_slot *slot = &space->slots[index & ~(slots - 1)];

	if (lab_load_acq(&space->bits[index / 64].is_open)) /* pairs with the rel below */
		return true;
	if (!lab_os.protect(unit, units * sizeof *unit, LAB_ACCESS_WRITE) ||
	    !lab_os.protect(slot, slots * sizeof *slot, LAB_ACCESS_WRITE))
		return false;
	lab_space_hold_range(unit, units * sizeof *unit);
	lab_space_hold_range(slot, slots * sizeof *slot);
	for (size_t i = 0; i < slots; i += 64)
		/* pairs with the acq above: the table is writable */
		lab_store_rel(&space->bits[(index & ~(slots - 1)) / 64 + i / 64].is_open, true);
	return true;
}

/* Metadata is cut from batches, and never given back: it belongs to its slot for ever. A frame that is cut short
 * loses a piece. */
#define BATCH_SIZE ((size_t)128 << 10)

struct batch {
	LAB_ALIGNED(64) _Atomic size_t used; /* bytes */
};

static _Atomic(struct batch *) current_batch;

static struct batch *
add_batch(struct batch *full)
{
	struct batch *batch = lab_os.map(BATCH_SIZE, LAB_ACCESS_WRITE);

	if (!batch)
		return NULL;
	lab_space_hold_range(batch, BATCH_SIZE);
	lab_store_rlx(&batch->used, sizeof *batch);
	/* pairs with the acq of allocate_metadata and with itself: who sees a batch sees `used` */
	if (atomic_compare_exchange_strong_explicit(&current_batch, &full, batch, memory_order_acq_rel,
	                                            memory_order_acquire))
		return batch;
	(void)lab_os.unmap(batch, BATCH_SIZE);
	return full;
}

/* `size` bytes that are zero; NULL: no memory. */
static void *
allocate_metadata(size_t size)
{
	struct batch *batch = lab_load_acq(&current_batch); /* pairs with the CAS of add_batch */

	size = lab_round_up(size, 64);
	lab_assert(size <= BATCH_SIZE / 4);
	for (;;) {
		size_t at = batch ? lab_add_rlx(&batch->used, size) : BATCH_SIZE;
		if (at + size <= BATCH_SIZE)
			return (char *)batch + at;
		batch = add_batch(batch);
		if (!batch)
			return NULL;
	}
}

/* The metadata of a segment of `pages` that begins in the slot; new and longer if those that are there are too
 * short. NULL: no memory. */
static struct lab_segment *
find_metadata(struct lab_space *space, size_t index, size_t pages)
{
	struct lab_slot *slot = &space->slots[index];
	struct lab_segment *segment = lab_load_acq(&slot->segment); /* pairs with the store below */

	if (segment && segment->capacity >= pages)
		return segment;
	segment = allocate_metadata(sizeof *segment + pages * sizeof segment->runs[0]);
	if (!segment)
		return NULL;
	segment->base = lab_slot_address(space, index);
	segment->slot = slot;
	segment->capacity = (uint32_t)pages;
	lab_store_rel(&slot->segment, segment); /* pairs with lab_space_find and lab_segment_is_mapped */
	return segment;
}

/* Maps a segment in slots of which the caller has set the used bits. It holds its signals back. */
static enum lab_mapped
map_slots(struct lab_space *space, size_t index, unsigned slots_log, uint32_t heap_id, struct lab_segment **result)
{
	struct lab_slot *slot = &space->slots[index];
	size_t slots = (size_t)1 << slots_log;

	/* first: a walk looks for OWNED segments no further than that */
	raise_high_water(space, index + slots);
	if (!open_table(space, index))
		return LAB_NOT_MAPPED;
	uint64_t seq = lab_owner_seq(lab_load_rlx(&slot->owner)) + 1;
	lab_assert(lab_owner_state(lab_load_rlx(&slot->owner)) == LAB_SLOT_FREE); /* INV-SPACE-1 */
	/* sc: INV-SPACE-2; pairs with the load of a purger, which is to see that the segment of before is gone */
	atomic_store(&slot->owner, lab_owner_make(seq, 0, slots_log, LAB_SLOT_MAPPING));
	struct lab_segment *segment = find_metadata(space, index, slots * LAB_SLOT_PAGES);
	enum lab_mapped mapped =
	        segment ? lab_os.map_at(lab_slot_address(space, index), slots * LAB_SLOT_SIZE) : LAB_NOT_MAPPED;
	if (mapped != LAB_MAPPED) {
		enum lab_slot_state state = mapped == LAB_OCCUPIED ? LAB_SLOT_REFUSED : LAB_SLOT_FREE;
		/* pairs with the acq of lab_space_find */
		lab_store_rel(&slot->owner, lab_owner_make(seq, 0, slots_log, state));
		return mapped;
	}
	lab_space_prepare_pages(segment->base, slots * LAB_SLOT_SIZE);
	lab_segment_begin(segment, slots * LAB_SLOT_PAGES);
	for (size_t i = 1; i < slots; i++)
		lab_store_rlx(&slot[i].owner, lab_owner_make(lab_owner_seq(lab_load_rlx(&slot[i].owner)) + 1, 0,
		                                             slots_log, LAB_SLOT_PART));
	/* sc: INV-SPACE-2; pairs with the loads of a purger, a walk and lab_space_find */
	atomic_store(&slot->owner, lab_owner_make(seq, heap_id, slots_log, LAB_SLOT_OWNED));
	*result = segment;
	lab_os_name(segment->base, slots * LAB_SLOT_SIZE, "labyrinth: blocks");
	LAB_PROBE2(labyrinth, segment_map, segment->base, slots * LAB_SLOT_SIZE);
	return LAB_MAPPED;
}

/* Searches from a word of bits on. */
static enum lab_mapped
map_from(struct lab_space *space, size_t from, unsigned slots_log, uint32_t heap_id, struct lab_segment **result)
{
	size_t words = space->slot_count / 64, refusals = 0, word = from;

	while (word < words) {
		long index = take_in_word(space, word, slots_log);
		if (index < 0) {
			word++;
			continue;
		}
		if (refusals == 0)
			lab_hint_raise(&space->lowest[slots_log], from, word);
		enum lab_mapped outcome = map_slots(space, (size_t)index, slots_log, heap_id, result);
		if (outcome == LAB_NOT_MAPPED)
			lab_slots_give(space, (size_t)index, slots_log);
		if (outcome != LAB_OCCUPIED)
			return outcome;
		/* others' mappings are long: the steps over them grow */
		if (++refusals == REFUSALS_MAX)
			break;
		if (refusals > REFUSALS_AT_ONCE)
			word += (size_t)1 << (refusals - REFUSALS_AT_ONCE < 10 ? refusals - REFUSALS_AT_ONCE : 10);
	}
	return LAB_OCCUPIED;
}

/* REFUSED → FREE: others may have gone since. Whether there is something to be tried again. */
static bool
forget_refusals(struct lab_space *space)
{
	bool any = false;

	size_t end = lab_load_acq(&space->high_water); /* pairs with raise_high_water */

	for (size_t index = 0; index < end; index++) {
		if (lab_load_rlx(&space->bits[index / 64].used) == 0) {
			index |= 63;
			continue;
		}
		uint64_t owner = lab_load_acq(&space->slots[index].owner); /* pairs with the rel of map_slots */
		unsigned slots_log = lab_owner_slots_log(owner);
		if (lab_owner_state(owner) != LAB_SLOT_REFUSED ||
		    /* pairs with the rel of map_slots; of two threads one gives the slots back */
		    !lab_cas64(&space->slots[index].owner, owner,
		               lab_owner_make(lab_owner_seq(owner) + 1, 0, slots_log, LAB_SLOT_FREE)))
			continue;
		lab_slots_give(space, index, slots_log);
		any = true;
	}
	return any;
}

enum lab_mapped
lab_slots_map(struct lab_space *space, unsigned slots_log, uint32_t heap_id, struct lab_segment **result)
{
	uint64_t mask = lab_os_hold_signals();
	size_t lowest = lab_load_rlx(&space->lowest[slots_log]);
	enum lab_mapped outcome = map_from(space, lowest, slots_log, heap_id, result);

	if (outcome == LAB_OCCUPIED && lowest != 0) /* a hint may be wrong */
		outcome = map_from(space, 0, slots_log, heap_id, result);
	if (outcome == LAB_OCCUPIED && forget_refusals(space))
		outcome = map_from(space, 0, slots_log, heap_id, result);
	lab_os_release_signals(mask);
	return outcome;
}
