/*
 * segment.h - a segment's metadata and its page bitmap.
 *
 * INV-PAGE-1  Each set bit has one setter: a span, a live or freeing run, the holder of the purge word, or a frame of the heap's
 *             holder. Bits are set by a validated CAS and cleared by who set them, or by the scan for orphans.
 * INV-PAGE-2  madvise runs only on pages whose bits the caller has set.
 * INV-PAGE-3  A page whose dirty bit is 0 and whose bit is 0 reads as zero. The dirty bit is set before the page's bit is
 *             cleared (rel; pairs with the acq of the next setter), and cleared only while the purger holds its bit. In fork's
 *             child this holds of a segment that was not the forking thread's once its `generation` is the process's: what others
 *             wrote to it while it was copied shows in its pages and not in its bits.
 * INV-PAGE-4  The aged and lazy bits of a page mean something while its dirty bit is 1 and its bit is 0. Both are 0 when pages are given; the
 *             lazy bit is set by the purger that holds the page, the aged bit by anyone: a page that has just been given by then is
 *             purged somewhat early.
 * INV-PAGE-5  Pages that were moved here from elsewhere (a huge block that was resized) are a mapping that the kernel joins with no other.
 *             `displaced` says so, until there are new pages in their place: so each such segment is a mapping more, and a segment
 *             of spans and runs, in which marks on exclusive blocks split mappings and join them again, never is one.
 */
#ifndef LAB_PAGE_SEGMENT_H
#define LAB_PAGE_SEGMENT_H

#include "base/atomic.h"
#include "page/buddy.h"
#include "page/geometry.h"

/* State of a run of pages that is one block: DEAD (0) → LIVE → FREEING{tid} → DEAD; of a huge one also FREEING{dead} → FREEING{tid}. Valid in the
 * entry of its first page. */
enum lab_run_state {
	LAB_RUN_DEAD = 0,
	LAB_RUN_LIVE = 1,
	LAB_RUN_FREEING = 2,
};

struct lab_run {
	_Atomic uint64_t state; /* enum lab_run_state, and the freer's tid above it; heap/exclusive.h says what else */
	_Atomic uint64_t pages; /* length; in a huge run it counts the pages of all its segments */
};

/* What the holder of a segment is to look at before it adds another. */
enum lab_disturbance {
	LAB_UNDISTURBED = 0,
	LAB_VIEW_IS_OLD,      /* a purger held bits: the holder's view may understate what is free */
	LAB_MAY_HAVE_ORPHANS, /* a purger was cut short: bits may be set for nobody */
};

struct lab_segment {
	/* written by whoever wins them */
	LAB_ALIGNED(64) _Atomic uint64_t purge; /* {tid, epoch} of the purger, or 0 */
	_Atomic uint32_t disturbed;             /* enum lab_disturbance */
	uint32_t generation;                    /* written by who has just claimed it: INV-PAGE-3 */
	char *base;                             /* set once */
	_Atomic uint64_t unheld;                /* the owner word under which nobody holds it: who empties it gives it back */
	_Atomic bool displaced;                 /* by who has claimed it, or taken all of its pages: INV-PAGE-5 */
	_Atomic uint8_t refusals; /* purges in a row that the system refused (locked pages, say); no more than are counted */
	_Atomic uint8_t rest;     /* looks of decay that leave the segment alone because of these */
	LAB_ALIGNED(64) _Atomic uint64_t taken[LAB_SEGMENT_WORDS];
	_Atomic uint64_t dirty[LAB_SEGMENT_WORDS];
	_Atomic uint64_t aged[LAB_SEGMENT_WORDS]; /* free already when decay looked last */
	_Atomic uint64_t
	        lazy[LAB_SEGMENT_WORDS]; /* given back by MADV_FREE: resident until the system wants it, dirty for calloc */

	/* the holder's view, derived: rebuilt by lab_segment_refresh_owned and by a scan of the heap */
	LAB_ALIGNED(64) struct lab_segment *next;
	struct lab_segment *previous;
	int8_t bucket;                        /* list of the heap that it is in, or -1 */
	int8_t greatest;                      /* order of the greatest free block, or -1 */
	int8_t word_order[LAB_SEGMENT_WORDS]; /* the same of each word */

	struct lab_run runs[LAB_SEGMENT_PAGES];
};

/* Segments' metadata are this far apart: whole pages, so that they can be committed one by one. */
#define LAB_SEGMENT_STRIDE ((sizeof(struct lab_segment) + LAB_PAGE_SIZE - 1) & ~(LAB_PAGE_SIZE - 1))

static inline size_t
lab_segment_page_of(const struct lab_segment *segment, const void *p)
{
	return (size_t)((const char *)p - segment->base) >> LAB_PAGE_SHIFT;
}

/* Sets all bits of [page, page + count) or none. Whoever may set bits here: see INV-PAGE-1. */
bool lab_segment_take_at(struct lab_segment *segment, size_t page, size_t count);

/* Takes the first `count` pages of the lowest free block of `order`; the page, or -1. _owned: the holder only. */
int lab_segment_take_owned(struct lab_segment *segment, unsigned order, size_t count);

/* Takes the lowest `count` free pages in a row, whatever their alignment; the page, or -1. _owned. */
int lab_segment_take_run_owned(struct lab_segment *segment, size_t count);

/* Clears bits that the caller set. `dirty`: that many pages at the front may have been written to. */
void lab_segment_give(struct lab_segment *segment, size_t page, size_t count, size_t dirty);

/* Whether all of the pages, which the caller has taken, read as zero. */
bool lab_segment_is_fresh(const struct lab_segment *segment, size_t page, size_t count);

/* Brings the holder's view up to date: all words, or those of a range. */
void lab_segment_refresh_owned(struct lab_segment *segment, size_t page, size_t count);

/* Whether no page is taken. */
bool lab_segment_is_empty(const struct lab_segment *segment);

/* Marks pages dirty, before their bits are cleared. */
void lab_segment_mark_dirty(struct lab_segment *segment, size_t page, size_t count);

/* The same for pages of one word. */
void lab_segment_soil_word(struct lab_segment *segment, size_t word, uint64_t mask);

/* The other way round, for pages that the caller has taken and that read as zero now. */
void lab_segment_mark_fresh(struct lab_segment *segment, size_t page, size_t count);

/* New pages in the place of displaced ones, by who has claimed the segment, or taken all of its pages. */
void lab_segment_settle(struct lab_segment *segment);

/* For pages that the caller has taken and given back by MADV_FREE. */
void lab_segment_mark_lazy(struct lab_segment *segment, size_t page, size_t count);

/* Pages that are dirty and free, and were not given back lazily. */
size_t lab_segment_count_dirty(const struct lab_segment *segment);

/* Pages that are dirty and free are aged from now on; whether there is one. */
bool lab_segment_age(struct lab_segment *segment);

#endif
