/*
 * hold.h - spans of a thread that sleeps, held by a visitor (visit.h) who writes their free lists.
 *
 * The fast paths of the heap's thread read and write the free list state of a span without a lease. So a visitor puts
 * LAB_UNIT_HELD in its place by compare-and-swap, asks the system to make every thread that runs pass a memory barrier
 * (lab_os.fence), and looks at the thread's word.
 *
 * INV-HOLD-1  While a span is held its two lists stand in heap->held, where they were written before: whoever has the
 *             heap's lease next, if the visitor is cut short, puts them back (a rebuild does).
 * INV-HOLD-2  A fast path that reads LAB_UNIT_HELD changes nothing and goes the slow way: malloc as its head is no
 *             block, free as the subtraction borrows. There the lease, which the visitor has, sends it to another heap.
 * INV-HOLD-3  A fast path marks the word before it reads the state. With the fence between the visitor's swap and its
 *             look at the word: if the word is idle then, each fast path that marks it later reads LAB_UNIT_HELD, and
 *             each one that marked it before has left, and what it stored is seen. So if the state is LAB_UNIT_HELD
 *             still, the list in heap->held is the visitor's alone. A fast path that was inside meanwhile may store
 *             over LAB_UNIT_HELD the state that it makes of the one that it had read, which is the right one: then the
 *             span is held no more. Source: as INV-SLEEP-1.
 */
#ifndef LAB_HEAP_HOLD_H
#define LAB_HEAP_HOLD_H

#include "heap/heap.h"

/* By a visitor who has the lease of `heap` and has made it not whole; LAB_HELD_MAX spans at most. */
void lab_hold(struct lab_heap *heap, struct lab_unit *unit);

static inline bool
lab_hold_is_held(const struct lab_held *held)
{
	return lab_peek(&held->unit->both) == LAB_UNIT_HELD;
}

/* Puts the last one's lists back, as they are in heap->held. Its span. */
struct lab_unit *lab_hold_release(struct lab_heap *heap);

/* All that a visitor who was cut short has left: part of the rebuild. */
void lab_hold_repair_owned(struct lab_heap *heap);

#endif
