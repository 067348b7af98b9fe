/*
 * huge.h - blocks larger than a segment: mappings of their own, where the kernel puts them, known by a table.
 *
 * The table and what an entry may be is huge_table.h.
 */
#ifndef LAB_PAGE_HUGE_H
#define LAB_PAGE_HUGE_H

#include "page/huge_table.h"

/*
 * A LIVE block of `pages` at a multiple of `align` bytes. lab_huge_reuse makes it of the CACHED mapping that fits most
 * closely and is at most a quarter too long; lab_huge_remake of any that is at most four times as long, which is made
 * longer or shorter, and page-aligned: what is in use already needs no faults; lab_huge_map maps it. Its `dirty` pages
 * may hold data. NULL: there is none, or the system gives none; *over_limit is set if the memory limit (charge.h)
 * forbids the block.
 */
struct lab_huge *lab_huge_reuse(size_t pages, size_t align, bool *over_limit);
struct lab_huge *lab_huge_remake(size_t pages, bool *over_limit);
struct lab_huge *lab_huge_map(size_t pages, size_t align, bool *over_limit);

/* FREEING → CACHED, by the thread that frees. No system call. */
void lab_huge_free(struct lab_huge *huge);

/* Makes the caller's LIVE block shorter. Pages behind it go back, but for a rest that is kept for growth. */
void lab_huge_shrink(struct lab_huge *huge, size_t pages);

/*
 * Makes the caller's LIVE block longer, where it lies or elsewhere. Its address; NULL: the block is as it was, as the
 * system gives nothing or the memory limit forbids it. A block with another address has another entry.
 */
void *lab_huge_extend(struct lab_huge *huge, size_t pages);

/* Gives back up to `most` dirty pages of the mapping, the last ones, if it is CACHED; what has no dirty page then is
 * unmapped. Returns the dirty pages given back; *refused, unless it is NULL: those that the system did not take. Any
 * thread. */
size_t lab_huge_give_back(struct lab_huge *huge, size_t most, size_t *refused);

/* Unmaps CACHED mappings until `enough` dirty pages have gone. Returns how many. */
size_t lab_huge_purge(size_t enough);

#endif
