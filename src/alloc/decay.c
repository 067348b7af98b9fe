/* decay.c - when free pages go back to the system. Driven by frees; no thread. Any context. */
#include "alloc/alloc.h"
#include "alloc/provision.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/purge.h"
#include "page/retire.h"

static _Atomic uint64_t last_look; /* milliseconds; whoever raises it looks */

/* Inside the caller's heap: a purge that is cut short is found there, and finished with the heap's repair. */
static void
purge(struct lab_bracket *bracket, uint64_t now, uint64_t age, size_t enough)
{
	if (!lab_try_enter(bracket))
		return;
	bracket->heap->purge.claim = lab_purge_claim();
	(void)lab_purge_all(&bracket->heap->purge, now, age, enough);
	lab_leave(bracket);
}

static void
purge_above(struct lab_bracket *bracket, size_t threshold)
{
	size_t dirty = lab_purge_dirty_pages() << LAB_PAGE_SHIFT;

	if (dirty > threshold)
		purge(bracket, 0, 0, (dirty - threshold) >> LAB_PAGE_SHIFT);
}

void
lab_decay_tick(struct lab_bracket *bracket)
{
	size_t decay = lab_load_rlx(&lab_settings.decay_ms);
	size_t threshold = lab_load_rlx(&lab_settings.trim_threshold);

	if (threshold != SIZE_MAX)
		purge_above(bracket, threshold);
	if (decay == SIZE_MAX)
		return;
	uint64_t now = lab_os.clock_ms(), last = lab_load_rlx(&last_look);
	if (now - last < decay / 4)
		return;
	if (atomic_compare_exchange_strong_explicit(&last_look, &last, now, memory_order_relaxed, memory_order_relaxed)) {
		purge(bracket, now, decay, SIZE_MAX);
		(void)lab_arenas_retire(now, decay);
	}
}

LAB_EXPORT bool
lab_trim(size_t keep)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	/* What others have freed into this thread's heap is taken, and spans that are empty but current go. */
	if (lab_try_enter(&bracket)) {
		lab_heap_rebuild_owned(bracket.heap);
		lab_leave(&bracket);
	}
	size_t before = lab_purge_total_pages();
	purge_above(&bracket, keep);
	size_t unmapped = keep == 0 ? lab_arenas_retire(0, 0) : 0;
	lab_limit_notify();
	bool shrunk = lab_provision_shrink();
	return shrunk || unmapped != 0 || lab_purge_total_pages() != before;
}
