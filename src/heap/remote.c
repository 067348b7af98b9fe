/* remote.c - see remote.h. */
#include "heap/remote.h"
#include "base/check.h"
#include "heap/finding.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "heap/span.h"
#include "page/map.h"
#include "page/pending.h"

#define PARITY  LAB_REMOTE_PARITY
#define POINTER LAB_REMOTE_POINTER
#define BYTES   (~(POINTER | PARITY))

enum {
	TAKE_TRIES = 8,
	BLOCKS_A_CALL = 256, /* some µs */
};

bool
lab_remote_push(struct lab_heap *heap, void *first, void *last, size_t bytes)
{
	uint64_t units = (bytes + LAB_REMOTE_UNIT - 1) / LAB_REMOTE_UNIT;
	uintptr_t old = lab_load_rlx(&heap->remote), new;

	do {
		lab_poke((uint64_t *)last, lab_link_make(last, old & POINTER));
		new = (uintptr_t)first | (old & PARITY) | ((old & BYTES) + (units << LAB_REMOTE_BYTES_SHIFT));
		/* rel pairs with the acq of take: the links are written before they can be followed */
	} while (!atomic_compare_exchange_weak_explicit(&heap->remote, &old, new, memory_order_release,
	                                                memory_order_relaxed));
	lab_purge_note(); /* the holder may be dead */
	return (old ^ new) >> 62 != 0;
}

void
lab_remote_expect_visit(struct lab_heap *heap)
{
	uintptr_t just_below = (LAB_WAITING_MUCH / LAB_REMOTE_UNIT - 1) << LAB_REMOTE_BYTES_SHIFT;

	atomic_fetch_or_explicit(&heap->remote, just_below, memory_order_relaxed); /* an estimate orders nothing */
}

/* The whole stack, recorded in heap->drain before it is taken; 0 if there is nothing or others were quicker every
 * time. */
static uintptr_t
take(struct lab_heap *heap)
{
	for (int try = 0; try < TAKE_TRIES; try++) {
		/* acq pairs with the rel of push */
		uintptr_t list = lab_load_acq(&heap->remote);
		if (!(list & POINTER))
			break;
		lab_poke(&heap->drain, list);
		lab_compiler_barrier();
		/* pairs with the rel of push, and its rel with the acq of lab_remote_resume_owned */
		if (atomic_compare_exchange_strong_explicit(&heap->remote, &list, (list & PARITY) ^ PARITY,
		                                            memory_order_acq_rel, memory_order_relaxed)) {
			return list;
		}
	}
	lab_compiler_barrier();
	lab_poke(&heap->drain, 0);
	return 0;
}

/* What a list says is to be freed. */
struct target {
	void *block;
	struct lab_unit *unit;  /* its span; NULL: it is a run, or nothing that can be freed */
	struct lab_place place; /* where it is in no span */
};

/* False: no block starts there, or it is a run that nobody is freeing. */
static bool
find_target(void *block, struct target *target)
{
	target->block = block;
	target->unit = lab_map_unit(block);
	if (lab_likely(lab_unit_is_block(target->unit, block)))
		return true;
	target->unit = NULL;
	target->place = lab_map_find(block);
	if (target->place.kind != LAB_PLACE_RUN)
		return false;
	/* pairs with the CAS of lab_run_begin_free, by the thread that has pushed it */
	return lab_run_kind_of(lab_load_acq(&target->place.run->state)) == LAB_RUN_FREEING;
}

static enum lab_free_result
free_run(struct lab_heap *heap, const struct lab_place *place, struct lab_heap **holder)
{
	*holder = lab_registry_heap(place->heap_id);
	if (*holder != heap)
		return LAB_FREE_FOREIGN;
	lab_run_free_owned(heap, place->segment, place->run);
	return LAB_FREED;
}

/* A block whose span has changed heap since it was pushed is sent on. Of one that is free already the link in the list
 * is gone. Where visitors have collected blocks of the span the holder collects, too: the walk over these
 * (collected.c) is made when blocks are taken from the span, and not in a call that meets many spans. */
static void
free_target(struct lab_heap *heap, const struct target *target, bool by_visitor)
{
	struct lab_heap *holder;
	enum lab_free_result result;

	if (!target->unit)
		result = free_run(heap, &target->place, &holder);
	else if (by_visitor || lab_unit_count_collected(target->unit) != 0)
		result = lab_span_collect(heap, target->unit, target->block, &holder);
	else
		result = lab_span_free_owned(heap, target->unit, target->block, &holder);

	if (result == LAB_FREE_FOREIGN) {
		(void)lab_remote_push(holder, target->block, target->block, 0);
	} else if (lab_unlikely(result == LAB_FREE_DOUBLE)) {
		if (!by_visitor) /* the list is the holder's */
			lab_span_cut_owned(heap, target->unit);
		lab_finding_note_owned(heap, LAB_FOUND_DOUBLE_FREE, target->block);
	}
}

