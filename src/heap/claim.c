/* claim.c - see claim.h. Every step may be interrupted by a handler that does the same, or be left for good. */
#include "heap/claim.h"
#include "base/check.h"
#include "heap/finding.h"
#include "heap/huge.h"
#include "heap/leases.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "heap/sparse.h"
#include "heap/visit.h"
#include "os/os.h"
#include "page/frame.h"

enum {
	/* A probe is a system call; a heap that need not have been made, some pages and 20 us. */
	PROBES_AT_BIRTH = 32,
	PROBES_TO_BORROW = 4,
	PLACES_OF_BIRTH = 512,
	PLACE_SHIFT = 14, /* calls from a stack's same 16 KiB are from one place */
};

/* ---- frames that are in the way ---- */

static uint16_t *
count_of(struct lab_meetings *met, uintptr_t flag, uintptr_t sp)
{
	return sp < flag ? &met->from_below : &met->from_above;
}

bool
lab_is_worth_a_proof(struct lab_meetings *met, uintptr_t flag, uintptr_t sp)
{
	uint32_t place = (uint32_t)(sp >> PLACE_SHIFT);

	if (met->flag != flag)
		*met = (struct lab_meetings){.flag = flag};
	if (sp >= flag && met->place != place) {
		met->place = place;
		met->from_above = 0;
	}
	uint32_t next = *count_of(met, flag, sp) + 1u;
	bool is_worth_it = (next & (next - 1)) == 0;
	if (!is_worth_it)
		*count_of(met, flag, sp) = (uint16_t)next;
	return is_worth_it;
}

void
lab_count_failed_proof(struct lab_meetings *met, uintptr_t flag, uintptr_t sp)
{
	(*count_of(met, flag, sp))++;
}

/* Whether sp is below the frame by no more than a handler's call usually is: then the frame is alive, very likely. */
static bool
is_just_below(uintptr_t flag, uintptr_t sp)
{
	return sp < flag && flag - sp < 64 * 1024;
}

bool
lab_is_borrowing(const struct lab_thread *t, uintptr_t sp)
{
	uintptr_t frame = t->borrowing;

	return frame != 0 && (is_just_below(frame, sp) || !lab_frame_is_dead(frame, sp, t->tid));
}

/* The thread whose heap was won, if it is dead, may have begun to free huge blocks. */
static struct lab_heap *
with_frees_finished(struct lab_heap *heap)
{
	if (heap)
		lab_huge_finish_frees();
	return heap;
}

/* ---- births ---- */

/* A newborn thread has no older frame inside any heap: all heaps that carry its thread id are a dead thread's, or were
 * left when its birth was. */
static struct lab_heap *
inherit(struct lab_thread *t, uint32_t tid)
{
	struct lab_heap *heap, *first = NULL;
	uint64_t word;

	for (uint32_t id = 0; (heap = lab_registry_next_of(tid, &id, &word)) != NULL;) {
		lab_poke(&heap->frame, 0);
		if (!lab_registry_claim_own(heap, word, first ? LAB_HEAP_ABSORBING : LAB_HEAP_CURRENT))
			continue;
		if (first)
			t->may_have_left = true;
		else
			first = heap;
	}
	return first;
}

/* Hints: the heap of the thread that was born last at a place, by its thread pointer. */
static _Atomic uint16_t born_at[PLACES_OF_BIRTH];

static _Atomic uint16_t *
place_of_birth(void)
{
	uint64_t spread = (uint64_t)lab_thread_pointer() * UINT64_C(0x9e3779b97f4a7c15);

	return &born_at[(spread >> 32) % PLACES_OF_BIRTH];
}

/* Where threads only begin nearly all probes are in vain, and there is one a birth; where they end as well, there are
 * more after each that finds a dead thread. */
static struct lab_heap *
adopt_at_birth(uint32_t tid)
{
	static _Atomic unsigned worth = 1;
	unsigned probes = lab_load_rlx(&worth);
	struct lab_heap *heap = with_frees_finished(lab_registry_adopt(tid, LAB_HEAP_CURRENT, probes, false));

	if (heap && 2 * probes <= PROBES_AT_BIRTH)
		lab_store_rlx(&worth, 2 * probes);
	else if (!heap && probes > 1)
		lab_store_rlx(&worth, probes / 2);
	return heap;
}

