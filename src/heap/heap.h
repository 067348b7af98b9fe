/*
 * heap.h - a thread's heap: what it holds, and the rules for who may touch it.
 *
 * A heap is a set of segments and the derived lists by which its holder finds free blocks and pages in them. The
 * truth is in the segments' owner words, the page bitmaps and the spans' freelist states; every list can be rebuilt
 * from them by a scan.
 *
 * INV-HEAP-1  At most one live thread is named by a heap's owner word (registry.h), and only that thread's frames write
 *             the non-atomic fields: the innermost frame that marked the heap busy, in its thread's word, or the one
 *             that won it (registry.h).
 * INV-HEAP-2  bins[c].current is never exhausted and replaced in two steps that a reader can tell apart: it is replaced
 *             only when it has no free block and none left to carve, and is then `closed` (unit.h) and in no list.
 * INV-HEAP-3  Every span of the heap is exactly one of: a bin's current span, listed in its bin (it has a free block or
 *             one to carve), or full and closed. Every segment is in the bucket of its greatest free order, as last
 *             seen.
 * INV-HEAP-4  whole == 0: a slow frame is inside, or was left inside by a jump or a death, or the heap is new: who
 *             enters next rebuilds the lists before it reads them. The fast paths read none: spans' freelist states
 *             are always whole.
 */
#ifndef LAB_HEAP_HEAP_H
#define LAB_HEAP_HEAP_H

#include "base/atomic.h"
#include "heap/size_class.h"
#include "os/os.h"
#include "page/purge.h"
#include "page/space.h"

#define LAB_BATCH_MAX   32u /* blocks sent to another heap with one CAS */
#define LAB_BATCH_SLOTS 8u

/* How often a frame that is in the way was met, by calls from above it and from below: when it is worth another proof
 * that it is gone. */
struct lab_meetings {
	uintptr_t flag;
	uint32_t from_above, from_below;
};

/* Blocks of one other heap, collected by this heap's holder, linked as remote.h says. */
struct lab_batch {
	struct lab_heap *target;
	void *first, *last;
	uint32_t count;
};

/* Misuse that was found inside a heap: finding.h. */
enum lab_finding_kind {
	LAB_FOUND_NOTHING = 0,
	LAB_FOUND_DOUBLE_FREE,
	LAB_FOUND_DAMAGE, /* the link of a freed block is not what was written there */
};

struct lab_finding {
	enum lab_finding_kind kind;
	const void *block;
	const char *start; /* of the span or run that it lies in; NULL: none */
	size_t bytes;      /* of that */
	size_t block_size; /* bytes */
};

struct lab_bin {
	struct lab_unit *current; /* the span that malloc takes from; lab_no_span if there is none */
	struct lab_unit *partial; /* spans with free blocks */
};

struct lab_heap {
	/* The holder's alone. direct: the current span by (size + 15) / 16, what malloc reads. */
	struct lab_unit *direct[LAB_DIRECT_SLOTS];
	struct lab_bin bins[LAB_CLASS_COUNT];
	struct lab_segment *buckets[LAB_ORDER_MAX + 2]; /* by greatest free order + 1 */
	struct lab_segment *kept; /* no page of it is in use, or was not when it was seen last; or NULL */
	size_t slots;             /* of all segments in the buckets */
	uint64_t stale_marks;     /* lab_segment_stale_marks before segments were looked at for such */
	struct lab_batch batches[LAB_BATCH_SLOTS];
	uintptr_t
	        frame; /* BORROWED, ABSORBING: stack pointer of the frame that is inside; 0: it has not said so yet, or is giving back */
	struct lab_meetings met;
	uint32_t id;
	uint32_t whole;
	bool nowait;         /* the frame inside makes no system call: no segment, no purge word, no probe, no clock */
	bool over_limit;     /* the frame inside failed to get pages because of the limit (page/charge.h) */
	uint32_t slow_calls; /* allocations that took the slow path */
	size_t freed_pages;  /* ever */
	/* of the pages that a frame inside is giving back */
	struct lab_purge_record purge;
	struct lab_unit *
	        changing; /* the span that is becoming current or ceasing to be: `current` and used' may disagree in it alone */

	struct lab_finding found; /* to be reported when the heap is left */

	/* Counters; written by the holder, read by anyone as figures. */
	uint64_t reentrant, adopted;
	uint64_t allocations[LAB_CLASS_COUNT + 1]; /* the last: larger blocks. Kept with LABYRINTH_STATS=1 only */

	/* The drain in progress: what is left of a list that was taken, {pointer, parity}. The holder's; see remote.h
	 * */
	uintptr_t drain;

	/* Written by any thread. {pointer, parity} of the remote stack. */
	LAB_ALIGNED(64) _Atomic uintptr_t remote;
	_Atomic uint64_t remote_frees;
};
_Static_assert(sizeof(struct lab_heap) <= LAB_HEAP_STRIDE, "a heap fits its place");

/* The span that is always empty: a bin without a span points to it, so that malloc needs no test for that. */
extern struct lab_unit lab_no_span;

/* ---- spans of small blocks (span.c). _owned: by the holder, inside its guard ---- */

/* Sees to it that bins[c].current has a free block: drains, mends, carves, takes a listed span or makes one. False: no
 * memory. */
bool lab_span_refill_owned(struct lab_heap *heap, unsigned c);

/* Takes a block from the current span, which has one. */
void *lab_span_pop_owned(struct lab_unit *unit);

