/* thread.c - entering and leaving heaps: see thread.h, and docs/architecture.md for the argument. Any context. */
#include "heap/thread.h"
#include "base/check.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "os/os.h"

enum {
	PARK_AFTER = 64,
	NEAR = 64 * 1024,
	/* A probe costs a system call of 0.1 us; a heap that need not have been made, some pages and 20 us. */
	PROBES_AT_BIRTH = 32,
	PROBES_TO_BORROW = 4,
	PROBES_TO_ABSORB = 4,
	ABSORB_AT_BIRTH = 4, /* the dead are more than the newborn where threads die faster than they are found out */
};

_Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));
_Atomic uintptr_t lab_word_tag = LAB_WORD_FAST;

uint32_t
lab_thread_tid(void)
{
	return lab_thread.tid ? lab_thread.tid : lab_os_tid();
}

static uint32_t
role_of(struct lab_heap *heap)
{
	return lab_load_rlx(&heap->role);
}

/* The barriers make it the last word on what was done to the heap before, and the first on what is done next. */
static void
set_role(struct lab_heap *heap, enum lab_heap_role role)
{
	lab_compiler_barrier();
	lab_store_rlx(&heap->role, (uint32_t)role);
	lab_compiler_barrier();
}

static void
set_word(struct lab_thread *t, uintptr_t word)
{
	lab_compiler_barrier();
	t->word = word;
	lab_compiler_barrier();
}

/*
 * Whether the frame with stack pointer `flag` is certainly gone, judged from an entry at `sp`. A jump has left it if sp is not below it
 * on the same stack. Frames on the registered alternate stack are gone when nobody runs on it, too. That two frames are on the
 * thread's own stack: neither is on the alternate one, and no page between them is unmapped. Otherwise the answer is false,
 * which is always safe.
 */
static bool
is_dead_frame(uintptr_t flag, uintptr_t sp)
{
	struct lab_os_stack alternate;

	if (sp < flag && flag - sp < NEAR)
		return false; /* a handler's usual distance: no need to ask */
	if (!lab_os_alternate_stack(&alternate))
		return false;
	if (flag - alternate.low < alternate.size)
		return !alternate.running || (sp - alternate.low < alternate.size && sp >= flag);
	if (alternate.running || sp < flag)
		return false;
	uintptr_t top = lab_os_tid() == lab_os_pid() ? lab_os_main_stack_top() : lab_thread_pointer();
	return sp < top && lab_os_is_mapped(flag, sp + 1);
}

/*
 * From here to end_claim it may be unclear whose a heap is, or in which one the frame is that has the word: nested frames take nothing
 * that looks left behind, and park nothing. A frame makes no claim inside its own: the two could not be told apart. True: no
 * other living frame holds one.
 */
static bool
begin_claim(struct lab_thread *t, uintptr_t sp)
{
	bool outermost = t->claiming == 0 || is_dead_frame(t->claiming, sp);

	if (outermost)
		t->claiming = sp;
	lab_compiler_barrier();
	return outermost;
}

static void
end_claim(struct lab_thread *t, bool outermost)
{
	lab_compiler_barrier();
	if (outermost)
		t->claiming = 0;
}

/* The word is ours. */
static void
make_current(struct lab_thread *t, struct lab_heap *heap)
{
	set_role(heap, LAB_ROLE_CURRENT);
	t->heap = heap;
	lab_compiler_barrier();
}

static void
make_spare(struct lab_thread *t, struct lab_heap *heap)
{
	t->has_spare = true;
	set_role(heap, LAB_ROLE_SPARE);
}

/* INV-THREAD-3: the word was idle, so that nobody but a frame that is still suspended can be in a parked heap. Within a claim. */
static void
free_parked(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;
	bool left = false;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		if (role_of(heap) != LAB_ROLE_PARKED || heap == t->heap)
			continue;
		/* a proof costs system calls, and where it fails once it will fail again */
		if (t->proofs++ % 16 == 0 && is_dead_frame(heap->frame, sp))
			make_spare(t, heap);
		else
			left = true;
	}
	t->has_parked = left;
}

static bool
is_left_behind(struct lab_thread *t, struct lab_heap *heap, uintptr_t sp)
{
	switch (role_of(heap)) {
	case LAB_ROLE_BORROWED:
		return is_dead_frame(heap->frame, sp);
	case LAB_ROLE_PARKED:
	case LAB_ROLE_SPARE:
		return false;
	default:
		return heap != t->heap;
	}
}

/* INV-THREAD-4. Only for the outermost claim. */
static struct lab_heap *
find_left_behind(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;)
		if (is_left_behind(t, heap, sp) && lab_registry_claim_own(heap, t->tid))
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
		set_role(heap, LAB_ROLE_NONE);
		if (!first)
			first = heap;
	}
	return first;
}