static struct lab_heap *
win_for_life(struct lab_thread *t, uint32_t tid)
{
	_Atomic uint16_t *place = place_of_birth();
	struct lab_heap *heap = inherit(t, tid);

	if (!heap)
		heap = with_frees_finished(lab_registry_succeed(tid, lab_load_rlx(place)));
	if (!heap)
		heap = lab_registry_take_idle(tid, LAB_HEAP_CURRENT);
	if (!heap)
		heap = adopt_at_birth(tid);
	if (!heap)
		heap = lab_registry_make(tid, LAB_HEAP_CURRENT);
	if (heap)
		lab_store_rlx(place, (uint16_t)heap->id);
	return heap;
}

/*
 * A handler in between may have forked: in its child the pass over leases has changed t->tid, and the word that was won
 * after it names the parent's thread. Or it has run a child of vfork, which leaves its own id there until there is a
 * heap. In either case the two disagree when t->heap is set; from then on nothing but such a pass changes t->tid, and
 * it changes the word with it.
 */
struct lab_heap *
lab_win_at_birth(struct lab_thread *t, uint32_t tid)
{
	while (lab_registry_start()) {
		struct lab_heap *heap = t->heap = win_for_life(t, tid);
		lab_compiler_barrier();
		if (lab_likely(!heap || lab_registry_tid(heap->id) == t->tid))
			return heap;
		t->heap = NULL;
		lab_compiler_barrier();
		lab_thread_settle_fork(false); /* by the old id */
		t->tid = tid = lab_os_tid_to_write();
	}
	return NULL;
}

/* ---- borrowing ---- */

static bool
may_be_left(const struct lab_heap *heap, uint64_t word)
{
	enum lab_heap_state hold = lab_registry_state_in(word);

	return (hold == LAB_HEAP_BORROWED || hold == LAB_HEAP_ABSORBING) && heap->frame != 0 &&
	       lab_load_rlx(&heap->visitor) == 0;
}

/*
 * INV-THREAD-3. Of several the one whose frame is nearest below sp: so a call takes none that another, from deeper in
 * the stack, could have had and it could not. The old frame is forgotten before the heap is won, so that there is no
 * time at which a handler would judge it by that.
 */
static struct lab_heap *
take_left(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap, *best = NULL;
	uint64_t word, best_word = 0;

	for (uint32_t id = 0; t->heap && (heap = lab_registry_next_of(t->tid, &id, &word)) != NULL;) {
		if (!may_be_left(heap, word) || (best && sp - heap->frame > sp - best->frame))
			continue;
		best = heap;
		best_word = word;
	}
	if (!best || !lab_is_worth_a_proof(&best->met, best->frame, sp))
		return NULL;
	if (!lab_frame_is_dead(best->frame, sp, t->tid)) {
		lab_count_failed_proof(&best->met, best->frame, sp);
		return NULL;
	}
	lab_poke(&best->frame, 0);
	lab_compiler_barrier();
	return lab_registry_claim_own(best, best_word, LAB_HEAP_BORROWED) ? best : NULL;
}

/* A heap that nobody else has. */
static struct lab_heap *
win_heap(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap = NULL;

	if (t->borrowed < lab_registry_count() && !lab_registry_is_forked())
		heap = lab_registry_take_if_idle(t->tid, LAB_HEAP_BORROWED, t->borrowed);
	if (!heap && t->may_have_left)
		heap = take_left(t, sp);
	if (!heap)
		heap = lab_registry_take_idle(t->tid, LAB_HEAP_BORROWED);
	if (!heap)
		heap = with_frees_finished(lab_registry_adopt(t->tid, LAB_HEAP_BORROWED, PROBES_TO_BORROW, false));
	if (!heap)
		heap = lab_registry_make(t->tid, LAB_HEAP_BORROWED);
	return heap;
}

/* Before a heap is won: a jump right after the CAS leaves a heap that is looked for only if these two are set. */
static void
begin_borrowing(struct lab_thread *t, uintptr_t sp, bool in_shared_memory_child)
{
	if (!in_shared_memory_child && !lab_is_borrowing(t, sp))
		t->borrowing = sp;
	t->may_have_left = true;
	lab_compiler_barrier();
}

static void
end_borrowing(struct lab_thread *t, uintptr_t sp)
{
	lab_compiler_barrier();
	if (t->borrowing == sp)
		t->borrowing = 0;
}

static bool
borrow(struct lab_thread *t, struct lab_guard *guard, struct lab_heap *heap)
{
	if (!heap) {
		end_borrowing(t, guard->sp);
		return false;
	}
	heap->frame = guard->sp;
	heap->met.flag = 0;
	t->borrowed = (uint16_t)heap->id;
	guard->heap = heap;
	guard->word = lab_registry_word(heap);
	return true;
}

bool
lab_win_to_borrow(struct lab_thread *t, struct lab_guard *guard, bool in_shared_memory_child)
{
	if (!lab_registry_start())
		return false;
	begin_borrowing(t, guard->sp, in_shared_memory_child);
	return borrow(t, guard, win_heap(t, guard->sp));
}

