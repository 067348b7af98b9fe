/*
 * huge.h - blocks larger than a segment: mappings of their own, where the kernel puts them, known by a table.
 *
 * An entry of the table is a mapping, found by hashing its address. Entries are never unmapped and never of another
 * type: any pointer can be looked up at any time, and payload is not read. The table grows by parts, each twice as
 * large as the one before. In each part an address has its place and those behind it, up to the farthest that was ever
 * used (`reach`).
 *
 * What an entry is for is one word, the state of its struct lab_run, a lease. Its epoch grows at each step but those of
 * the block's owner (exclusive.h) and LIVE → FREEING. So an entry with the same epoch is the same mapping, and no value
 * occurs twice.
 *
 *     FREE      no mapping; `base` says which one was here last
 *     BUSY      a thread, with its signals held back, maps, moves or unmaps it
 *     LIVE      a block; the marks and the tid are the owner's, if it is exclusive
 *     FREEING   the thread tid frees the block
 *     CACHED    mapped, and nobody's: any thread may make a block of it, or unmap it
 *
 *     FREE → BUSY → LIVE → FREEING → CACHED → LIVE …     CACHED → BUSY → FREE
 *     LIVE → BUSY → LIVE, at the same address, or FREE and another entry LIVE
 *
 * INV-HUGE-1  The thread that makes an entry BUSY, LIVE or FREEING by CAS owns it and alone writes its other words; it
 *             writes `base` and `mapped` while the entry is BUSY, or, of a LIVE block, to make the mapping shorter. Any
 *             thread may set `aged`.
 * INV-HUGE-2  munmap and mremap of a whole mapping are called from BUSY, once: another's mapping may be there
 *             afterwards. So an entry that a fork leaves BUSY in its child stays so for ever; its address may be seen
 *             in another entry.
 * INV-HUGE-3  `dirty` pages at the front may hold data; all behind them read as zero, but in a LIVE block.
 * INV-HUGE-4  At most `used` entries are not FREE, and the table has at least `used`: a thread that has counted itself
 *             finds a FREE one.
 *
 * Asynchronous signals are held back (lab_os_hold_signals) while an entry is BUSY: no jump leaves it so.
 */
#ifndef LAB_PAGE_HUGE_H
#define LAB_PAGE_HUGE_H

#include "page/segment.h"

enum lab_huge_kind {
	LAB_HUGE_FREE = LAB_RUN_DEAD,
	LAB_HUGE_LIVE = LAB_RUN_LIVE,
	LAB_HUGE_FREEING = LAB_RUN_FREEING,
	LAB_HUGE_CACHED,
	LAB_HUGE_BUSY, /* at most LAB_RUN_KIND */
};

struct lab_huge {
	LAB_ALIGNED(64) struct lab_run run; /* its `pages`: the block's length */
	_Atomic(char *) base;
	_Atomic size_t mapped; /* pages, at least the block's */
	_Atomic size_t dirty;  /* pages: INV-HUGE-3 */
	_Atomic bool aged;     /* CACHED, and was so already when decay looked last */
};
_Static_assert(sizeof(struct lab_huge) == 64, "an entry is a cache line");

#define LAB_HUGE_MAX ((size_t)1 << 46) /* bytes, and alignment */

static inline enum lab_huge_kind
lab_huge_kind_of(uint64_t state)
{
	return (enum lab_huge_kind)lab_run_kind_of(state);
}

static inline enum lab_huge_kind
lab_huge_kind(const struct lab_huge *huge)
{
	return lab_huge_kind_of(lab_load_acq(&huge->run.state)); /* pairs with the rel of lab_huge_set_state */
}

/* The block that starts at p, LIVE or FREEING; NULL: none. Any pointer, any context. *was: p started a block that is
 * gone. */
struct lab_huge *lab_huge_find(const void *p, bool *was);

/* Whether p lies in a LIVE block. For reports: O(entries). */
bool lab_huge_covers(const void *p);

/* The i-th entry, whatever its state; NULL at the end. For walks. */
struct lab_huge *lab_huge_at(size_t i);

/*
 * A LIVE block of `pages` at a multiple of `align` bytes. lab_huge_reuse makes it of the CACHED mapping that fits most
 * closely and is at most a quarter too long; lab_huge_map maps it. Its `dirty` pages may hold data. NULL: there is
 * none, or the system gives none; *over_limit is set if the memory limit (charge.h) forbids the block.
 */
struct lab_huge *lab_huge_reuse(size_t pages, size_t align, bool *over_limit);
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

/* Pages of CACHED mappings that are dirty. A figure. */
size_t lab_huge_dirty_pages(void);

/* Pages that count for the memory limit: a block's, and what is dirty. */
size_t lab_huge_charged_pages(void);

#endif
