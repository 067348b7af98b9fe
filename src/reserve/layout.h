/* layout.h - the head of the reserve's region. Private to src/reserve; any context. */
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

/* Constant once installed, but for open_words. */
struct lab_pool {
	_Atomic uint64_t *words; /* of the fixed slots */
	_Atomic uint64_t *grown; /* of the chunks: word number grown_from and on */
	char *base;
	uint32_t fixed_slots, fixed_words;
	uint32_t grown_from, grown_words;
	uint8_t shift, word_shift; /* log2 of bytes a slot and slots a word */
	uint8_t chunk_words;
	_Atomic uint32_t open_words; /* words of chunks that were ever open: it only grows */
	uint32_t slots, overflow, min, high, low;
	struct lab_zone zones[LAB_ZONES];
};

struct lab_reserve_head {
	size_t limit;
	size_t head_size;
	_Atomic uint32_t tickets; /* of closings */
	_Atomic size_t failures, lost_races;
	struct lab_pool pools[LAB_RESERVE_CLASSES];
	_Atomic uint64_t words[];
};

/* What every release reads: one line. first and size: the ranges of all classes, without the head. */
struct lab_reserve_region {
	uintptr_t start, first;
	size_t size;
	unsigned range_shift;
	struct lab_reserve_head *head; /* NULL: not installed. rel and acq pair in install and claim */
};
extern struct lab_reserve_region lab_reserve_region LAB_HIDDEN;

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

static inline struct lab_reserve_head *
lab_reserve_head(void)
{
	return __atomic_load_n(&lab_reserve_region.head, __ATOMIC_ACQUIRE);
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
