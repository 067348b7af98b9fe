/* thread.c - entering and leaving heaps: see thread.h, and docs/architecture.md for the argument. Any context. */
#include "heap/thread.h"
#include "base/check.h"
#include "heap/claim.h"
#include "heap/exclusive.h"
#include "heap/finding.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "os/os.h"
#include "page/frame.h"
#include "page/walk.h"

enum {
	PARK_AFTER = 64,
	PROOFS_AT_ONCE = 16,
	PROBES_TO_ABSORB = 4,
	WATCHED_AFTER_PARKING = 255,
	ABSORB_AT_BIRTH = 4, /* the dead are more than the newborn where threads die faster than they are found out */
};

_Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));
_Atomic uintptr_t lab_word_tag = LAB_WORD_FAST;
void (*lab_on_fork)(void);

uint32_t
lab_thread_tid(void)
{
	return lab_thread.heap ? lab_thread.tid : lab_os_tid_to_write();
}

static void
make_spare(struct lab_thread *t, struct lab_heap *heap)
{
	t->has_spare = true;
	lab_set_role(heap, LAB_ROLE_SPARE);
}

/* The same for a parked heap whose frames were proved dead by a call at sp that found the word idle: INV-THREAD-5. */
static void
make_spare_again(struct lab_thread *t, struct lab_heap *heap, uintptr_t sp)
{
	t->raised = 0; /* it holds for the heaps that were spare when it was stored */
	lab_compiler_barrier();
	heap->limit = lab_is_on_alternate_stack() ? 1 : sp;
	make_spare(t, heap);
}

/* The same for all spares at once, by a call that has come higher than those before. */
static void
raise_limits(struct lab_thread *t, uintptr_t sp)
{
	if (sp > t->raised && !lab_is_on_alternate_stack())
		t->raised = sp;
}

/* Whether to ask once more. An answer costs system calls; where it was no for long, it is asked for more seldom. */
static bool
is_worth_a_proof(struct lab_thread *t, uintptr_t frame, uintptr_t sp)
{
	if (lab_frame_is_just_above(frame, sp) && ++t->passed % PARK_AFTER != 0)
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
		if (is_worth_a_proof(t, heap->frame, sp) && lab_frame_is_dead(heap->frame, sp, t->tid))
			make_spare_again(t, heap, sp);
		else
			left = true;
	}
	t->has_parked = left;
}

/* INV-THREAD-4: heaps whose borrowers were left by a jump serve re-entrant calls from now on. Within the outermost claim. */
static void
free_borrowed(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;

	t->has_lent = false; /* first: a handler may borrow meanwhile */
	lab_compiler_barrier();
	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		if (lab_role_of(heap) != LAB_ROLE_BORROWED)
			continue;
		if (is_worth_a_proof(t, heap->frame, sp) && lab_frame_is_dead(heap->frame, sp, t->tid)) {
			make_spare(t, heap);
			t->proofs = 0;
		} else {
			t->has_lent = true;
		}
	}
}

/* The frame that `word` names may be in the current heap, in any parked one, or in one that its limit does not exclude: INV-THREAD-3. */
static void
park_current(struct lab_thread *t, uintptr_t word)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		uint32_t role = lab_role_of(heap);
		bool may_hold = !lab_is_lendable(t, heap, word);
		if (role == LAB_ROLE_PARKED || (role == LAB_ROLE_BORROWED && may_hold)) {
			heap->frame = lab_last_to_die(heap->frame, word);
		} else if (role == LAB_ROLE_SPARE && may_hold) {
			heap->frame = word;
			lab_set_role(heap, LAB_ROLE_PARKED);
		}
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
after_fork(struct lab_thread *t, bool is_leader)
{
	uint32_t tid = lab_os_tid_to_write();

	if (!is_leader && tid != lab_os_pid())
		return; /* the leader does it; until then all heaps count as alive */
	lab_walk_after_fork(t->tid, tid);
	lab_purge_after_fork(t->tid, tid, lab_registry_is_forkers_purge);
	if (lab_on_fork)
		lab_on_fork();
	lab_exclusive_after_fork(t->tid, tid);
	lab_registry_after_fork(t->tid, tid);
	do /* a handler may have forked in between: this is its child then */
		t->tid = lab_os_tid_to_write();
	while (t->tid != lab_os_tid());
}

