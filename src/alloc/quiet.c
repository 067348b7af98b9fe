/*
 * quiet.c - allocation and release without a system call: LAB_GFP_NOWAIT, and the frees that lab_realloc makes for NOWAIT and ATOMIC.
 * Any context; in a handler that interrupted the heap the allocation is NULL.
 */
#include "alloc/alloc.h"
#include "base/check.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "page/map.h"

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

static void
push(struct lab_heap *heap, void *p)
{
	lab_add_rlx(&heap->remote_frees, 1);
	lab_remote_push(heap, p, p);
}

void
lab_release_quietly(void *p, const char *call)
{
	struct lab_place place = lab_map_find(p);
	/* as it is known: the kernel is not asked */
	bool begun = (place.kind == LAB_PLACE_RUN || place.kind == LAB_PLACE_HUGE) && lab_run_begin_free(place.run, lab_thread.tid);
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (lab_reserve_contains(p))
		lab_release_slot(p, call);
	else if (place.kind == LAB_PLACE_SPAN && lab_unit_is_block(place.unit, p))
		push(lab_unit_heap(place.unit), p);
	else if (begun && place.kind == LAB_PLACE_RUN)
		push(lab_registry_heap(place.heap_id), p);
	else if (begun)
		lab_huge_free(place.huge);
	else
		lab_release(&bracket, p, call); /* a misuse, and it says which; or a slot that is not the reserve's own */
}
