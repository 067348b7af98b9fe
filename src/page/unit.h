/*
 * unit.h - the descriptor of a 64 KiB unit, and the arithmetic by which free() checks a pointer.
 *
 * A unit that is a span holds blocks of one size. `carved` of them were made so far; the rest of it was never touched.
 * Free blocks link through their first two bytes, by the number of the next one in the span. Descriptors are an array
 * outside the memory that they describe, indexed by address bits. They are never unmapped and never of another type.
 *
 * INV-UNIT-1  owner_key = base + (heap | t) while blocks of the span may be freed on the fast path; that plus 2^63
 *             ("closed") while they may not. The tag t is 1, or 2 where a heap profile is made. For the pointer p of a
 *             block, and w the calling thread's heap word, n = p + w - owner_key is the block's offset if w names the
 *             span's heap as idle, with the same tag. If w is a stack pointer (busy; a multiple of 8) or 0 (unborn), n
 *             is no multiple of 16; if w has LAB_WORD_SLOW, n is the offset + 2^63 - t, or the offset - t if the span
 *             is closed, and if it has the other tag, n is off by 1: no multiple of 16 either. If w names another heap,
 *             n is off by a multiple of 64 KiB of at most 2 GiB (LAB_HEAP_MAX heaps lie in a row), while pointers that
 *             share a descriptor differ by multiples of the window's size, at least 4 GiB: n is then no offset in
 *             this span.
 * INV-UNIT-2  With size = odd * 2^shift and inverse * odd = 1 (mod 2^64), rotate_right(n * inverse, shift) is a
 *             bijection of the 64-bit numbers that sends q * size to q. So one comparison with `carved` says: own heap,
 *             idle, the start of a block, inside the span, and carved. (Granlund and Montgomery, Division by Invariant
 *             Integers, 1994, section 9.)
 * INV-SPAN-1  used + length of the free list == carved whenever no frame is inside the heap, but for blocks that a
 *             torn frame has lost: they come back when the span is retired. Every link is the number of a carved
 *             block, or LAB_FREELIST_NIL, unless the program has written to a freed block. A link is looked at when
 *             it has become the head: a head below `carved` is the number of a block, any other but LAB_FREELIST_NIL
 *             is damage, and is never made an address (ADR 14). Blocks that INV-SPAN-4 says are in no list count.
 * INV-SPAN-2  freelist_state = {used', head}: one store commits a malloc or a free. used' = used for the current span
 *             of its class (`current`), used - 1 for the others. So the subtraction in free borrows exactly when a
 *             span that is not current becomes empty (and is retired), or when the current one was empty before (a
 *             double free).
 * INV-SPAN-3  collected = {count, head}: blocks that others have freed and a visitor has found (heap/visit.h), linked
 *             as free ones are. They count as used, are in no other list, and no fast path touches them or the word. A
 *             span with such blocks is current, or is listed and closed: so its holder meets them in a slow frame,
 *             which puts them on the free list by one store to both words.
 *             A held span (heap/hold.h) has LAB_UNIT_HELD there instead, and nobody but a visitor meets it.
 * INV-SPAN-4  A block that lies in a page of `purged`, even in part, is free and in no list, whatever its memory says;
 *             its number is below `carved`, and it counts as a member of the free list. Each such page has such a
 *             block.
 */
#ifndef LAB_PAGE_UNIT_H
#define LAB_PAGE_UNIT_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "page/geometry.h"

struct lab_heap;

/* What a unit is. Pages of a unit that is not a span are described by struct lab_run. */
enum lab_unit_kind {
	LAB_UNIT_IS_PAGES = 0,
	LAB_UNIT_IS_SPAN,
	LAB_UNIT_IS_RETIRED, /* was a span; its pages are free. It tells a double free from a wild one. */
};

/* A span's two lists, as one word. */
union lab_unit_lists {
	struct {
		uint32_t freelist_state;
		uint32_t collected;
	};
	uint64_t both;
};

