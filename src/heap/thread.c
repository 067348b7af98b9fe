/* thread.c - entering and leaving heaps: see thread.h, and docs/architecture.md for the argument. Any context. */
#include "heap/thread.h"
#include "base/check.h"
#include "base/probe.h"
#include "heap/claim.h"
#include "heap/finding.h"
#include "heap/leases.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/sleeper.h"
#include "heap/visitor.h"
#include "os/backtrace.h"
#include "os/os.h"
#include "page/frame.h"
#include "page/pending.h"

enum {
	/* More than one: a thread that jumps out of several calls, each from deeper in its stack than the one before,
	 * leaves a heap each time, and is to make no more heaps than it gives back when it is up again. */
	REPAIRS = 4,
};

/* INV-HEAP-4, for a slow frame that has entered. */
static void
begin_slow(struct lab_heap *heap)
{
	if (lab_unlikely(heap->whole != LAB_HEAP_WHOLE))
		lab_heap_rebuild_owned(heap);
	heap->whole = LAB_HEAP_TORN;
	heap->nowait = heap->over_limit = false; /* one that was left inside may have set them */
	lab_compiler_barrier();
}

/* The word as it is while the thread is not inside. */
static uintptr_t
idle_word(const struct lab_thread *t)
{
	if (!t->heap)
		return 0;
	/* INV-HEAP-4: at birth a visitor may be in the way of the rebuild */
	return (uintptr_t)t->heap |
	       (lab_peek(&t->heap->whole) == LAB_HEAP_TORN ? LAB_WORD_SLOW : lab_load_rlx(&lab_word_tag));
}

/* Takes the word, which was idle, unborn, or proved stale: nobody borrows (INV-THREAD-2). False: there is no heap, and
 * none can be had; or a visitor is inside. */
static bool
enter_own(struct lab_thread *t, struct lab_guard *guard, uint32_t tid)
{
	lab_set_word(t, guard->sp);
	guard->beside = false;
	t->borrowing = 0;
	t->met.flag = 0; /* what has the same stack pointer later is another frame */
	lab_thread_settle_fork(false);
	bool newborn = !t->heap;
	guard->heap = newborn ? lab_win_at_birth(t, tid) : t->heap;
	guard->word = 0;
	if (lab_likely(guard->heap != NULL))
		lab_sleeper_name_thread(guard->heap, t);
	if (lab_unlikely(!guard->heap) || lab_unlikely(!lab_visit_lock(guard->heap, t->tid, true))) {
		lab_set_word(t, idle_word(t));
		return false;
	}
	begin_slow(guard->heap);
	for (int i = 0; lab_unlikely(t->may_have_left) && i < REPAIRS; i++)
		lab_repair_one_left(t, guard->sp);
	if (lab_unlikely(newborn) && lab_registry_count() > 1)
		lab_purge_note(); /* a look of decay finds out that the thread has ended, if there is another thread */
	return true;
}

/* Whether a frame of the thread is inside a heap, or was when a jump left it. */
static bool
is_busy(const struct lab_thread *t)
{
	return t->word != 0 && !(t->word & LAB_WORD_IDLE);
}

_Atomic bool lab_reentrant_is_told;

/* Whether nobody has told of the place yet, which somebody does from now on. Each place has one of some words after its
 * hash; when they are full no more places are told. */
static bool
is_first_time(uintptr_t place)
{
	enum { PLACES = 512, TRIES = 32 };
	static _Atomic uint64_t places[PLACES];
	size_t hash = (size_t)((uint64_t)place * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (size_t i = 0; i < TRIES; i++) {
		_Atomic uint64_t *word = &places[(hash + i) % PLACES];
		uint64_t seen = lab_load_rlx(word);
		if (seen == 0 && lab_cas64(word, 0, place)) /* pairs with itself: one wins */
			return true;
		if (lab_load_rlx(word) == place)
			return false;
	}
	return false;
}

/* A call of a handler that has interrupted another call of the thread; outside of every heap that the call has used. */
static LAB_COLD void
tell_of_handler(void)
{
	uintptr_t place;

	if (lab_os_backtrace(LAB_FRAME_HERE, &place, 1, NULL) == 1 && is_first_time(place))
		lab_report_refusal("signal handler", NULL, "a call in the middle of another one");
}

bool
lab_try_enter(struct lab_guard *guard)
{
	struct lab_thread *t = &lab_thread;

	if (lab_likely(t->word & LAB_WORD_IDLE))
		return enter_own(t, guard, t->tid);
	if (lab_unlikely(lab_load_rlx(&lab_reentrant_is_told)) && is_busy(t))
		tell_of_handler();
	return false;
}

bool
lab_enter_nowait(struct lab_guard *guard)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;

	if (!(word & LAB_WORD_IDLE))
		return false;
	lab_set_word(t, guard->sp);
	guard->beside = false;
	if (lab_registry_is_forked() || !lab_visit_lock(t->heap, t->tid, false)) {
		lab_set_word(t, word);
		return false;
	}
	if (t->heap->whole != LAB_HEAP_WHOLE) {
		lab_visit_unlock(t->heap);
		lab_set_word(t, word);
		return false;
	}
	guard->heap = t->heap;
	guard->word = 0;
	begin_slow(guard->heap);
	guard->heap->nowait = true;
	return true;
}

