/*
 * decay.c - when free pages go back to the system: some time after they were freed, and at once where there are too
 * many. Driven by slow calls while there is something to give back (lab_purge_pending), by whoever comes first, a slice
 * at a time; no thread is needed. Any context.
 *
 * A sweep (page/sweep.h) begins twice in a decay time. What is free and dirty is aged by one sweep and purged by the
 * next one, if nobody has used it in between: so pages go back between half a decay time and a whole one after they
 * were freed, page by page, without a stamp on any. A sweep that comes late, as nobody has called, purges all. Source:
 * the clock algorithm for page replacement (Corbato, 1968). Pages of sparse spans (heap/sparse.h) go in the same way,
 * but by the thread whose heap they are in.
 *
 * So that a process that makes no slow call any more keeps little, who frees pages gives back what is free and dirty
 * beyond a bound: a fixed one, or a quarter of what is in use.
 */
#include <limits.h>

#include "alloc/decay.h"
#include "alloc/limit.h"
#include "alloc/settings.h"
#include "backing/shares.h"
#include "heap/claim.h"
#include "heap/finding.h"
#include "heap/huge.h"
#include "heap/leases.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/visit.h"
#include "os/os.h"
#include "page/pending.h"
#include "page/purge.h"
#include "page/sweep.h"

enum {
	HEAPS_A_CALL = 16,     /* of the dead: repairing one costs some 50 us where there are a thousand */
	BLOCKS_A_CALL = 16384, /* of the dead, some 2 ms */
	PROBES_IF_EVERY_FREE_LOOKS = 16,
	THIN_MS_LEAST = 100, /* from one round over sparse spans to the next */
	PART_OF_USED = 4,    /* so much of what is in use may be free and dirty, too */
};

static _Atomic uint64_t last_look; /* milliseconds; whoever raises it looks */

/* Dirty pages that were left when the system was last asked to take back more, at once: locked ones, say. So many alone
 * are no reason to ask again. */
static _Atomic size_t refused;

/* Not in a handler that interrupted the heap. A thread that has none gets one: the background thread, or one that only
 * frees. */
static bool
enter(struct lab_guard *guard)
{
	return lab_thread.word == 0 ? lab_enter(guard) : lab_try_enter(guard);
}

/* ---- too much -------------------------------------------------------------------------------------------------- */

/* As seen from outside of every heap. */
static size_t
dirty_pages(void)
{
	return lab_count_dirty(lab_thread.heap ? &lab_thread.heap->counts : NULL);
}

/* Pages that may be free and dirty; SIZE_MAX: any number. */
static size_t
most_dirty_pages(void)
{
	size_t threshold = lab_load_rlx(&lab_settings.trim_threshold), most = lab_load_rlx(&lab_settings.dirty_max);
	size_t decay = lab_load_rlx(&lab_settings.decay_ms), part = (lab_count_used() / PART_OF_USED) << LAB_PAGE_SHIFT;

	if (lab_load_rlx(&lab_purge_is_held))
		return SIZE_MAX;
	if (most < part)
		most = part;
	if (decay == 0)
		most = 0;
	else if (decay == SIZE_MAX)
		most = SIZE_MAX;
	if (most > threshold)
		most = threshold;
	return most < LAB_TRIM_BY_DECAY ? most >> LAB_PAGE_SHIFT : SIZE_MAX;
}

/* In a call that may give back so many pages. */
static void
keep_below(struct lab_guard *guard, size_t most, size_t pages)
{
	size_t dirty = dirty_pages();

	if (dirty <= most || !enter(guard))
		return;
	size_t not_taken;
	struct lab_purge_record *record = lab_thread_purge_owned(guard->heap);
	bool no_more = lab_sweep_excess(record, pages, dirty - most, &not_taken);
	lab_leave(guard);
	lab_store_rlx(&refused, no_more ? not_taken : 0);
}