void
lab_thread_settle_fork(bool is_leader)
{
	if (lab_unlikely(lab_registry_is_forked()))
		after_fork(&lab_thread, is_leader);
}

/* INV-HEAP-4, for a slow frame that has entered. */
static void
begin_slow(struct lab_heap *heap)
{
	if (lab_unlikely(!heap->whole))
		lab_heap_rebuild_owned(heap);
	heap->whole = 0;
	heap->nowait = heap->over_limit = false; /* one that was left inside may have set them */
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
	if (named && lab_unlikely(t->has_spare))
		raise_limits(t, bracket->sp);
	if (outermost && lab_unlikely(t->has_lent))
		free_borrowed(t, bracket->sp);
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
			after_fork(t, false);
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

/* Whether `heap`, which the word named as idle, may be used without any of what lab_enter does besides. */
static bool
is_quiet(const struct lab_thread *t, struct lab_heap *heap)
{
	return heap == t->heap && heap->whole && !t->has_parked && t->claiming == 0 && lab_role_of(heap) == LAB_ROLE_CURRENT &&
	       !lab_registry_is_forked();
}

bool
lab_enter_quietly(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	struct lab_heap *heap = (struct lab_heap *)(word & ~LAB_WORD_IDLE);

	if (!(word & LAB_WORD_IDLE) || !heap)
		return false;
	/* As the fast paths enter: a handler in between that parked the heap has left it to whom the word names (INV-THREAD-2). */
	lab_set_word(t, bracket->sp);
	if (!is_quiet(t, heap)) {
		lab_set_word(t, word);
		return false;
	}
	bracket->heap = heap;
	bracket->role = LAB_ROLE_CURRENT;
	begin_slow(heap);
	heap->nowait = true;
	return true;
}

static bool
enter_another(struct lab_thread *t, struct lab_bracket *bracket, uintptr_t word)
{
	bracket->reentrant = true;
	if (lab_registry_is_forked())
		after_fork(t, false);
	if (!lab_win_to_borrow(t, bracket, word))
		return false;
	begin_slow(bracket->heap);
	bracket->heap->reentrant++;
	park_if_stuck(t, bracket, word);
	return true;
}

/*
 * In a child of vfork, or a clone that shares memory, of a thread that has no heap yet: if it were born here, its heap would carry an id
 * that is dead when the thread itself goes on. So it borrows for each call, and leaves no trace in TLS.
 * The same in a thread that cannot learn its id: a heap with the id of nobody would never be found again.
 */
static bool
enter_from_outside(struct lab_thread *t, struct lab_bracket *bracket)
{
	bracket->reentrant = true; /* the thread is suspended below, perhaps */
	if (!lab_win_to_borrow(t, bracket, t->word))
		return false;
	begin_slow(bracket->heap);
	return true;
}

/* Whether a jump has left the frame that the word names. */
static bool
is_stale(struct lab_thread *t, uintptr_t word, uintptr_t sp)
{
	bool is_met_often = t->stuck == word && t->stuck_count % PROOFS_AT_ONCE == PROOFS_AT_ONCE - 1;

	return (is_met_often || !lab_frame_is_just_above(word, sp)) && lab_frame_is_dead(word, sp, t->tid);
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
		if (lab_unlikely(newborn)) {
			/* asked again until birth: a child of vfork may have been here before, with the same TLS */
			t->tid = lab_os_tid_to_write();
			if (t->tid == LAB_OS_TID_UNKNOWN || lab_registry_is_outside())
				return enter_from_outside(t, bracket);
		}
		/* A dead frame that was left in the current heap shows in heap->whole, one in a parked heap in that one's. */
		if (!(word & LAB_WORD_IDLE) && word != 0 && !is_stale(t, word, bracket->sp))
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
	struct lab_finding finding;

	if (bracket->role != LAB_ROLE_CURRENT)
		lab_batch_flush_owned(heap);
	bool found = lab_finding_take_owned(heap, &finding);
	heap->nowait = false;
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
	if (lab_unlikely(found))
		lab_finding_report(&finding); /* INV-FIND-1 */
}