struct LAB_ALIGNED(64) lab_unit {
	/* Written by the heap's holder, `freelist_state` at every malloc and free. Other threads read it and
	 * `carved` for figures. */
	union {
		struct {
			uint32_t freelist_state;
			uint32_t collected; /* INV-SPAN-3 */
		};
		uint64_t both;
	};
	uint64_t carved; /* blocks made so far; 0: no span */
	uint64_t owner_key;
	uint64_t inverse;
	char *base;
	struct lab_unit *next; /* in the bin's list of partly used spans; the list is derived, rebuilt by a scan */
	/* {pages that went back to the system, as 16 bits: INV-SPAN-4; the span before this one in the list, an address
	 * of user space} */
	uint64_t purged_and_previous;
	uint8_t kind;
	uint8_t size_class;
	uint8_t shift;
	bool listed : 1;
	bool current : 1;
	bool aged : 1;        /* it was sparse when its heap's spans were looked at last: heap/sparse.h */
	uint8_t examined : 4; /* how sparse it was when its free list was looked at */
	uint32_t size;        /* of a block, in bytes */
};

_Static_assert(sizeof(struct lab_unit) == 64, "a descriptor is a cache line");

#define LAB_FREELIST_NIL      0xffffu /* head: no free block. No span has so many. */
#define LAB_FREELIST_USED_ONE 0x10000u
#define LAB_UNIT_HELD         UINT64_C(0xfffe) /* `both` of a held span: the head is no block, used' is 0 */
#define LAB_UNIT_PURGED_SHIFT 48
#define LAB_UNIT_CLOSED       (UINT64_C(1) << 63) /* in owner_key: no pointer of user space passes the check */
#define LAB_UNIT_OPEN         1u                  /* the low bits of an idle heap's word: LAB_WORD_FAST */
#define LAB_UNIT_OPEN_COUNTED 2u                  /* the same where allocations are counted: LAB_WORD_COUNTED */

/* Which of the two open spans have. A span with the other one is freed into on the slow path, which gives it this. */
extern _Atomic uint32_t lab_unit_open_tag;

static inline uint16_t
lab_freelist_head(uint32_t freelist_state)
{
	return (uint16_t)freelist_state;
}

static inline uint32_t
lab_freelist_make(uint32_t head, uint32_t used)
{
	return head | used << 16;
}

/* Blocks that are not free, those that were collected among them, if the span's state is this. */
static inline uint32_t
lab_unit_used_in(const struct lab_unit *unit, uint32_t freelist_state)
{
	return ((freelist_state >> 16) + !unit->current) & 0xffff;
}

/* By who may read the state: heap.h. */
static inline uint32_t
lab_unit_used(const struct lab_unit *unit)
{
	return lab_unit_used_in(unit, lab_peek(&unit->freelist_state));
}

static inline uint32_t
lab_unit_count_collected(const struct lab_unit *unit)
{
	return unit->collected >> 16;
}

/* Blocks that fit. */
static inline uint32_t
lab_unit_capacity(const struct lab_unit *unit)
{
	return (uint32_t)LAB_UNIT_SIZE / unit->size;
}

/* The pages of INV-SPAN-4, as bits. Any thread, as a figure. */
static inline uint32_t
lab_unit_purged(const struct lab_unit *unit)
{
	return (uint32_t)(lab_peek(&unit->purged_and_previous) >> LAB_UNIT_PURGED_SHIFT);
}

static inline void
lab_unit_set_purged(struct lab_unit *unit, uint32_t pages)
{
	uint64_t previous = unit->purged_and_previous & lab_mask(LAB_UNIT_PURGED_SHIFT);

	lab_poke(&unit->purged_and_previous, (uint64_t)pages << LAB_UNIT_PURGED_SHIFT | previous);
}

/* The pages in which a block lies, as bits. */
static inline uint32_t
lab_unit_pages_of(const struct lab_unit *unit, uint32_t number)
{
	uint32_t at = number * unit->size, first = at >> LAB_PAGE_SHIFT, last = (at + unit->size - 1) >> LAB_PAGE_SHIFT;

	return (2u << last) - (1u << first);
}

/* Whether the block with this number is free by INV-SPAN-4. */
static inline bool
lab_unit_is_purged(const struct lab_unit *unit, uint32_t number)
{
	uint32_t purged = lab_unit_purged(unit);

	return lab_unlikely(purged != 0) && (lab_unit_pages_of(unit, number) & purged) != 0;
}

