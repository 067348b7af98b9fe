/*
 * release.c - what the fast path of free leaves: other threads' blocks, runs, huge blocks, slots, re-entrant calls,
 * misuse. Any context.
 */
#include <string.h>

#include "alloc/checks.h"
#include "alloc/decay.h"
#include "alloc/exclusive.h"
#include "alloc/limit.h"
#include "alloc/objects.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "backing/backing.h"
#include "base/check.h"
#include "heap/leases.h"
#include "heap/outbox.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/run.h"
#include "heap/span.h"
#include "insight/profile.h"

enum { FREES_BEFORE_BIRTH = 8 };

static const char double_free[] = "double free";

static void
fill_freed(void *p, size_t size)
{
	uint8_t perturb = lab_load_rlx(&lab_settings.perturb);

	if (lab_unlikely(perturb))
		memset(p, perturb, size);
}

/* To the heap's remote stack: the last access. From here on block and pages are the heap's holder's. Whether much waits
 * there now. */
static bool
push(struct lab_heap *heap, void *p, size_t bytes)
{
	return lab_remote_push(heap, p, p, bytes);
}

/*
 * A thread that only frees has no heap; after a few frees of others' blocks it gets one, as each costs it a locked
 * instruction on the line of the heap that it goes to.
 */
static bool
enter_to_free(struct lab_guard *guard, struct lab_heap *heap)
{
	struct lab_thread *t = &lab_thread;

	if (lab_likely(lab_try_enter(guard)) || lab_borrow_again(guard, heap))
		return true;
	return t->word == 0 && ++t->frees_unborn >= FREES_BEFORE_BIRTH && lab_enter(guard);
}

/* Into the outbox, which is sent first if it is full. */
static enum lab_free_result
put(struct lab_heap *heap, const struct lab_unit *unit, void *p, struct lab_heap **much_in)
{
	enum lab_put_result result = lab_outbox_put(&heap->outbox, p, unit->size);

	if (result == LAB_PUT_FULL) {
		*much_in = lab_outbox_send_owned(heap);
		result = lab_outbox_put(&heap->outbox, p, unit->size);
	}
	return result == LAB_PUT_DOUBLE ? LAB_FREE_DOUBLE : LAB_FREED;
}

/* A carved block of a span: to its heap's free list if we are inside that heap, else by the outbox, or
 * at once by the remote stack. */
static void
release_small(struct lab_guard *guard, struct lab_unit *unit, char *p, const char *call)
{
	struct lab_heap *heap = lab_unit_heap(unit), *much_in = NULL;
	enum lab_free_result result = LAB_FREED;

	/* Not its first word: if the block is free already that is a link, and this a double free that is still to be
	 * found. */
	fill_freed(p + sizeof(uintptr_t), unit->size - sizeof(uintptr_t));
	if (!enter_to_free(guard, heap)) {
		if (lab_unlikely(push(heap, p, unit->size)))
			lab_decay_visit(guard, heap);
		return;
	}
	size_t freed_before = guard->heap->freed_pages;
	if (guard->heap == heap)
		result = lab_span_free_owned(heap, unit, p, &heap);
	else
		result = put(guard->heap, unit, p, &much_in);
	if (result == LAB_FREE_FOREIGN)
		(void)push(heap, p, unit->size);
	size_t freed = guard->heap->freed_pages - freed_before;
	lab_leave(guard);
	if (result == LAB_FREE_DOUBLE)
		lab_report_misuse(call, p, double_free);
	if (freed != 0)
		lab_decay_note_freed(guard, freed);
	if (lab_unlikely(much_in != NULL))
		lab_decay_visit(guard, much_in);
	if (!guard->reentrant)
		lab_backing_tick(guard->sp);
}

static void
release_run(struct lab_guard *guard, const struct lab_place *place, void *p)
{
	struct lab_heap *heap = lab_registry_heap(lab_place_heap(place));
	size_t pages = lab_load_rlx(&place->run->pages);
	bool entered = lab_try_enter(guard), is_own = entered && guard->heap == heap;

	if (is_own)
		lab_run_free_owned(heap, place->segment, place->run);
	if (entered)
		lab_leave(guard);
	if (is_own) {
		lab_decay_note_freed(guard, pages);
		return;
	}
	if (lab_registry_state(heap->id) == LAB_HEAP_FROZEN)
		lab_run_free_frozen(place->segment, place->run);
	else if (push(heap, p, pages << LAB_PAGE_SHIFT))
		lab_decay_visit(guard, heap);
	lab_limit_notify();
}

