/*
 * fork.c - what the forking thread does with heaps around a fork. Any context.
 *
 * Fork copies memory while other threads write it: a heap is whole in the child only if nobody wrote to it between the
 * call and the return. That cannot be seen afterwards, in the child: an owner word, or a thread's word, that is copied
 * idle says nothing of pages that were copied earlier or later. It can be had before: what this thread holds over the
 * fork nobody else writes to. So the heaps of the dead are absorbed, and idle ones that hold memory are held. All
 * others are frozen in the child.
 */
#include "heap/fork.h"
#include "heap/bin.h"
#include "heap/claim.h"
#include "heap/finding.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"

enum {
	ABSORB_AT_FORK = 64,
	HELD_MAX = 16, /* others who want an idle heap meanwhile have to make one: so their number stays bounded */
};

/* What others have freed into an idle heap is taken too: the child drops it. */
static void
take_in(struct lab_thread *t, struct lab_heap *heap)
{
	heap->whole = LAB_HEAP_TORN;
	lab_compiler_barrier();
	lab_remote_drain_owned(heap);
	lab_finding_pass_owned(heap, t->heap);
	lab_compiler_barrier();
	heap->whole = LAB_HEAP_WHOLE;
}

static void
hold_idle(struct lab_thread *t)
{
	unsigned held = 0;

	for (uint32_t id = 0; id < lab_registry_count() && held < HELD_MAX; id++) {
		struct lab_heap *heap = lab_registry_take_if_idle(t->tid, LAB_HEAP_HELD, id);
		if (!heap)
			continue;
		if (heap->slots == 0) {
			lab_registry_give_back(heap, lab_registry_word(heap));
		} else {
			take_in(t, heap);
			held++;
		}
	}
}

void
lab_thread_before_fork_owned(struct lab_heap *heap)
{
	heap->forks = true; /* INV-VISIT-4 */
	(void)lab_outbox_send_owned(heap);
	for (int i = 0; i < ABSORB_AT_FORK && lab_thread_absorb_dead_owned(heap, lab_registry_count()); i++)
		;
	lab_remote_drain_owned(heap);
	hold_idle(&lab_thread);
}

void
lab_thread_after_fork_owned(bool in_child)
{
	struct lab_thread *t = &lab_thread;
	struct lab_heap *heap;
	uint64_t word;

	t->heap->forks = false;
	for (unsigned c = 0; in_child && c < LAB_CLASS_COUNT; c++)
		lab_bin_cool(&t->heap->bins[c]);
	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id, &word)) != NULL;) {
		if (lab_registry_state_in(word) != LAB_HEAP_HELD)
			continue;
		if (heap->whole != LAB_HEAP_WHOLE) /* a jump has left take_in */
			lab_heap_rebuild_owned(heap);
		lab_registry_give_back(heap, word);
	}
}
