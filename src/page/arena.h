/*
 * arena.h - address space: reserved at once, committed in segments, claimed by compare-and-swap.
 *
 * One reservation, the *range*, holds the unit descriptors (readable from the start, so that any pointer's descriptor can be looked at), the
 * segments' metadata and the payload, in this order. The struct and its words are never unmapped: the first arena's lie before its
 * range, with the heap structs; another's are a mapping of their own, the *seat*, that outlives the range and serves the next one.
 *
 * A segment's owner word is {seq, heap id, kind}. seq grows at each claim, so that no value occurs twice; the bitmap of
 * free segments is a hint and the owner word the truth, so that a claim cut short is no orphan: the scan of the heap
 * named by the word finds it.
 *
 * INV-SEG-1  Every segment not FREE is covered by a span or run, or by its heap's scan; it is released by CAS from the
 *            value claimed.
 * INV-SEG-2  A segment becomes HUGE only while its purge word is 0, and a purger works only on segments that it sees to be
 *            not HUGE after it has the purge word. (Each writes its own word, then reads the other's: both are sc.)
 * INV-ARENA-1  Where a range is, how long, and in which state, is one word, `where`. It leaves RETIRING for UNMAPPING only by a CAS from the value
 *             that was written before all owner words were seen to be FREE and all purge words 0. Who claims a segment, or wins a
 *             purge word, reads `where` after that (both sc): it sees LIVE, and holds the arena; or RETIRING, and makes it LIVE
 *             again (a claimer) or lets go (a purger); or another, and lets go. (retire.h goes on.)
 * INV-ARENA-2  While a range is LIVE or RETIRING, or a walk (walk.h) that began while it was goes on, the metadata is mapped; the payload
 *             is touched by who holds a segment or a purge word of it.
 */
#ifndef LAB_PAGE_ARENA_H
#define LAB_PAGE_ARENA_H

#include "page/segment.h"
#include "page/unit.h"

enum lab_segment_kind {
	LAB_SEGMENT_FREE = 0,
	LAB_SEGMENT_SMALL, /* spans and runs of one heap */
	LAB_SEGMENT_HUGE,  /* part of one block */
};

enum lab_arena_state {
	LAB_ARENA_EMPTY = 0, /* no range; `where` is 0 */
	LAB_ARENA_LIVE,
	LAB_ARENA_RETIRING,   /* somebody is looking whether all of it is free */
	LAB_ARENA_UNMAPPING,  /* the payload is being unmapped, by the walk in the tag */
	LAB_ARENA_WAITING,    /* it is; the metadata waits until older walks have ended */
	LAB_ARENA_FORGETTING, /* the metadata is being unmapped, by the walk in the tag */
};

struct lab_arena {
	_Atomic uint64_t where;      /* {tag:21, state:3, log2 of the size - 20:5, payload's address / 4 MiB:35} */
	_Atomic uint64_t token;      /* of the range that is going, as in its pages: who is UNMAPPING keeps it here */
	_Atomic uint64_t retired;    /* the age (walk.h) from which on walks cannot see the range; written by who is UNMAPPING */
	_Atomic uint64_t idle_since; /* milliseconds + 1: nothing has been claimed since; 0: not looked at since the last claim */
	_Atomic uint32_t attempts;   /* to retire a range: a tag that does not occur twice */
	size_t capacity;             /* segments that there are words for */
	char *heaps;                 /* first arena only */
	size_t heap_slots;
	void *reservation; /* of the seat; in the first arena of everything */
	size_t reserved;
	_Atomic uint64_t *owners;    /* a word a segment */
	_Atomic uint64_t *free_hint; /* a bit a segment, 1 = probably free */
	_Atomic uint64_t
	        *committed; /* a bit a segment, 1 = metadata and payload are accessible. rel; pairs with the acq of readers */
	_Atomic size_t high_water; /* no segment from this index on was ever claimed */
};

#define LAB_ARENA_PLACE    (((uint64_t)1 << 40) - 1) /* of `where`: size and address */
#define LAB_ARENA_TAG_BITS 21

static inline uint64_t
lab_where_make(uint64_t place, enum lab_arena_state state, uint64_t tag)
{
	return (place & LAB_ARENA_PLACE) | (uint64_t)state << 40 | tag << (64 - LAB_ARENA_TAG_BITS);
}

static inline enum lab_arena_state
lab_where_state(uint64_t where)
{
	return (enum lab_arena_state)(where >> 40 & 7);
}

static inline uint64_t
lab_where_tag(uint64_t where)
{
	return where >> (64 - LAB_ARENA_TAG_BITS);
}

/* Whether segments of it may be in use. */
static inline bool
lab_where_is_usable(uint64_t where)
{
	return lab_where_state(where) == LAB_ARENA_LIVE || lab_where_state(where) == LAB_ARENA_RETIRING;
}

static inline char *
lab_where_base(uint64_t where)
{
	return (char *)(uintptr_t)((where & (((uint64_t)1 << 35) - 1)) << LAB_SEGMENT_SHIFT);
}

static inline size_t
lab_where_size(uint64_t where)
{
	return (where & LAB_ARENA_PLACE) == 0 ? 0 : (size_t)1 << ((where >> 35 & 31) + 20);
}

static inline size_t
lab_where_segment_count(uint64_t where)
{
	return lab_where_size(where) >> LAB_SEGMENT_SHIFT;
}

static inline char *
lab_where_segments(uint64_t where)
{
	return lab_where_base(where) - lab_where_segment_count(where) * LAB_SEGMENT_STRIDE;
}

