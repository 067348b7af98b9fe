/*
 * thread.c - the guard: birth, borrowing while busy, nesting, frames left by a jump, repair of what they borrowed.
 * A frame's stack pointer stands for the frame: the tests enter with pointers into real frames of this thread's stack.
 *
 * Clauses: G3.2, G7.1, G7.3.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/claim.h"
#include "heap/leases.h"
#include "heap/refill.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/span.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "trace.h"
#include "world.h"

/* Enters as an API function called from here would. */
#define ENTER_HERE(guard)                                                                                              \
	do {                                                                                                           \
		(guard)->sp = (uintptr_t)__builtin_frame_address(0);                                                   \
		REQUIRE(lab_enter(guard));                                                                             \
	} while (0)

/* The same at the bottom of this frame, which is made DEEP bytes large: below all that the caller calls afterwards. */
enum { DEEP = 4096 };
#define ENTER_DEEPLY(guard)                                                                                            \
	do {                                                                                                           \
		volatile char deep[DEEP];                                                                              \
		deep[0] = 0;                                                                                           \
		(guard)->sp = ((uintptr_t)deep + 64) & ~(uintptr_t)15;                                                 \
		REQUIRE(lab_enter(guard));                                                                             \
	} while (0)

static void *
take(struct lab_heap *heap)
{
	if (lab_freelist_head(heap->bins[0].current->freelist_state) == LAB_FREELIST_NIL)
		REQUIRE(lab_span_refill_owned(heap, 0));
	return lab_span_pop_owned(heap->bins[0].current);
}

static struct lab_heap *
heap_of(const void *p)
{
	return lab_unit_heap(lab_map_find(p).unit);
}

static enum lab_heap_state
hold_of(const struct lab_heap *heap)
{
	return lab_registry_state(heap->id);
}

static size_t
heaps_owned(void)
{
	size_t n = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		n += lab_heap_state_is_owned(lab_registry_state(id));
	return n;
}

Test(thread, birth_entry_and_leaving)
{
	struct lab_guard guard = {.sp = (uintptr_t)__builtin_frame_address(0)};

	cr_assert_eq(lab_thread.word, 0);
	cr_assert(!lab_try_enter(&guard), "no heap yet: frees do without");
	cr_assert(lab_enter(&guard));
	cr_assert_eq(hold_of(guard.heap), LAB_HEAP_CURRENT);
	cr_assert_eq(lab_thread.word, guard.sp);
	cr_assert_eq(lab_thread.heap, guard.heap);
	cr_assert_eq(guard.heap->whole, 0, "a slow frame is inside");
	cr_assert_eq(lab_registry_tid(guard.heap->id), lab_os_tid());
	cr_assert(!lab_try_enter(&guard), "busy");
	lab_leave(&guard);
	cr_assert_eq(lab_thread.word, (uintptr_t)lab_thread.heap | LAB_WORD_FAST);
	cr_assert_eq(lab_thread.heap->whole, 1);
	cr_assert(lab_try_enter(&guard));
	lab_leave(&guard);
	(void)heap_check(lab_thread.heap);
}

static void *
be_born(void *unused)
{
	struct lab_guard guard = {0};

	ENTER_HERE(&guard);
	(void)take(guard.heap);
	lab_leave(&guard);
	return unused;
}

enum { LIVES = 100, STACK = 64 * 1024 };

/* NULL: libc's. */
static void
live_and_end(char *stack)
{
	pthread_attr_t attributes;
	pthread_t thread;

	REQUIRE(pthread_attr_init(&attributes) == 0);
	if (stack)
		REQUIRE(pthread_attr_setstack(&attributes, stack, STACK) == 0);
	REQUIRE(pthread_create(&thread, &attributes, be_born, NULL) == 0 && pthread_join(thread, NULL) == 0);
	(void)pthread_attr_destroy(&attributes);
}

Test(thread, a_thread_that_lies_where_another_lay_has_its_heap_without_a_question)
{
	lab_os_learn_threads();
	(void)be_born(NULL);
	live_and_end(NULL);
	uint32_t heaps = lab_registry_count();
	world_install();
	for (int i = 0; i < LIVES; i++)
		live_and_end(NULL);
	cr_assert_eq(world.probes, 0);
	cr_assert_eq(world.maps, 0);
	cr_assert_eq(lab_registry_count(), heaps);
}

