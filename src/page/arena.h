/*
 * arena.h - address space: reserved at once, committed in segments, claimed by compare-and-swap.
 *
 * One reservation holds, in this order: this struct and its words; the unit descriptors (readable from the start, so that any
 * pointer's descriptor can be looked at); the segments' metadata; the heap structs (first arena only); the payload.
 *
 * A segment's owner word is {seq, heap id, kind}. seq grows at each claim, so that no value occurs twice; the bitmap of
 * free segments is a hint and the owner word the truth, so that a claim cut short is no orphan: the scan of the heap
 * named by the word finds it.
 *
 * INV-SEG-1  Every segment not FREE is covered by a span or run, or by its heap's scan; it is released by CAS from the
 *            value claimed.
 * INV-SEG-2  A segment becomes HUGE only while its purge word is 0, and a purger works only on segments that it sees to be
 *            not HUGE after it has the purge word. (Each writes its own word, then reads the other's: both are sc.)
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

struct lab_arena {
	char *base;  /* payload; aligned to a segment */
	size_t size; /* bytes of payload, a power of two */
	struct lab_unit *units;
	size_t unit_mask; /* number of units - 1 */
	char *segments;   /* metadata, LAB_SEGMENT_STRIDE apart */
	char *heaps;
	size_t heap_slots;
	size_t segment_count;
	void *reservation;
	size_t reserved;
	_Atomic uint64_t *owners;    /* a word a segment */
	_Atomic uint64_t *free_hint; /* a bit a segment, 1 = probably free */
	_Atomic uint64_t
	        *committed; /* a bit a segment, 1 = metadata and payload are accessible. rel; pairs with the acq of readers */
	_Atomic size_t high_water; /* no segment from this index on was ever claimed */
};

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
	return (struct lab_segment *)(arena->segments + index * LAB_SEGMENT_STRIDE);
}

static inline char *
lab_arena_payload(const struct lab_arena *arena, size_t index)
{
	return arena->base + (index << LAB_SEGMENT_SHIFT);
}

/* The descriptor of the unit that holds p. p in the arena. */
static inline struct lab_unit *
lab_arena_unit(const struct lab_arena *arena, const void *p)
{
	return arena->units + ((uintptr_t)p >> LAB_UNIT_SHIFT & arena->unit_mask);
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

/*
 * How many forks this process is away from the first one. A segment of another generation has been copied while others could write to it:
 * who claims it gives its pages back first, or takes them for dirty.
 */
extern uint32_t lab_arena_generation;

/* What he does: INV-PAGE-3. No block is in the segment. */
void lab_arena_renew(struct lab_segment *segment);

/* Whether blocks' memory is to be made of huge pages; applied to an arena when it is reserved. lab_map_set_huge_pages sets it. */
extern _Atomic uint32_t lab_arena_huge_pages; /* enum lab_huge_pages */

/* Applies it to pages of an arena. */
void lab_arena_apply_huge_pages(void *start, size_t size);

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
