/* layout.h - the state of the reserve. Private to src/reserve; any context. */
#ifndef LAB_RESERVE_LAYOUT_H
#define LAB_RESERVE_LAYOUT_H

#include "reserve/reserve.h"

enum lab_zone_name {
	LAB_ZONE_PLAIN,
	LAB_ZONE_LOW,
	LAB_ZONE_HIGH,
	LAB_ZONE_LAST,
	LAB_ZONE_OVERFLOW,
	LAB_ZONES,
};

/* Consecutive slots: bits of consecutive words, all of which but the first and the last lie in the zone whole. */
struct lab_zone {
	uint32_t first_word, words;
	uint32_t first_mask, last_mask;
};

/*
 * Constant once installed, but for open_words. What a claim in the plain zone and a release read comes first. Before, `plain` and
 * plain_masks lead to a word and a mask without slots, so that a claim needs no test; plain_start is stored after `plain`, and that after
 * the rest, with rel: they pair with the acq of claims.
 */
struct LAB_ALIGNED(256) lab_pool {
	_Atomic uint32_t plain_start;    /* a power of two, at most the zone's words, less 1: words that a search may begin at */
	uint32_t odd;                    /* address bits that are 0 at the start of a slot */
	_Atomic uint64_t *_Atomic plain; /* the zone's first word */
	const uint32_t *plain_masks;     /* which slots of each word of the zone are in it */
	char *plain_base;                /* where the slots of its first word begin */
	char *base;
	_Atomic uint64_t *words; /* of the fixed slots */
	size_t fixed_slots;
	uint32_t in_word;          /* slots a word, less 1 */
	uint8_t shift, word_shift; /* log2 of bytes a slot and slots a word */
	uint8_t word_bytes_shift, chunk_words;

	_Atomic uint32_t open_words; /* words of chunks that were ever open: it only grows */
	_Atomic uint64_t *grown;     /* of the chunks: word number grown_from and on */
	uint32_t grown_from, grown_words;
	uint32_t slots, overflow, min, high, low;
	struct lab_zone zones[LAB_ZONES];
};

/* In a page of its own, so that it can be locked by itself in a statically linked program. */
struct LAB_ALIGNED(4096) lab_reserve_state {
	struct lab_pool pools[LAB_RESERVE_CLASSES]; /* first: their addresses are cheaper */
	uintptr_t first;                            /* of the ranges of all classes, without the head */
	size_t size;
	unsigned range_shift;
	_Atomic bool installed; /* rel and acq pair in install and lab_reserve_is_installed */
	size_t limit;
	struct lab_range head;
	_Atomic uint32_t tickets; /* of closings */
	_Atomic size_t failures, lost_races;
};
extern struct lab_reserve_state lab_reserve_state LAB_HIDDEN;

static inline unsigned
lab_pool_shift(unsigned c)
{
	return c + LAB_RESERVE_MIN_SHIFT;
}

/* A word's slots are 64 KiB at most. */
static inline unsigned
lab_pool_word_shift(unsigned c)
{
	unsigned fits = LAB_RESERVE_MAX_SHIFT - lab_pool_shift(c);

	return fits < 5 ? fits : 5;
}

static inline unsigned
lab_pool_slots_a_word(const struct lab_pool *pool)
{
	return 1u << pool->word_shift;
}

static inline size_t
lab_pool_word_bytes(const struct lab_pool *pool)
{
	return (size_t)1 << (pool->shift + pool->word_shift);
}

#endif