/* LIVE→FREEING for a run or a huge block, which p starts. False: it is to stay as it is, which was reported. */
static bool
begin_release(const struct lab_place *place, void *p, const char *call)
{
	size_t bytes = lab_load_rlx(&place->run->pages) << LAB_PAGE_SHIFT;

	if (!lab_run_begin_free(place->run, lab_thread_tid()) && !lab_exclusive_begin_release(place, p, call))
		return false;
	if (lab_unlikely(lab_profile_is_on()))
		lab_profile_remove(p);
	fill_freed(p, bytes);
	return true;
}

static void
check_release(enum lab_reserve_release result, void *p, const char *call)
{
	switch (result) {
	case LAB_RESERVE_RELEASED:
		break;
	case LAB_RESERVE_NOT_A_SLOT:
		lab_release_object(p, call, "not the start of a block");
		break;
	case LAB_RESERVE_WAS_FREE:
		lab_report_misuse(call, p, double_free);
	}
}

void
lab_release_place(struct lab_guard *guard, const struct lab_place *place, void *p, const char *call)
{
	switch (place->kind) {
	case LAB_PLACE_SPAN:
		if (lab_unit_is_block(place->unit, p))
			release_small(guard, place->unit, p, call);
		else
			lab_release_object(p, call, lab_place_fault(place, p));
		break;
	case LAB_PLACE_RUN:
		if (begin_release(place, p, call))
			release_run(guard, place, p);
		break;
	case LAB_PLACE_HUGE:
		if (!begin_release(place, p, call))
			break;
		size_t pages = lab_load_rlx(&place->run->pages);
		lab_huge_free(place->huge);
		lab_note_slow_call();
		lab_decay_note_freed(guard, pages);
		break;
	case LAB_PLACE_SLOT:
		check_release(lab_reserve_release(p), p, call);
		break;
	case LAB_PLACE_SHARE:
		check_release(lab_share_release(place->share, p), p, call);
		break;
	default:
		lab_release_object(p, call, lab_place_fault(place, p));
	}
}

/* p is in no promised slot of the reserve. */
static void
release_outside_reserve(struct lab_guard *guard, void *p, const char *call)
{
	struct lab_unit *unit = lab_map_unit(p);

	if (lab_likely(lab_unit_is_block(unit, p))) {
		release_small(guard, unit, p, call);
	} else {
		struct lab_place place = lab_map_find_outside_reserve(p);
		lab_release_place(guard, &place, p, call);
	}
}

LAB_NOINLINE void
lab_release_slot(void *p, const char *call)
{
	check_release(lab_reserve_release(p), p, call);
}

/* The reserve comes first: the atomic tier's free is to be short. */
void
lab_release(struct lab_guard *guard, void *p, const char *call)
{
	if (lab_reserve_contains(p))
		check_release(lab_reserve_release(p), p, call);
	else if (p)
		release_outside_reserve(guard, p, call);
}

LAB_NOINLINE void
lab_free_slow(void *p)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!lab_release_if_dressed(p, "free"))
		lab_release(&guard, p, "free");
}

void
lab_release_nowait(struct lab_guard *guard, const struct lab_place *place, void *p, const char *call)
{
	bool has_run = place->kind == LAB_PLACE_RUN || place->kind == LAB_PLACE_HUGE;

	if (place->kind == LAB_PLACE_SPAN && lab_unit_is_block(place->unit, p)) {
		(void)push(lab_unit_heap(place->unit), p, place->unit->size);
		return;
	}
	/* by the id that is known: the kernel is not asked */
	if (!has_run || !lab_run_begin_free(place->run, lab_thread.tid)) {
		lab_release_place(guard, place, p, call); /* a slot; or a misuse, and it says which */
		return;
	}
	if (lab_unlikely(lab_profile_is_on()))
		lab_profile_remove(p);
	if (place->kind == LAB_PLACE_RUN)
		(void)push(lab_registry_heap(lab_place_heap(place)), p,
		           lab_load_rlx(&place->run->pages) << LAB_PAGE_SHIFT);
	else
		lab_huge_free(place->huge);
}

struct lab_place
lab_block_find(const void *p, size_t *size, const char *call)
{
	struct lab_place place = lab_map_find_block(p);

	*size = lab_place_size(&place, p);
	if (lab_unlikely(*size == 0) && call) /* else nobody says that p is a block, and what it lies in may go */
		*size = lab_object_size(p);
	if (lab_unlikely(*size == 0) && call)
		lab_report_misuse(call, p, lab_place_fault(&place, p));
	return place;
}

size_t
lab_block_size(const void *p, const char *call)
{
	size_t size;

	(void)lab_block_find(p, &size, call);
	return size;
}
