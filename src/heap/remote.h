/*
 * remote.h - blocks freed by others than the holder of their heap.
 *
 * One stack a heap, {pointer, parity}; blocks link through their first word. Anyone pushes a block or a chain with one CAS and keeps the
 * parity; the holder takes all of it with one CAS, which flips it. `drain` says what a frame is about to take or has still to
 * process, so that a drain that is cut short is finished by whoever holds the heap next.
 *
 * INV-REM-1  The parity changes only by a take: drain != 0 with the stack's parity means that the list is still on the stack.
 * INV-REM-2  A block is on at most one list; after a tear at any instruction of a drain at most one block is missing.
 * A push cannot suffer from ABA, since it never reads what it links to; nor can a take, since it takes everything.
 * Source: Treiber's stack (1986) with a take-all, as in mimalloc's and liburcu's (wfstack) remote lists.
 */
#ifndef LAB_HEAP_REMOTE_H
#define LAB_HEAP_REMOTE_H

#include "heap/heap.h"

/* Any thread, any context, lock-free. The chain first → … → last is linked already. */
void lab_remote_push(struct lab_heap *heap, void *first, void *last);

/* Collects a block of another heap; sends 32 at a time. A batch is sent by the next slow path at the latest. */
void lab_batch_add_owned(struct lab_heap *heap, struct lab_heap *target, void *block);

/* Sends all batches. */
void lab_batch_flush_owned(struct lab_heap *heap);

/* Takes what others have freed into this heap, and frees it. */
void lab_remote_drain_owned(struct lab_heap *heap);

/* Whether there is something to take. */
bool lab_remote_is_waiting(const struct lab_heap *heap);

/* Finishes a drain that was cut short; part of a rebuild. */
void lab_remote_resume_owned(struct lab_heap *heap);

/* Forgets what is on the stack: in fork's child, where pushes may have been copied by halves. */
void lab_remote_drop(struct lab_heap *heap);

#endif
