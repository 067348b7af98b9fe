/*
 * segment.h - a segment's metadata and its page bitmap.
 *
 * INV-PAGE-1  Each set bit has one setter: a span, a live or freeing run, the holder of the purge word, or a frame of
 *             the heap's holder. Bits are set by a validated CAS and cleared by their setter, or by the scan for
 *             orphans. The bits of a segment's last word that stand for no page are set.
 * INV-PAGE-2  madvise runs only on pages whose bits the caller has set.
 * INV-PAGE-3  A page whose dirty bit is 0 reads as zero. The dirty bit is set, by who has the page's bit, before
 *             anything is written there; and cleared by who has the page's bit, after the system took the page back,
 *             or before anything was written. In fork's child this holds of a
 *             segment that was not the forking thread's once its `generation` is the process's: what other threads
 *             wrote to it while it was copied shows in its pages and not in its bits.
 * INV-PAGE-4  The aged bit of a page means something while its dirty bit is 1 and its bit is 0. It is 0 when the page
 *             is given, and any thread may set it: a page that has just been given by then is purged somewhat early.
 */
#ifndef LAB_PAGE_SEGMENT_H
#define LAB_PAGE_SEGMENT_H

#include "base/lease.h"
#include "page/buddy.h"
#include "page/geometry.h"

/* What a run of pages that is one block is: DEAD → LIVE → FREEING → DEAD. Valid in the entry of its first page. */
enum lab_run_kind {
	LAB_RUN_DEAD = 0,
	LAB_RUN_LIVE = 1,
	LAB_RUN_FREEING = 2,
	LAB_RUN_KIND = 7, /* bits of a lease's tag; huge.h has more kinds, heap/exclusive.h what the others say */
};

/* Its state is a lease: of who is freeing it, or owns it exclusively. The epoch is 0, but in a huge block's entry. */
struct lab_run {
	_Atomic uint64_t state;
	_Atomic uint64_t pages; /* length */
};

static inline unsigned
lab_run_kind_of(uint64_t state)
{
	return lab_lease_tag(state) & LAB_RUN_KIND;
}

static inline uint64_t
lab_run_state(enum lab_run_kind kind)
{
	return lab_lease_make(0, 0, kind);
}

/* What the holder of a segment is to look at before it adds another segment. */
enum lab_view_state {
	LAB_VIEW_IS_FRESH = 0,
	LAB_VIEW_IS_OLD,      /* a purger held bits: more may be free than the holder's view says */
	LAB_MAY_HAVE_ORPHANS, /* a purger was cut short: bits may be set that no thread will clear */
};

/* What the holder knows of the pages of one word. */
struct lab_word_view {
	int8_t order;               /* of the greatest free block, or -1 */
	uint8_t low, high, longest; /* free pages in a row: at the lower end, at the upper end, anywhere */
};

/* The indexes of a heap by which its holder finds a segment. */
enum lab_segment_index {
	LAB_BY_ORDER = 0, /* of its greatest free block */
	LAB_BY_RUN,       /* its longest row of free pages */
	LAB_SEGMENT_INDEXES,
};

/* A segment's place in one of them. */
struct lab_segment_links {
	struct lab_segment *next, *previous;
	int8_t bin; /* or -1: in no list */
};

/* How many forks this process is away from the first one: INV-PAGE-3. */
extern uint32_t lab_segment_generation;

struct lab_slot;

/* In `was_empty`: the system has refused to unmap the segment. No owner word has this value. */
#define LAB_NEVER_UNMAPPED (~UINT64_C(0))

/* Describes a segment of any size up to `capacity` pages. */
struct lab_segment {
	/* written by whoever wins them */
	LAB_ALIGNED(64) _Atomic uint64_t purge; /* the purger's lease, or 0 */
	_Atomic uint32_t view_stale;            /* enum lab_view_state; lab_segment_mark_stale */
	uint32_t generation;                    /* written by the thread that claims the segment: INV-PAGE-3 */
	char *base;                             /* set once, and so are `slot`, the segment's first, and `capacity` */
	struct lab_slot *slot;
	uint32_t capacity;
	_Atomic uint32_t pages;     /* written by the thread that maps the segment */
	_Atomic uint64_t was_empty; /* the EMPTY owner word that was seen last, or LAB_NEVER_UNMAPPED: space.h */
	_Atomic uint8_t refusals;   /* purges in a row that the system refused, as of locked pages; up to a maximum */
	_Atomic uint8_t rest;       /* looks of decay that leave the segment alone because of the refusals */
	_Atomic uint64_t unheld;    /* an owner word whose heap has no holder: the last free releases the segment */
	LAB_ALIGNED(64) _Atomic uint64_t taken[LAB_SEGMENT_WORDS];
	_Atomic uint64_t dirty[LAB_SEGMENT_WORDS];
	_Atomic uint64_t aged[LAB_SEGMENT_WORDS]; /* free already when decay looked last */

