/*
 * thread.c - the bracket: birth, borrowing while busy, nesting, frames left by a jump, parking, parked frames that go on after all.
 * A frame's stack pointer stands for the frame: the tests enter with pointers into real frames of this thread's stack.
 *
 * Clauses: G3.2, G7.1.
 */
#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>

#include "heap/registry.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "trace.h"
#include "world.h"

enum { PARK_AFTER = 64 };

/* Enters as an API function called from here would. */
#define ENTER_HERE(bracket)                                                                                                        \
	do {                                                                                                                       \
		(bracket)->sp = (uintptr_t)__builtin_frame_address(0);                                                             \
		REQUIRE(lab_enter(bracket));                                                                                       \
	} while (0)

/* The same at the bottom of this frame, which is made DEEP bytes large: below all that the caller calls afterwards. */
enum { DEEP = 4096 };
#define ENTER_DEEPLY(bracket)                                                                                                      \
	do {                                                                                                                       \
		volatile char deep[DEEP];                                                                                          \
		deep[0] = 0;                                                                                                       \
		(bracket)->sp = ((uintptr_t)deep + 64) & ~(uintptr_t)15;                                                           \
		REQUIRE(lab_enter(bracket));                                                                                       \
	} while (0)

/* Interruptions of different frames at one stack pointer would count as those of one that is stuck. */
static void
forget_interruptions(void)
{
	lab_thread.stuck = 0;
	lab_thread.stuck_count = 0;
}

static void *
take(struct lab_heap *heap)
{
	if (lab_hot_head(heap->bins[0].current->hot) == LAB_HOT_NIL)
		REQUIRE(lab_span_refill_owned(heap, 0));
	return lab_span_pop_owned(heap->bins[0].current);
}

static struct lab_heap *
heap_of(const void *p)
{
	return lab_unit_heap(lab_map_find(p).unit);
}

static enum lab_heap_role
role_of(const struct lab_heap *heap)
{
	return (enum lab_heap_role)lab_load_rlx(&heap->role);
}

static size_t
heaps_owned(void)
{
	size_t n = 0;

	for (uint32_t id = 0; id < lab_registry_count(); id++)
		n += lab_registry_hold(id) == LAB_HOLD_OWNED;
	return n;
}

Test(thread, birth_entry_and_leaving)
{
	struct lab_bracket bracket = {.sp = (uintptr_t)__builtin_frame_address(0)};

	cr_assert_eq(lab_thread.word, 0);
	cr_assert(!lab_try_enter(&bracket), "no heap yet: frees do without");
	cr_assert(lab_enter(&bracket));
	cr_assert_eq(bracket.role, LAB_ROLE_CURRENT);
	cr_assert_eq(lab_thread.word, bracket.sp);
	cr_assert_eq(lab_thread.heap, bracket.heap);
	cr_assert_eq(bracket.heap->whole, 0, "a slow frame is inside");
	cr_assert_eq(lab_registry_tid(bracket.heap->id), lab_os_tid());
	cr_assert(!lab_try_enter(&bracket), "busy");
	lab_leave(&bracket);
	cr_assert_eq(lab_thread.word, (uintptr_t)lab_thread.heap | LAB_WORD_FAST);
	cr_assert_eq(lab_thread.heap->whole, 1);
	cr_assert(lab_try_enter(&bracket));
	lab_leave(&bracket);
	(void)heap_check(lab_thread.heap);
}

Test(thread, a_birth_that_fails_leaves_the_thread_unborn)
{
	struct lab_bracket bracket = {.sp = (uintptr_t)__builtin_frame_address(0)};

	world_install();
	world.maps_left = 0;
	cr_assert(!lab_enter(&bracket));
	cr_assert_eq(lab_thread.word, 0);
	world.maps_left = SIZE_MAX;
	cr_assert(lab_enter(&bracket));
	lab_leave(&bracket);
}

/* ---- nested entries, as of handlers that interrupt each other ---- */

enum { DEPTH = 6 };
static struct lab_heap *nested[DEPTH];

static LAB_NOINLINE void
nest(int depth)
{
	struct lab_bracket bracket;

	ENTER_HERE(&bracket);
	nested[depth] = bracket.heap;
	cr_assert_eq(bracket.role, depth == 0 ? LAB_ROLE_CURRENT : LAB_ROLE_BORROWED);
	for (int i = 0; i < depth; i++)
		cr_assert_neq(nested[i], bracket.heap, "a heap has one frame inside");
	void *p = take(bracket.heap), *q = depth > 0 ? lab_malloc(100) : NULL;
	if (depth + 1 < DEPTH)
		nest(depth + 1);
	lab_free(q); /* to another heap: by its stack */
	REQUIRE(free_in_span(bracket.heap, lab_map_find(p).unit, p) == LAB_FREED);
	lab_leave(&bracket);
	if (depth > 0)
		cr_assert_eq(lab_registry_hold(nested[depth]->id), LAB_HOLD_IDLE);
}

