/*
 * slow.c - what the fast paths leave: every size and alignment, re-entrant calls, other threads' blocks, misuse. Any context.
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/fastpath.h"
#include "alloc/foreign.h"
#include "alloc/provision.h"
#include "base/check.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "os/os.h"
#include "page/map.h"
#include "reserve/share.h"

enum {
	CALLS_PER_LOOK = 8, /* a look at the clock in each would be felt where blocks go from thread to thread */
	PURGED_FROM =
	        16 << 20, /* bytes: faults for all of it cost about what clearing it does. No block of a segment is so large */
};

static const char not_ours[] = "not a block of this heap";
static const char not_start[] = "not the start of a block";
static const char double_free[] = "double free";

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
	if (request.gfp & (LAB_GFP_EXCLUSIVE | LAB_GFP_LASTING) || !(reentrant || request.gfp & (LAB_GFP_HIGH | LAB_GFP_MEMALLOC)))
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
	if (lab_unlikely(!p && over_limit) && !bracket->reentrant && !(request.gfp & LAB_GFP_NORECLAIM & ~LAB_GFP_NORETRY))
		p = lab_limit_allocate(bracket, request, &fresh);
	if (!p)
		p = lab_allocate_from_reserve(request, bracket->reentrant);
	if (p)
		lab_fill_new(p, request, fresh);
	if (lab_unlikely(lab_load_rlx(&lab_reserve_unmet) - 1 < SIZE_MAX - 1) && !bracket->reentrant)
		lab_tell_atomic_failure();
	return p;
}

LAB_NOINLINE void *
lab_malloc_slow(size_t size)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	return lab_or_enomem(lab_allocate(&bracket, (struct lab_request){size, LAB_ALIGN_DEFAULT, LAB_GFP_KERNEL}));
}

static void
fill_freed(void *p, size_t size)
{
	uint8_t perturb = lab_load_rlx(&lab_settings.perturb);

	if (lab_unlikely(perturb))
		memset(p, perturb, size);
}

/* Not its first word: if it is free already it is a link, and this a double free that is still to be found. */
static void
fill_freed_small(char *p, size_t size)
{
	fill_freed(p + sizeof(uintptr_t), size - sizeof(uintptr_t));
}

/* A carved block of a span: to its heap's free list if we are inside that heap, else by the remote stack. */
static void
release_small(struct lab_bracket *bracket, struct lab_unit *unit, void *p, const char *call)
{
	struct lab_heap *heap = lab_unit_heap(unit);
	enum lab_free_result result = LAB_FREED;

	fill_freed_small(p, lab_class_size(unit->size_class));
	if (!lab_try_enter(bracket) && !lab_borrow_again(bracket, heap)) {
		lab_add_rlx(&heap->remote_frees, 1);
		lab_remote_push(heap, p, p);
		return;
	}
	size_t freed_before = bracket->heap->freed_pages;
	if (bracket->heap == heap)
		result = lab_span_free_owned(heap, unit, p, &heap);
	else if (!lab_batch_add_owned(bracket->heap, heap, p))
		result = LAB_FREE_DOUBLE;
	if (result == LAB_FREE_FOREIGN)
		lab_remote_push(heap, p, p);
	bool freed = bracket->heap->freed_pages != freed_before;
	lab_leave(bracket);
	if (result == LAB_FREE_DOUBLE)
		lab_report_misuse(call, p, double_free);
	if (freed) {
		lab_limit_notify();
		lab_decay_tick(bracket);
	}
	if (!bracket->reentrant)
		lab_provision_tick(bracket->sp);
}

static void
release_run(struct lab_bracket *bracket, const struct lab_place *place, void *p, const char *call)
{
	size_t pages = lab_load_rlx(&place->run->pages);
	struct lab_heap *heap = lab_registry_heap(place->heap_id);

	if (!lab_run_begin_free(place->run, lab_thread_tid()) && !lab_exclusive_begin_release(bracket, place, p, call))
		return;
	fill_freed(p, pages << LAB_PAGE_SHIFT);
	bool entered = lab_try_enter(bracket);
	if (entered && bracket->heap == heap) {
		lab_run_free_owned(heap, place->segment, place->run);
		lab_leave(bracket);
		lab_limit_notify();
		lab_decay_tick(bracket);
		return;
	}
	if (entered)
		lab_leave(bracket);
	if (lab_registry_hold(heap->id) == LAB_HOLD_FROZEN) {
		lab_run_free_frozen(place->segment, place->run);
		lab_limit_notify();
		return;
	}
	/* the last access: from here on the pages are the heap's holder's */
	lab_add_rlx(&heap->remote_frees, 1);
	lab_remote_push(heap, p, p);
	lab_limit_notify();
}

static void
release_huge(struct lab_bracket *bracket, const struct lab_place *place, void *p, const char *call)
{
	size_t pages = lab_load_rlx(&place->run->pages);

	if (!lab_run_begin_free(place->run, lab_thread_tid()) && !lab_exclusive_begin_release(bracket, place, p, call))
		return;
	fill_freed(p, pages << LAB_PAGE_SHIFT);
	lab_huge_free(place->huge);
	lab_limit_notify();
	lab_decay_tick(bracket);
}