Test(thread, threads_that_lie_elsewhere_each_time_use_the_heaps_of_the_dead)
{
	char *stacks = mmap(NULL, (size_t)LIVES * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(stacks != MAP_FAILED);
	lab_os_learn_threads();
	(void)be_born(NULL);
	world_install();
	for (size_t i = 0; i < LIVES; i++)
		live_and_end(stacks + i * STACK);
	cr_assert_leq(lab_registry_count(), LIVES / 5);
	cr_assert_leq(world.probes, LIVES * 4);
}

/* ---- a birth that a handler interrupts ---- */

static bool
is_born_well(void)
{
	(void)be_born(NULL);
	return lab_thread.heap && lab_thread.tid == lab_os_tid() && hold_of(lab_thread.heap) == LAB_HEAP_CURRENT &&
	       lab_registry_tid(lab_thread.heap->id) == lab_os_tid();
}

/* The handler runs where the birth asks whether another heap's thread is dead. */
static bool
is_born_well_after(void (*handler)(uint32_t tid))
{
	lab_os_learn_threads();
	REQUIRE(lab_registry_start() && lab_registry_make(1001, LAB_HEAP_CURRENT));
	world_install();
	world.deaths_are_set = true;
	world.on_probe = handler;
	return is_born_well() && world.probes > 0;
}

static void
allocate_in_vfork_child(uint32_t unused)
{
	(void)unused;
	world.on_probe = NULL;
	pid_t child = vfork();
	if (child == 0) {
		(void)be_born(NULL);
		_exit(lab_thread.heap != NULL);
	}
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "it borrows");
}

Test(thread, a_child_of_vfork_in_a_birth_leaves_no_trace)
{
	cr_assert(is_born_well_after(allocate_in_vfork_child));
}

Test(thread, a_child_of_vfork_before_a_birth_leaves_no_trace)
{
	lab_os_learn_threads();
	allocate_in_vfork_child(0);
	cr_assert_eq(lab_thread.word, 0);
	cr_assert(is_born_well());
}

static pid_t forked;

static void
fork_in_birth(uint32_t unused)
{
	(void)unused;
	world.on_probe = NULL;
	forked = fork();
	if (forked == 0)
		lab_thread_settle_fork(true);
}

Test(thread, a_birth_in_which_a_handler_forks_ends_well_on_both_sides)
{
	bool well = is_born_well_after(fork_in_birth);
	if (forked == 0)
		_exit(well && !lab_registry_is_forked() ? 0 : 1);
	int status;
	cr_assert(well);
	cr_assert_eq(waitpid(forked, &status, 0), forked);
	cr_assert_eq(status, 0);
}

Test(thread, a_birth_that_fails_leaves_the_thread_unborn)
{
	struct lab_guard guard = {.sp = (uintptr_t)__builtin_frame_address(0)};

	world_install();
	world.maps_left = 0;
	cr_assert(!lab_enter(&guard));
	cr_assert_eq(lab_thread.word, 0);
	world.maps_left = SIZE_MAX;
	cr_assert(lab_enter(&guard));
	lab_leave(&guard);
}

/* ---- nested entries, as of handlers that interrupt each other ---- */

enum { DEPTH = 6 };
static struct lab_heap *nested[DEPTH];

static LAB_NOINLINE void
nest(int depth)
{
	struct lab_guard guard;

	ENTER_HERE(&guard);
	nested[depth] = guard.heap;
	cr_assert_eq(hold_of(guard.heap), depth == 0 ? LAB_HEAP_CURRENT : LAB_HEAP_BORROWED);
	for (int i = 0; i < depth; i++)
		cr_assert_neq(nested[i], guard.heap, "a heap has one frame inside");
	void *p = take(guard.heap), *q = depth > 0 ? lab_malloc(100) : NULL;
	if (depth + 1 < DEPTH)
		nest(depth + 1);
	lab_free(q); /* to another heap: by its stack */
	REQUIRE(free_in_span(guard.heap, lab_map_find(p).unit, p) == LAB_FREED);
	lab_leave(&guard);
	if (depth > 0)
		cr_assert_eq(lab_registry_state(nested[depth]->id), LAB_HEAP_IDLE);
}

Test(thread, nested_frames_have_heaps_of_their_own_and_give_them_back)
{
	for (int round = 0; round < 50; round++)
		nest(0);
	cr_assert_eq(lab_registry_count(), DEPTH + 1, "the same heaps each time");
	cr_assert_eq(heaps_owned(), 1);
	for (int i = 1; i < DEPTH; i++)
		cr_assert_gt(nested[i]->reentrant, 0);
	for (uint32_t id = 0; id < lab_registry_count(); id++)
		(void)heap_check(lab_registry_heap(id));
}

