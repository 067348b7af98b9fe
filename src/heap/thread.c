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

static void
unlink_parked(struct lab_thread *t, struct lab_heap *heap)
{
	struct lab_heap **at = &t->parked;

	while (*at && *at != heap)
		at = &(*at)->next_parked;
	if (*at)
		*at = heap->next_parked;
}

/* `frame`: whose suspended frame may still finish in it; 0: nobody's, it is a spare. */
static void
park(struct lab_thread *t, struct lab_heap *heap, uintptr_t frame)
{
	heap->frame = frame;
	heap->role = LAB_ROLE_PARKED;
	heap->next_parked = t->parked;
	lab_compiler_barrier();
	t->parked = heap;
}

static void
make_current(struct lab_thread *t, struct lab_heap *heap)
{
	heap->role = LAB_ROLE_CURRENT;
	lab_compiler_barrier();
	t->heap = heap;
}

/* INV-THREAD-2: a parked frame ended and left its heap as the idle one. What was current may have been left by a jump. */
static void
take_back(struct lab_thread *t, struct lab_heap *resumed)
{
	struct lab_heap *other = t->heap;

	unlink_parked(t, resumed);
	make_current(t, resumed);
	other->torn = 1;
	park(t, other, 0);
}

/* Wins a heap through `take` with the claim on record. */
static void
begin_claim(struct lab_thread *t, uintptr_t sp, bool *outermost)
{
	*outermost = t->claiming == 0 || is_dead_frame(t->claiming, sp);
	if (*outermost)
		t->claiming = sp;
	lab_compiler_barrier();
}

static void
end_claim(struct lab_thread *t, bool outermost)
{
	lab_compiler_barrier();
	if (outermost)
		t->claiming = 0;
}

/* A heap that this thread won in a frame that is gone. No frame of ours is below if `newborn`. */
static struct lab_heap *
find_left_behind(struct lab_thread *t, uintptr_t sp, bool newborn, bool claims_are_dead)
{
	struct lab_heap *heap;

	for (uint32_t id = 0; (heap = lab_registry_next_of(t->tid, &id)) != NULL;) {
		bool dead = newborn;
		if (heap == t->heap || (heap->role == LAB_ROLE_PARKED && !newborn))
			continue;
		if (!dead && heap->role == LAB_ROLE_BORROWED)
			dead = is_dead_frame(heap->frame, sp);
		if (!dead && heap->role == LAB_ROLE_NONE)
			dead = claims_are_dead;
		if (dead) {
			heap->torn = 1;
			return heap;
		}
	}
	return NULL;
}

bool
lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes)
{
	struct lab_thread *t = &lab_thread;
	bool outermost;

	begin_claim(t, (uintptr_t)__builtin_frame_address(0), &outermost);
	struct lab_heap *dead = lab_registry_adopt(lab_thread_tid(), probes);
	if (dead)
		lab_heap_absorb_owned(heap, dead);
	end_claim(t, outermost);
	return dead != NULL;
}

/* The thread's first heap. The word is busy already: a handler borrows meanwhile. */
static struct lab_heap *
be_born(struct lab_thread *t, uintptr_t sp)
{
	bool outermost;

	if (!lab_registry_start())
		return NULL;
	t->tid = lab_os_tid();
	begin_claim(t, sp, &outermost);
	struct lab_heap *heap = find_left_behind(t, sp, true, true);
	if (!heap)
		heap = lab_registry_adopt(t->tid, PROBES_AT_BIRTH);
	if (!heap)
		heap = lab_registry_take_idle(t->tid, 0);
	if (!heap)
		heap = lab_registry_make(t->tid);
	if (heap) {
		if (t->heap) { /* handlers met this birth so often that theirs became the thread's */
			t->heap->torn = 1;
			park(t, t->heap, 0);
		}
		make_current(t, heap);
	}
	end_claim(t, outermost);
	return heap;
}