static void
check_release(enum lab_reserve_release result, void *p, const char *call)
{
	switch (result) {
	case LAB_RESERVE_RELEASED:
		break;
	case LAB_RESERVE_NOT_A_SLOT:
		lab_release_object(p, call, not_start);
		break;
	case LAB_RESERVE_WAS_FREE:
		lab_report_misuse(call, p, double_free);
	}
}

void
lab_release_slot(void *p, const char *call)
{
	check_release(lab_reserve_release_sig(p), p, call);
}

/* Nothing of ours: libc's, where plug-ins may have blocks of its heap. */
static void
release_foreign(void *p, const char *call)
{
	void (*libc_free)(void *) = lab_load_rlx(&lab_foreign.keep) ? lab_load_rlx(&lab_foreign.free) : NULL;
	bool is_inside = lab_huge_covers(p);

	if (libc_free && !is_inside)
		libc_free(p);
	else
		lab_release_object(p, call, is_inside ? not_start : not_ours);
}

/* The bytes of a block of libc's heap; 0: there are none, or nobody says that p is one (libc would believe any pointer). */
static size_t
foreign_size(const void *p, bool is_block)
{
	size_t (*libc_size)(void *) = is_block && lab_load_rlx(&lab_foreign.keep) ? lab_load_rlx(&lab_foreign.size) : NULL;

	return libc_size ? libc_size((void *)(uintptr_t)p) : 0;
}

void
lab_release(struct lab_bracket *bracket, void *p, const char *call)
{
	struct lab_unit *unit = lab_map_unit(p);

	if (lab_likely(lab_unit_is_block(unit, p))) {
		release_small(bracket, unit, p, call);
		return;
	}
	if (lab_reserve_contains(p)) {
		lab_release_slot(p, call);
		return;
	}
	struct lab_share *share = lab_share_find_sig(p);
	if (share) { /* before the table of huge blocks is looked at, whose pages may fault */
		check_release(lab_share_release_sig(share, p), p, call);
		return;
	}
	struct lab_place place = lab_map_find(p);
	switch (place.kind) {
	case LAB_PLACE_SPAN:
		if (lab_unit_is_block(place.unit, p))
			release_small(bracket, place.unit, p, call);
		else
			lab_release_object(p, call, not_start);
		break;
	case LAB_PLACE_RUN:
		release_run(bracket, &place, p, call);
		break;
	case LAB_PLACE_HUGE:
		release_huge(bracket, &place, p, call);
		break;
	case LAB_PLACE_INTERIOR:
		lab_release_object(p, call, not_start);
		break;
	case LAB_PLACE_FREED:
		lab_release_object(p, call, double_free);
		break;
	case LAB_PLACE_FOREIGN:
		release_foreign(p, call);
		break;
	}
}

LAB_NOINLINE void
lab_free_slow(void *p)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (lab_reserve_contains(p)) /* first: the atomic tier's free is to be short */
		lab_release_slot(p, "free");
	else if (p)
		lab_release(&bracket, p, "free");
}

/* 0: not a live block; *why says what it is instead. */
static size_t
find_size(const void *p, const char **why)
{
	struct lab_place place = lab_map_find(p);

	*why = not_ours;
	if (lab_reserve_contains(p)) {
		*why = not_start;
		return lab_reserve_slot_size(p);
	}
	switch (place.kind) {
	case LAB_PLACE_SPAN:
		*why = not_start;
		return lab_unit_is_block(place.unit, p) ? lab_class_size(place.unit->size_class) : 0;
	case LAB_PLACE_RUN:
	case LAB_PLACE_HUGE:
		*why = double_free;
		if ((lab_load_rlx(&place.run->state) & 3) != LAB_RUN_LIVE)
			return 0;
		return lab_load_rlx(&place.run->pages) << LAB_PAGE_SHIFT;
	case LAB_PLACE_INTERIOR:
		*why = not_start;
		return 0;
	case LAB_PLACE_FREED:
		*why = double_free;
		return 0;
	case LAB_PLACE_FOREIGN:
		break;
	}
	const struct lab_share *share = lab_share_find_sig(p);
	if (!share)
		return 0;
	*why = not_start;
	return lab_share_slot_size(share, p);
}

size_t
lab_block_size(const void *p, const char *call)
{
	const struct lab_unit *unit = lab_map_unit(p);
	const char *why;

	if (lab_likely(lab_unit_is_block(unit, p)))
		return lab_class_size(unit->size_class);
	size_t size = find_size(p, &why);
	if (size == 0 && call && why == not_ours && lab_huge_covers(p))
		why = not_start;
	if (size == 0 && call) /* else nobody says that p is a block, and what it lies in may go */
		size = lab_object_size(p);
	if (size == 0 && why == not_ours)
		size = foreign_size(p, call != NULL);
	if (size == 0 && call)
		lab_report_misuse(call, p, why);
	return size;
}