/* A row of blocks of one span, which is this heap's and open, so that no list of spans changes: what
 * lab_span_free_owned would do with each. It ends before the first block that is none of these, or may be misuse. The
 * number of blocks, `most` at most. */
static size_t
free_row_owned(struct lab_heap *heap, size_t most)
{
	uintptr_t list = heap->drain, next;
	struct lab_unit *unit = lab_map_unit((void *)(list & POINTER));
	size_t count = 0;

	if (unit->owner_key != lab_owner_key_make(heap, unit->base) || lab_unit_count_collected(unit) != 0 ||
	    lab_unit_purged(unit) != 0)
		return 0;
	uint32_t freelist_state = unit->freelist_state, freed;
	for (; count < most; count++) {
		char *block = (char *)(list & POINTER);
		uint64_t number = lab_unit_block_number((uint64_t)(block - unit->base), unit->inverse, unit->shift);
		if (number >= unit->carved || lab_unlikely(!lab_link_read(block, &next)) ||
		    lab_unlikely(lab_freelist_head(freelist_state) == number) ||
		    lab_unlikely(__builtin_sub_overflow(freelist_state, LAB_FREELIST_USED_ONE, &freed)))
			break;
		list = next | (list & PARITY);
		lab_poke(&heap->drain, list);
		lab_compiler_barrier();
		lab_poke((uint16_t *)block, lab_freelist_head(freed));
		lab_compiler_barrier();
		freelist_state = lab_insert16(freed, (uint16_t)number);
		lab_poke(&unit->freelist_state, freelist_state);
	}
	return count;
}

/* The first block of heap->drain. False: misuse, and the rest of the list is lost. INV-REM-3 */
static bool
free_first(struct lab_heap *heap, bool by_visitor)
{
	struct target target = {0};
	uintptr_t list = heap->drain, next;

	if (lab_unlikely(!find_target((void *)(list & POINTER), &target))) {
		/* its span was retired after the first free */
		lab_finding_note_owned(heap, LAB_FOUND_DOUBLE_FREE, (void *)(list & POINTER));
		return false;
	}
	if (lab_unlikely(!lab_link_read(target.block, &next))) {
		lab_finding_note_owned(heap, LAB_FOUND_DAMAGE, target.block);
		return false;
	}
	lab_poke(&heap->drain, next | (list & PARITY));
	lab_compiler_barrier();
	free_target(heap, &target, by_visitor);
	return true;
}

/* Goes on from heap->drain, for *most blocks at most. Each block is off the record before it is freed. */
static void
process(struct lab_heap *heap, bool by_visitor, size_t *most)
{
	size_t left = *most, row;

	while (heap->drain & POINTER && left > 0) {
		if (!by_visitor && (row = free_row_owned(heap, left)) != 0) {
			left -= row;
			continue;
		}
		left--;
		if (!free_first(heap, by_visitor)) {
			lab_poke(&heap->drain, 0);
			break;
		}
	}
	if (!(heap->drain & POINTER))
		lab_poke(&heap->drain, 0);
	lab_store_rlx(&heap->remote_frees, lab_load_rlx(&heap->remote_frees) + (*most - left));
	*most = left;
}

/* What is left of a list that was taken, then what was freed since. */
static void
drain(struct lab_heap *heap, bool by_visitor, size_t *most)
{
	if (lab_unlikely(heap->drain != 0))
		process(heap, by_visitor, most);
	if (heap->drain == 0 && lab_heap_is_freed_into(heap) && take(heap))
		process(heap, by_visitor, most);
}

void
lab_remote_drain_owned(struct lab_heap *heap)
{
	size_t all = SIZE_MAX;

	drain(heap, false, &all);
}

bool
lab_remote_drain_some_owned(struct lab_heap *heap)
{
	size_t most = BLOCKS_A_CALL;

	if (lab_likely(!lab_heap_is_freed_into(heap)))
		return false;
	drain(heap, false, &most);
	return most == 0;
}

bool
lab_remote_collect(struct lab_heap *heap, size_t *most)
{
	drain(heap, true, most);
	return heap->drain == 0;
}

void
lab_remote_resume_owned(struct lab_heap *heap)
{
	size_t all = SIZE_MAX;
	uintptr_t list = heap->drain;

	/* the load pairs with the CAS of take; INV-REM-1: where the parity is the same the take did not happen */
	if (!(list & POINTER) || (list & PARITY) == (lab_load_acq(&heap->remote) & PARITY))
		lab_poke(&heap->drain, 0);
	else
		process(heap, false, &all);
}