Test(thread, whole_calls_inside_a_busy_heap)
{
	static struct trace_block blocks[100];
	struct trace trace = {{5}, blocks, 100, 12, 23, 10, true};
	struct lab_guard guard;
	void *before = lab_malloc(50);

	ENTER_HERE(&guard);
	lab_free(before); /* ours, but we are busy */
	cr_assert_eq(lab_load_rlx(&guard.heap->remote) & LAB_REMOTE_POINTER, (uintptr_t)before);
	trace_run(&trace, 4000);
	trace_check_all(&trace);
	trace_free_all(&trace);
	lab_leave(&guard);
	trace_run(&trace, 4000);
	trace_free_all(&trace);
}

/* ---- a frame that a jump has left ---- */

static struct lab_guard left;

static LAB_NOINLINE void
enter_deeply_and_stay(void)
{
	ENTER_DEEPLY(&left);
	(void)take(left.heap); /* the block in hand */
}

Test(thread, a_dead_frame_is_recognised_and_its_heap_repaired)
{
	void *kept = lab_malloc(77);
	struct lab_heap *heap = lab_thread.heap;

	for (int i = 0; i < 500; i++) {
		enter_deeply_and_stay(); /* and never left: as by siglongjmp */
		cr_assert_eq(lab_thread.word, left.sp);
		heap->bins[0].current = &lab_no_span; /* the lists need not be whole */
		heap->bins[0].partial = NULL;
		void *p = lab_malloc(10);
		cr_assert_eq(heap_of(p), heap);
		cr_assert(lab_thread.word & LAB_WORD_IDLE);
		lab_free(p);
	}
	cr_assert_eq(lab_registry_count(), 1, "no heap was lost");
	(void)heap_check(heap);
	lab_free(kept);
}

Test(thread, a_birth_that_was_left_is_born_again)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	lab_thread.word = here - DEEP; /* nothing of the birth happened yet */
	void *p = lab_malloc(10);
	cr_assert(p && lab_thread.heap);

	lab_thread = (struct lab_thread){.word = here - DEEP}; /* a heap was won, and TLS does not know it yet */
	lab_free(lab_malloc(10));
	cr_assert_eq(lab_thread.heap, lab_registry_heap(0), "it is found again");
	cr_assert_eq(lab_registry_count(), 1);
	lab_free(p);
}

static LAB_NOINLINE void
borrow_deeply_and_stay(void)
{
	struct lab_guard guard;

	ENTER_DEEPLY(&guard);
	cr_assert_eq(hold_of(guard.heap), LAB_HEAP_BORROWED);
	(void)take(guard.heap);
}

static LAB_NOINLINE void
borrow_at_depth(int depth)
{
	volatile char frame[128];

	frame[0] = 0;
	if (depth > 0)
		borrow_at_depth(depth - 1);
	else
		borrow_deeply_and_stay();
	frame[1] = frame[0]; /* no tail call */
}

/* Each borrower lies below all that were left before: only the entry above sees that they are gone. */
Test(thread, borrowed_heaps_that_no_borrower_can_prove_left_are_found_by_the_next_entry)
{
	struct lab_guard guard;

	for (int i = 0; i < 100; i++) {
		ENTER_HERE(&guard);
		borrow_at_depth(i);
		lab_leave(&guard);
	}
	cr_assert_leq(lab_registry_count(), 4, "%u heaps", lab_registry_count());
}

Test(thread, borrowed_heaps_whose_frames_were_left_are_found_again)
{
	struct lab_guard guard;

	for (int i = 0; i < 300; i++) {
		ENTER_HERE(&guard);
		borrow_deeply_and_stay();
		lab_leave(&guard);
	}
	cr_assert_leq(lab_registry_count(), 4, "%u heaps", lab_registry_count());
	for (int i = 0; i < 300; i++) {
		ENTER_HERE(&guard);
		for (int j = 0; j < 3; j++)
			borrow_deeply_and_stay();
		lab_leave(&guard);
	}
	cr_assert_leq(lab_registry_count(), 8, "%u heaps", lab_registry_count());
}

/* ---- on an alternate stack the comparison of stack pointers proves nothing ---- */

static struct lab_heap *seen;
static uintptr_t word_seen;

static void
allocate_in_handler(int signal)
{
	(void)signal;
	void *p = lab_malloc(10);
	seen = heap_of(p);
	word_seen = lab_thread.word;
	lab_free(p);
}

