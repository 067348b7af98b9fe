/*
 * huge_table.h - the table of huge blocks' mappings, and the step from state to state. Any context.
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
#ifndef LAB_PAGE_HUGE_TABLE_H
#define LAB_PAGE_HUGE_TABLE_H

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

struct lab_huge_part {
	_Atomic size_t reach;     /* places from an address's own that may be in use; only grows */
	_Atomic uint64_t *cached; /* a bit an entry; 1: probably CACHED. A CACHED entry's bit is set, or about to be. */
	struct lab_huge *entries;
	size_t count; /* a power of two, at least 64 */
};

#define LAB_HUGE_PARTS 20u
extern _Atomic(struct lab_huge_part *) lab_huge_parts[LAB_HUGE_PARTS] LAB_HIDDEN;

/* The i-th part; NULL: there are not so many. */
struct lab_huge_part *lab_huge_part_at(size_t i);

static inline uint64_t
lab_huge_next_state(uint64_t state, enum lab_huge_kind kind)
{
	return lab_lease_next(state, 0, (unsigned)kind);
}

/* By the entry's owner. */
static inline void
lab_huge_set_state(struct lab_huge *huge, enum lab_huge_kind kind)
{
	/* pairs with the acq of those who look at the state: they see the words that were written before */
	lab_store_rel(&huge->run.state, lab_huge_next_state(lab_load_rlx(&huge->run.state), kind));
}

/* Adds one to the entries that are in use (INV-HUGE-4), and takes it back. False: no room in the table. */
bool lab_huge_count_in(void);
void lab_huge_count_out(void);

/* FREE → BUSY for an entry of this address, by a thread that has counted itself. */
struct lab_huge *lab_huge_win_entry(char *base, size_t mapped);

/* BUSY → FREE, and counts out. `base` stays. */
void lab_huge_give_entry_back(struct lab_huge *huge);

/* To CACHED, by the entry's owner. */
void lab_huge_cache(struct lab_huge *huge);

/* Clears the entry's bit in `cached`, unless the entry is CACHED. */
void lab_huge_hide(const struct lab_huge *huge);

/* The block that starts at p, LIVE or FREEING; NULL: none. Any pointer, any context. *was: p started a block that is
 * gone. */
struct lab_huge *lab_huge_find(const void *p, bool *was);

/* The LIVE block that p lies in; NULL: none. O(entries). */
struct lab_huge *lab_huge_around(const void *p);

/* The i-th entry, whatever its state; NULL at the end. For walks. */
struct lab_huge *lab_huge_at(size_t i);

/* Pages of CACHED mappings that are dirty. A figure. */
size_t lab_huge_dirty_pages(void);

/* Pages that count for the memory limit: a block's, and what is dirty. */
size_t lab_huge_charged_pages(void);

#endif
