/*
 * inside_heap.h - a test that is inside its thread's heap from beginning to end, as a slow path is.
 *
 * enter() sets `guard` and `heap`; what needs the heap is called with it.
 */
#ifndef LAB_TESTS_UNIT_INSIDE_HEAP_H
#define LAB_TESTS_UNIT_INSIDE_HEAP_H

#include "heap/refill.h"
#include "heap/span.h"
#include "heap/thread.h"
#include "require.h"

static struct lab_guard guard;
static struct lab_heap *heap;

static inline void
enter(void)
{
	guard.sp = (uintptr_t)__builtin_frame_address(0);
	REQUIRE(lab_enter(&guard));
	heap = guard.heap;
}

/* A block of class c. */
static inline char *
pop(unsigned c)
{
	struct lab_unit *span = heap->bins[c].current;

	if (!lab_unit_has_free(span, lab_freelist_head(span->freelist_state)))
		REQUIRE(lab_span_refill_owned(heap, c));
	return lab_span_pop_owned(heap->bins[c].current);
}

#endif
