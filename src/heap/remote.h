/*
 * remote.h - blocks freed by others than the holder of their heap.
 *
 * One stack a heap, {bytes, pointer, parity}; blocks link through their first word, in a form that a write of the
 * program to it does not have but by a chance of 2^-20 (lab_link_make). Anyone pushes a block or a chain with one CAS,
 * adds its bytes, and keeps the parity; the holder takes all of it with one CAS, which flips the parity and begins the
 * count anew. `drain` says what a frame is about to take or has still to process, so that a drain that is cut short, or
 * that has done its share, is finished by whoever holds the heap next.
 *
 * INV-REM-1  The parity changes only by a take: drain != 0 with the stack's parity means that the list is still on the
 *            stack.
 * INV-REM-2  A block is on at most one list; after a tear at any instruction of a drain at most one block is missing.
 * INV-REM-3  A link is followed, and what it leads to is touched, only after it was found to be well formed and to lead
 *            to the start of a block of a span, or of a run that is being freed. A drain that meets another has met a
 *            double free, or a write to a freed block: it notes that (finding.h), and the rest of the list is lost, the
 *            block with the damaged link included.
 * A push cannot suffer from ABA, since it never reads what it links to; nor can a take, since it takes everything.
 * Source: Treiber's stack (1986) with a take-all, as in mimalloc's and liburcu's (wfstack) remote lists.
 */
#ifndef LAB_HEAP_REMOTE_H
#define LAB_HEAP_REMOTE_H

#include "heap/heap.h"

/* The link of the block at `at` to `next`, or to nothing: their sum times an odd number, which spreads each bit
 * upwards. */
#define LAB_LINK_FACTOR  UINT64_C(0x9e3779b97f4a7c15)
#define LAB_LINK_INVERSE UINT64_C(0xf1de83e19937733d)
_Static_assert(LAB_LINK_FACTOR *LAB_LINK_INVERSE == 1, "modulo 2^64");

static inline uint64_t
lab_link_make(const void *at, uintptr_t next)
{
	return ((uint64_t)next + (uintptr_t)at) * LAB_LINK_FACTOR;
}

/* What the block links to. False: that is no address that a block can have; somebody has written to the freed block. */
static inline bool
lab_link_read(const void *at, uintptr_t *next)
{
	uint64_t sum = lab_peek((const uint64_t *)at) * LAB_LINK_INVERSE;

	*next = (uintptr_t)(sum - (uintptr_t)at);
	return *next >> 48 == 0 && *next % 16 == 0;
}

/* Much waits, and a visit (visit.h) is worthwhile, each time that the count passes a multiple of this: its two highest
 * bits change. */
#define LAB_WAITING_MUCH ((size_t)4 << 20)
_Static_assert(LAB_WAITING_MUCH / LAB_REMOTE_UNIT == 1u << (62 - LAB_REMOTE_BYTES_SHIFT), "two bits");

/* Any thread, any context, lock-free. The chain first → … → last is linked already; its blocks have so many
 * bytes. Whether much waits there now. */
bool lab_remote_push(struct lab_heap *heap, void *first, void *last, size_t bytes);

/* Whoever pushes next is told that much waits. */
void lab_remote_expect_visit(struct lab_heap *heap);

/* Takes what others have freed into this heap, and frees it. Misuse that it meets is noted: INV-REM-3. */
void lab_remote_drain_owned(struct lab_heap *heap);

/* A share of that, so that a call is short. False: all was freed; true: there may be more. A call may take so many
 * shares: some 1,000 blocks, a millisecond where none of them is in a cache. */
bool lab_remote_drain_some_owned(struct lab_heap *heap);
enum { LAB_DRAINS_A_CALL = 4 };

/* The same by a visitor (visit.h), which collects the blocks of spans; *most blocks at most, and *most is what is
 * left of that. False: a part of the list waits in `drain` for who comes next. */
bool lab_remote_collect(struct lab_heap *heap, size_t *most);

/* Finishes a drain that was cut short; part of a rebuild. */
void lab_remote_resume_owned(struct lab_heap *heap);

#endif
