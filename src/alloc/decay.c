/*
 * decay.c - when free pages go back to the system. Driven by slow calls while there is something to give back
 * (lab_purge_pending), by whoever comes first; no thread is needed. Any context.
 *
 * A look is taken twice in a decay time. What is free and dirty is aged by one look and purged by the next one, if
 * nobody has used it in between: so pages go back between half a decay time and a whole one after they were freed, page
 * by page, without a stamp on any. Looks that come late, as nobody has called, purge all. Source: the clock algorithm
 * for page replacement (Corbato, 1968).
 */
#include <limits.h>

#include "alloc/decay.h"
#include "alloc/limit.h"
#include "alloc/settings.h"
#include "backing/shares.h"
#include "heap/finding.h"
#include "heap/huge.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/visit.h"
#include "os/os.h"
#include "page/purge.h"

enum {
	HEAPS_A_CALL = 16, /* of the dead: repairing one costs some 50 us where there are a thousand */
	PROBES_IF_EVERY_FREE_LOOKS = 16,
};

static _Atomic uint64_t last_look; /* milliseconds; whoever raises it looks */

/* Dirty bytes that were left when the system was last asked to take back more, at once: locked ones, say. So many alone
 * are no reason to ask again. */
static _Atomic size_t refused;

/* Inside the caller's heap: a purge that is cut short is found there, and finished with the heap's repair. */
static void
purge_owned(struct lab_heap *heap, const struct lab_purge_plan *plan)
{
	heap->purge.claim = lab_purge_claim();
	(void)lab_purge_all(&heap->purge, plan);
}

/* Not in a handler that interrupted the heap. A thread that has none gets one: the background thread, or one that only
 * frees. */
static bool
enter(struct lab_guard *guard)
{
	return lab_thread.word == 0 ? lab_enter(guard) : lab_try_enter(guard);
}

static bool
purge(struct lab_guard *guard, size_t enough)
{
	const struct lab_purge_plan plan = {.young = true, .insist = true, .enough = enough};

	if (!enter(guard))
		return false;
	purge_owned(guard->heap, &plan);
	lab_leave(guard);
	return true;
}

static size_t
dirty_bytes(void)
{
	return lab_purge_dirty_pages() << LAB_PAGE_SHIFT;
}

static void
purge_above(struct lab_guard *guard, size_t dirty, size_t threshold)
{
	if (dirty <= threshold || !purge(guard, (dirty - threshold) >> LAB_PAGE_SHIFT))
		return;
	dirty = dirty_bytes();
	lab_store_rlx(&refused, dirty > threshold ? dirty : 0);
}

static void
keep_below(struct lab_guard *guard, size_t threshold)
{
	size_t dirty = dirty_bytes();

	if (dirty > lab_load_rlx(&refused))
		purge_above(guard, dirty, threshold);
}

/* What was freed into this heap and into idle ones, and what the dead have left. False: there may be more of that. */
static bool
take_in_owned(struct lab_heap *heap, unsigned heaps, unsigned probes, bool at_once)
{
	lab_batch_flush_owned(heap);
	lab_remote_drain_owned(heap);
	for (; heaps > 0; heaps--)
		if (!lab_thread_clear_one_owned(heap, probes))
			return lab_visit_all(heap, at_once);
	return false;
}

/* Ages what is left. Nothing: says so, and looks again for what was noted in between. */
static void
age_all(void)
{
	for (int pass = 0; pass < 2; pass++) {
		bool left = lab_purge_age_all() || lab_registry_has_to_clear(lab_thread_tid());
		(void)atomic_exchange(&lab_purge_pending, left ? LAB_PURGE_SEEN : LAB_PURGE_NOTHING);
		if (left)
			break;
	}
}

/* False: the next slow call is to go on; nothing was aged. */
static bool
look_owned(struct lab_heap *heap, bool is_late)
{
	const size_t decay = lab_load_rlx(&lab_settings.decay_ms);
	const struct lab_purge_plan plan = {
	        .young = is_late,
	        .in_whole = lab_load_rlx(&lab_settings.purge_in_whole),
	        .insist = decay == 0, /* `refused` says when */
	        .enough = SIZE_MAX,
	};

	if (!take_in_owned(heap, HEAPS_A_CALL, decay == 0 ? PROBES_IF_EVERY_FREE_LOOKS : UINT_MAX, is_late) &&
	    decay != 0)
		return false;
	if (decay != 0) {
		purge_owned(heap, &plan);
	} else if (dirty_bytes() > lab_load_rlx(&refused)) { /* every free looks */
		purge_owned(heap, &plan);
		lab_store_rlx(&refused, dirty_bytes());
	}
	age_all();
	return true;
}

/* Time runs from the first look that finds something. */
static void
begin(uint64_t now)
{
	uint32_t noted = LAB_PURGE_NOTED;

	lab_store_rlx(&last_look, now);
	(void)atomic_compare_exchange_strong_explicit(&lab_purge_pending, &noted, LAB_PURGE_SEEN, memory_order_release,
	                                              memory_order_relaxed); /* pairs with lab_decay_look */
}

void
lab_decay_look(struct lab_guard *guard)
{
	size_t decay = lab_load_rlx(&lab_settings.decay_ms);

	if (decay == SIZE_MAX || lab_load_rlx(&lab_purge_is_held))
		return;
	uint64_t now = lab_os.clock_ms();
	if (lab_load_acq(&lab_purge_pending) == LAB_PURGE_NOTED)
		begin(now);
	uint64_t last = lab_load_rlx(&last_look);
	if (now < last) /* a process that was restored from an image, perhaps */
		lab_store_rlx(&last_look, last = now);
	uint64_t passed = now - last;
	if (passed < decay / 2 || !enter(guard))
		return;
	if (atomic_compare_exchange_strong_explicit(&last_look, &last, now, memory_order_relaxed,
	                                            memory_order_relaxed) &&
	    !look_owned(guard->heap, passed >= decay))
		lab_store_rlx(&last_look, last);
	lab_leave(guard);
}

void
lab_decay_tick(struct lab_guard *guard)
{
	size_t threshold = lab_load_rlx(&lab_settings.trim_threshold);

	if (threshold < LAB_TRIM_BY_DECAY)
		keep_below(guard, threshold);
	lab_decay_poll(guard);
}

LAB_EXPORT bool
lab_trim(size_t keep)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	lab_huge_finish_frees();
	/* What others have freed into this thread's heap and what the dead have left is taken, and spans that are empty
	 * but current go. */
	if (enter(&guard)) {
		while (!take_in_owned(guard.heap, UINT_MAX, UINT_MAX, true))
			;
		lab_heap_rebuild_owned(guard.heap);
		lab_leave(&guard);
	}
	size_t before = lab_purge_total_pages();
	if (keep == 0)
		(void)purge(&guard, SIZE_MAX);
	else
		purge_above(&guard, dirty_bytes(), keep);
	lab_limit_notify();
	bool shrunk = lab_shares_shrink();
	return shrunk || lab_purge_total_pages() != before;
}
