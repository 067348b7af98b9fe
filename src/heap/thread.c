/* thread.c - entering and leaving heaps: see thread.h, and docs/architecture.md for the argument. Any context. */
#include "heap/thread.h"
#include "base/check.h"
#include "heap/claim.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "os/os.h"

enum {
	PARK_AFTER = 64,
	PROOFS_AT_ONCE = 16,
	PROBES_TO_ABSORB = 4,
	WATCHED_AFTER_PARKING = 255,
	ABSORB_AT_BIRTH = 4, /* the dead are more than the newborn where threads die faster than they are found out */
};

_Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));
_Atomic uintptr_t lab_word_tag = LAB_WORD_FAST;

uint32_t
lab_thread_tid(void)
{
	return lab_thread.tid ? lab_thread.tid : lab_os_tid();
}

static void
make_spare(struct lab_thread *t, struct lab_heap *heap)
{
	t->has_spare = true;
	lab_set_role(heap, LAB_ROLE_SPARE);
}

/* Whether to ask once more. An answer costs system calls; where it was no for long, it is asked for more seldom. */
static bool
is_worth_a_proof(struct lab_thread *t, uintptr_t frame, uintptr_t sp)
{
	if (lab_frame_is_just_above(frame, sp))
		return false;
	t->proofs = t->proofs < UINT8_MAX ? t->proofs + 1 : PROOFS_AT_ONCE;
	return t->proofs <= PROOFS_AT_ONCE || t->proofs % PROOFS_AT_ONCE == 0;
}

/* INV-THREAD-3: the word was idle, so that nobody but a frame that is still suspended can be in a parked heap. Within a claim. */
static void
free_parked(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;
	bool left = false;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		if (lab_role_of(heap) != LAB_ROLE_PARKED || heap == t->heap)
			continue;
		if (is_worth_a_proof(t, heap->frame, sp) && lab_frame_is_dead(heap->frame, sp))
			make_spare(t, heap);
		else
			left = true;
	}
	t->has_parked = left;
}

/* The frame that `word` names may be in the current heap or in any parked one: INV-THREAD-3. */
static void
park_current(struct lab_thread *t, uintptr_t word)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;)
		if (lab_role_of(heap) == LAB_ROLE_PARKED) {
			if (!lab_is_same_stack(heap->frame, word))
				heap->frame = UINTPTR_MAX; /* frames on two stacks: never proved dead */
			else if (heap->frame < word)
				heap->frame = word;
		}
	t->has_parked = true;
	t->proofs = 0;
	t->watched = WATCHED_AFTER_PARKING;
	if (t->heap) {
		t->heap->frame = word;
		lab_set_role(t->heap, LAB_ROLE_PARKED);
	}
}

/* Counts how often the same busy frame was met; often enough, the borrowed heap becomes the thread's. */
static void
park_if_stuck(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word)
{
	if (t->stuck != word) {
		t->stuck = word;
		t->stuck_count = 0;
	}
	if (++t->stuck_count < PARK_AFTER)
		return;
	t->stuck_count = 0;
	bool outermost = lab_claim_begin(t, bracket->sp);
	if (outermost && t->word == word) {
		park_current(t, word);
		lab_make_current(t, bracket->heap);
		bracket->role = LAB_ROLE_CURRENT;
		lab_set_word(t, bracket->sp);
	}
	lab_claim_end(t, outermost);
}

static void
after_fork(struct lab_thread *t)
{
	uint32_t tid = lab_os_tid();

	if (tid != lab_os_pid())
		return; /* the leader does it; until then all heaps count as alive */
	lab_registry_after_fork(t->tid, tid);
	t->tid = tid;
}

/* INV-HEAP-4, for a slow frame that has entered. */
static void
begin_slow(struct lab_heap *heap)
{
	if (lab_unlikely(!heap->whole))
		lab_heap_rebuild_owned(heap);
	heap->whole = 0;
	lab_compiler_barrier();
}

