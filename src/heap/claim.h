/*
 * claim.h - how a heap becomes a thread's: births, borrowing, absorption. Private to heap/; the rules
 * (INV-THREAD-…) stand in thread.h. Any context.
 */
#ifndef LAB_HEAP_CLAIM_H
#define LAB_HEAP_CLAIM_H

#include "heap/thread.h"

static inline uint32_t
lab_role_of(struct lab_heap *heap)
{
	return lab_load_rlx(&heap->role);
}

/* The barriers make it the last word on what was done to the heap before, and the first on what is done next. */
static inline void
lab_set_role(struct lab_heap *heap, enum lab_heap_role role)
{
	lab_compiler_barrier();
	lab_store_rlx(&heap->role, (uint32_t)role);
	lab_compiler_barrier();
}

static inline void
lab_set_word(struct lab_thread *t, uintptr_t word)
{
	lab_compiler_barrier();
	t->word = word;
	lab_compiler_barrier();
}

/* The word is ours. */
static inline void
lab_make_current(struct lab_thread *t, struct lab_heap *heap)
{
	lab_set_role(heap, LAB_ROLE_CURRENT);
	t->heap = heap;
	lab_compiler_barrier();
}

/* A handler's usual distance below the frame that it interrupted: very likely alive, without asking the kernel. Not certainly: the
 * alternate stack may lie there, inside a frame of ours. So who relies on it asks now and then. */
static inline bool
lab_frame_is_just_above(uintptr_t flag, uintptr_t sp)
{
	return sp < flag && flag - sp < 64 * 1024;
}

/*
 * From here to lab_claim_end it may be unclear whose a heap is, or in which one the frame is that has the word: nested frames take nothing
 * that looks left behind, and park nothing. A frame makes no claim inside its own: the two could not be told apart. True: no
 * other living frame holds one.
 */
bool lab_claim_begin(struct lab_thread *t, uintptr_t sp);
void lab_claim_end(struct lab_thread *t, bool outermost);

/* The thread's first heap, within a claim. The word is busy already: a handler borrows meanwhile. */
struct lab_heap *lab_win_at_birth(struct lab_thread *t, bool outermost);

/* A heap for a re-entrant call that found the word busy: bracket->heap, role and word. False: there is none and none can be made. */
bool lab_win_to_borrow(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word);

/* INV-THREAD-5: whether the frame that the word names is certainly not inside the heap, nor any that will go on below it. */
static inline bool
lab_is_lendable(const struct lab_thread *t, const struct lab_heap *heap, uintptr_t word)
{
	return heap->limit == 0 || word <= heap->limit || word <= t->raised;
}

/* Whether a frame is on the thread's alternate signal stack; true if that cannot be told. */
bool lab_is_on_alternate_stack(void);

/* Of two frames of this thread the one that lab_frame_is_dead is to be asked about: when it is gone, so is the other. The higher one; if one of
 * them is on the alternate stack, the other: the proof is made where nobody runs there. More than any if that cannot be told. */
uintptr_t lab_last_to_die(uintptr_t a, uintptr_t b);

#endif
