/*
 * sleeper.h - what the heap of a thread that sleeps keeps for the thread alone, given back by a visitor (visit.h):
 * current spans of which no block is used, free pages of spans of which some are (hold.h), and pages of spans that are
 * dirty from before and not carved.
 *
 * The fast paths of the heap's thread take blocks from its current spans without a lease. So a visitor first puts
 * lab_no_span in their place, and then asks the system to make every thread that runs pass a memory barrier
 * (lab_os.fence), and looks at the thread's word.
 *
 * INV-SLEEP-1  A fast path of malloc marks the word before it reads which span is current. With the fence between the
 *              visitor's store and its look at the word: if the word is idle then, each fast path that marks it later
 *              reads lab_no_span, and each one that marked it before has left. So nobody takes a block of that span.
 *              Source: Dekker's algorithm with a barrier on one side (Dice, Huang, Yang, Asymmetric Dekker
 *              Synchronization, 2001).
 * INV-SLEEP-2  Of a span of which no block is used none is freed: the fast path of free does not touch it either.
 *              A span with a used block is put back as it was.
 * INV-SLEEP-3  Where the carved blocks end is written in slow frames alone, so the pages behind are the visitor's.
 * INV-SLEEP-4  A heap names the word of its thread from before that is idle for the first time: so a visitor that reads
 *              the name after the fence, and finds a thread's that had the heap before, has nobody to exclude that has
 *              read which span is current. A real-time thread's is not named: such a thread has made its spans current
 *              before it must not be slow any more, and its spans stay.
 */
#ifndef LAB_HEAP_SLEEPER_H
#define LAB_HEAP_SLEEPER_H

#include "heap/current.h"

/* By the thread whose heap it is: with its word busy, before it takes the heap's lease; and when it becomes a real-time
 * thread, or ceases to be one. INV-SLEEP-4. */
static inline void
lab_sleeper_name_thread(struct lab_heap *heap, const struct lab_thread *t)
{
	lab_poke(&heap->thread_word, lab_unlikely(t->scope & LAB_SCOPE_OWN) ? NULL : &t->word);
}

/* By a visitor who has the lease of `target` and has made it not whole. From the slot *hand on, until so many pages
 * have gone, or a fourth as many spans were looked at; *hand is then where to go on, 0 at the end. O(spans of the
 * heap). */
void lab_sleeper_give_back(struct lab_heap *target, size_t *hand, size_t most);

#endif