Test(thread, nested_frames_have_heaps_of_their_own_and_give_them_back)
{
	for (int round = 0; round < 50; round++) {
		forget_interruptions();
		nest(0);
	}
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
	struct lab_bracket bracket;
	void *before = lab_malloc(50);

	ENTER_HERE(&bracket);
	lab_free(before); /* ours, but we are busy */
	cr_assert_eq(lab_load_rlx(&bracket.heap->remote_frees), 1);
	trace_run(&trace, 4000); /* long enough for the heap to be parked */
	trace_check_all(&trace);
	trace_free_all(&trace);
	lab_leave(&bracket);
	trace_run(&trace, 4000);
	trace_free_all(&trace);
}

/* ---- a frame that a jump has left ---- */

static struct lab_bracket left;

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
	lab_store_rlx(&lab_registry_heap(0)->role, LAB_ROLE_NONE);
	lab_free(lab_malloc(10));
	cr_assert_eq(lab_thread.heap, lab_registry_heap(0), "it is found again");
	cr_assert_eq(lab_registry_count(), 1);
	lab_free(p);
}

static LAB_NOINLINE void
borrow_deeply_and_stay(void)
{
	struct lab_bracket bracket;

	forget_interruptions();
	ENTER_DEEPLY(&bracket);
	cr_assert(bracket.role == LAB_ROLE_BORROWED || bracket.role == LAB_ROLE_SPARE);
	(void)take(bracket.heap);
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
	struct lab_bracket bracket;

	for (int i = 0; i < 100; i++) {
		ENTER_HERE(&bracket);
		borrow_at_depth(i);
		lab_leave(&bracket);
	}
	cr_assert_leq(lab_registry_count(), 4, "%u heaps", lab_registry_count());
}

