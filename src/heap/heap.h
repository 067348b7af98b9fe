/*
 * heap.h - a thread's heap: what it holds, and the rules for who may touch it.
 *
 * A heap is a set of segments and the derived lists by which its holder finds free blocks and pages in them. The
 * truth is in the segments' owner words, the page bitmaps and the spans' freelist states; every list can be rebuilt
 * from them by a scan.
 *
 * INV-HEAP-1  At most one live thread is named by a heap's owner word (registry.h), and only that thread's frames write
 *             the non-atomic fields: the innermost frame that marked the heap busy, in its thread's word, or the one
 *             that won it (registry.h). What is for slow frames alone a visitor may have instead (visit.h).
 * INV-HEAP-2  A refill replaces bins[c].current only when less than an eighth of its blocks are left, free or to carve:
 *             by a listed span that has an eighth, or, if the current one has nothing left, by any listed span or a new
 *             one. The span that was replaced is `closed` (unit.h) and in no list if it has nothing left, else in its
 *             bin's list.
 * INV-HEAP-3  Every span of the heap is exactly one of: a bin's current span, listed in its bin (it has a free block or
 *             one to carve), or full and closed. (A fast free that a handler interrupted between its check and its
 *             mark, and whose span the handler filled, leaves one free block in such a span: the next free there lists
 *             the span.) Every segment is in both indexes, by_order and by_run, where its greatest free order and its
 *             longest row of free pages, as last seen, put it.
 * INV-HEAP-4  whole == LAB_HEAP_TORN: a slow frame is inside, or was left inside by a jump or a death, or the heap is
 *             new: who enters next rebuilds the lists before it reads them, and until then the word of the heap's
 *             thread sends every call there (LAB_WORD_SLOW). LAB_HEAP_VISITED: a visitor is inside, or was left inside;
 *             who enters next rebuilds the lists, too, but what the fast paths use is sound.
 */
#ifndef LAB_HEAP_HEAP_H
#define LAB_HEAP_HEAP_H

#include "base/atomic.h"
#include "heap/size_class.h"
#include "insight/sampler.h"
#include "os/os.h"
#include "page/count.h"
#include "page/purge.h"
#include "page/space.h"

/* An outbox is sent before the next block when it has so many, or so many bytes of them: a thread that falls asleep
 * keeps less than 48 KiB of what is others' memory. */
#define LAB_OUTBOX_MAX   64u
#define LAB_OUTBOX_BYTES 16384u
#define LAB_BATCH_SLOTS  8u

/* How often a frame that is in the way was met, by calls from below it, and by those from above that came from the
 * same place as the last: when it is worth another proof that it is gone. */
struct lab_meetings {
	uintptr_t flag;
	uint16_t from_above, from_below; /* they may wrap around, which costs a few proofs */
	uint32_t place;                  /* some bits of the stack pointer of the last call from above */
};

/* Blocks of other heaps, freed by this heap's thread: outbox.h. */
struct lab_outbox {
	_Atomic uint64_t put, taken;
	void *blocks[LAB_OUTBOX_MAX];
};