void
lab_decay_tick(struct lab_guard *guard, size_t pages)
{
	size_t most = most_dirty_pages();

	if (most != SIZE_MAX && dirty_pages() > lab_load_rlx(&refused))
		keep_below(guard, most, pages > LAB_SLICE_PAGES / 2 ? 2 * pages : LAB_SLICE_PAGES);
	lab_decay_poll(guard);
}

void
lab_decay_note_freed(struct lab_guard *guard, size_t pages)
{
	lab_limit_notify();
	lab_decay_tick(guard, pages);
}

/* What waits is in use still, for the bound; what a visit has freed is not. */
void
lab_decay_visit(struct lab_guard *guard, struct lab_heap *heap)
{
	if (!enter(guard))
		return;
	size_t freed = guard->heap->freed_pages;
	lab_visit_one(guard->heap, heap);
	freed = guard->heap->freed_pages - freed;
	lab_leave(guard);
	if (freed != 0)
		lab_decay_note_freed(guard, freed);
}

/* ---- what is old ----------------------------------------------------------------------------------------------- */

/* What was freed into this heap and into idle ones, and what the dead have left: so many heaps, or the one with which
 * there are so many blocks. False: there may be more of that. */
static bool
take_in_owned(struct lab_heap *heap, unsigned heaps, size_t most_blocks, unsigned probes, bool at_once)
{
	(void)lab_outbox_send_owned(heap);
	lab_remote_drain_owned(heap);
	for (size_t blocks = 0; heaps > 0 && blocks < most_blocks; heaps--)
		if (!lab_thread_clear_one_owned(heap, probes, &blocks))
			return lab_visit_all(heap, at_once);
	return false;
}

/* False: the next slow call is to go on; no sweep has begun. */
static bool
look_owned(struct lab_heap *heap, bool is_late)
{
	bool every_free_looks = lab_load_rlx(&lab_settings.decay_ms) == 0;
	bool all = take_in_owned(heap, HEAPS_A_CALL, BLOCKS_A_CALL,
	                         every_free_looks ? PROBES_IF_EVERY_FREE_LOOKS : UINT_MAX, is_late);

	if (!all && !every_free_looks)
		return false;
	lab_sweep_begin(is_late);
	if (lab_registry_has_to_clear(lab_thread_tid()))
		lab_sweep_leave_something();
	return true;
}

static void
sweep_owned(struct lab_heap *heap)
{
	const struct lab_slice slice = {
	        .pages = LAB_SLICE_PAGES,
	        .in_whole = lab_load_rlx(&lab_settings.purge_in_whole),
	        .own = &heap->counts,
	};

	lab_sweep_go_on(lab_thread_purge_owned(heap), slice);
}

/* Time runs from the first look that finds something. */
static void
begin(uint64_t now)
{
	uint32_t noted = LAB_PURGE_NOTED;

	lab_store_rlx(&last_look, now);
	(void)atomic_compare_exchange_strong_explicit(&lab_purge_pending, &noted, LAB_PURGE_SEEN, memory_order_release,
	                                              memory_order_relaxed); /* pairs with time_since */
}

/* Milliseconds since the last look, and the two moments. */
static uint64_t
time_since(uint64_t *last, uint64_t *now)
{
	*now = lab_os.clock_ms();
	if (lab_load_acq(&lab_purge_pending) ==
	    LAB_PURGE_NOTED) /* pairs with the CAS of begin, and the rel of a sweep's end */
		begin(*now);
	*last = lab_load_rlx(&last_look);
	if (*now < *last) /* a process that was restored from an image, perhaps */
		lab_store_rlx(&last_look, *last = *now);
	return *now - *last;
}

