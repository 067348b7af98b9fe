/*
 * bin.h - the spans of one size of block: the current one, and the list of those that have free blocks. _owned and the
 * others alike: by the holder of the heap, inside its guard.
 */
#ifndef LAB_HEAP_BIN_H
#define LAB_HEAP_BIN_H

#include "heap/heap.h"

/* Blocks that a span of so many has yet to give. Those that a torn frame has lost count as used. */
static inline uint32_t
lab_span_left_of(const struct lab_unit *unit, uint32_t capacity)
{
	return capacity - lab_unit_used(unit) + lab_unit_count_collected(unit);
}

static inline uint32_t
lab_span_left(const struct lab_unit *unit)
{
	return lab_span_left_of(unit, lab_unit_capacity(unit));
}

/* An eighth is left: a refill from here saves the next ones. */
static inline bool
lab_is_worthwhile(uint32_t left, uint32_t capacity)
{
	return left * 8 >= capacity;
}

static inline bool
lab_span_is_worthwhile(const struct lab_unit *unit)
{
	return lab_is_worthwhile(lab_span_left(unit), lab_unit_capacity(unit));
}

/* A 128th is left. Of spans with less, a refill is worth a few blocks only. Where the first few listed ones are such, a
 * new span is made (refill.c): so these get more blocks back, for a span more in eight of them at most. */
static inline bool
lab_span_is_enough(const struct lab_unit *unit)
{
	return lab_span_left(unit) * 128 >= lab_unit_capacity(unit);
}

/* A 16th is left: for that no cold span is touched. */
static inline bool
lab_span_is_worth_more(const struct lab_unit *unit)
{
	return lab_span_left(unit) * 16 >= lab_unit_capacity(unit);
}

/* It has no free block, and none left to carve, the first time or again. */
static inline bool
lab_span_is_exhausted(const struct lab_unit *unit)
{
	return lab_freelist_head(unit->freelist_state) == LAB_FREELIST_NIL && unit->carved == lab_unit_capacity(unit) &&
	       lab_unit_purged(unit) == 0;
}

/* Makes it the span that malloc takes blocks of class c from. */
void lab_bin_set_current(struct lab_heap *heap, unsigned c, struct lab_unit *unit);

/*
 * The list: warm spans, then cold ones. A span is cold if pages of it went back to the system and blocks are to be made
 * of them again, or if it was listed when the process forked, so that a write to it copies its pages. Blocks are taken
 * from cold spans when the warm ones have not enough: so what a program uses stays what it has touched lately. The
 * `previous` of the first one is the last one.
 */

/* Lists the span: a warm one behind the warm ones, as one that was full and gets one block back has time to get more; a
 * cold one before the cold ones, which are touched later. */
void lab_bin_push(struct lab_bin *bin, struct lab_unit *unit);
void lab_bin_remove(struct lab_bin *bin, struct lab_unit *unit);

/* All that are listed are cold from here on. */
void lab_bin_cool(struct lab_bin *bin);

/* A listed span with free blocks, for which no page is to be touched; NULL: there is none. O(listed spans). */
struct lab_unit *lab_bin_find_free(const struct lab_bin *bin);

/* The best of the first few warm spans, or of the first few cold ones; NULL: there is none. Those before the first that
 * is worthwhile wait behind the others. */
struct lab_unit *lab_bin_choose_warm(struct lab_bin *bin);
struct lab_unit *lab_bin_choose_cold(struct lab_bin *bin);

#endif
