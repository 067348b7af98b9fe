/*
 * huge.h - blocks larger than a segment: mappings of their own, where the kernel puts them, known by a table.
 *
 * An entry of the table is a mapping, found by hashing its address. Entries are never unmapped and never another type, so that any pointer can be
 * looked up at any time: payload is not read. The table grows by parts, each twice as large as the one before; in each an address has its place
 * and those behind it, up to the farthest that was ever used (`reach`).
 *
 * What a mapping is for is one word, the state of its struct lab_run, a lease. Its epoch grows at each step but those
 * of the block's owner (exclusive.h) and LIVE → FREEING, so that an entry with the same epoch is the same mapping,
 * and no value occurs twice.
 *
 *     FREE      no mapping; `base` says what was here
 *     MAKING    won, and not yet filled in
 *     HELD      mapped, and in the hands of a frame: it is about to be a block's, or to be unmapped; see
 *               lab_huge_hand. The thread id tells it from what another, who was quicker, has made of the same CACHED
 *               entry; fork's child leaves it as it is
 *     LIVE      a block; the marks and the thread id are the owner's, if it is exclusive
 *     FREEING   the block's freer has it, by its thread id
 *     CACHED    mapped, and nobody's: anyone may take it for a block that fits, or unmap it
 *     MOVING    the block is being made longer, perhaps elsewhere
 *     UNMAPPING may be unmapped by now
 *
 *     FREE → MAKING → HELD → LIVE → FREEING → CACHED → HELD …     LIVE → MOVING → LIVE, or FREE and another entry     HELD → UNMAPPING → FREE
 *
 * INV-HUGE-1  Whoever changes the state by CAS to MAKING, HELD, FREEING, MOVING or UNMAPPING owns the entry: the other words are written by it alone, and
 *             `base` and `mapped` from MAKING and MOVING only. A LIVE block's words are its owner's, who resizes and frees it.
 * INV-HUGE-2  munmap and mremap are called from UNMAPPING and MOVING, once: another's mapping may be there afterwards. So an entry that a thread leaves there by
 *             its death, or a fork in its child, stays as it is for ever, and so does one in MAKING; its address may be seen again in another entry.
 * INV-HUGE-3  `dirty` pages at the front may hold data; all behind them read as zero, but in a LIVE block.
 * INV-HUGE-4  Entries that are not FREE are at most `used`, and there are at least so many: who has counted itself finds a FREE one.
 *
 * From the call that maps to the store that says so, and likewise for the others, asynchronous signals are held back (lab_os_hold_signals).
 */
#ifndef LAB_PAGE_HUGE_H
#define LAB_PAGE_HUGE_H

#include "page/segment.h"

enum lab_huge_kind {
	LAB_HUGE_FREE = LAB_RUN_DEAD,
	LAB_HUGE_LIVE = LAB_RUN_LIVE,
	LAB_HUGE_FREEING = LAB_RUN_FREEING,
	LAB_HUGE_HELD,
	LAB_HUGE_CACHED,
	LAB_HUGE_MAKING,
	LAB_HUGE_MOVING,
	LAB_HUGE_UNMAPPING, /* at most LAB_RUN_KIND */
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

/*
 * The entry that a frame has made HELD, kept where it is found if the frame is cut short (the heap it is in): then it becomes CACHED. The record is written
 * before the state; it holds while the state is the recorded one.
 */
struct lab_huge_hand {
	struct lab_huge *huge; /* NULL: none */
	uint64_t state;
};

static inline enum lab_huge_kind
lab_huge_kind_of(uint64_t state)
{
	return (enum lab_huge_kind)lab_run_kind_of(state);
}

static inline enum lab_huge_kind
lab_huge_kind(const struct lab_huge *huge)
{
	return lab_huge_kind_of(lab_load_acq(&huge->run.state));
}

/* The block that starts at p, LIVE or FREEING; NULL: none. Any pointer, any context. *was: p started one that is no more, as far as is known. */
struct lab_huge *lab_huge_find(const void *p, bool *was);

/* Whether p lies in a LIVE block. For reports: O(entries). */
bool lab_huge_covers(const void *p);

/* The i-th entry, whatever it is; NULL at the end. For walks. */
struct lab_huge *lab_huge_at(size_t i);

/* The CACHED mapping that fits `pages` at a multiple of `align` bytes most closely, and is at most a quarter too long; HELD now. NULL: none. */
struct lab_huge *lab_huge_take(size_t pages, size_t align, uint32_t tid, struct lab_huge_hand *hand);

/* A new mapping, HELD. NULL: the system gives none. */
struct lab_huge *lab_huge_map(size_t pages, size_t align, struct lab_huge_hand *hand);

/* HELD → LIVE: a block of `pages`. */
void *lab_huge_publish(struct lab_huge *huge, size_t pages, struct lab_huge_hand *hand);

/* HELD → CACHED, if it is what the hand says. */
void lab_huge_put_back(struct lab_huge_hand *hand);

/* HELD → UNMAPPING → FREE; if the system refuses, CACHED. True: it is unmapped. */
bool lab_huge_unmap(struct lab_huge *huge, struct lab_huge_hand *hand);

/* FREEING → CACHED, by who has it. No system call. */
void lab_huge_free(struct lab_huge *huge);

/* Makes the LIVE block of the caller shorter. What it does not use any more goes back, but for a rest that is kept for growth. */
void lab_huge_shrink(struct lab_huge *huge, size_t pages);

/*
 * Makes the LIVE block of the caller longer, where it lies or elsewhere; its address, NULL: it is as it was. An entry of another address is another
 * entry. Charges (charge.h) are the caller's business.
 */
void *lab_huge_extend(struct lab_huge *huge, size_t pages);

/* Gives CACHED mappings back: those that are aged, or all; until `enough` pages have gone. Pages that were dirty. */
size_t lab_huge_purge(bool young, size_t enough, uint32_t tid, struct lab_huge_hand *hand);

/* Figures, and what charge.h counts: pages that are CACHED and dirty; all that may be resident. */
size_t lab_huge_dirty_pages(void);
size_t lab_huge_charged_pages(void);

/* CACHED and dirty mappings are aged from now on; whether there is one. */
bool lab_huge_age(void);

/* Pages that a mapping adds to what is charged when a block of `pages` is made of it. */
static inline size_t
lab_huge_added(const struct lab_huge *huge, size_t pages)
{
	size_t counted = lab_load_rlx(&huge->dirty);

	return pages > counted ? pages - counted : 0;
}

#endif