/* Which heap the word stands for, now that it is ours: `named` if it was idle, NULL if not. Within a claim. */
static struct lab_heap *
choose_current(struct lab_thread *t, struct lab_heap *named, struct lab_bracket *bracket, bool outermost)
{
	struct lab_heap *other = t->heap;

	if (lab_unlikely(named && named != other)) {
		/* INV-THREAD-2: a parked frame has ended. All frames that were in the other heap are gone with it. */
		lab_make_current(t, named);
		if (other)
			make_spare(t, other);
	}
	if (lab_unlikely(!t->heap))
		return lab_win_at_birth(t, outermost);
	if (lab_unlikely(lab_role_of(t->heap) != LAB_ROLE_CURRENT))
		lab_set_role(t->heap, LAB_ROLE_CURRENT); /* parking it was cut short */
	if (named && lab_unlikely(t->has_parked))
		free_parked(t, bracket->sp);
	bracket->reentrant = t->has_parked; /* in a long handler: its caller's frame is still suspended */
	return t->heap;
}

/* Takes the word, if it is `word` still. False: a handler has parked what it stood for; look again. */
static bool
take_word(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word)
{
	struct lab_heap *named = word & LAB_WORD_IDLE ? (struct lab_heap *)(word & ~LAB_WORD_IDLE) : NULL;

	lab_set_word(t, bracket->sp);
	t->stuck_count = 0;
	bool outermost = lab_claim_begin(t, bracket->sp);
	bool taken = t->word == bracket->sp;
	if (taken) {
		if (lab_unlikely(lab_registry_is_forked()))
			after_fork(t);
		bracket->role = LAB_ROLE_CURRENT;
		bracket->heap = choose_current(t, named, bracket, outermost);
		if (!bracket->heap)
			lab_set_word(t, 0);
	}
	lab_claim_end(t, outermost);
	return taken;
}

/* Inside the thread's own heap, if there is one. */
static bool
settle(struct lab_bracket *bracket, bool newborn)
{
	if (lab_unlikely(!bracket->heap))
		return false;
	begin_slow(bracket->heap);
	if (lab_unlikely(newborn))
		for (int i = 0; i < ABSORB_AT_BIRTH && lab_thread_absorb_dead_owned(bracket->heap, PROBES_TO_ABSORB); i++)
			;
	return true;
}

bool
lab_try_enter(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word;

	do {
		word = t->word;
		if (!(word & LAB_WORD_IDLE))
			return false;
	} while (!take_word(t, bracket, word));
	return settle(bracket, false);
}

static bool
enter_another(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word)
{
	bracket->reentrant = true;
	if (lab_registry_is_forked())
		after_fork(t);
	if (!lab_win_to_borrow(t, bracket))
		return false;
	begin_slow(bracket->heap);
	bracket->heap->reentrant++;
	park_if_stuck(t, bracket, word);
	return true;
}

bool
lab_enter(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word;
	bool newborn;

	do {
		word = t->word;
		newborn = !t->heap;
		/* A dead frame that was left in the current heap shows in heap->whole, one in a parked heap in that one's. */
		if (!(word & LAB_WORD_IDLE) && word != 0 && !lab_frame_is_dead(word, bracket->sp))
			return enter_another(t, bracket, word);
	} while (!take_word(t, bracket, word));
	return settle(bracket, newborn);
}

/*
 * What an idle word carries. Only a slow entry sees that a parked frame is dead, and the call that lies as high in the stack as that frame may be
 * one that the fast path would serve: a program that leaves its frees by jumps, and allocates further down only, would park a heap
 * each time and never get one back. So for a while after parking every call is slow.
 */
static uintptr_t
idle_tag(struct lab_thread *t)
{
	if (lab_likely(!t->has_parked) || t->watched == 0)
		return lab_load_rlx(&lab_word_tag);
	t->watched--;
	return LAB_WORD_SLOW;
}

void
lab_leave(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	struct lab_heap *heap = bracket->heap;

	if (bracket->role != LAB_ROLE_CURRENT)
		lab_batch_flush_owned(heap);
	lab_compiler_barrier();
	heap->whole = 1;
	if (bracket->role == LAB_ROLE_CURRENT) {
		lab_set_word(t, (uintptr_t)heap | idle_tag(t));
	} else if (bracket->role == LAB_ROLE_SPARE) {
		lab_set_role(heap, LAB_ROLE_SPARE);
	} else {
		bool outermost = lab_claim_begin(t, bracket->sp);
		lab_set_role(heap, LAB_ROLE_NONE);
		lab_registry_give_back(heap, bracket->word);
		lab_claim_end(t, outermost);
	}
}