/*
 * Forgets the span's free list, whose links are not to be trusted: its blocks are lost until the span is empty and goes
 * back. If all blocks are free already the list is made anew.
 */
void lab_span_cut_owned(struct lab_heap *heap, struct lab_unit *unit);

enum lab_free_result {
	LAB_FREED,
	LAB_FREE_DOUBLE,  /* nothing was changed */
	LAB_FREE_FOREIGN, /* nothing was changed: the span is on its way to another heap, *holder */
};

/* Frees block p of a span that names this heap, in whatever state the span is. A closed one may name a heap that was
 * about to absorb it when it was cut short: its segment says whose it is. */
enum lab_free_result lab_span_free_owned(struct lab_heap *heap, struct lab_unit *unit, void *p,
                                         struct lab_heap **holder);

/* The end of the fast path's free whose subtraction borrowed: the span is empty now, or was before. */
enum lab_free_result lab_span_emptied_owned(struct lab_heap *heap, struct lab_unit *unit);

/* ---- runs of pages (run.c) ---- */

struct lab_pages {
	struct lab_segment *segment; /* NULL: no memory */
	size_t page;
};

/* `count` pages of the heap's segments at a multiple of `align` pages; count and align at most LAB_SEGMENT_PAGES. */
struct lab_pages lab_pages_take_owned(struct lab_heap *heap, size_t count, size_t align);

/* Gives them back; the first `dirty` of them may have been written to. */
void lab_pages_give_owned(struct lab_heap *heap, struct lab_segment *segment, size_t page, size_t count, size_t dirty);

/* Gives the heap's empty segments to whoever wants one, all but the largest. */
void lab_segments_release_spare_owned(struct lab_heap *heap);
/* In need: what the heap keeps free, and all that is nobody's, is unmapped. It counts for the limits of the process. */
void lab_heap_make_room_owned(struct lab_heap *heap);
/* All of them: for a heap that nobody is going to use soon. */
void lab_segments_release_empty_owned(struct lab_heap *heap);

/* A block of `count` pages. *fresh: it reads as zero. */
void *lab_run_alloc_owned(struct lab_heap *heap, size_t count, size_t align, bool *fresh);

/* Frees a run whose LIVE→FREEING this thread, or the one that pushed it, has won. */
void lab_run_free_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run);

/* The same in a frozen heap's segment, which has no holder: by whoever has won it. */
void lab_run_free_frozen(struct lab_segment *segment, struct lab_run *run);

/* Changes a live run's length in place, if the pages behind it are free. */
bool lab_run_resize_owned(struct lab_heap *heap, struct lab_segment *segment, struct lab_run *run, size_t count);

/* LIVE → FREEING, by tid: true for the one freer that wins. Not of an exclusive block. Any thread. */
bool lab_run_begin_free(struct lab_run *run, uint32_t tid);

/* ---- huge blocks (huge.c; page/huge.h). They are no heap's: whoever has one resizes and frees it, outside of every
 * heap ---- */

/* A block of `size` bytes at a multiple of `align`, by the holder inside its guard: cut short, its repair finds the
 * mapping. *fresh: it reads as zero. */
void *lab_huge_alloc_owned(struct lab_heap *heap, size_t size, size_t align, bool *fresh);
/* Makes the caller's LIVE block as long as that, where it lies or elsewhere; its address. NULL: it is as it was. */
void *lab_huge_resize(struct lab_huge *huge, size_t size);
/* Frees the blocks that dead threads were freeing, wherever they were in that. Any context; cut short, it is done again
 * when we are dead. */
void lab_huge_finish_frees(void);

/* ---- repair (rebuild.c) ---- */

/* Makes every list of the heap anew from the owner words, bitmaps and spans, and finishes a torn drain. Also how a new
 * heap is initialised. Repeatable if it is cut short. */
void lab_heap_rebuild_owned(struct lab_heap *heap);

/*
 * Takes over all that `dead` holds, another heap that the caller has won, and makes that one an empty idle heap. This
 * is the only way in which spans change heap: both heaps are the caller's. A remote free that was under way to the old
 * heap is forwarded by whoever drains it next.
 */
void lab_heap_absorb_owned(struct lab_heap *heap, struct lab_heap *dead);

/*
 * Frees pages that are taken but not covered by a block: what a frame that was cut short had in hand. Under the purge
 * word, as a purger's pages look the same; if a living purger has it the segment is marked and nothing is freed.
 * _owned: the segment's holder.
 */
void lab_segment_free_orphans_owned(struct lab_segment *segment, const uint64_t covered[LAB_SEGMENT_WORDS]);

/* The same for a segment of the heap, whose blocks are looked up. */
void lab_segment_scan_owned(struct lab_heap *heap, struct lab_segment *segment);

/* A lease for a purge word. */
uint64_t lab_purge_claim(void);

/* Puts a span where INV-HEAP-3 wants it, from its freelist state. */
void lab_span_list_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Makes a span not current, if it is, and lists it. */
void lab_span_demote_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Ends a change that heap->changing says was cut short: the span is not current, and its count is what its list says.
 * */
void lab_span_repair_owned(struct lab_heap *heap);
void lab_bin_set_current(struct lab_heap *heap, unsigned c, struct lab_unit *unit);
void lab_segment_bucket_owned(struct lab_heap *heap, struct lab_segment *segment);

#endif