static bool
enter_another(struct lab_thread *t, struct lab_guard *guard, bool in_shared_memory_child)
{
	guard->reentrant = true;
	guard->beside = false;
	lab_thread_settle_fork(false);
	if (!lab_win_to_borrow(t, guard, in_shared_memory_child))
		return false;
	begin_slow(guard->heap);
	guard->heap->reentrant++;
	LAB_PROBE1(labyrinth, reentry, guard->heap->id);
	return true;
}

/* While a visitor is inside the thread's own heap: nobody of this thread is, and its frame keeps the word busy, as
 * INV-THREAD-2 wants it of who borrows. */
static bool
enter_beside(struct lab_thread *t, struct lab_guard *guard)
{
	lab_set_word(t, guard->sp);
	guard->beside = true;
	if (!lab_win_to_borrow(t, guard, false)) {
		lab_set_word(t, idle_word(t));
		return false;
	}
	begin_slow(guard->heap);
	return true;
}

static LAB_NOINLINE bool
borrow_again(struct lab_thread *t, struct lab_guard *guard, struct lab_heap *heap)
{
	if (lab_registry_is_forked())
		return false;
	guard->beside = t->word & LAB_WORD_IDLE; /* a visitor is inside the thread's own */
	if (guard->beside)
		lab_set_word(t, guard->sp);
	if (!lab_win_again(t, guard)) {
		if (guard->beside)
			lab_set_word(t, idle_word(t));
		return false;
	}
	guard->reentrant = !guard->beside;
	begin_slow(heap);
	return true;
}

/* Short, as a thread that has no heap is here in each free. */
bool
lab_borrow_again(struct lab_guard *guard, struct lab_heap *heap)
{
	struct lab_thread *t = &lab_thread;

	return t->heap && heap->id == t->borrowed && borrow_again(t, guard, heap);
}

/*
 * In a child of vfork, or a clone that shares memory, of a thread that has no heap yet: if it were born here, its heap
 * would carry an id that is dead when the thread itself goes on. So it borrows for each call, and leaves no trace in
 * TLS. The same in a thread that cannot learn its id: a heap with the id of nobody would never be found again. *tid is
 * the id that the thread is born with, if it is.
 */
static bool
is_without_heap(struct lab_thread *t, uint32_t *tid)
{
	if (lab_likely(t->heap != NULL))
		return false;
	lab_thread_settle_fork(false); /* by the old id */
	/* asked again until birth: a child of vfork may have been here before, with the same TLS */
	*tid = t->tid = lab_os_tid_to_write();
	if (lab_os_is_libc_thread(*tid))
		return false;
	return *tid == LAB_OS_TID_UNKNOWN || lab_registry_in_shared_memory_child();
}

/* Whether a jump has left the frame that the word names, and no frame can be suspended that borrows (INV-THREAD-2). */
static bool
is_stale(struct lab_thread *t, uintptr_t word, uintptr_t sp)
{
	if (!lab_is_worth_a_proof(&t->met, word, sp))
		return false;
	if (lab_frame_is_dead(word, sp, t->tid) && !lab_is_borrowing(t, sp))
		return true;
	lab_count_failed_proof(&t->met, word, sp);
	return false;
}

bool
lab_enter(struct lab_guard *guard)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	uint32_t tid = t->tid;

	if (lab_unlikely(is_without_heap(t, &tid)))
		return enter_another(t, guard, true);
	if (word == 0 || word & LAB_WORD_IDLE || is_stale(t, word, guard->sp))
		return enter_own(t, guard, tid) || (t->heap && enter_beside(t, guard));
	return enter_another(t, guard, false);
}

/* A heap that is idle has nothing for others, and nothing that it has begun to take (lab_registry_give_back). */
static void
finish_borrowed(struct lab_heap *heap)
{
	(void)lab_outbox_send_owned(heap);
	if (lab_unlikely(heap->drain != 0))
		lab_remote_drain_owned(heap);
}

LAB_COLD void
lab_tell_of_slow_call(void)
{
	static const char call[] = "real-time thread", reason[] = "a call took the slow path";

	if (lab_thread.scope & LAB_SCOPE_ABORTS)
		lab_report_misuse(call, NULL, reason);
	lab_report_refusal(call, NULL, reason);
}

void
lab_leave(struct lab_guard *guard)
{
	struct lab_thread *t = &lab_thread;
	struct lab_heap *heap = guard->heap;
	bool is_bounded = heap->nowait;
	struct lab_finding finding;

	if (guard->word)
		finish_borrowed(heap);
	bool found = lab_finding_take_owned(heap, &finding);
	heap->nowait = false;
	lab_compiler_barrier();
	heap->whole = LAB_HEAP_WHOLE;
	if (guard->word)
		lab_give_back_borrowed(t, guard);
	else
		lab_visit_unlock(heap);
	if (!guard->word || guard->beside)
		lab_set_word(t, idle_word(t));
	if (lab_unlikely(found))
		lab_finding_report(&finding); /* INV-FIND-1 */
	if (!is_bounded)
		lab_note_slow_call();
	if (lab_unlikely(lab_load_rlx(&lab_reentrant_is_told)) && guard->reentrant && is_busy(t))
		tell_of_handler();
}