/* The descriptors; below them lies nothing but what marks the range as mapped. */
static inline struct lab_unit *
lab_where_units(uint64_t where)
{
	return (struct lab_unit *)lab_where_segments(where) - (lab_where_size(where) >> LAB_UNIT_SHIFT);
}

/*
 * What an arena is like now. Who holds a segment of it reads the same each time. Others get figures and addresses that were right once: nothing
 * of the metadata is read but within a walk.
 */
static inline char *
lab_arena_base(const struct lab_arena *arena)
{
	return lab_where_base(lab_load_rlx(&arena->where));
}

static inline size_t
lab_arena_size(const struct lab_arena *arena)
{
	return lab_where_size(lab_load_rlx(&arena->where));
}

static inline size_t
lab_arena_segment_count(const struct lab_arena *arena)
{
	return lab_where_segment_count(lab_load_rlx(&arena->where));
}

static inline uint64_t
lab_owner_make(uint64_t seq, uint32_t heap_id, enum lab_segment_kind kind)
{
	return seq << 24 | (uint64_t)heap_id << 2 | (uint64_t)kind;
}

static inline enum lab_segment_kind
lab_owner_kind(uint64_t owner)
{
	return (enum lab_segment_kind)(owner & 3);
}

static inline uint32_t
lab_owner_heap(uint64_t owner)
{
	return (uint32_t)(owner >> 2) & 0x3fffff;
}

static inline uint64_t
lab_owner_seq(uint64_t owner)
{
	return owner >> 24;
}

static inline struct lab_segment *
lab_arena_segment(const struct lab_arena *arena, size_t index)
{
	return (struct lab_segment *)(lab_where_segments(lab_load_rlx(&arena->where)) + index * LAB_SEGMENT_STRIDE);
}

static inline char *
lab_arena_payload(const struct lab_arena *arena, size_t index)
{
	return lab_arena_base(arena) + (index << LAB_SEGMENT_SHIFT);
}

/* The descriptor of the unit that holds p. p in the arena. */
static inline struct lab_unit *
lab_arena_unit(const struct lab_arena *arena, const void *p)
{
	uint64_t where = lab_load_rlx(&arena->where);

	return lab_where_units(where) + ((uintptr_t)p >> LAB_UNIT_SHIFT & ((lab_where_size(where) >> LAB_UNIT_SHIFT) - 1));
}

/* The segment of the arena that p, of which the caller holds a segment, lies in. */
static inline size_t
lab_arena_index_of(const struct lab_arena *arena, const void *p)
{
	return (size_t)((const char *)p - lab_arena_base(arena)) >> LAB_SEGMENT_SHIFT;
}

static inline bool
lab_arena_is_committed(const struct lab_arena *arena, size_t index)
{
	return lab_load_acq(&arena->committed[index / 64]) >> (index % 64) & 1;
}

/*
 * Reserves an arena that can hold a block of `least` bytes, with room for heaps if asked. Halves its size down to that until the
 * system grants it. NULL on failure. Any context; two callers get two arenas.
 */
struct lab_arena *lab_arena_reserve(size_t least, bool with_heaps);

/* Gives back an arena that was never published. */
void lab_arena_unreserve(struct lab_arena *arena);

/* The two parts of an arena without heaps: its range, as a value for `where`, 0 on failure; and a seat for it, empty. */
uint64_t lab_range_reserve(size_t least);
void lab_range_unreserve(uint64_t where);
struct lab_arena *lab_arena_make_seat(uint64_t where);

/* Gives an empty seat a range. False: it has one by now, or too few words. */
bool lab_arena_settle(struct lab_arena *seat, uint64_t where);

/* Unmap one half of a range, once, also if somebody was cut short in doing so: true if it is not there any more. By whom `where` names. */
bool lab_range_unmap_payload(struct lab_arena *seat, uint64_t where);
bool lab_range_unmap_metadata(struct lab_arena *seat, uint64_t where);

/* Bytes of address space that the arena takes. */
size_t lab_arena_reserved(const struct lab_arena *arena);

/*
 * How many forks this process is away from the first one. A segment of another generation has been copied while others could write to it:
 * who claims it gives its pages back first, or takes them for dirty.
 */
extern uint32_t lab_arena_generation;

/* What he does: INV-PAGE-3. No block is in the segment. */
void lab_arena_renew(struct lab_segment *segment);

/* Whether blocks' memory is to be made of huge pages; applied to an arena when it is reserved. lab_map_set_huge_pages sets it. */
extern _Atomic uint32_t lab_arena_huge_pages; /* enum lab_huge_pages */

/* Applies it to a new mapping of an arena. */
void lab_arena_apply_huge_pages(void *start, size_t size);

/* New pages, zeroed, in the place of marked ones (lab_os.renew). False: it is unknown what is there now. */
bool lab_arena_renew_pages(void *start, size_t size);

/* What lab_arena_claim returns instead of an index. */
#define LAB_CLAIM_NONE_FREE (-1L)
#define LAB_CLAIM_NO_MEMORY (-2L) /* the system did not let a segment be made accessible: to go on trying is no use */

/*
 * Claims `count` neighbouring free segments, the first at a multiple of `align` bytes (a power of two), lowest address first, commits
 * them, and returns the first one's index; LAB_CLAIM_… if that is not possible. Lock-free.
 * A frame that is cut short leaves segments that the scan of heap_id finds.
 */
long lab_arena_claim(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t count, size_t align);

/* Claims exactly the segments [index, index + count), or none. */
bool lab_arena_claim_at(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t index, size_t count);

/* FREE again, if the owner word is still `owner`. */
bool lab_arena_release(struct lab_arena *arena, size_t index, uint64_t owner);

#endif
