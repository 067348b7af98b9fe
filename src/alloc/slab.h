/*
 * slab.h - the word of a slab: which of its objects are free, and whether it has memory at all. Pure functions on the value, and the two
 * operations on one bit. Any context.
 *
 *     bits 0–31   1 = the object is free
 *     bits 32–61  epoch
 *     bit 62      CHANGING: one frame is giving the slab its memory
 *     bit 63      CLOSED: no memory
 *
 * 0 is a slab that never had memory. CLOSED and CHANGING slabs have no free objects: a claim with a stale word fails without harm.
 *
 *     0, CLOSED{e} → CHANGING{e'} → open{e'} → CLOSED{e'}     e' = e + 1
 *                                 → CLOSED{e'}                there was no memory
 *
 * INV-SLAB-1  A bit goes 1→0 for one claimer and 0→1 by the holder of the object, or all at once as the slab opens and closes.
 * INV-SLAB-2  The epoch is raised each time a slab begins to open: no word of an open slab occurs in two openings (in 2^30 of them), so
 *             that a CAS from a word that was read decides about the memory that was read with it.
 */
#ifndef LAB_ALLOC_SLAB_H
#define LAB_ALLOC_SLAB_H

#include "base/atomic.h"
#include "base/bits.h"

#define LAB_SLAB_OBJECTS  32u
#define LAB_SLAB_CLOSED   (UINT64_C(1) << 63)
#define LAB_SLAB_CHANGING (UINT64_C(1) << 62)
#define LAB_SLAB_EPOCH    (LAB_SLAB_CHANGING - (UINT64_C(1) << 32))

static inline uint32_t
lab_slab_free_bits(uint64_t word)
{
	return (uint32_t)word;
}

static inline bool
lab_slab_is_open(uint64_t word)
{
	return word != 0 && !(word & (LAB_SLAB_CLOSED | LAB_SLAB_CHANGING));
}

static inline bool
lab_slab_is_closed(uint64_t word)
{
	return word == 0 || word & LAB_SLAB_CLOSED;
}

/* A closed word, with the next epoch. */
static inline uint64_t
lab_slab_changing(uint64_t word)
{
	uint64_t epoch = (word + (UINT64_C(1) << 32)) & LAB_SLAB_EPOCH;

	return LAB_SLAB_CHANGING | (epoch ? epoch : UINT64_C(1) << 32); /* an open word is never 0 */
}

static inline uint64_t
lab_slab_opened(uint64_t word, uint32_t free)
{
	return (word & LAB_SLAB_EPOCH) | free;
}

static inline uint64_t
lab_slab_closed(uint64_t word)
{
	return LAB_SLAB_CLOSED | (word & LAB_SLAB_EPOCH);
}

/* Claims a free object; its number, or -1: none was seen free, or 32 claims were lost to others. Wait-free. */
static inline int
lab_slab_claim(_Atomic uint64_t *word)
{
	uint32_t free = lab_slab_free_bits(lab_load_rlx(word));

	for (unsigned try = 0; free != 0 && try < LAB_SLAB_OBJECTS; try++) {
		unsigned bit = lab_ctz(free);
		/* acq pairs with the rel of the release, and with the CAS that opened the slab. */
		uint64_t before = lab_and_acq_rel(word, ~(UINT64_C(1) << bit));
		if (before >> bit & 1)
			return (int)bit;
		free = lab_slab_free_bits(before);
	}
	return -1;
}

/* Releases object `bit`; the word as it was: if the bit was set already, nothing has changed. Wait-free. */
static inline uint64_t
lab_slab_release(_Atomic uint64_t *word, unsigned bit)
{
	return lab_or_acq_rel(word, UINT64_C(1) << bit);
}

/* Undoes the release of an object of a slab that is not open, while it is not. */
static inline void
lab_slab_take_back(_Atomic uint64_t *word, unsigned bit)
{
	uint64_t now = lab_load_rlx(word);

	while (!lab_slab_is_open(now) && now >> bit & 1 && !lab_cas64(word, now, now & ~(UINT64_C(1) << bit)))
		now = lab_load_rlx(word);
}

#endif
