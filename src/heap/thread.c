/* thread.c - entering and leaving heaps: see thread.h, and docs/architecture.md for the argument. Any context. */
#include "heap/thread.h"
#include "base/check.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "os/os.h"

enum {
	PARK_AFTER = 64,
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
 * Whether the frame with stack pointer `flag` is certainly gone, judged from an entry at `sp`. A jump has left it if sp is not
 * below it on the same stack. That they are on the same stack: we are on no alternate one, and both lie in this thread's own,
 * which is mapped without a hole between them. Otherwise the answer is false, which is always safe.
 */
static bool
is_dead_frame(uintptr_t flag, uintptr_t sp)
{
	if (sp < flag || lab_os_on_alternate_stack())
		return false;
	uintptr_t top = lab_os_tid() == lab_os_pid() ? lab_os_main_stack_top() : lab_thread_pointer();
	return sp < top && lab_os_is_mapped(flag, sp + 1);
}

/* From here to end_claim it may be unclear whose a heap is: nested frames take nothing that looks left behind. */
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
	set_role(heap, LAB_ROLE_SPARE);
	t->has_spare = true;
}

/* INV-THREAD-2: a parked frame ended and left its heap as the idle one. All frames that were in the other one are gone with it. */
static void
take_back(struct lab_thread *t, struct lab_heap *resumed, uintptr_t sp)
{
	bool outermost = begin_claim(t, sp);
	struct lab_heap *other = t->heap;

	make_current(t, resumed);
	make_spare(t, other);
	end_claim(t, outermost);
}

/* INV-THREAD-3: the word was idle, so that nobody but a frame that is still suspended can be in a parked heap. */
static void
free_parked(struct lab_thread *t, uintptr_t sp)
{
	struct lab_heap *heap;
	bool left = false;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		if (role_of(heap) != LAB_ROLE_PARKED || heap == t->heap)
			continue;
		if (is_dead_frame(heap->frame, sp))
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

/* INV-THREAD-4. Only for the outermost claim; a newborn has no frames below it, so that all are. */
static struct lab_heap *
find_left_behind(struct lab_thread *t, uintptr_t sp, bool newborn)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;)
		if (newborn || is_left_behind(t, heap, sp))
			return heap;
	return NULL;
}

/* The thread's first heap. The word is busy already: a handler borrows meanwhile. */
static struct lab_heap *
be_born(struct lab_thread *t, uintptr_t sp)
{
	if (!lab_registry_start())
		return NULL;
	t->tid = lab_os_tid();
	bool outermost = begin_claim(t, sp);
	struct lab_heap *heap = outermost && !t->heap ? find_left_behind(t, sp, true) : NULL;
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_AT_BIRTH);
	if (!heap)
		heap = lab_registry_take_idle(t->tid, 0);
	if (!heap)
		heap = lab_registry_make(t->tid);
	if (heap) {
		/* Handlers may have met this birth so often that their heap became the thread's, and the word is idle again. */
		set_word(t, sp);
		struct lab_heap *other = t->heap;
		make_current(t, heap);
		if (other)
			make_spare(t, other);
	}
	end_claim(t, outermost);
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
		heap = find_left_behind(t, sp, false);
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
	if (++t->stuck_count < PARK_AFTER || t->word != word)
		return;
	t->stuck_count = 0;
	bool outermost = begin_claim(t, bracket->sp);
	park_current(t, word);
	make_current(t, bracket->heap);
	bracket->role = LAB_ROLE_CURRENT;
	set_word(t, bracket->sp);
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

/* The word is ours: whatever else has to be before the thread's own heap is used. */
static bool
settle(struct lab_thread *t, struct lab_bracket *bracket)
{
	bool newborn = !bracket->heap;

	bracket->role = LAB_ROLE_CURRENT;
	if (!newborn && lab_unlikely(role_of(bracket->heap) != LAB_ROLE_CURRENT))
		set_role(bracket->heap, LAB_ROLE_CURRENT); /* parking it was cut short */
	if (lab_unlikely(lab_registry_is_forked()))
		after_fork(t);
	if (lab_unlikely(newborn))
		bracket->heap = be_born(t, bracket->sp);
	if (lab_unlikely(!bracket->heap)) {
		if (!t->heap)
			set_word(t, 0);
		return false;
	}
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
	uintptr_t word = t->word;

	if (!(word & LAB_WORD_IDLE))
		return false;
	set_word(t, bracket->sp);
	bracket->heap = (struct lab_heap *)(word & ~LAB_WORD_IDLE);
	if (lab_unlikely(bracket->heap != t->heap))
		take_back(t, bracket->heap, bracket->sp);
	if (lab_unlikely(t->has_parked))
		free_parked(t, bracket->sp);
	bracket->reentrant = t->has_parked; /* in a long handler: its caller's frame is still suspended */
	return settle(t, bracket);
}

bool
lab_enter(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;

	if (lab_likely(word & LAB_WORD_IDLE))
		return lab_try_enter(bracket);
	if (word == 0 || is_dead_frame(word, bracket->sp)) {
		/* A frame that was left in the current heap shows in heap->whole, one in a parked heap in that one's. */
		set_word(t, bracket->sp);
		bracket->heap = t->heap;
		return settle(t, bracket);
	}
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