/* A parked heap whose frame is over. */
static struct lab_heap *
find_parked(struct lab_thread *t, uintptr_t sp)
{
	for (struct lab_heap *heap = t->parked; heap; heap = heap->next_parked) {
		if (heap->frame != 0 && !is_dead_frame(heap->frame, sp))
			continue;
		if (heap->frame != 0)
			heap->torn = 1;
		unlink_parked(t, heap);
		return heap;
	}
	return NULL;
}

/* A heap for a re-entrant call: a spare of the thread's, an idle one, one left behind, a dead thread's, or a new one. */
static struct lab_heap *
borrow(struct lab_thread *t, struct lab_bracket *bracket)
{
	uint32_t tid = lab_os_tid(); /* t->tid may be not yet set, or a parent's */
	bool outermost;

	if (t->tid == 0)
		t->tid = tid;
	if (!lab_registry_start())
		return NULL;
	begin_claim(t, bracket->sp, &outermost);
	bracket->role = LAB_ROLE_PARKED;
	struct lab_heap *heap = find_parked(t, bracket->sp);
	if (!heap) {
		bracket->role = LAB_ROLE_BORROWED;
		heap = lab_registry_take_idle(tid, t->spare);
	}
	if (!heap)
		heap = find_left_behind(t, bracket->sp, false, outermost);
	if (!heap)
		heap = lab_registry_adopt(tid, PROBES_TO_BORROW);
	if (!heap)
		heap = lab_registry_make(tid);
	if (heap) {
		heap->frame = bracket->sp;
		lab_compiler_barrier();
		heap->role = LAB_ROLE_BORROWED;
		t->spare = heap->id;
	}
	end_claim(t, outermost);
	return heap;
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
	if (t->heap)
		park(t, t->heap, word);
	make_current(t, bracket->heap);
	bracket->role = LAB_ROLE_CURRENT;
	lab_compiler_barrier();
	t->word = bracket->sp;
	lab_compiler_barrier();
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

/* The word is ours: whatever else has to be before the heap is used. */
static bool
settle(struct lab_thread *t, struct lab_bracket *bracket)
{
	if (lab_unlikely(lab_registry_is_forked()))
		after_fork(t);
	bool newborn = !bracket->heap;
	if (lab_unlikely(newborn))
		bracket->heap = be_born(t, bracket->sp);
	if (lab_unlikely(!bracket->heap)) {
		t->word = 0;
		return false;
	}
	if (lab_unlikely(bracket->heap->torn))
		lab_heap_rebuild_owned(bracket->heap);
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
	t->word = bracket->sp;
	lab_compiler_barrier();
	bracket->heap = (struct lab_heap *)(word & ~LAB_WORD_IDLE);
	bracket->role = LAB_ROLE_CURRENT;
	if (lab_unlikely(bracket->heap != t->heap))
		take_back(t, bracket->heap);
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
		if (word != 0 && t->heap)
			t->heap->torn = 1;
		lab_compiler_barrier();
		t->word = bracket->sp;
		lab_compiler_barrier();
		bracket->heap = t->heap;
		bracket->role = LAB_ROLE_CURRENT;
		return settle(t, bracket);
	}
	if (lab_registry_is_forked())
		after_fork(t);
	bracket->heap = borrow(t, bracket);
	if (!bracket->heap)
		return false;
	if (bracket->heap->torn)
		lab_heap_rebuild_owned(bracket->heap);
	bracket->heap->reentrant++;
	park_if_stuck(t, bracket, word);
	return true;
}

void
lab_leave(struct lab_bracket *bracket)
{
	struct lab_thread *t = &lab_thread;
	struct lab_heap *heap = bracket->heap;

	lab_compiler_barrier();
	if (bracket->role == LAB_ROLE_CURRENT) {
		t->word = (uintptr_t)heap | lab_load_rlx(&lab_word_tag);
		return;
	}
	lab_batch_flush_owned(heap);
	if (bracket->role == LAB_ROLE_PARKED) {
		park(t, heap, 0);
	} else {
		heap->role = LAB_ROLE_NONE;
		heap->frame = 0;
		lab_compiler_barrier();
		lab_registry_give_back(heap);
	}
}
