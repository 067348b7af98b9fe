/*
 * visitor.h - the lease of who is inside a heap in a slow frame: the thread whose heap it is, or a visitor. The rules
 * (INV-VISIT-…) stand in visit.h.
 */
#ifndef LAB_HEAP_VISITOR_H
#define LAB_HEAP_VISITOR_H

#include "heap/heap.h"

/* Tags of the lease. */
enum lab_visit_tag {
	LAB_VISIT_BY_OWNER = 1,
	LAB_VISIT_BY_OTHER,
	LAB_VISIT_ENDLESS, /* INV-VISIT-4 */
};

/* By the heap's thread, with its word busy: what a slow frame does first. False: a visitor is inside. may_ask: the
 * system, whether that is dead. */
bool lab_visit_lock(struct lab_heap *heap, uint32_t tid, bool may_ask);

/* Waits, outside of the heap, until the visitor that is inside has left, which it is asked to, within milliseconds. One
 * that was stopped, or has left its visit by a jump, is waited for once, and not for long. False: it is inside
 * still. */
bool lab_visit_wait_for_end(struct lab_heap *heap);

/* Before the word is idle again. */
void lab_visit_unlock(struct lab_heap *heap);

/* After the caller has won the heap of a dead thread: whether a visitor is inside, or may be. A dead one's lease is
 * taken from it. */
bool lab_visit_is_inside(struct lab_heap *heap);

/* A frame inside `heap` was cut short: part of its rebuild. */
void lab_visit_recover(struct lab_heap *heap);

#endif