/* At pages that are free. False: there was nothing to do, or it is not time. */
static bool
look(struct lab_guard *guard)
{
	size_t decay = lab_load_rlx(&lab_settings.decay_ms), period = decay > 1 ? decay / 2 : 1;
	bool is_on = lab_sweep_is_on();
	uint64_t last = 0, now = 0, passed;

	if (decay == SIZE_MAX || lab_load_rlx(&lab_purge_is_held))
		return false;
	passed = is_on ? 0 : time_since(&last, &now);
	if ((!is_on && passed < period) || !enter(guard))
		return false;
	if (!is_on &&
	    atomic_compare_exchange_strong_explicit(&last_look, &last, now, memory_order_relaxed,
	                                            memory_order_relaxed) &&
	    !look_owned(guard->heap, passed >= decay))
		lab_store_rlx(&last_look, last);
	sweep_owned(guard->heap);
	lab_leave(guard);
	return true;
}

/* Seldom: a page of a sparse span is wanted again sooner than one that no class has, and to give it back costs more, as
 * such pages do not lie in long rows. */
static size_t
period_to_thin(size_t decay)
{
	if (decay > SIZE_MAX / 2)
		return SIZE_MAX;
	return 2 * decay > THIN_MS_LEAST ? 2 * decay : THIN_MS_LEAST;
}

/* At the own heap's sparse spans. Whether pages went back. */
static bool
thin(struct lab_guard *guard)
{
	size_t period = period_to_thin(lab_load_rlx(&lab_settings.decay_ms));

	if (period == SIZE_MAX || lab_load_rlx(&lab_purge_is_held) || lab_load_rlx(&lab_settings.purge_in_whole))
		return false;
	uint64_t now = lab_os.clock_ms();
	if (!lab_sparse_is_timely(lab_thread.heap, now, period) || !lab_try_enter(guard))
		return false;
	lab_poke(&guard->heap->thinning.waits, false);
	bool has_given = lab_sparse_look_owned(guard->heap, now, period);
	lab_leave(guard);
	return has_given;
}

void
lab_decay_rest(struct lab_guard *guard)
{
	size_t period = period_to_thin(lab_load_rlx(&lab_settings.decay_ms));

	if (period == SIZE_MAX || lab_load_rlx(&lab_purge_is_held) || lab_load_rlx(&lab_settings.purge_in_whole) ||
	    !enter(guard))
		return;
	lab_visit_resting(guard->heap, lab_os.clock_ms(), period);
	lab_leave(guard);
}

/* One of the two in a call, by turns where both have work, so that neither waits for ever. */
void
lab_decay_work(struct lab_guard *guard)
{
	bool is_pending = lab_load_rlx(&lab_purge_pending) != LAB_PURGE_NOTHING || lab_sweep_is_on();
	bool is_due = lab_sparse_is_due(lab_thread.heap), waits = is_due && lab_peek(&lab_thread.heap->thinning.waits);

	if (waits && thin(guard))
		return;
	if (is_pending && look(guard)) {
		if (is_due)
			lab_poke(&lab_thread.heap->thinning.waits, true);
	} else if (is_due && !waits) {
		(void)thin(guard);
	}
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

LAB_EXPORT bool
lab_trim(size_t keep)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	size_t before = lab_purge_total_pages(), most = keep >> LAB_PAGE_SHIFT;
	uint64_t lease = lab_limit_begin_trim();
	lab_huge_finish_frees();
	/* What others have freed into this thread's heap and what the dead have left is taken, and spans that are empty
	 * but current go, as do pages of sparse spans, in this heap and in idle ones. */
	if (enter(&guard)) {
		while (!take_in_owned(guard.heap, UINT_MAX, SIZE_MAX, UINT_MAX, true))
			;
		lab_heap_rebuild_owned(guard.heap);
		guard.heap->whole = LAB_HEAP_TORN; /* a frame is inside still */
		lab_compiler_barrier();
		lab_thread_squeeze_owned(guard.heap);
		lab_leave(&guard);
	}
	if (keep != 0)
		keep_below(&guard, most, SIZE_MAX / 8);
	else if (enter(&guard)) {
		lab_purge_all(lab_thread_purge_owned(guard.heap));
		lab_leave(&guard);
	}
	lab_limit_end_reclaim(lease);
	lab_limit_notify();
	bool shrunk = lab_shares_shrink();
	return shrunk || lab_purge_total_pages() != before;
}