Test(thread, on_an_alternate_stack_no_frame_is_called_dead)
{
	static char stack[1 << 16];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_handler = allocate_in_handler, .sa_flags = SA_ONSTACK};
	struct lab_guard guard;

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	ENTER_HERE(&guard);
	raise(SIGUSR1);
	cr_assert_neq(seen, guard.heap);
	cr_assert_eq(word_seen, guard.sp);
	lab_leave(&guard);
	raise(SIGUSR1);
	cr_assert_eq(seen, lab_thread.heap, "an idle heap is used on any stack");

	char inside[1 << 16]; /* the alternate stack lies inside a live frame, above the flag's */
	alternate.ss_sp = inside;
	sigaltstack(&alternate, NULL);
	enter_deeply_and_stay();
	raise(SIGUSR1);
	cr_assert_neq(seen, left.heap);
	cr_assert_eq(lab_thread.word, left.sp);
	lab_free(lab_malloc(1)); /* from here it can be told */
	cr_assert(lab_thread.word & LAB_WORD_IDLE);
	alternate.ss_flags = SS_DISABLE;
	sigaltstack(&alternate, NULL);
}

Test(thread, a_hole_between_the_frames_proves_nothing)
{
	struct lab_guard guard;
	char *low = lab_os.map(LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE);

	ENTER_HERE(&guard);
	lab_leave(&guard);
	lab_thread.word = (uintptr_t)low; /* below our stack pointer, on another stack */
	void *p = lab_malloc(10);
	cr_assert_neq(heap_of(p), guard.heap);
	cr_assert_eq(lab_thread.word, (uintptr_t)low);
	lab_free(p);
}

/* ---- what jumps out of borrowed heaps leave ---- */

static size_t
heaps_held(enum lab_heap_state hold)
{
	size_t n = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		n += lab_registry_state(id) == hold;
	return n;
}

/* Nobody can be in them while the word is idle: INV-THREAD-2. */
Test(thread, heaps_left_borrowed_are_repaired_a_few_a_slow_call)
{
	struct lab_guard guard;
	enum { LEFT = 10 };

	lab_free(lab_malloc(10));
	uintptr_t word = lab_thread.word;
	ENTER_HERE(&guard);
	for (int i = 0; i < LEFT; i++)
		borrow_at_depth(i * 8);
	cr_assert_eq(heaps_held(LAB_HEAP_BORROWED), LEFT, "each is below all that were left before");
	lab_thread.word = word; /* the outermost frame was in a fast path, and ends */
	ENTER_HERE(&guard);
	lab_leave(&guard);
	size_t still = heaps_held(LAB_HEAP_BORROWED);
	cr_assert(still > 0 && still < LEFT, "some, and not all at once");
	for (size_t before = still; before > 0; before = still) {
		ENTER_HERE(&guard);
		lab_leave(&guard);
		still = heaps_held(LAB_HEAP_BORROWED);
		cr_assert_lt(still, before);
	}
	ENTER_HERE(&guard);
	lab_leave(&guard);
	cr_assert(!lab_thread.may_have_left, "nothing is looked for any more");
	cr_assert_eq(heaps_held(LAB_HEAP_IDLE), LEFT);
	for (uint32_t id = 0; id < lab_registry_count(); id++)
		(void)heap_check(lab_registry_heap(id));
}

/* Won, and its frame not said yet, when a jump came: it counts as alive while the word is busy. */
Test(thread, a_heap_that_was_won_and_not_said_for_whom_is_repaired_at_rest)
{
	struct lab_guard guard, inner;

	lab_free(lab_malloc(10));
	ENTER_HERE(&guard);
	(void)lab_registry_make(lab_os_tid(), LAB_HEAP_BORROWED);
	lab_thread.may_have_left = true;
	for (int i = 0; i < 10; i++) {
		inner.sp = guard.sp - 512;
		cr_assert(lab_enter(&inner));
		cr_assert_neq(inner.heap, lab_registry_heap(1));
		lab_leave(&inner);
	}
	lab_leave(&guard);
	ENTER_HERE(&guard);
	lab_leave(&guard);
	cr_assert_eq(hold_of(lab_registry_heap(1)), LAB_HEAP_IDLE);
	(void)heap_check(lab_registry_heap(1));
}

/*
 * A frame that borrows is suspended, and a handler in it could prove that the frame is dead which keeps the word busy:
 * the heap would be at rest while somebody is inside another, which would be taken for one that a jump has left.
 */
