/* owned.c - see owned.h. */
#include "alloc/owned.h"
#include "alloc/settings.h"
#include "heap/huge.h"
#include "heap/refill.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "heap/take.h"
#include "insight/profile.h"

/* The class for a small block, or LAB_CLASS_COUNT if it is none. */
static unsigned
small_class(struct lab_request request)
{
	size_t room = lab_aligned_room(request.size, request.align);

	return room <= LAB_SMALL_MAX ? lab_class_of(room) : LAB_CLASS_COUNT;
}

static void *
allocate_small(struct lab_heap *heap, unsigned c)
{
	struct lab_unit *span = heap->bins[c].current;

	if (!lab_unit_has_free(span, lab_freelist_head(span->freelist_state)) && !lab_span_refill_owned(heap, c))
		return NULL;
	return lab_span_pop_owned(heap->bins[c].current);
}

static void *
allocate_large(struct lab_heap *heap, struct lab_request request, bool *fresh)
{
	size_t pages = (request.size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;
	size_t align = (request.align + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	for (unsigned n = 0; n < LAB_DRAINS_A_CALL && lab_remote_drain_some_owned(heap); n++)
		;
	if (pages == 0)
		pages = 1;
	if (pages <= LAB_SEGMENT_PAGES && align <= LAB_SEGMENT_PAGES &&
	    request.size < lab_load_rlx(&lab_settings.huge_threshold))
		return request.gfp & LAB_GFP_GROWS && align <= 1
		               ? lab_run_alloc_growing_owned(heap, lab_run_pages(pages), fresh)
		               : lab_run_alloc_owned(heap, lab_run_pages(pages), align, fresh);
	return heap->nowait ? NULL : lab_huge_alloc_owned(heap, request.size, request.align, fresh);
}

void *
lab_allocate_owned(struct lab_heap *heap, struct lab_request request, bool *fresh)
{
	unsigned c = request.gfp & LAB_GFP_EXCLUSIVE ? LAB_CLASS_COUNT : small_class(request);

	if (lab_load_rlx(&lab_settings.count_allocations))
		heap->allocations[c]++;
	heap->sampler.took = *fresh = false;
	if (lab_unlikely(lab_sampler_step(&heap->sampler, request.size))) {
		struct lab_request run = request;
		size_t natural = c < LAB_CLASS_COUNT ? request.size & -request.size : 0;
		if (run.align < natural)
			run.align = natural; /* as a block of a span would be */
		void *p = allocate_large(heap, run, fresh);
		heap->sampler.took = p != NULL;
		if (p)
			return p;
		lab_profile_lose();
	}
	return c < LAB_CLASS_COUNT ? allocate_small(heap, c) : allocate_large(heap, request, fresh);
}
