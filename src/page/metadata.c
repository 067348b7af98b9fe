/*
 * metadata.c - memory for segments' metadata: of different lengths, never given back, as each belongs to its place for ever (space.h). Any context;
 * lock-free. A frame that is cut short loses a piece.
 */
#include "base/check.h"
#include "os/os.h"
#include "page/segment.h"

#define BATCH_SIZE ((size_t)128 << 10)

struct batch {
	LAB_ALIGNED(64) _Atomic size_t used;
};

static _Atomic(struct batch *) current;

static struct batch *
add_batch(struct batch *full)
{
	struct batch *batch = lab_os.map(BATCH_SIZE, LAB_ACCESS_WRITE);

	if (!batch)
		return NULL;
	lab_store_rlx(&batch->used, sizeof *batch);
	/* acq_rel pairs with itself: who sees a batch sees it begun */
	if (atomic_compare_exchange_strong_explicit(&current, &full, batch, memory_order_acq_rel, memory_order_acquire))
		return batch;
	(void)lab_os.unmap(batch, BATCH_SIZE);
	return full;
}

void *
lab_segment_allocate_metadata(size_t size)
{
	struct batch *batch = lab_load_acq(&current);

	size = lab_round_up(size, 64);
	lab_assert(size <= BATCH_SIZE / 4);
	for (;;) {
		size_t at = batch ? lab_add_rlx(&batch->used, size) : BATCH_SIZE;
		if (at + size <= BATCH_SIZE)
			return (char *)batch + at;
		batch = add_batch(batch);
		if (!batch)
			return NULL;
	}
}
