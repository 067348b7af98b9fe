/*
 * reserve.h - the emergency reserve: fixed slots of 12 classes, 32 bytes to 64 KiB, claimed and released by one atomic
 * instruction each (slot.h). The last resort of re-entrant calls for which the system has no memory, and what
 * LAB_GFP_ATOMIC draws on.
 *
 * Any context, but for lab_reserve_install: no lock, no system call, no loop that another thread can prolong beyond its
 * bound. This layer does not talk to the kernel: memory is handed in by backing/.
 *
 * The promised slots lie side by side, the largest class first, so that all are aligned to their size; then their
 * words. A class of n slots has these zones, in this order:
 *
 *     plain     n - low     everybody
 *     low       low - min   everybody; a claim that gets here asks for growth
 *     high      min - high  HIGH and ATOMIC
 *     last      high        MEMALLOC only
 *     overflow  more than n requests rounded up from smaller classes, and the class itself when all else is taken
 *     growth    elsewhere   shares that are everybody's (share.h), opened and closed while the program runs
 *
 * INV-RES-3  A request rounded up takes overflow and growth of a larger class only, so that n claims of a class with
 *            MEMALLOC succeed without concurrent releases, whatever the order of frees before and whatever other
 *            classes do.
 */
#ifndef LAB_RESERVE_RESERVE_H
#define LAB_RESERVE_RESERVE_H

#include "reserve/share.h"

/* How far down a class's slots a claim may go: the watermarks, by flags (docs/guarantees.md, G6). */
enum lab_reserve_depth {
	LAB_DEPTH_MIN = 0, /* stops at `min`: re-entrant malloc */
	LAB_DEPTH_HIGH,    /* at `high`: LAB_GFP_HIGH, ATOMIC */
	LAB_DEPTH_ALL,     /* takes the last slot: LAB_GFP_MEMALLOC */
};

/* A slot of at least `size` bytes at a multiple of `align`, a power of two, or NULL: every word that it may reach was
 * seen empty at some instant, or LAB_SLOTS_TRIES claims of a word were lost to others. Contents are indeterminate.
 * O(words that it may reach). */
void *lab_reserve_claim(size_t size, size_t align, enum lab_reserve_depth depth);

/* p must be in the reserve. Constant time. */
enum lab_reserve_release lab_reserve_release(void *p);

/* Bytes of the slot that starts at p and is taken; 0 if p is no such. */
size_t lab_reserve_slot_size(const void *p);

/* ---- state ----------------------------------------------------------------------------------------------------- */

/* Of a class's slots: as above, in that order. */
enum lab_zone {
	LAB_ZONE_PLAIN,
	LAB_ZONE_LOW,
	LAB_ZONE_HIGH,
	LAB_ZONE_LAST,
	LAB_ZONE_OVERFLOW,
	LAB_ZONES,
};

/* There is something else to look at: a class is low and its rise is waited for; copies are to be made after a
 * fork. */
#define LAB_REFILL_LOOK (1u << 31)

struct LAB_ALIGNED(64) lab_pool {
	struct lab_bank bank;
	uint32_t zones[LAB_ZONES + 1]; /* where each begins, and the last one ends */
	/* Where a claim's first try is: a number of the bits of first_word, as lab_slots_start has it, of words that
	 * have these slots in the zone. */
	uint32_t first_word, first_slots;
	_Atomic uint16_t growth; /* a list of shares */
};

/* Constant once installed, but for what is atomic. In a page of its own, so that it can be locked by itself in a
 * statically linked program. */
struct LAB_ALIGNED(4096) lab_reserve {
	struct lab_pool pools[16]; /* of the classes; the others stay empty: a search by address wants a power of two */
	_Atomic bool installed;
	char *start;   /* of the slots */
	size_t size;   /* of all slots */
	size_t limit;  /* bytes in slots, growth included */
	size_t memory; /* bytes from start on, with the words: whole pages */
	/* Bit c: class c has got below its low mark since somebody cleared the bit. Or LAB_REFILL_LOOK. */
	_Atomic uint32_t refill_pending;
	/* Size + 1 of the first request that was not met and is worth a line; 0: none; SIZE_MAX: it was said. Here, as
	 * this page stays resident. */
	_Atomic size_t first_failure;
	/* The atomic tier was used, or asked for: after a fork its pages are made the process's own. */
	_Atomic bool in_use;
	_Atomic size_t failures;   /* claims with depth HIGH or ALL that got NULL */
	_Atomic size_t lost_races; /* claims that got NULL after LAB_SLOTS_TRIES losses */
};
extern struct lab_reserve lab_reserve LAB_HIDDEN;

/* Sets bits of refill_pending, for the next slow call of the normal tier. */
static inline void
lab_reserve_ask(uint32_t bits)
{
	if ((lab_load_rlx(&lab_reserve.refill_pending) & bits) != bits)
		(void)atomic_fetch_or_explicit(&lab_reserve.refill_pending, bits, memory_order_relaxed);
}

/* Any context. The first time the next slow call of the normal tier makes up for forks that were before. */
static inline void
lab_reserve_note_use(void)
{
	if (lab_likely(lab_load_rlx(&lab_reserve.in_use)))
		return;
	lab_store_rlx(&lab_reserve.in_use, true);
	lab_reserve_ask(LAB_REFILL_LOOK);
}

/* Whether p points to a promised slot. Grown ones are found by lab_share_find. */
static inline bool
lab_reserve_contains(const void *p)
{
	return (uintptr_t)p - (uintptr_t)lab_reserve.start < lab_reserve.size;
}

static inline bool
lab_reserve_is_installed(void)
{
	return lab_load_acq(&lab_reserve.installed); /* pairs with the rel of lab_reserve_install */
}

/* ---- layout ---------------------------------------------------------------------------------------------------- */

struct lab_reserve_plan {
	/* n; overflow is an eighth more, but nothing is rounded up to the least class */
	uint32_t slots[LAB_RESERVE_CLASSES];
	size_t limit; /* bytes in slots, growth included; 0: four times what there is without */
};

/* Bytes in slots, growth not included; and those of memory that are needed. 0: more than there can be. */
size_t lab_reserve_plan_slots(const struct lab_reserve_plan *plan);
size_t lab_reserve_plan_memory(const struct lab_reserve_plan *plan);

/* Begins to use so much zeroed memory. Once in a process; not at the same time as itself. */
void lab_reserve_install(const struct lab_reserve_plan *plan, void *memory);

/* ---- figures; snapshots ---------------------------------------------------------------------------------------- */

struct lab_reserve_figures {
	size_t size, slots, overflow, used, min, high, low;
	size_t grown; /* slots of growth that is open */
	size_t plain; /* free slots that do not ask for growth: [low, n) and growth */
};

/* False: no such class, or no reserve. */
bool lab_reserve_figures(unsigned c, struct lab_reserve_figures *figures);

/* Of all classes: bytes in all slots, in those of growth that is open, and in those that are taken. */
struct lab_reserve_bytes {
	size_t total, grown, used;
};
struct lab_reserve_bytes lab_reserve_bytes(void);

#endif