/* What goes to one of those heaps while the outbox is sent, linked as remote.h says. */
struct lab_batch {
	struct lab_heap *target;
	void *first, *last;
	size_t bytes;
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

/* A visit to another heap, kept where it is found if the visitor is cut short. target == NULL: none. */
struct lab_visit_record {
	struct lab_heap *target;
	uint64_t claim; /* what its lease is then */
};

/* How far the look for sparse spans has come (sparse.h). Written by who has the heap's lease; its thread reads
 * it at any time. */
struct lab_thinning {
	struct lab_unit *unit; /* whose blocks in purged pages may be in its list yet; or NULL */
	size_t hand;           /* the slot from which it goes on */
	uint64_t begun_at;     /* the last round, in milliseconds */
	bool is_on;            /* a round is under way */
	bool due;              /* spans are listed, or were when a round saw them */
	bool waits;            /* the last look of decay was in its place */
	uint8_t rest;          /* rounds that are left out, as the system has refused pages */
};

/* What struct lab_heap's `whole` is: INV-HEAP-4. */
enum { LAB_HEAP_TORN = 0, LAB_HEAP_WHOLE, LAB_HEAP_VISITED };

/* A span that a visitor holds, and its lists. */
struct lab_held {
	struct lab_unit *unit;
	union lab_unit_lists lists;
};
enum { LAB_HELD_MAX = 16 };

struct lab_bin {
	struct lab_unit *current; /* the span that malloc takes from; lab_no_span if there is none */
	struct lab_unit *partial; /* spans with free blocks: the warm ones, then the cold ones (bin.h) */
	struct lab_unit *cold;    /* the first of these; NULL: there is none */
};

/* What looks of decay have seen of the thread (visit.h). Written by whoever looks; a lost value costs a few looks. */
struct lab_rest {
	uint32_t current; /* which spans were current, and their states, as a number */
	bool is_done;     /* since then its pages have gone */
	uint64_t since;   /* milliseconds */
	size_t hand;      /* the slot from which its pages go on to be given back; its visitor's */
};

struct lab_heap {
	/* The holder's alone, but for what a visitor uses (INV-VISIT-1). direct: the current span by (size + 15) / 16,
	 * what malloc reads. */
	struct lab_unit *direct[LAB_DIRECT_SLOTS];
	struct lab_bin bins[LAB_CLASS_COUNT];
	struct lab_segment *by_order[LAB_ORDER_MAX + 2]; /* segments by greatest free order + 1 */
	struct lab_segment *by_run[LAB_RUN_BINS];        /* and by lab_run_bin of the longest row of free pages */
	struct lab_segment *kept; /* no page of it is in use, or was not when it was seen last; or NULL */
	size_t slots;             /* of all segments in the indexes */
	uint64_t stale_marks;     /* lab_segment_stale_marks before segments were looked at for such */
	struct lab_outbox outbox;
	struct lab_batch batches[LAB_BATCH_SLOTS];
	/* BORROWED, ABSORBING: stack pointer of the frame that is inside; 0: it has not said so yet, or is giving
	 * back */
	uintptr_t frame;
	struct lab_meetings met;
	const uintptr_t *thread_word; /* lab_thread.word of the thread whose heap it is: INV-SLEEP-4 */
	uint32_t id;
	uint32_t whole;
	uint32_t holds;           /* spans in `held` */
	_Atomic uint64_t visitor; /* a lease: who is inside in a slow frame (visit.h) */
	_Atomic bool is_wanted;   /* its thread waits for the visitor to leave, who has come since this was cleared */
	bool forks;               /* the lease is kept over a fork */
	_Atomic uint32_t looked;  /* what visitors have seen of the remote stack */
	bool nowait;         /* the frame inside makes no system call: no segment, no purge word, no probe, no clock */
	bool over_limit;     /* the frame inside failed to get pages because of the limit (page/charge.h) */
	uint32_t slow_calls; /* allocations that took the slow path */
	uint32_t refills_to_pass;   /* before nearly full spans are left alone again: refill.c */
	struct lab_sampler sampler; /* of the heap profile */
	size_t freed_pages;         /* ever */
	struct lab_count_delta counts;
	struct lab_purge_record purge; /* of the pages that the frame inside is giving back */
	struct lab_visit_record visit; /* of the visit that the frame inside is on */
	/* The span that is becoming current or ceasing to be: `current` and used' may disagree in it alone. */
	struct lab_unit *changing;
	struct lab_thinning thinning;
	struct lab_rest rest;
	struct lab_finding found; /* to be reported when the heap is left */

	/* Counters; written by the holder, read by anyone as figures. */
	uint64_t reentrant, adopted;
	_Atomic uint64_t remote_frees; /* blocks that others have freed, and that were taken in */
	/* The drain in progress: what is left of a list that was taken, {pointer, parity}. The holder's; see
	 * remote.h. */
	uintptr_t drain;

	/* Written by any thread. {bytes, pointer, parity} of the remote stack. */
	LAB_ALIGNED(64) _Atomic uintptr_t remote;

	/* A counter as those above; the last: larger blocks. Kept with LABYRINTH_STATS=1 only. */
	LAB_ALIGNED(4096) uint64_t allocations[LAB_CLASS_COUNT + 1];
	struct lab_held held[LAB_HELD_MAX]; /* the first `holds` of them are: hold.h */
};
_Static_assert(offsetof(struct lab_heap, allocations) == LAB_PAGE_SIZE,
               "a heap is a page, and one that is seldom used");

/* The word `remote`: bit 0 is the parity; a pointer of user space, 16-aligned; and the bytes pushed since the last
 * take, in units, each push rounded up, modulo 2^16. */
#define LAB_REMOTE_PARITY      ((uintptr_t)1)
#define LAB_REMOTE_POINTER     ((uintptr_t)0xfffffffffff0)
#define LAB_REMOTE_BYTES_SHIFT 48
#define LAB_REMOTE_UNIT        ((size_t)256)

/* Whether others have freed blocks into the heap that nobody has taken in yet, or not to the end. Any thread. */
static inline bool
lab_heap_is_freed_into(const struct lab_heap *heap)
{
	return ((lab_load_rlx(&heap->remote) | lab_peek(&heap->drain)) & LAB_REMOTE_POINTER) != 0;
}

/* Forgets them: in fork's child, where pushes may have been copied by halves. The parity of the stack stays. */
static inline void
lab_heap_forget_frees(struct lab_heap *heap)
{
	lab_store_rlx(&heap->remote, lab_load_rlx(&heap->remote) & 1);
}

#endif
