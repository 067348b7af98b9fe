/* visitor.c - see visitor.h. Any context. */
#include "heap/visitor.h"
#include "base/check.h"
#include "os/os.h"

enum { NAPS = 50 }; /* of a millisecond each */

/* From a holder that is dead; or from a frame of the thread itself that a jump has left, or that forks. */
static bool
take_over(struct lab_heap *heap, uint32_t tid, uint64_t mine)
{
	uint64_t seen = lab_load_acq(&heap->visitor); /* pairs with the CAS of its holder */

	if (seen == 0 || lab_lease_tid(seen) == tid)
		return lab_cas64(&heap->visitor, seen, mine); /* pairs as the load does */
	if (lab_lease_tag(seen) == LAB_VISIT_ENDLESS ||
	    !lab_lease_win(&heap->visitor, seen, mine, lab_os.thread_is_dead))
		return false;
	heap->whole = LAB_HEAP_TORN;
	return true;
}

bool
lab_visit_lock(struct lab_heap *heap, uint32_t tid, bool may_ask)
{
	uint64_t mine = lab_lease_make(0, tid, LAB_VISIT_BY_OWNER);

	/* pairs with the release of the visitor of before: what it wrote is seen */
	return lab_likely(lab_cas64(&heap->visitor, 0, mine)) ||
	       (may_ask && take_over(heap, tid, lab_lease_new(tid, LAB_VISIT_BY_OWNER)));
}

bool
lab_visit_wait_for_end(struct lab_heap *heap)
{
	static _Atomic uint64_t in_vain;

	for (unsigned naps = 0;; naps++) {
		uint64_t seen = lab_load_acq(&heap->visitor); /* pairs with the release of the visitor */
		if (lab_lease_tag(seen) != LAB_VISIT_BY_OTHER)
			return true;
		if (seen == lab_load_rlx(&in_vain))
			return false;
		if (naps == NAPS) {
			lab_store_rlx(&in_vain, seen);
			return false;
		}
		lab_store_rlx(&heap->is_wanted, true);
		lab_os_sleep_ms(1);
	}
}

void
lab_visit_unlock(struct lab_heap *heap)
{
	lab_assert(lab_lease_tag(lab_load_rlx(&heap->visitor)) == LAB_VISIT_BY_OWNER); /* INV-VISIT-1 */
	if (lab_likely(!heap->forks))
		lab_store_rel(&heap->visitor, 0); /* pairs with the CAS of who comes next */
}

bool
lab_visit_is_inside(struct lab_heap *heap)
{
	/* sc: INV-VISIT-2, after the CAS of the owner word; pairs with the visitor's CAS, and its load of that word */
	uint64_t seen = atomic_load(&heap->visitor);

	if (seen == 0)
		return false;
	if (lab_lease_tag(seen) == LAB_VISIT_ENDLESS || !lab_os.thread_is_dead(lab_lease_tid(seen)))
		return true;
	if (!lab_cas64(&heap->visitor, seen, 0)) /* pairs with the CAS of who comes next */
		return true;
	heap->whole = LAB_HEAP_TORN;
	return false;
}

void
lab_visit_recover(struct lab_heap *heap)
{
	struct lab_heap *target = heap->visit.target;

	/* the load pairs with the CAS of the visitor */
	if (target && lab_lease_is_same(lab_load_acq(&target->visitor), heap->visit.claim)) {
		lab_poke(&target->whole, LAB_HEAP_TORN); /* INV-VISIT-3 */
		(void)lab_lease_release(&target->visitor, heap->visit.claim, 0);
	}
	lab_compiler_barrier();
	heap->visit.target = NULL;
}
