/*
 * allocate.c - what the fast paths of malloc leave: every size and alignment, re-entrant calls, LAB_GFP_NOWAIT. Any context.
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/fastpath.h"
#include "alloc/provision.h"
#include "heap/remote.h"
#include "os/os.h"

enum {
	CALLS_PER_LOOK = 8, /* a look at the clock in each would be felt where blocks go from thread to thread */
	PURGED_FROM =
	        16 << 20, /* bytes: faults for all of it cost about what clearing it does. No block of a segment is so large */
};

void *
lab_or_enomem(void *p)
{
	if (lab_unlikely(!p))
		errno = ENOMEM;
	return p;
}

/* The class for a small block, or LAB_CLASS_COUNT if it is none. A block's address is a multiple of what divides its size. */
static unsigned
small_class(struct lab_request request)
{
	if (request.size > LAB_SMALL_MAX || request.align > LAB_SMALL_MAX)
		return LAB_CLASS_COUNT;
	if (request.align <= LAB_ALIGN_DEFAULT)
		return lab_class_of(request.size);
	size_t size = lab_round_up(request.size ? request.size : 1, request.align);
	if (size > LAB_SMALL_MAX)
		return LAB_CLASS_COUNT;
	unsigned c = lab_class_of(size);
	while (lab_class_size(c) % request.align != 0)
		c++; /* ends: the largest size is a power of two */
	return c;
}

static void *
allocate_small(struct lab_heap *heap, unsigned c)
{
	struct lab_unit *span = heap->bins[c].current;

	if (!lab_unit_has_free(span, lab_hot_head(span->hot)) && !lab_span_refill_owned(heap, c))
		return NULL;
	return lab_span_pop_owned(heap->bins[c].current);
}

static void *
allocate_large(struct lab_heap *heap, struct lab_request request, bool *fresh)
{
	size_t pages = (request.size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;
	size_t align = (request.align + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	lab_batch_flush_owned(heap);
	lab_remote_drain_owned(heap);
	if (pages == 0)
		pages = 1;
	if (pages <= LAB_SEGMENT_PAGES && align <= LAB_SEGMENT_PAGES && request.size < lab_load_rlx(&lab_settings.huge_threshold))
		return lab_run_alloc_owned(heap, lab_run_pages(pages), align, fresh);
	return heap->nowait ? NULL : lab_huge_alloc_owned(heap, request.size, request.align, fresh);
}

void *
lab_allocate_owned(struct lab_heap *heap, struct lab_request request, bool *fresh)
{
	unsigned c = request.gfp & LAB_GFP_EXCLUSIVE ? LAB_CLASS_COUNT : small_class(request);

	if (lab_load_rlx(&lab_settings.count_allocations))
		heap->allocations[c]++;
	return c < LAB_CLASS_COUNT ? allocate_small(heap, c) : allocate_large(heap, request, fresh);
}

/* A huge block that was used before is given back to the system, which costs by what was touched of it; it is used sparsely, perhaps. */
static void
clear(void *p, size_t size)
{
	if (size < PURGED_FROM || !lab_os.purge(p, size))
		memset(p, 0, size);
}

/* All that may be used is cleared, not only what was asked for: so lab_realloc with ZERO is exact. */
void
lab_fill_new(void *p, struct lab_request request, bool fresh)
{
	uint8_t perturb = lab_load_rlx(&lab_settings.perturb);
	bool zero = request.gfp & LAB_GFP_ZERO;

	if (zero && !fresh)
		clear(p, lab_block_size(p, NULL));
	else if (!zero && lab_unlikely(perturb))
		memset(p, perturb ^ 0xff, request.size);
}

void *
lab_allocate_from_reserve(struct lab_request request, bool reentrant)
{
	if (request.gfp & LAB_GFP_EXCLUSIVE || !(reentrant || request.gfp & (LAB_GFP_HIGH | LAB_GFP_MEMALLOC)))
		return NULL;
	return lab_reserve_claim_sig(request.size, request.align, lab_depth_of(request.gfp));
}

void *
lab_allocate(struct lab_bracket *bracket, struct lab_request request)
{
	bool fresh = false, over_limit = false;
	void *p = NULL;

	if (request.size > LAB_SIZE_MAX)
		return NULL;
	if (lab_enter(bracket)) {
		p = lab_allocate_owned(bracket->heap, request, &fresh);
		over_limit = bracket->heap->over_limit;
		bool look = ++bracket->heap->slow_calls % CALLS_PER_LOOK == 0;
		lab_leave(bracket);
		if (!bracket->reentrant) {
			lab_provision_tick(bracket->sp);
			if (look)
				lab_decay_poll(bracket);
		}
	}
	if (lab_unlikely(!p && over_limit) && !bracket->reentrant)
		p = lab_limit_allocate(bracket, request, &fresh);
	if (!p)
		p = lab_allocate_from_reserve(request, bracket->reentrant);
	if (p)
		lab_fill_new(p, request, fresh);
	if (lab_unlikely(lab_load_rlx(&lab_reserve_unmet) - 1 < SIZE_MAX - 1) && !bracket->reentrant)
		lab_tell_atomic_failure();
	return p;
}

void *
lab_allocate_quietly(struct lab_bracket *bracket, struct lab_request request)
{
	bool fresh = false;
	void *p = NULL;

	if (request.size > LAB_SIZE_MAX)
		return NULL;
	if (lab_enter_quietly(bracket)) {
		p = lab_allocate_owned(bracket->heap, request, &fresh);
		lab_leave(bracket);
	}
	if (!p)
		p = lab_allocate_from_reserve(request, false);
	if (p)
		lab_fill_new(p, request, fresh);
	return p;
}

LAB_NOINLINE void *
lab_malloc_slow(size_t size)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	return lab_or_enomem(lab_allocate(&bracket, (struct lab_request){size, LAB_ALIGN_DEFAULT, LAB_GFP_KERNEL}));
}
