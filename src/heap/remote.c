/* remote.c - see remote.h. */
#include "heap/remote.h"
#include "base/check.h"
#include "heap/finding.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "heap/span.h"
#include "page/map.h"
#include "page/pending.h"

#define PARITY  ((uintptr_t)1)
#define POINTER (~PARITY)

enum { TAKE_TRIES = 8 };

void
lab_remote_push(struct lab_heap *heap, void *first, void *last)
{
	uintptr_t old = lab_load_rlx(&heap->remote);

	do {
		lab_poke((uint64_t *)last, lab_link_make(last, old & POINTER));
		/* rel pairs with the acq of take: the links are written before they can be followed */
	} while (!atomic_compare_exchange_weak_explicit(&heap->remote, &old, (uintptr_t)first | (old & PARITY),
	                                                memory_order_release, memory_order_relaxed));
	lab_purge_note(); /* the holder may be dead */
}

/* Whether much waits where it went. */
static bool
send(struct lab_batch *batch)
{
	void *first = batch->first, *last = batch->last;
	bool is_much = lab_remote_count(batch->target, batch->count, batch->bytes);

	/* Emptied before the push: torn between the two, the batch is lost; never is it sent twice. */
	batch->first = NULL;
	batch->count = batch->bytes = 0;
	lab_compiler_barrier();
	lab_remote_push(batch->target, first, last);
	return is_much;
}

bool
lab_batch_add_owned(struct lab_heap *heap, struct lab_heap *target, void *block, struct lab_heap **much_in)
{
	struct lab_batch *batch = &heap->batches[target->id % LAB_BATCH_SLOTS];

	if (batch->first && batch->target != target && send(batch))
		*much_in = batch->target;
	if (lab_unlikely(batch->first == block))
		return false;
	lab_poke((uint64_t *)block, lab_link_make(block, (uintptr_t)batch->first));
	if (!batch->first) {
		batch->target = target;
		batch->last = block;
	}
	lab_compiler_barrier();
	batch->first = block; /* commits */
	batch->bytes += lab_map_unit(block)->size;
	if ((++batch->count >= LAB_BATCH_MAX || batch->bytes >= LAB_BATCH_BYTES) && send(batch))
		*much_in = target;
	return true;
}

void
lab_batch_flush_owned(struct lab_heap *heap)
{
	for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++)
		if (heap->batches[i].first)
			(void)send(&heap->batches[i]);
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
		heap->drain = list;
		lab_compiler_barrier();
		/* pairs with the rel of push, and its rel with the acq of lab_remote_resume_owned */
		if (atomic_compare_exchange_strong_explicit(&heap->remote, &list, (list & PARITY) ^ PARITY,
		                                            memory_order_acq_rel, memory_order_relaxed)) {
			lab_store_rlx(&heap->room, LAB_WAITING_MUCH);
			return list;
		}
	}
	lab_compiler_barrier();
	heap->drain = 0;
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
 * is gone. */
static void
free_target(struct lab_heap *heap, const struct target *target, bool by_visitor)
{
	struct lab_heap *holder;
	enum lab_free_result result;

	if (!target->unit)
		result = free_run(heap, &target->place, &holder);
	else if (by_visitor)
		result = lab_span_collect(heap, target->unit, target->block, &holder);
	else
		result = lab_span_free_owned(heap, target->unit, target->block, &holder);

	if (result == LAB_FREE_FOREIGN) {
		lab_remote_push(holder, target->block, target->block);
	} else if (lab_unlikely(result == LAB_FREE_DOUBLE)) {
		if (!by_visitor) /* the list is the holder's */
			lab_span_cut_owned(heap, target->unit);
		lab_finding_note_owned(heap, LAB_FOUND_DOUBLE_FREE, target->block);
	}
}

/* Goes on from heap->drain, for *most blocks at most. Each block is off the record before it is freed. INV-REM-3 */
static void
process(struct lab_heap *heap, bool by_visitor, size_t *most)
{
	struct target target = {0};
	uintptr_t list, next;

	while ((list = heap->drain) & POINTER) {
		if (*most == 0)
			return;
		--*most;
		if (lab_unlikely(!find_target((void *)(list & POINTER), &target))) {
			/* its span was retired after the first free */
			lab_finding_note_owned(heap, LAB_FOUND_DOUBLE_FREE, (void *)(list & POINTER));
			break;
		}
		if (lab_unlikely(!lab_link_read(target.block, &next))) {
			lab_finding_note_owned(heap, LAB_FOUND_DAMAGE, target.block);
			break;
		}
		heap->drain = next | (list & PARITY);
		lab_compiler_barrier();
		free_target(heap, &target, by_visitor);
	}
	heap->drain = 0;
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

	lab_store_rlx(&heap->room, LAB_WAITING_MUCH); /* of a new heap, too */
	/* the load pairs with the CAS of take; INV-REM-1: where the parity is the same the take did not happen */
	if (!(list & POINTER) || (list & PARITY) == (lab_load_acq(&heap->remote) & PARITY))
		heap->drain = 0;
	else
		process(heap, false, &all);
}
