/*
 * remote.h - blocks freed by others than the holder of their heap.
 *
 * One stack a heap, {pointer, parity}; blocks link through their first word, in a form that a write of the program to
 * it does not have but by a chance of 2^-20 (lab_link_make). Anyone pushes a block or a chain with one CAS and keeps
 * the parity; the holder takes all of it with one CAS, which flips it. `drain` says what a frame is about to take or
 * has still to process, so that a drain that is cut short, or a visit that has done its share, is finished by whoever
 * holds the heap next.
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

/* Any thread, any context, lock-free. The chain first → … → last is linked already. */
void lab_remote_push(struct lab_heap *heap, void *first, void *last);

/*
 * Bytes on a heap's stack are counted from one take to the next, so that it is known where much waits: a visit
 * (visit.h) is worthwhile there. An estimate: a batch that is pushed while the stack is taken may be missing.
 */
#define LAB_WAITING_MUCH ((int64_t)4 << 20)

/* Before blocks are pushed. Whether much waits there now. */
static inline bool
lab_remote_count(struct lab_heap *heap, size_t blocks, size_t bytes)
{
	lab_add_rlx(&heap->remote_frees, blocks);
	return lab_add_rlx(&heap->room, -(int64_t)bytes) - (int64_t)bytes < 0;
}

/* Collects a block of a span of another heap; LAB_BATCH_MAX and LAB_BATCH_BYTES say when a batch is sent, or the next
 * slow path that looks for memory does it. *much_in: the heap to which one was sent, if much waits there now. False:
 * nothing was done, it is the block that was collected last. */
bool lab_batch_add_owned(struct lab_heap *heap, struct lab_heap *target, void *block, struct lab_heap **much_in);

/* Sends all batches. */
void lab_batch_flush_owned(struct lab_heap *heap);

/* Takes what others have freed into this heap, and frees it. Misuse that it meets is noted: INV-REM-3. */
void lab_remote_drain_owned(struct lab_heap *heap);

/* The same by a visitor (visit.h), which collects the blocks of spans; of *most blocks at most, and *most is what is
 * left of that. False: a part of the list waits in `drain` for who comes next. */
bool lab_remote_collect(struct lab_heap *heap, size_t *most);

/* Finishes a drain that was cut short; part of a rebuild. */
void lab_remote_resume_owned(struct lab_heap *heap);

#endif