Test(thread, a_word_is_not_taken_over_while_a_frame_borrows)
{
	struct lab_guard borrower, inner;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	lab_free(lab_malloc(10));
	lab_thread.word = here - 4 * DEEP; /* left by a jump */
	borrower.sp = here - 5 * DEEP;     /* from where that cannot be proved */
	cr_assert(lab_enter(&borrower));
	cr_assert_neq(borrower.heap, lab_thread.heap);
	lab_thread.borrowing = borrower.sp = here - DEEP; /* as if it had not asked: it does not each time */
	borrower.heap->frame = borrower.sp;
	inner.sp = here - 2 * DEEP;
	cr_assert(lab_enter(&inner));
	cr_assert_neq(inner.heap, lab_thread.heap);
	cr_assert_neq(inner.heap, borrower.heap);
	lab_leave(&inner);
	lab_leave(&borrower);
	cr_assert_eq(lab_thread.borrowing, 0);
	inner.sp = here;
	cr_assert(lab_enter(&inner));
	cr_assert_eq(inner.heap, lab_thread.heap, "now it is");
	lab_leave(&inner);
}

/* The same stack pointer is another frame's when the word has been at rest in between. */
Test(thread, each_frame_that_was_left_is_proved_to_be_at_once)
{
	struct lab_guard guard = {0};

	for (int i = 0; i < 100; i++) {
		enter_deeply_and_stay();
		ENTER_HERE(&guard);
		cr_assert_eq(guard.heap, lab_thread.heap);
		cr_assert(!guard.reentrant);
		lab_leave(&guard);
	}
	cr_assert_eq(lab_registry_count(), 1);
}

/* A frame that is met again and again, and lives, costs few questions. */
Test(thread, meetings_are_worth_a_proof_ever_more_seldom)
{
	struct lab_meetings met = {0};
	int asked = 0;

	for (int i = 0; i < 1024; i++)
		if (lab_is_worth_a_proof(&met, 5000, 3000)) {
			asked++;
			lab_count_failed_proof(&met, 5000, 3000);
		}
	cr_assert_eq(asked, 11, "1, 2, 4, ... 1024");
	for (int i = 0; i < 10; i++)
		cr_assert(lab_is_worth_a_proof(&met, 5000, 6000),
		          "from above it is the first; it was left in the middle");
	lab_count_failed_proof(&met, 5000, 6000);
	cr_assert(lab_is_worth_a_proof(&met, 5000, 6000));
	lab_count_failed_proof(&met, 5000, 6000);
	cr_assert(!lab_is_worth_a_proof(&met, 5000, 6000));
	cr_assert(lab_is_worth_a_proof(&met, 7000, 3000), "another frame");
}

/* From birth to death: a frame that was interrupted between reading its word and marking it has read the right one. */
Test(thread, the_heap_stays_whatever_is_left)
{
	struct lab_guard guard;

	lab_free(lab_malloc(10));
	struct lab_heap *heap = lab_thread.heap;
	for (int i = 0; i < 300; i++) {
		enter_deeply_and_stay();
		for (int j = 0; j < 70; j++)
			borrow_at_depth(4 - j % 5);
		ENTER_HERE(&guard);
		cr_assert_eq(guard.heap, heap);
		lab_leave(&guard);
	}
	cr_assert_leq(lab_registry_count(), 8, "%u heaps", lab_registry_count());
}

/* ---- the word's tag ---- */

Test(thread, a_change_of_mode_is_taken_over_when_a_guard_is_left)
{
	struct lab_guard guard;

	ENTER_HERE(&guard);
	lab_store_rlx(&lab_word_tag, LAB_WORD_SLOW);
	lab_leave(&guard);
	cr_assert_eq(lab_thread.word, (uintptr_t)guard.heap | LAB_WORD_SLOW);
	void *p = lab_malloc(10), *q = lab_malloc(10);
	cr_assert_eq(heap_of(p), guard.heap);
	lab_free(p);
	lab_free(q);
	lab_store_rlx(&lab_word_tag, LAB_WORD_FAST);
	lab_free(lab_malloc(10));
	cr_assert_eq(lab_thread.word, (uintptr_t)guard.heap | LAB_WORD_FAST);
}

Test(thread, no_heap_to_borrow_is_no_entry)
{
	struct lab_guard guard, inner;

	world_install();
	ENTER_HERE(&guard);
	world.maps_left = 0;
	inner.sp = (uintptr_t)__builtin_frame_address(0) - 500;
	cr_assert(!lab_enter(&inner));
	cr_assert_eq(lab_thread.word, guard.sp);
	cr_assert_eq(lab_thread.borrowing, 0);
	world.maps_left = SIZE_MAX;
	cr_assert(lab_enter(&inner));
	lab_leave(&inner);
	lab_leave(&guard);
}