/* Bytes of the span's pages that were used and have not gone back since. Any thread, as a figure. */
static inline size_t
lab_unit_touched(const struct lab_unit *unit)
{
	size_t carved = lab_round_up(lab_peek(&unit->carved) * lab_peek(&unit->size), LAB_PAGE_SIZE);
	size_t purged = (size_t)__builtin_popcount(lab_unit_purged(unit)) * LAB_PAGE_SIZE;

	carved = carved < LAB_UNIT_SIZE ? carved : LAB_UNIT_SIZE;
	return carved > purged ? carved - purged : 0; /* it may be retired meanwhile */
}

/* Whether the head is the number of a carved block, which then is free: INV-SPAN-1. `carved` is at most 4096. */
static inline bool
lab_unit_has_free(const struct lab_unit *unit, uint32_t head)
{
	return head < (uint32_t)lab_peek(&unit->carved);
}

/* The block with this number, which is below `carved`. */
static inline char *
lab_unit_block(const struct lab_unit *unit, uint32_t number)
{
	return lab_peek(&unit->base) + (uint32_t)(number * lab_peek(&unit->size));
}

/* The number of the block at offset n of the span, as INV-UNIT-2 has it; at least 2^48 if no block can start there. */
static inline uint64_t
lab_unit_block_number(uint64_t n, uint64_t inverse, unsigned shift)
{
	return lab_rotate_right(n * inverse, shift);
}

/* The owner_key of an open span: INV-UNIT-1. */
static inline uint64_t
lab_owner_key_make(const struct lab_heap *heap, const char *base)
{
	return ((uint64_t)(uintptr_t)heap | lab_load_rlx(&lab_unit_open_tag)) + (uintptr_t)base;
}

/* The heap that a span names: INV-UNIT-1 the other way round. */
static inline struct lab_heap *
lab_owner_key_heap(uint64_t owner_key, const char *base)
{
	return (struct lab_heap *)((owner_key - (uintptr_t)base) & ~LAB_UNIT_CLOSED & ~(LAB_HEAP_STRIDE - 1));
}

static inline struct lab_heap *
lab_unit_heap(const struct lab_unit *unit)
{
	return lab_owner_key_heap(lab_peek(&unit->owner_key), unit->base);
}

/* INV-UNIT-1 and -2 of a span: owner_key names a heap, with one of the tags, and size goes to 1. */
static inline bool
lab_unit_is_described(const struct lab_unit *unit)
{
	uint64_t owner_key = lab_peek(&unit->owner_key) & ~LAB_UNIT_CLOSED;
	uint64_t tag = owner_key - (uintptr_t)unit->base - (uintptr_t)lab_owner_key_heap(owner_key, unit->base);

	return (tag == LAB_UNIT_OPEN || tag == LAB_UNIT_OPEN_COUNTED) &&
	       lab_unit_block_number(unit->size, unit->inverse, unit->shift) == 1 &&
	       lab_peek(&unit->carved) <= lab_unit_capacity(unit);
}

/* A thread that sees a span sees what describes it. */
static inline void
lab_unit_set_kind(struct lab_unit *unit, enum lab_unit_kind kind)
{
	lab_assert(kind != LAB_UNIT_IS_SPAN || lab_unit_is_described(unit));
	__atomic_store_n(&unit->kind, (uint8_t)kind, __ATOMIC_RELEASE); /* pairs with lab_unit_kind_of */
}

static inline enum lab_unit_kind
lab_unit_kind_of(const struct lab_unit *unit)
{
	return (enum lab_unit_kind)__atomic_load_n(&unit->kind, __ATOMIC_ACQUIRE); /* pairs with lab_unit_set_kind */
}

/* Whether p is the start of a carved block of the span. Any thread. */
static inline bool
lab_unit_is_block(const struct lab_unit *unit, const void *p)
{
	uint64_t n = (uintptr_t)p - (uintptr_t)unit->base;

	return lab_unit_block_number(n, unit->inverse, unit->shift) < lab_peek(&unit->carved);
}

/* The link of a free block. It may be read of any block of the span: 16 bits of mapped memory. */
static inline uint16_t
lab_block_link(const void *block)
{
	return lab_peek((const uint16_t *)block);
}

#endif
