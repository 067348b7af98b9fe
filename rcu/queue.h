/*
 * queue.h - the blocks that wait for a grace period: a stack to which anyone pushes, and the batch that the worker
 * took.
 *
 * A link is the address of a struct lab_rcu_head; bit 0 says that the head is a block of its own, to be freed as well.
 *
 * INV-RCU-1  `top` leads through the heads to 0; a head in the stack is written by nobody. Pushes only push, and the
 *            only one who pops takes all: so no link that was read can be that of another life (no ABA).
 * INV-RCU-2  The batch is what was taken and not yet freed. Its first link is stored before the stack is taken, and the
 *            next one before a block is freed, so that a copy of this memory in fork's child holds no block that was
 *            freed, and has lost one at most. In a child the batch may be a part of the stack still.
 *
 * Source: Treiber's stack (1986) with a take-all, as liburcu's lfstack.
 */
#ifndef LAB_RCU_QUEUE_H
#define LAB_RCU_QUEUE_H

#include <labyrinth/rcu.h>

#include "base/atomic.h"

/* Any context; lock-free. A frame that is left before the push loses that block, and is counted until the next take. */
void lab_queue_push(void *block, struct lab_rcu_head *head, bool head_is_block);

bool lab_queue_is_empty(void);

/* Blocks and bytes that wait, those of the batch included. */
size_t lab_queue_blocks(void);
size_t lab_queue_bytes(void);

/* Whether a worker, in fork's child that of the parent, has left a batch. */
bool lab_queue_has_batch(void);

/* Forgets the batch of another worker if it is a part of the stack. O(blocks that wait). The worker, at its start. */
void lab_queue_settle_batch(void);

/* Makes all that waits the batch, where there is none; false: there is nothing. The worker, and nobody else. */
bool lab_queue_take(void);

/* Frees the batch. Any number of readers may be there: none of them has seen its blocks. The worker. */
void lab_queue_free_batch(void);

/* Blocks freed so far. */
size_t lab_queue_freed(void);

#endif
