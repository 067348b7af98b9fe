/* outbox.c - see outbox.h. Any context. */
#include "heap/outbox.h"
#include "base/check.h"
#include "heap/finding.h"
#include "heap/remote.h"
#include "page/map.h"

/* Whether much waits where it went. */
static bool
send(struct lab_batch *batch)
{
	void *first = batch->first;

	batch->first = NULL; /* INV-OUT-3 */
	lab_compiler_barrier();
	return lab_remote_push(batch->target, first, batch->last, batch->bytes);
}

/* The batch for the heap that a span names: one for another heap is sent first. Since the block was put in, a thread
 * may have absorbed its heap, also the sender. */
static struct lab_batch *
batch_for(struct lab_heap *heap, const struct lab_unit *unit, struct lab_heap **much_in)
{
	struct lab_heap *target = lab_unit_heap(unit);
	struct lab_batch *batch = &heap->batches[target->id % LAB_BATCH_SLOTS];

	if (lab_unlikely(batch->first && batch->target != target) && send(batch))
		*much_in = batch->target;
	if (!batch->first)
		batch->target = target;
	return batch;
}

static void
collect(struct lab_heap *heap, struct lab_batch *batch, void *block, size_t bytes)
{
	if (lab_unlikely(batch->first != NULL && batch->last == block)) { /* others are found where they are taken in */
		lab_finding_note_owned(heap, LAB_FOUND_DOUBLE_FREE, block);
		return;
	}
	lab_poke((uint64_t *)block, lab_link_make(block, (uintptr_t)batch->first));
	if (!batch->first) {
		batch->last = block;
		batch->bytes = 0;
	}
	batch->bytes += bytes;
	lab_compiler_barrier();
	batch->first = block; /* commits */
}

struct lab_heap *
lab_outbox_send_owned(struct lab_heap *heap)
{
	struct lab_outbox *outbox = &heap->outbox;
	struct lab_heap *much_in = NULL;
	struct lab_unit *unit, *last_unit = NULL;
	struct lab_batch *batch = NULL;
	uint64_t put = lab_load_acq(&outbox->put); /* pairs with the rel of lab_outbox_put */
	uint64_t taken = lab_load_rlx(&outbox->taken);

	lab_assert((uint32_t)(put - taken) <= LAB_OUTBOX_MAX); /* INV-OUT-1 */
	for (uint32_t at = (uint32_t)taken; at != (uint32_t)put; at++) {
		void **slot = &outbox->blocks[at % LAB_OUTBOX_MAX], *block = lab_peek(slot);
		if (lab_unlikely(!block)) /* a frame that was cut short has taken it */
			continue;
		lab_poke(slot, NULL);
		lab_compiler_barrier();
		if ((unit = lab_map_unit(block)) != last_unit)
			batch = batch_for(heap, last_unit = unit, &much_in);
		collect(heap, batch, block, unit->size);
	}
	lab_store_rel(&outbox->taken, put); /* pairs with the acq of lab_outbox_put */
	for (unsigned i = 0; i < LAB_BATCH_SLOTS; i++)
		if (heap->batches[i].first && send(&heap->batches[i]))
			much_in = heap->batches[i].target;
	return much_in;
}
