/* claim.c - see claim.h. Every step may be interrupted by a handler that does the same, or be left for good. */
#include "heap/claim.h"
#include "heap/finding.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/frame.h"

enum {
	/* A probe costs a system call of 0.1 us; a heap that need not have been made, some pages and 20 us. */
	PROBES_AT_BIRTH = 32,
	PROBES_TO_BORROW = 4,
};

uintptr_t
lab_last_to_die(uintptr_t a, uintptr_t b)
{
	struct lab_os_stack alternate;

	if (!lab_os_alternate_stack(&alternate))
		return UINTPTR_MAX;
	bool a_is_there = a - alternate.low < alternate.size, b_is_there = b - alternate.low < alternate.size;
	if (a_is_there != b_is_there)
		return a_is_there ? b : a;
	return a > b ? a : b;
}

bool
lab_is_on_alternate_stack(void)
{
	struct lab_os_stack alternate;

	return !lab_os_alternate_stack(&alternate) || alternate.running;
}

bool
lab_claim_begin(struct lab_thread *t, uintptr_t sp)
{
	bool outermost = t->claiming == 0 || lab_frame_is_dead(t->claiming, sp, t->tid);

	if (outermost)
		t->claiming = sp;
	lab_compiler_barrier();
	return outermost;
}

void
lab_claim_end(struct lab_thread *t, bool outermost)
{
	lab_compiler_barrier();
	if (outermost)
		t->claiming = 0;
}

static bool
is_left_behind(struct lab_thread *t, struct lab_heap *heap, uintptr_t sp, uintptr_t word)
{
	if (!lab_is_lendable(t, heap, word))
		return false;
	switch (lab_role_of(heap)) {
	case LAB_ROLE_BORROWED:
		return lab_frame_is_dead(heap->frame, sp, t->tid);
	case LAB_ROLE_PARKED:
	case LAB_ROLE_SPARE:
		return false;
	default:
		return heap != t->heap;
	}
}

/* INV-THREAD-4, -5. Only for the outermost claim. */
static struct lab_heap *
find_left_behind(struct lab_thread *t, uintptr_t sp, uintptr_t word)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;)
		if (is_left_behind(t, heap, sp, word) && lab_registry_claim_own(heap, t->tid))
			return heap;
	return NULL;
}

/* A newborn has no frames below it: all heaps that carry its thread id, as a dead thread's, are left behind. */
static struct lab_heap *
inherit(struct lab_thread *t)
{
	struct lab_heap *heap, *first = NULL;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		if (!lab_registry_claim_own(heap, t->tid))
			continue;
		heap->limit = 0;
		lab_set_role(heap, LAB_ROLE_NONE);
		if (!first)
			first = heap;
	}
	return first;
}

struct lab_heap *
lab_win_at_birth(struct lab_thread *t, bool outermost)
{
	if (!lab_registry_start())
		return NULL;
	t->tid = lab_os_tid_to_write();
	struct lab_heap *heap = outermost ? inherit(t) : NULL;
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_AT_BIRTH);
	if (!heap)
		heap = lab_registry_take_idle(t->tid, 0);
	if (!heap)
		heap = lab_registry_make(t->tid);
	if (heap)
		lab_make_current(t, heap);
	return heap;
}

bool
lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes)
{
	struct lab_thread *t = &lab_thread;
	bool outermost = lab_claim_begin(t, LAB_ENTRY_STACK_POINTER);
	struct lab_heap *dead = lab_registry_adopt(lab_thread_tid(), probes);

	if (dead)
		lab_heap_absorb_owned(heap, dead);
	lab_claim_end(t, outermost);
	return dead != NULL;
}

/* Cut short, the heap is this thread's, and becomes a spare. */
bool
lab_thread_clear_litter(unsigned probes)
{
	struct lab_thread *t = &lab_thread;
	bool outermost = lab_claim_begin(t, LAB_ENTRY_STACK_POINTER);
	struct lab_heap *heap = lab_registry_adopt_littered(lab_thread_tid(), probes);

	if (heap) {
		uint64_t word = lab_registry_word(heap);
		lab_heap_rebuild_owned(heap); /* spans that are empty but current go as well */
		heap->whole = 0;
		lab_compiler_barrier();
		lab_segments_release_empty_owned(heap);
		lab_compiler_barrier();
		heap->whole = 1;
		heap->frame = 0;
		if (t->heap)
			lab_finding_pass_owned(heap, t->heap);
		lab_registry_give_back(heap, word);
	}
	lab_claim_end(t, outermost);
	return heap != NULL;
}

/* A spare of this thread's own: INV-THREAD-5. By CAS: a handler in the middle of this may take the same one. */
static struct lab_heap *
take_spare(struct lab_thread *t, uintptr_t word)
{
	struct lab_heap *heap;

	if (!t->has_spare)
		return NULL;
	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		uint32_t spare = LAB_ROLE_SPARE;
		if (lab_is_lendable(t, heap, word) &&
		    atomic_compare_exchange_strong_explicit(&heap->role, &spare, LAB_ROLE_BORROWED, memory_order_relaxed,
		                                            memory_order_relaxed))
			return heap;
	}
	return NULL;
}

/* A heap that nobody else has, for a re-entrant call, within a claim: an idle one, one left behind, a dead thread's, or a new one. */
static struct lab_heap *
win_heap(struct lab_thread *t, uintptr_t sp, uintptr_t word, bool outermost)
{
	struct lab_heap *heap = lab_registry_take_idle(t->tid, t->borrowed);

	if (!heap && outermost)
		heap = find_left_behind(t, sp, word);
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_TO_BORROW);
	if (!heap)
		heap = lab_registry_make(t->tid);
	return heap;
}

bool
lab_win_to_borrow(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word)
{
	if (!lab_registry_start())
		return false;
	bool outermost = lab_claim_begin(t, bracket->sp);
	t->has_lent = true;
	lab_compiler_barrier();
	bracket->role = LAB_ROLE_SPARE;
	bracket->heap = take_spare(t, word);
	if (!bracket->heap) {
		bracket->role = LAB_ROLE_BORROWED;
		bracket->heap = win_heap(t, bracket->sp, word, outermost);
	}
	if (bracket->heap) {
		if (bracket->heap->limit != 0) /* a spare whose borrower was left: INV-THREAD-5 */
			bracket->role = LAB_ROLE_SPARE;
		bracket->heap->frame = bracket->sp;
		lab_set_role(bracket->heap, LAB_ROLE_BORROWED);
		bracket->word = lab_registry_word(bracket->heap);
		t->borrowed = bracket->heap->id;
	}
	lab_claim_end(t, outermost);
	return bracket->heap != NULL;
}
