/* visit.c - see visit.h. Any context. */
#include "heap/visit.h"
#include "base/check.h"
#include "heap/finding.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/thread.h"
#include "os/os.h"

enum { BLOCKS_A_CALL = 16384 }; /* some 2 ms */

/* What heap->looked says: the parity of the stack when it was seen, and that it was, or that blocks are left. */
enum { SEEN = 2, UNFINISHED = 4 };

/* ---- the lease ---- */

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
	heap->whole = 0;
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
	heap->whole = 0;
	return false;
}

/* ---- a visit ---- */

/* What is left is to be taken up by the next visit, or by the holder. */
static void
work(struct lab_heap *target, size_t *blocks)
{
	lab_batch_flush_owned(target);
	bool finished = lab_remote_collect(target, blocks);
	uint32_t parity = (uint32_t)lab_load_rlx(&target->remote) & 1;
	lab_store_rlx(&target->looked, finished ? SEEN | parity : UNFINISHED);
}

static void
visit(struct lab_heap *heap, struct lab_heap *target, size_t *blocks)
{
	uint64_t owner = lab_registry_word(target), mine = lab_lease_new(lab_thread.tid, LAB_VISIT_BY_OTHER);

	heap->visit.claim = mine;
	heap->visit.target = target;
	lab_compiler_barrier();
	/* sc: INV-VISIT-2; pairs also with the release of who was inside before */
	if (lab_registry_state_in(owner) == LAB_HEAP_CURRENT && lab_cas64(&target->visitor, 0, mine)) {
		if (lab_registry_word(target) == owner && target->whole) {
			target->whole = 0;
			lab_compiler_barrier();
			size_t freed = target->freed_pages;
			work(target, blocks);
			heap->freed_pages += target->freed_pages - freed;
			lab_finding_pass_owned(target, heap);
			lab_compiler_barrier();
			target->whole = 1;
		}
		(void)lab_lease_release(&target->visitor, mine, 0);
	}
	lab_compiler_barrier();
	heap->visit.target = NULL;
}

/* Whether blocks wait there, and have since the last look: else the thread is about, and takes them in itself. */
static bool
is_to_be_visited(struct lab_heap *target, bool at_once)
{
	uint32_t looked = lab_load_rlx(&target->looked), seen = SEEN | (lab_load_rlx(&target->remote) & 1);

	if (looked == UNFINISHED)
		return true;
	if (!lab_remote_is_waiting(target))
		return false;
	lab_store_rlx(&target->looked, seen);
	return at_once || looked == seen;
}

/* From outside of the process a lease would name a thread by an id of another PID namespace. */
static bool
may_visit(void)
{
	return !lab_registry_is_forked() && !lab_registry_in_shared_memory_child();
}

void
lab_visit_one(struct lab_heap *heap, struct lab_heap *target)
{
	size_t blocks = BLOCKS_A_CALL;

	lab_store_rlx(&target->room, LAB_WAITING_MUCH);
	if (target != heap && lab_registry_tid(target->id) != lab_thread.tid && may_visit())
		visit(heap, target, &blocks);
	if (blocks == 0)
		lab_store_rlx(&target->room, 0);
}

bool
lab_visit_all(struct lab_heap *heap, bool at_once)
{
	size_t blocks = BLOCKS_A_CALL;

	if (!may_visit())
		return true;
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		struct lab_heap *target = lab_registry_heap(id);
		if (target == heap || lab_registry_state(id) != LAB_HEAP_CURRENT ||
		    lab_registry_tid(id) == lab_thread.tid || !is_to_be_visited(target, at_once))
			continue;
		visit(heap, target, &blocks);
		if (blocks == 0)
			return false;
	}
	return true;
}

void
lab_visit_recover(struct lab_heap *heap)
{
	struct lab_heap *target = heap->visit.target;

	/* the load pairs with the CAS of the visitor */
	if (target && lab_lease_is_same(lab_load_acq(&target->visitor), heap->visit.claim)) {
		target->whole = 0; /* INV-VISIT-3 */
		(void)lab_lease_release(&target->visitor, heap->visit.claim, 0);
	}
	lab_compiler_barrier();
	heap->visit.target = NULL;
}

void
lab_visit_settle(const struct lab_lease_fork *fork)
{
	for (uint32_t id = 0, end = lab_registry_count(); id < end; id++) {
		enum lab_heap_state state = lab_registry_state(id);
		if (state == LAB_HEAP_UNUSED) /* perhaps there was no memory for it */
			continue;
		uint64_t orphaned = state == LAB_HEAP_CURRENT ? lab_lease_make(0, 0, LAB_VISIT_ENDLESS) : 0;
		(void)lab_lease_settle(&lab_registry_heap(id)->visitor, fork, orphaned);
	}
}