Test(thread, borrowed_heaps_whose_frames_were_left_are_found_again)
{
	struct lab_bracket bracket;

	for (int i = 0; i < 300; i++) {
		ENTER_HERE(&bracket);
		borrow_deeply_and_stay();
		lab_leave(&bracket);
	}
	cr_assert_leq(lab_registry_count(), 4, "%u heaps", lab_registry_count());
	for (int i = 0; i < 300; i++) {
		ENTER_HERE(&bracket);
		for (int j = 0; j < 3; j++)
			borrow_deeply_and_stay();
		lab_leave(&bracket);
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
	struct lab_bracket bracket;

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	ENTER_HERE(&bracket);
	raise(SIGUSR1);
	cr_assert_neq(seen, bracket.heap);
	cr_assert_eq(word_seen, bracket.sp);
	lab_leave(&bracket);
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
	struct lab_bracket bracket;
	char *low = lab_os.map(LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE);

	ENTER_HERE(&bracket);
	lab_leave(&bracket);
	lab_thread.word = (uintptr_t)low; /* below our stack pointer, on another stack */
	void *p = lab_malloc(10);
	cr_assert_neq(heap_of(p), bracket.heap);
	cr_assert_eq(lab_thread.word, (uintptr_t)low);
	lab_free(p);
}

/* ---- parking ---- */

static LAB_NOINLINE struct lab_heap *
borrow_once(void)
{
	struct lab_bracket bracket;

	ENTER_HERE(&bracket);
	void *p = take(bracket.heap);
	REQUIRE(free_in_span(bracket.heap, lab_map_find(p).unit, p) == LAB_FREED);
	lab_leave(&bracket);
	return bracket.heap;
}

/* The same from far below. */
static LAB_NOINLINE void
borrow_below(int times)
{
	volatile char deep[4 * DEEP];

	deep[0] = 0;
	while (times-- > 0)
		(void)borrow_once();
	__asm__ volatile("" : : "r"(deep) : "memory");
}

/* Enters, and is interrupted until the heap is parked. sp: of a live frame. */
static void
get_parked(struct lab_bracket *bracket, uintptr_t sp)
{
	bracket->sp = sp;
	REQUIRE(lab_enter(bracket));
	for (int i = 0; i < PARK_AFTER - 1; i++) {
		(void)borrow_once();
		REQUIRE(lab_thread.heap == bracket->heap);
	}
	struct lab_heap *last = borrow_once();
	REQUIRE(lab_thread.heap == last && last != bracket->heap);
}

Test(thread, a_heap_that_is_found_busy_64_times_is_parked)
{
	struct lab_bracket bracket;

	get_parked(&bracket, (uintptr_t)__builtin_frame_address(0));
	cr_assert_eq(role_of(bracket.heap), LAB_ROLE_PARKED);
	cr_assert_eq(bracket.heap->frame, bracket.sp);
	cr_assert_eq(role_of(lab_thread.heap), LAB_ROLE_CURRENT);
	cr_assert(lab_thread.word & LAB_WORD_IDLE, "the thread goes on with a heap of its own");
	void *p = lab_malloc(100);
	cr_assert_eq(heap_of(p), lab_thread.heap);
	cr_assert_eq(role_of(bracket.heap), LAB_ROLE_PARKED, "its frame may be alive");
	lab_free(p);
	cr_assert_leq(lab_registry_count(), 2);
}

Test(thread, a_parked_frame_that_goes_on_finishes_in_its_heap_and_takes_over_again)
{
	static struct trace_block blocks[100];
	struct trace trace = {{8}, blocks, 100, 12, 0, 0, true};
	struct lab_bracket bracket;

	for (int round = 0; round < 20; round++) {
		get_parked(&bracket, (uintptr_t)__builtin_frame_address(0));
		struct lab_heap *parked = bracket.heap, *current = lab_thread.heap;
		trace_run(&trace, 200);
		void *p = take(parked); /* the suspended operation goes on */
		trace_run(&trace, 10);  /* a handler meanwhile */
		lab_leave(&bracket);
		cr_assert_eq(lab_thread.word & ~LAB_WORD_IDLE, (uintptr_t)parked);
		lab_free(lab_calloc(1, 5000)); /* sorts it out */
		cr_assert_eq(lab_thread.heap, parked);
		cr_assert_eq(role_of(parked), LAB_ROLE_CURRENT);
		cr_assert_eq(role_of(current), LAB_ROLE_SPARE);
		cr_assert_eq(heap_of(p), parked);
		trace_run(&trace, 200);
		lab_free(p);
	}
	trace_check_all(&trace);
	trace_free_all(&trace);
	cr_assert_eq(lab_registry_count(), 2, "the spare is what is borrowed");
	(void)heap_check(lab_thread.heap);
}

/* The current heap is met busy and parked, then the next one, then the first frame goes on. */
Test(thread, parking_upon_parking)
{
	struct lab_bracket first, second;

	get_parked(&first, (uintptr_t)__builtin_frame_address(0));
	forget_interruptions();
	second.sp = (uintptr_t)__builtin_frame_address(0) - DEEP; /* inside a handler of the first */
	cr_assert(lab_enter(&second));
	char room[2 * DEEP];
	__asm__ volatile("" : : "r"(room) : "memory");
	borrow_below(PARK_AFTER);
	cr_assert_neq(lab_thread.heap, second.heap);
	cr_assert_eq(role_of(first.heap), LAB_ROLE_PARKED);
	cr_assert_eq(role_of(second.heap), LAB_ROLE_PARKED);
	lab_leave(&second);
	lab_free(lab_calloc(1, 5000));
	cr_assert_eq(lab_thread.heap, second.heap);
	lab_leave(&first);
	lab_free(lab_calloc(1, 5000));
	cr_assert_eq(lab_thread.heap, first.heap);
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		cr_assert(lab_registry_heap(id)->whole);
		(void)heap_check(lab_registry_heap(id));
	}
}

static jmp_buf out;

static LAB_NOINLINE void
get_parked_and_jump(void)
{
	struct lab_bracket bracket;
	volatile char deep[1000];

	deep[0] = 0;
	get_parked(&bracket, (uintptr_t)__builtin_frame_address(0));
	__asm__ volatile("" : : "r"(deep) : "memory");
	longjmp(out, 1);
}

Test(thread, a_parked_heap_whose_frame_was_left_is_used_again)
{
	struct lab_bracket bracket;

	for (volatile int round = 0; round < 30; round++) {
		if (setjmp(out) == 0)
			get_parked_and_jump();
		ENTER_HERE(&bracket);
		(void)borrow_once();
		(void)borrow_once();
		lab_leave(&bracket);
	}
	cr_assert_leq(lab_registry_count(), 4, "%u heaps", lab_registry_count());
	(void)heap_check(lab_thread.heap);
}

static sigjmp_buf out_of_handler;

static void
get_parked_in_handler(int signal)
{
	struct lab_bracket bracket;

	(void)signal;
	get_parked(&bracket, (uintptr_t)__builtin_frame_address(0));
	siglongjmp(out_of_handler, 1);
}

static LAB_NOINLINE void
get_parked_on_two_stacks(void)
{
	struct lab_bracket bracket;
	volatile char deep[1000];

	deep[0] = 0;
	get_parked(&bracket, (uintptr_t)__builtin_frame_address(0));
	forget_interruptions();
	raise(SIGUSR1);
	__asm__ volatile("" : : "r"(deep) : "memory");
}

