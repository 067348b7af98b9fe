/*
 * slot.h - up to 32 slots as bits of one word, claimed and released by one atomic instruction each. Async-signal-safe;
 * wait-free.
 *
 * A word is OPEN: bit 63, and a bit for each free slot in the low 32; or CLOSED: 0, and there may be no memory behind
 * it. So a claim that chose its bit when the word was open, and comes when it is closed, finds the bit 0 and goes on.
 *
 * INV-RES-1  A bit (1 = free) goes 1→0 for one claimer and 0→1 by the holder of the slot. A stale word only picks a
 *            candidate that the read-modify-write validates: there is no ABA. Open words are changed by
 *            read-modify-write only.
 * INV-RES-2  A word is closed only when all of its slots are free, by a CAS from exactly that value. Only who closes
 *            words opens them.
 */
#ifndef LAB_RESERVE_SLOT_H
#define LAB_RESERVE_SLOT_H

#include "base/atomic.h"
#include "base/bits.h"

#define LAB_SLOTS_A_WORD 32u
#define LAB_SLOTS_OPEN   (UINT64_C(1) << 63)
#define LAB_SLOTS_TRIES  64

/* All of `slots` slots free. */
static inline uint64_t
lab_slots_all_free(unsigned slots)
{
	return LAB_SLOTS_OPEN | lab_mask(slots);
}

static inline bool
lab_slots_is_open(uint64_t word)
{
	return word & LAB_SLOTS_OPEN;
}

/* ---- the two instructions -------------------------------------------------------------------------------------- */

/*
 * Clears or sets a bit and says what it was before. acq_rel: a claim pairs with the release of the slot's last holder.
 * Written out on x86-64, as clang makes a compare-and-swap loop of the C11 form, which is not wait-free; sanitizers are
 * shown the C11 form.
 */
#if defined(__x86_64__) && !defined(LAB_THREAD_SANITIZER)
#define LAB_SLOTS_ASM 1
#else
#define LAB_SLOTS_ASM 0
#endif

static inline bool
lab_slots_take_bit(_Atomic uint64_t *word, unsigned bit)
{
#if LAB_SLOTS_ASM
	bool was;
	__asm__ volatile("lock btrq %2, %1" : "=@ccc"(was), "+m"(*word) : "r"((uint64_t)bit) : "memory");
	return was;
#else
	return lab_and_acq_rel(word, ~(UINT64_C(1) << bit)) >> bit & 1; /* pairs as said above */
#endif
}

static inline bool
lab_slots_put_bit(_Atomic uint64_t *word, unsigned bit)
{
#if LAB_SLOTS_ASM
	bool was;
	__asm__ volatile("lock btsq %2, %1" : "=@ccc"(was), "+m"(*word) : "r"((uint64_t)bit) : "memory");
	return was;
#else
	return lab_or_acq_rel(word, UINT64_C(1) << bit) >> bit & 1;     /* pairs as said above */
#endif
}

/* ---- claim and release of one word ----------------------------------------------------------------------------- */

enum lab_slots_result {
	LAB_SLOTS_NONE = -1, /* no free slot under the mask was seen */
	LAB_SLOTS_LOST = -2, /* LAB_SLOTS_TRIES claims were lost to others */
};

/* A free slot of those in `mask`, or enum lab_slots_result. */
static inline int
lab_slots_claim(_Atomic uint64_t *word, uint32_t mask)
{
	for (int try = 0; try < LAB_SLOTS_TRIES; try++) {
		uint32_t free = (uint32_t)lab_load_rlx(word) & mask;
		if (!free)
			return LAB_SLOTS_NONE;
		unsigned bit = lab_ctz(free);
		if (lab_likely(lab_slots_take_bit(word, bit)))
			return (int)bit;
	}
	return LAB_SLOTS_LOST;
}

enum lab_reserve_release {
	LAB_RESERVE_RELEASED = 0,
	LAB_RESERVE_WAS_FREE = 1, /* a double free */
	LAB_RESERVE_NOT_A_SLOT,   /* in the reserve, but not the start of a slot */
};

/* The holder's release. (A double free that races with the closing of its word is not told from a release.) */
static inline enum lab_reserve_release
lab_slots_release(_Atomic uint64_t *word, unsigned bit)
{
	if (lab_unlikely(!lab_slots_is_open(lab_load_rlx(word))))
		return LAB_RESERVE_NOT_A_SLOT;
	return lab_unlikely(lab_slots_put_bit(word, bit)) ? LAB_RESERVE_WAS_FREE : LAB_RESERVE_RELEASED;
}

/* Where threads begin their search, so that they do not all begin at one word: a number of the bits in `mask`, 16 at
 * most. */
static inline uint32_t
lab_slots_start(uint32_t mask)
{
	return (uint32_t)((uint64_t)lab_thread_pointer() * UINT64_C(0x9e3779b97f4a7c15) >> 48) & mask;
}

/* The mask for `words` words; words >= 1. */
static inline uint32_t
lab_slots_start_mask(uint32_t words)
{
	return (1u << lab_log2(words)) - 1;
}

#endif
