/*
 * buddy.h - split and merge of power-of-two blocks kept as aligned zero runs in a word (1 = taken). Pure functions on
 * values: no state, any context. There is nothing to split or to merge: a block of order o is free exactly when its
 * 2^o aligned bits are zero, so freeing clears bits and merging happens by itself.
 *
 * The same code serves two levels: pages in a word, and words in a segment.
 * Source: the bit-parallel form of Knowlton's buddy system (1965) used by llfree for its leaf bit fields.
 */
#ifndef LAB_PAGE_BUDDY_H
#define LAB_PAGE_BUDDY_H

#include "base/bits.h"

#define LAB_BUDDY_WORD_ORDER 6 /* a whole word */
#define LAB_BUDDY_NONE       64u

/* Bits i with i % 2^order == 0. */
static inline uint64_t
lab_buddy_aligned(unsigned order)
{
	static const uint64_t aligned[] = {
	        ~UINT64_C(0),
	        0x5555555555555555ull,
	        0x1111111111111111ull,
	        0x0101010101010101ull,
	        0x0001000100010001ull,
	        0x0000000100000001ull,
	        1,
	};
	return aligned[order];
}

/* The starts of all free blocks of an order, as bits. order <= 6. */
static inline uint64_t
lab_buddy_starts(uint64_t taken, unsigned order)
{
	uint64_t starts = ~taken;

	for (unsigned o = 0; o < order; o++)
		starts &= starts >> (1u << o);
	return starts & lab_buddy_aligned(order);
}

/* The start of the lowest free block of an order, or LAB_BUDDY_NONE. */
static inline unsigned
lab_buddy_find(uint64_t taken, unsigned order)
{
	uint64_t starts = lab_buddy_starts(taken, order);

	return starts ? lab_ctz(starts) : LAB_BUDDY_NONE;
}

/* The starts of `count` free pages in a row, aligned or not, as bits. 1 <= count <= 64. */
static inline uint64_t
lab_buddy_runs(uint64_t taken, unsigned count)
{
	uint64_t starts = ~taken;

	/* bits i .. i + have - 1 are free for each start i; `have` doubles up to count */
	for (unsigned have = 1; have < count && starts;) {
		unsigned more = count - have < have ? count - have : have;
		starts &= starts >> more;
		have += more;
	}
	return starts;
}

/* The length of the longest row of free pages, aligned or not. */
static inline unsigned
lab_buddy_longest(uint64_t taken)
{
	uint64_t starts[LAB_BUDDY_WORD_ORDER], found; /* [o]: of 2^o free pages in a row */
	unsigned order = 0, length;

	if (taken == 0 || taken == ~UINT64_C(0))
		return taken ? 0 : 64;
	starts[0] = found = ~taken;
	for (; order + 1 < LAB_BUDDY_WORD_ORDER && (found &= found >> (1u << order)) != 0; order++)
		starts[order + 1] = found;
	found = starts[order];
	length = 1u << order;
	while (order-- > 0) {
		uint64_t longer = found & starts[order] >> length;
		if (longer) {
			found = longer;
			length += 1u << order;
		}
	}
	return length;
}

/* The order of the greatest free block, or -1 if every bit is taken. */
static inline int
lab_buddy_greatest(uint64_t taken)
{
	int order = -1;
	uint64_t starts = ~taken;

	while (starts != 0) {
		order++;
		if (order == LAB_BUDDY_WORD_ORDER)
			break;
		starts &= starts >> (1u << order);
		starts &= lab_buddy_aligned((unsigned)order + 1);
	}
	return order;
}

#endif
