/* hold.c - see hold.h. Any context. */
#include "heap/hold.h"

/* The word that the fast paths write the lower half of, by plain stores: seq_cst, as the thread's word is looked at
 * after it. */
static bool
swap(struct lab_unit *unit, uint64_t from, uint64_t to)
{
	/* pairs with the plain stores of fastpath.h, by lab_os.fence */
	return __atomic_compare_exchange_n(&unit->both, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

void
lab_hold(struct lab_heap *heap, struct lab_unit *unit)
{
	struct lab_held *held = &heap->held[heap->holds];
	*held = (struct lab_held){unit, {.both = lab_peek(&unit->both)}};
	lab_compiler_barrier();
	heap->holds++; /* INV-HOLD-1 */
	lab_compiler_barrier();
	(void)swap(unit, held->lists.both, LAB_UNIT_HELD);
}

/* Where the thread has stored a state meanwhile, or the swap failed, that is the right one; the other half is the
 * visitor's. */
static void
put_back(const struct lab_held *held)
{
	if (!swap(held->unit, LAB_UNIT_HELD, held->lists.both))
		lab_poke(&held->unit->collected, held->lists.collected);
}

struct lab_unit *
lab_hold_release(struct lab_heap *heap)
{
	const struct lab_held *held = &heap->held[heap->holds - 1];

	put_back(held);
	lab_compiler_barrier();
	heap->holds--;
	return held->unit;
}

void
lab_hold_repair_owned(struct lab_heap *heap)
{
	while (heap->holds > 0)
		(void)lab_hold_release(heap);
}