	/* the holder's view, derived: rebuilt by lab_segment_refresh_owned and by a scan of the heap */
	LAB_ALIGNED(64) struct lab_segment_links links[LAB_SEGMENT_INDEXES];
	int8_t greatest;  /* order of the greatest free block, or -1 */
	uint16_t longest; /* free pages in a row */
	struct lab_word_view words[LAB_SEGMENT_WORDS];

	struct lab_run runs[]; /* `capacity` of them */
};

/* The pages of the segment as it is now; at most `capacity`. */
static inline size_t
lab_segment_pages(const struct lab_segment *segment)
{
	return lab_load_rlx(&segment->pages);
}

/* The words of the bitmaps that stand for pages. */
static inline size_t
lab_segment_words(const struct lab_segment *segment)
{
	return (lab_segment_pages(segment) + 63) / 64;
}

/* The bits of a word that stand for pages. */
static inline uint64_t
lab_segment_word_mask(const struct lab_segment *segment, size_t word)
{
	size_t pages = lab_segment_pages(segment), first = word * 64;

	return pages <= first ? 0 : lab_mask((unsigned)(pages - first < 64 ? pages - first : 64));
}

/* The order of the whole segment: `greatest` while no page of it is in use. */
static inline unsigned
lab_segment_whole_order(const struct lab_segment *segment)
{
	return lab_log2(lab_segment_pages(segment));
}

/* Begins a segment of `pages` that was mapped just now: all are free and read as zero. */
void lab_segment_begin(struct lab_segment *segment, size_t pages);

/* The part of [page, page + count) that lies in a word, as a mask. */
static inline uint64_t
lab_segment_range_mask(size_t word, size_t page, size_t count)
{
	size_t first = word * 64, low = page > first ? page - first : 0, high = page + count - first;

	return lab_mask((unsigned)(high < 64 ? high : 64)) & ~lab_mask((unsigned)low);
}

static inline size_t
lab_segment_page_of(const struct lab_segment *segment, const void *p)
{
	return (size_t)((const char *)p - segment->base) >> LAB_PAGE_SHIFT;
}

/* Sets all bits of [page, page + count) or none; false: one was set. By those whom INV-PAGE-1 names. */
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

/* Marks the holder's view of the segment as stale; the stronger mark stays. Any thread. */
void lab_segment_mark_stale(struct lab_segment *segment, enum lab_view_state how);

/* Grows with each mark, after it: while a holder sees the same value, no segment of its heap has got one. */
extern _Atomic uint64_t lab_segment_stale_marks;

/* Whether all bits of [page, page + count) are set. */
bool lab_segment_are_taken(const struct lab_segment *segment, size_t page, size_t count);

/* Whether no page is taken. */
bool lab_segment_is_empty(const struct lab_segment *segment);

/* Marks pages dirty whose bits the caller has set. */
void lab_segment_mark_dirty(struct lab_segment *segment, size_t page, size_t count);

/* The same, and which of them were clean, by word; how many those are. */
size_t lab_segment_soil(struct lab_segment *segment, size_t page, size_t count, uint64_t were_clean[LAB_SEGMENT_WORDS]);
/* Undoes it before anything was written to them. */
void lab_segment_unsoil(struct lab_segment *segment, size_t page, size_t count,
                        const uint64_t clean[LAB_SEGMENT_WORDS]);

/* Marks pages clean that read as zero. The caller has taken them, or the segment is its own and empty. */
void lab_segment_mark_fresh(struct lab_segment *segment, size_t page, size_t count);

/* Pages that are dirty and free; and those that are taken. */
size_t lab_segment_count_dirty(const struct lab_segment *segment);
size_t lab_segment_count_taken(const struct lab_segment *segment);

/* Sets the aged bits of all pages that are dirty and free; how many they are. */
size_t lab_segment_age(struct lab_segment *segment);

#endif