bool
lab_win_again(struct lab_thread *t, struct lab_guard *guard)
{
	begin_borrowing(t, guard->sp, false);
	return borrow(t, guard, lab_registry_take_if_idle(t->tid, LAB_HEAP_BORROWED, t->borrowed));
}

void
lab_give_back_borrowed(struct lab_thread *t, struct lab_guard *guard)
{
	lab_assert(!(t->word & LAB_WORD_IDLE)); /* INV-THREAD-2 */
	guard->heap->frame = 0;
	lab_compiler_barrier();
	lab_registry_give_back(guard->heap, guard->word);
	end_borrowing(t, guard->sp);
}

/* ---- repair and absorption ---- */

/* A heap that is ABSORBING goes back whole, with nothing in it that others wait for; if `thin`, with no page of a
 * sparse span that is free. What is found wrong is noted in `into`, which the caller is inside. How many blocks that
 * others had freed were taken in. */
static size_t
repair_and_give_back(struct lab_heap *heap, struct lab_heap *into, bool thin)
{
	uint64_t word = lab_registry_word(heap), before = lab_load_rlx(&heap->remote_frees);

	lab_heap_rebuild_owned(heap); /* spans that are empty but current go as well */
	heap->whole = LAB_HEAP_TORN;
	lab_compiler_barrier();
	if (thin)
		lab_sparse_give_all_owned(heap);
	lab_segments_release_owned(heap, false);
	lab_compiler_barrier();
	heap->whole = LAB_HEAP_WHOLE;
	heap->frame = 0;
	lab_compiler_barrier();
	if (into)
		lab_finding_pass_owned(heap, into);
	size_t blocks = (size_t)(lab_load_rlx(&heap->remote_frees) - before);
	lab_registry_give_back(heap, word);
	return blocks;
}

void
lab_repair_one_left(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;
	uint64_t word;

	t->may_have_left = false; /* first: a handler may borrow meanwhile */
	lab_compiler_barrier();
	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id, &word)) != NULL;) {
		enum lab_heap_state hold = lab_registry_state_in(word);
		if (hold != LAB_HEAP_BORROWED && hold != LAB_HEAP_ABSORBING)
			continue;
		t->may_have_left = true;       /* there may be more */
		if (lab_visit_is_inside(heap)) /* it was left when it was won (INV-VISIT-2) */
			continue;
		lab_poke(&heap->frame, 0);
		lab_compiler_barrier();
		if (lab_registry_claim_own(heap, word, LAB_HEAP_ABSORBING)) {
			heap->frame = sp;
			(void)repair_and_give_back(heap, t->heap, false);
		}
		return;
	}
}

bool
lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes)
{
	lab_thread.may_have_left = true;
	lab_compiler_barrier();
	struct lab_heap *dead =
	        with_frees_finished(lab_registry_adopt(lab_current_tid(), LAB_HEAP_ABSORBING, probes, false));
	if (!dead)
		return false;
	dead->frame = LAB_ENTRY_STACK_POINTER;
	lab_heap_absorb_owned(heap, dead);
	return true;
}

/* Repairs all idle heaps, and gives back pages of their sparse spans. */
static void
thin_idle(struct lab_heap *into)
{
	struct lab_heap *heap;

	lab_thread.may_have_left = true;
	lab_compiler_barrier();
	for (uint32_t id = 0; id < lab_registry_count() && !lab_registry_is_forked(); id++) {
		heap = lab_registry_take_if_idle(lab_current_tid(), LAB_HEAP_ABSORBING, id);
		if (heap && heap->slots == 0) { /* nothing is in it */
			lab_registry_give_back(heap, lab_registry_word(heap));
		} else if (heap) {
			heap->frame = LAB_ENTRY_STACK_POINTER;
			(void)repair_and_give_back(heap, into, true);
		}
	}
}

void
lab_thread_squeeze_owned(struct lab_heap *heap)
{
	lab_sparse_give_all_owned(heap);
	lab_visit_all_thoroughly(heap);
	thin_idle(heap);
}

bool
lab_thread_clear_one_owned(struct lab_heap *into, unsigned probes, size_t *blocks)
{
	lab_thread.may_have_left = true;
	lab_compiler_barrier();
	struct lab_heap *heap =
	        with_frees_finished(lab_registry_adopt(lab_current_tid(), LAB_HEAP_ABSORBING, probes, true));
	if (!heap)
		return false;
	heap->frame = LAB_ENTRY_STACK_POINTER;
	*blocks += repair_and_give_back(heap, into, false);
	return true;
}
