/* decay.c - when free pages go back to the system. Driven by frees; no thread. Any context. */
#include "alloc/alloc.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/map.h"
#include "page/purge.h"

static _Atomic uint64_t last_look; /* milliseconds; whoever raises it looks */
static _Atomic uint32_t claim_epoch;

/* A value for a purge word that nobody else uses: {epoch, tid}. */
static uint64_t
make_claim(void)
{
	return (uint64_t)lab_add_rlx(&claim_epoch, 1) << 32 | lab_thread_tid();
}

static void
purge_above(size_t threshold)
{
	size_t dirty = lab_purge_dirty_pages() << LAB_PAGE_SHIFT;

	if (dirty > threshold)
		(void)lab_purge_all(make_claim(), 0, 0, (dirty - threshold) >> LAB_PAGE_SHIFT);
}

void
lab_decay_tick(void)
{
	size_t decay = lab_load_rlx(&lab_settings.decay_ms);
	size_t threshold = lab_load_rlx(&lab_settings.trim_threshold);

	if (threshold != SIZE_MAX)
		purge_above(threshold);
	if (decay == SIZE_MAX)
		return;
	uint64_t now = lab_os.clock_ms(), last = lab_load_rlx(&last_look);
	if (now - last < decay / 4)
		return;
	if (atomic_compare_exchange_strong_explicit(&last_look, &last, now, memory_order_relaxed, memory_order_relaxed))
		(void)lab_purge_all(make_claim(), now, decay, SIZE_MAX);
}

LAB_EXPORT bool
lab_trim(size_t keep)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	/* What others have freed into this thread's heap may make pages free; the rebuild does not harm. */
	if (lab_try_enter(&bracket)) {
		bracket.heap->torn = 1;
		lab_heap_rebuild_owned(bracket.heap);
		lab_leave(&bracket);
	}
	size_t before = lab_purge_total_pages();
	purge_above(keep);
	return lab_purge_total_pages() != before;
}
