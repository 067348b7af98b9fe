/*
 * outbox.h - blocks of other heaps that a heap's thread has freed, until they are sent to those heaps.
 *
 * A ring of pointers with one producer, the heap's thread, and one consumer, who has the heap's lease (visit.h): a slow
 * frame of that thread, or a visitor. So the short path of free takes no lease and no locked instruction, and what a
 * thread that sleeps has put in is still within everybody's reach.
 *
 * INV-OUT-1  `put` and `taken` are {bytes, blocks}, ever, each a sum of such pairs modulo 2^64. The ring holds the
 *            blocks between them: put - taken is how many, and how many bytes. Only the producer writes `put`, and
 *            slots that are not between them; only the consumer writes `taken`, and slots that are.
 * INV-OUT-2  One store to `put` commits. A frame that is cut short before it loses the block in hand.
 * INV-OUT-3  A block leaves its slot (NULL) before it is linked into a batch, and a batch is emptied before it is
 *            pushed: torn in between, the block in hand, or the batch, is lost; nothing is ever sent twice.
 * Source: Lamport's queue with one reader and one writer (Specifying concurrent program modules, 1983).
 */
#ifndef LAB_HEAP_OUTBOX_H
#define LAB_HEAP_OUTBOX_H

#include "heap/heap.h"

/* What one block adds to `put`. */
static inline uint64_t
lab_outbox_weight(size_t bytes)
{
	return (uint64_t)bytes << 32 | 1;
}

/* put - taken of an outbox that takes one more: fewer than LAB_OUTBOX_MAX blocks, and fewer than LAB_OUTBOX_BYTES. Both
 * are powers of two. */
#define LAB_OUTBOX_FULL (~((uint64_t)(LAB_OUTBOX_BYTES - 1) << 32 | (LAB_OUTBOX_MAX - 1)))

enum lab_put_result {
	LAB_PUT_DONE,
	LAB_PUT_FULL,   /* it is to be sent first */
	LAB_PUT_DOUBLE, /* nothing was done: it is the block that was put in last */
};

/* By the heap's thread, with its word busy. `bytes` is the size of the block, which is one of a span. Any context;
 * lock-free. */
static inline enum lab_put_result
lab_outbox_put(struct lab_outbox *outbox, void *block, size_t bytes)
{
	uint64_t put = lab_load_rlx(&outbox->put);

	/* pairs with the rel of lab_outbox_send_owned: what it has read of the slots is read */
	if (lab_unlikely((put - lab_load_acq(&outbox->taken)) & LAB_OUTBOX_FULL))
		return LAB_PUT_FULL;
	if (lab_unlikely(lab_peek(&outbox->blocks[(put - 1) % LAB_OUTBOX_MAX]) == block))
		return LAB_PUT_DOUBLE;
	lab_poke(&outbox->blocks[put % LAB_OUTBOX_MAX], block);
	/* commits; pairs with the acq of lab_outbox_send_owned */
	lab_store_rel(&outbox->put, put + lab_outbox_weight(bytes));
	return LAB_PUT_DONE;
}

/* Any thread: a value that changes when the outbox does, and whether there is something in it. */
static inline uint32_t
lab_outbox_position(const struct lab_heap *heap, bool *is_empty)
{
	uint64_t put = lab_load_rlx(&heap->outbox.put);

	*is_empty = put == lab_load_rlx(&heap->outbox.taken);
	return (uint32_t)put;
}

/* Sends all of it, by a compare-and-swap for each heap, or more where heaps share one of LAB_BATCH_SLOTS. By who has
 * the heap's lease. A heap to which something was sent, and in which much waits now (remote.h); or NULL. */
struct lab_heap *lab_outbox_send_owned(struct lab_heap *heap);

#endif