/* The thread's first heap, within a claim. The word is busy already: a handler borrows meanwhile. */
static struct lab_heap *
be_born(struct lab_thread *t, bool outermost)
{
	if (!lab_registry_start())
		return NULL;
	t->tid = lab_os_tid();
	struct lab_heap *heap = outermost ? inherit(t) : NULL;
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_AT_BIRTH);
	if (!heap)
		heap = lab_registry_take_idle(t->tid, 0);
	if (!heap)
		heap = lab_registry_make(t->tid);
	if (heap)
		make_current(t, heap);
	return heap;
}

bool
lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes)
{
	struct lab_thread *t = &lab_thread;
	bool outermost = begin_claim(t, LAB_ENTRY_STACK_POINTER);
	struct lab_heap *dead = lab_registry_adopt(lab_thread_tid(), probes);

	if (dead)
		lab_heap_absorb_owned(heap, dead);
	end_claim(t, outermost);
	return dead != NULL;
}

/* A spare of this thread's own. By CAS: a handler in the middle of this may take the same one. */
static struct lab_heap *
take_spare(struct lab_thread *t)
{
	struct lab_heap *heap;

	if (!t->has_spare)
		return NULL;
	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		uint32_t spare = LAB_ROLE_SPARE;
		if (atomic_compare_exchange_strong_explicit(&heap->role, &spare, LAB_ROLE_BORROWED, memory_order_relaxed,
		                                            memory_order_relaxed))
			return heap;
	}
	return NULL;
}

/* A heap that nobody else has, for a re-entrant call, within a claim: an idle one, one left behind, a dead thread's, or a new one. */
static struct lab_heap *
win_heap(struct lab_thread *t, uintptr_t sp, bool outermost)
{
	struct lab_heap *heap = lab_registry_take_idle(t->tid, t->borrowed);

	if (!heap && outermost)
		heap = find_left_behind(t, sp);
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_TO_BORROW);
	if (!heap)
		heap = lab_registry_make(t->tid);
	return heap;
}

static bool
borrow(struct lab_thread *t, struct lab_bracket *bracket)
{
	if (t->tid == 0)
		t->tid = lab_os_tid();
	if (!lab_registry_start())
		return false;
	bool outermost = begin_claim(t, bracket->sp);
	bracket->role = LAB_ROLE_SPARE;
	bracket->heap = take_spare(t);
	if (!bracket->heap) {
		bracket->role = LAB_ROLE_BORROWED;
		bracket->heap = win_heap(t, bracket->sp, outermost);
	}
	if (bracket->heap) {
		bracket->heap->frame = bracket->sp;
		set_role(bracket->heap, LAB_ROLE_BORROWED);
		bracket->word = lab_registry_word(bracket->heap);
		t->borrowed = bracket->heap->id;
	}
	end_claim(t, outermost);
	return bracket->heap != NULL;
}

/* The frame that `word` names may be in the current heap or in any parked one: INV-THREAD-3. */
static void
park_current(struct lab_thread *t, uintptr_t word)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;)
		if (role_of(heap) == LAB_ROLE_PARKED && heap->frame < word)
			heap->frame = word;
	t->has_parked = true;
	t->proofs = 0;
	if (t->heap) {
		t->heap->frame = word;
		set_role(t->heap, LAB_ROLE_PARKED);
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
	bool outermost = begin_claim(t, bracket->sp);
	if (outermost && t->word == word) {
		park_current(t, word);
		make_current(t, bracket->heap);
		bracket->role = LAB_ROLE_CURRENT;
		set_word(t, bracket->sp);
	}
	end_claim(t, outermost);
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
		make_current(t, named);
		if (other)
			make_spare(t, other);
	}
	if (lab_unlikely(!t->heap))
		return be_born(t, outermost);
	if (lab_unlikely(role_of(t->heap) != LAB_ROLE_CURRENT))
		set_role(t->heap, LAB_ROLE_CURRENT); /* parking it was cut short */
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

	set_word(t, bracket->sp);
	t->stuck_count = 0;
	if (named)
		t->claiming = 0; /* INV-THREAD-3: who held a claim is gone */
	bool outermost = begin_claim(t, bracket->sp);
	bool taken = t->word == bracket->sp;
	if (taken) {
		if (lab_unlikely(lab_registry_is_forked()))
			after_fork(t);
		bracket->role = LAB_ROLE_CURRENT;
		bracket->heap = choose_current(t, named, bracket, outermost);
		if (!bracket->heap)
			set_word(t, 0);
	}
	end_claim(t, outermost);
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
	if (!borrow(t, bracket))
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
		if (!(word & LAB_WORD_IDLE) && word != 0 && !is_dead_frame(word, bracket->sp))
			return enter_another(t, bracket, word);
	} while (!take_word(t, bracket, word));
	return settle(bracket, newborn);
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
		set_word(t, (uintptr_t)heap | lab_load_rlx(&lab_word_tag));
	} else if (bracket->role == LAB_ROLE_SPARE) {
		set_role(heap, LAB_ROLE_SPARE);
	} else {
		bool outermost = begin_claim(t, bracket->sp);
		set_role(heap, LAB_ROLE_NONE);
		lab_registry_give_back(heap, bracket->word);
		end_claim(t, outermost);
	}
}
