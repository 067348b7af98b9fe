/* remote.c - see remote.h. */
#include "heap/remote.h"
#include "base/check.h"
#include "heap/registry.h"
#include "page/map.h"
#include "page/purge.h"

#define PARITY  ((uintptr_t)1)
#define POINTER (~PARITY)

enum { TAKE_TRIES = 8 };

void
lab_remote_push(struct lab_heap *heap, void *first, void *last)
{
	uintptr_t old = lab_load_rlx(&heap->remote);

	do {
		lab_poke((uintptr_t *)last, old & POINTER);
		/* rel pairs with the acq of take: the links are written before they can be followed */
	} while (!atomic_compare_exchange_weak_explicit(&heap->remote, &old, (uintptr_t)first | (old & PARITY),
	                                                memory_order_release, memory_order_relaxed));
	lab_purge_note(); /* the holder may be dead */
}

static void
send(struct lab_batch *batch)
{
	void *first = batch->first, *last = batch->last;

	lab_add_rlx(&batch->target->remote_frees, batch->count);
	/* Emptied before the push: torn between the two, the batch is lost; never is it sent twice. */
	batch->first = NULL;
	batch->count = 0;
	lab_compiler_barrier();
	lab_remote_push(batch->target, first, last);
}

void
lab_batch_add_owned(struct lab_heap *heap, struct lab_heap *target, void *block)
{
	struct lab_batch *batch = &heap->batches[target->id % LAB_BATCH_SLOTS];

	if (batch->first && batch->target != target)
		send(batch);
	lab_poke((uintptr_t *)block, (uintptr_t)batch->first);
	if (!batch->first) {
		batch->target = target;
		batch->last = block;
	}
	lab_compiler_barrier();
	batch->first = block; /* commits */
	if (++batch->count >= LAB_BATCH_MAX)
		send(batch);
}

void
lab_batch_flush_owned(struct lab_heap *heap)
{
	for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++)
		if (heap->batches[i].first)
			send(&heap->batches[i]);
}

/* The whole stack, recorded in heap->drain before it is taken; 0 if there is nothing or others were quicker every time. */
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
		if (atomic_compare_exchange_strong_explicit(&heap->remote, &list, (list & PARITY) ^ PARITY, memory_order_acq_rel,
		                                            memory_order_relaxed))
			return list;
	}
	lab_compiler_barrier();
	heap->drain = 0;
	return 0;
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

static enum lab_free_result
free_any(struct lab_heap *heap, void *block, struct lab_heap **holder)
{
	struct lab_unit *unit = lab_map_first_arena_unit(block);

	if (lab_likely(lab_unit_is_block(unit, block)))
		return lab_span_free_owned(heap, unit, block, holder);
	struct lab_place place = lab_map_find(block);
	if (place.kind == LAB_PLACE_SPAN && lab_unit_is_block(place.unit, block))
		return lab_span_free_owned(heap, place.unit, block, holder);
	if (place.kind == LAB_PLACE_RUN)
		return free_run(heap, &place, holder);
	return LAB_FREE_DOUBLE; /* its span was retired after the first free */
}

/* A block whose span has changed heap since it was pushed is sent on. */
static void
free_one(struct lab_heap *heap, void *block)
{
	struct lab_heap *holder;

	switch (free_any(heap, block, &holder)) {
	case LAB_FREED:
		break;
	case LAB_FREE_FOREIGN:
		lab_remote_push(holder, block, block);
		break;
	case LAB_FREE_DOUBLE:
		lab_report_misuse("free", block, "double free");
	}
}

/* Goes on from heap->drain. Each block is off the record before it is freed. */
static void
process(struct lab_heap *heap)
{
	uintptr_t list;

	while ((list = heap->drain) & POINTER) {
		void *block = (void *)(list & POINTER);
		heap->drain = lab_peek((uintptr_t *)block) | (list & PARITY);
		lab_compiler_barrier();
		free_one(heap, block);
	}
	heap->drain = 0;
}

bool
lab_remote_is_waiting(const struct lab_heap *heap)
{
	return lab_load_rlx(&heap->remote) & POINTER;
}

void
lab_remote_drain_owned(struct lab_heap *heap)
{
	if (lab_remote_is_waiting(heap) && take(heap))
		process(heap);
}

void
lab_remote_resume_owned(struct lab_heap *heap)
{
	uintptr_t list = heap->drain;

	if (!(list & POINTER) || (list & PARITY) == (lab_load_acq(&heap->remote) & PARITY))
		heap->drain = 0; /* INV-REM-1: the take did not happen */
	else
		process(heap);
}

void
lab_remote_drop(struct lab_heap *heap)
{
	lab_store_rlx(&heap->remote, lab_load_rlx(&heap->remote) & PARITY);
}