/* The first heap may hold a frame of either stack. While one is thought to be alive the thread's calls are a handler's: none grows the reserve,
 * waits for memory, or calls back. */
Test(thread, frames_of_two_stacks_that_were_left_are_seen_to_be_gone)
{
	static char stack[1 << 16];
	struct sigaction action = {.sa_handler = get_parked_in_handler, .sa_flags = SA_ONSTACK};
	struct lab_bracket bracket;

	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
	sigaction(SIGUSR1, &action, NULL);
	for (volatile int round = 0; round < 10; round++) {
		if (sigsetjmp(out_of_handler, 1) == 0)
			get_parked_on_two_stacks();
		cr_assert(lab_thread.has_parked);
		ENTER_HERE(&bracket);
		lab_leave(&bracket);
		cr_assert(!lab_thread.has_parked && !bracket.reentrant);
	}
	cr_assert_leq(lab_registry_count(), 5, "%u heaps", lab_registry_count());
}

static struct lab_heap *
heap_with_role(enum lab_heap_role role)
{
	for (uint32_t id = 0; id < lab_registry_count(); id++)
		if (role_of(lab_registry_heap(id)) == role)
			return lab_registry_heap(id);
	return NULL;
}

/* INV-THREAD-5: a frame further up may have read it as the thread's idle heap: it is no other thread's while that frame may go on. */
Test(thread, a_spare_whose_borrower_was_left_is_not_given_back)
{
	struct lab_bracket bracket;

	if (setjmp(out) == 0)
		get_parked_and_jump();
	ENTER_HERE(&bracket);
	struct lab_heap *spare = heap_with_role(LAB_ROLE_SPARE);
	cr_assert(spare && spare->limit != 0);
	borrow_deeply_and_stay();
	cr_assert_eq(role_of(spare), LAB_ROLE_BORROWED);
	cr_assert_eq(borrow_once(), spare, "it is found left behind");
	cr_assert_eq(lab_registry_hold(spare->id), LAB_HOLD_OWNED);
	cr_assert_eq(role_of(spare), LAB_ROLE_SPARE);
	lab_leave(&bracket);
}

/* Torn between the two halves of parking: the role says parked, and it is still the thread's. */
Test(thread, a_heap_that_is_parked_by_halves_has_one_frame_inside)
{
	struct lab_bracket bracket, inner;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	lab_free(lab_malloc(10));
	struct lab_heap *heap = lab_thread.heap;
	lab_thread.word = here - 2 * DEEP; /* the frame that was interrupted, and then left by the jump */
	heap->frame = here - 2 * DEEP;
	lab_store_rlx(&heap->role, LAB_ROLE_PARKED);
	lab_thread.has_parked = true;
	bracket.sp = here;
	cr_assert(lab_enter(&bracket));
	cr_assert_eq(bracket.heap, heap);
	inner.sp = here - DEEP; /* a handler, above the dead frame */
	cr_assert(lab_enter(&inner));
	cr_assert_neq(inner.heap, bracket.heap, "two frames in one heap");
	lab_leave(&inner);
	lab_leave(&bracket);
}

/* ---- the word's tag ---- */

Test(thread, a_change_of_mode_is_taken_over_when_a_bracket_is_left)
{
	struct lab_bracket bracket;

	ENTER_HERE(&bracket);
	lab_store_rlx(&lab_word_tag, LAB_WORD_SLOW);
	lab_leave(&bracket);
	cr_assert_eq(lab_thread.word, (uintptr_t)bracket.heap | LAB_WORD_SLOW);
	void *p = lab_malloc(10), *q = lab_malloc(10);
	cr_assert_eq(heap_of(p), bracket.heap);
	lab_free(p);
	lab_free(q);
	lab_store_rlx(&lab_word_tag, LAB_WORD_FAST);
	lab_free(lab_malloc(10));
	cr_assert_eq(lab_thread.word, (uintptr_t)bracket.heap | LAB_WORD_FAST);
}

Test(thread, no_heap_to_borrow_is_no_entry)
{
	struct lab_bracket bracket, inner;

	world_install();
	ENTER_HERE(&bracket);
	world.protects_left = 0;
	inner.sp = (uintptr_t)__builtin_frame_address(0) - 500;
	cr_assert(!lab_enter(&inner));
	cr_assert_eq(lab_thread.word, bracket.sp);
	cr_assert_eq(lab_thread.claiming, 0);
	world.protects_left = SIZE_MAX;
	cr_assert(lab_enter(&inner));
	lab_leave(&inner);
	lab_leave(&bracket);
}
