/*
 * longjmp_step.c - a handler that interrupts malloc, free, realloc … at any instruction and is left by siglongjmp. The
 * thread goes on allocating: nothing hangs, no live block is given out twice or changes, it comes to allocate from a
 * heap of its own again, the number of heaps stays bounded, and memory grows by no more than the blocks in hand.
 *
 * The same from several places: on the normal stack, with the handler on an alternate stack, with the interrupted call
 * itself on an alternate stack, with the call in a handler that has interrupted another one, and with the thread going
 * on deeper in its stack than the frame that was left; alternate stacks in static memory, on the heap, and inside
 * frames; in the main thread and in another.
 *
 * The instructions of a call are learned by stepping it; then a breakpoint on one of them costs one trap (learn.h). CI
 * does more than 10^4 jumps, --scale 10 more than 10^5.
 *
 * Clauses: G3.1, G3.2.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "breakpoints.h"
#include "jump_calls.h"
#include "learn.h"
#include "stepper.h"

#define DISARMS ((int)(1u << 31)) /* SS_AUTODISARM: not in glibc's headers */

/* Heaps that all variants together may make: of two threads that live, three deep, and of some that have ended. */
enum { HEAPS_MAX = 12, JUMPS = 1000, RELEARN = 200 };
/* What a jump out of a small call may leave resident, on the average: of those that carve a span or free a block, a
 * block. */
enum { RESIDENT_EACH = 1024 };
/* What a jump may lose besides the block in hand: nothing; but a fixed part for what is cached. */
#define SLACK (16 * MIB)

/* Where the alternate stack is. IN_FRAME: in a frame that lives on. IN_LEFT_FRAME: in one that the jump leaves as
 * well. */
enum place { STATIC, ON_HEAP, SMALL_ON_HEAP, IN_FRAME, IN_LEFT_FRAME, MAPPED };

static const struct variant {
	const char *name;
	enum place place;
	bool handler_on_alternate; /* the handler that is left */
	bool call_on_alternate;    /* the call that is interrupted */
	bool nested;               /* it is made in a handler that has interrupted one */
	bool deeper;               /* where the thread goes on */
	bool in_thread;            /* not the main one */
	bool coroutine;            /* the calls, and where the thread goes on, are on a coroutine's stack at `place` */
	bool disarms;              /* the alternate stack has SS_AUTODISARM; last, as the library remembers that */
	/* the calls are malloc, free, realloc and calloc of small blocks, and it is measured what stays resident */
	bool small;
	int steps; /* how much it goes on */
} variants[] = {
        {.name = "normal stack", .steps = 8},
        {.name = "what stays resident", .small = true, .steps = 8},
        {.name = "what stays resident, going on deeper", .small = true, .deeper = true, .steps = 8},
        {.name = "what stays resident, going on deeper for long", .small = true, .deeper = true, .steps = 150},
        {.name = "what stays resident, on a coroutine",
         .small = true,
         .place = ON_HEAP,
         .coroutine = true,
         .in_thread = true,
         .steps = 8},
        {.name = "going on deeper in the stack", .deeper = true, .steps = 8},
        {.name = "going on deeper for long", .deeper = true, .steps = 150},
        {.name = "the call of a handler that interrupted a call", .nested = true, .steps = 8},
        {.name = "the same, in a thread", .nested = true, .in_thread = true, .steps = 8},
        {.name = "handler on an alternate stack", .handler_on_alternate = true, .steps = 8},
        {.name = "handler on an alternate stack, in a thread",
         .handler_on_alternate = true,
         .in_thread = true,
         .steps = 8},
        {.name = "the call on an alternate stack", .handler_on_alternate = true, .call_on_alternate = true, .steps = 8},
        {.name = "the same, going on for long", .handler_on_alternate = true, .call_on_alternate = true, .steps = 150},
        {.name = "the same, the stack on the heap",
         .place = ON_HEAP,
         .handler_on_alternate = true,
         .call_on_alternate = true,
         .steps = 8},
        {.name = "the same, 16 KiB, in a thread",
         .place = SMALL_ON_HEAP,
         .handler_on_alternate = true,
         .call_on_alternate = true,
         .in_thread = true,
         .steps = 8},
        {.name = "the same, inside a live frame",
         .place = IN_FRAME,
         .handler_on_alternate = true,
         .call_on_alternate = true,
         .steps = 8},
        {.name = "handler inside a live frame, in a thread",
         .place = IN_FRAME,
         .handler_on_alternate = true,
         .in_thread = true,
         .deeper = true,
         .steps = 80},
        {.name = "handler inside a frame that is left",
         .place = IN_LEFT_FRAME,
         .handler_on_alternate = true,
         .steps = 8},
        {.name = "the call inside a frame that is left",
         .place = IN_LEFT_FRAME,
         .handler_on_alternate = true,
         .call_on_alternate = true,
         .steps = 80},
        {.name = "a coroutine on the heap", .place = ON_HEAP, .coroutine = true, .in_thread = true, .steps = 8},
        {.name = "a coroutine on the heap, 16 KiB",
         .place = SMALL_ON_HEAP,
         .coroutine = true,
         .in_thread = true,
         .steps = 8},
        {.name = "a coroutine on the heap, going on deeper",
         .place = ON_HEAP,
         .coroutine = true,
         .in_thread = true,
         .deeper = true,
         .steps = 8},
        {.name = "a mapped coroutine, a call of a handler",
         .place = MAPPED,
         .coroutine = true,
         .in_thread = true,
         .nested = true,
         .steps = 8},
        {.name = "a static coroutine, handlers on an alternate stack",
         .place = STATIC,
         .coroutine = true,
         .in_thread = true,
         .handler_on_alternate = true,
         .steps = 8},
        {.name = "the handler's stack disarms itself",
         .place = ON_HEAP,
         .handler_on_alternate = true,
         .disarms = true,
         .steps = 8},
        {.name = "the same, going on deeper for long, in a thread",
         .place = ON_HEAP,
         .handler_on_alternate = true,
         .disarms = true,
         .in_thread = true,
         .deeper = true,
         .steps = 80},
};

static const struct variant *current_variant;

/* ---- jumping --------------------------------------------------------------------------------------------------- */

static sigjmp_buf target;
static pid_t jumper;    /* the thread that jumps */
static unsigned passes; /* of the breakpoint, before the jump */
static bool is_first;   /* of a nested variant: the breakpoint at which the inner call is made */
static uint32_t second; /* the breakpoint in that */
static size_t jumps, attempts;
static const struct call *current_call, *inner_call;

/* In the handler that has interrupted a call: another, which is left. */
static void
interrupted_in_turn(void)
{
	void *outer = in_hand, *outer_result = result;

	is_first = false;
	inner_call->prepare();
	second = learned_offset(inner_call);
	break_arm(second);
	inner_call->run();
	break_disarm(second);
	finish_call(inner_call);
	in_hand = outer, result = outer_result;
	is_first = true;
}

static bool
hook(uint32_t offset)
{
	if (gettid() != jumper)
		return false;
	if (passes > 0 && passes-- > 0)
		return true;
	if (is_first) {
		interrupted_in_turn();
		return false;
	}
	step_count_distinct(offset);
	jumps++;
	siglongjmp(target, 1);
}

static void
on_user_signal(int number)
{
	(void)number;
	current_call->run();
}

static void
use_stack(void *low, size_t size)
{
	REQUIRE(sigaltstack(&(stack_t){.ss_sp = low, .ss_size = size}, NULL) == 0);
}

/* A handler that is left does not arm its stack again. */
static stack_t disarming;

static void
arm_again(void)
{
	if (disarming.ss_sp)
		REQUIRE(sigaltstack(&disarming, NULL) == 0);
}

static void
use_static_stack(void)
{
	static char main_stack[64 * 1024], thread_stack[64 * 1024];

	use_stack(gettid() == getpid() ? main_stack : thread_stack, sizeof main_stack);
}

/* Well below the frame from which the thread goes on, in whichever entry the library takes its stack pointer. */
static __attribute__((noinline)) void
run_call(const struct variant *variant)
{
	volatile char below[1024];

	below[0] = 0;
	if (variant->call_on_alternate)
		raise(SIGUSR1);
	else
		current_call->run();
	below[1] = below[0];
}

/* The alternate stack is in this frame, which the jump leaves. */
static __attribute__((noinline)) void
run_call_in_frame(const struct variant *variant)
{
	char frame[56 *
	           1024]; /* above the stack is room for the calls by which the thread changes it, after the jump */

	use_stack(frame, 48 * 1024);
	run_call(variant);
	use_static_stack();
}

/* Runs the call with a breakpoint at one of its instructions. True if it was left there. */
static bool
run_and_jump(const struct variant *variant, const struct call *call)
{
	volatile uint32_t at = learned_offset(call);
	uint32_t n = next_random(&random_state);

	current_call = call;
	inner_call =
	        &calls[n / 64 % 3 == 0 ? 8 : n / 256 % 6]; /* of those that change nothing but in_hand and result */
	in_hand = result = NULL;
	/* here, above the frame that was left, its heap is put in order; else in the call itself */
	if (!variant->deeper)
		free(malloc(1));
	else if (attempts % 8 ==
	         0) /* a slow path at the level from which jumps are made: what was left is seen to be */
		free(malloc(100 * KIB));
	call->prepare();
	attempts++;
	passes = n % 4 == 0 ? n / 4 % 8 : 0;
	is_first = variant->nested;
	if (sigsetjmp(target, 1) == 0) {
		break_arm(at);
		(variant->place == IN_LEFT_FRAME ? run_call_in_frame : run_call)(variant);
		break_disarm(at);
		finish_call(call);
		return false;
	}
	if (variant->place == IN_LEFT_FRAME)
		use_static_stack();
	break_disarm(at);
	if (variant->nested)
		break_disarm(second);
	arm_again();
	return true;
}

static size_t
jump_out_of_call(const struct variant *variant, const struct call *call, size_t wanted)
{
	size_t before = jumps, first_attempt = attempts;

	while (jumps - before < wanted && attempts - first_attempt < 8 * wanted) {
		if ((variant - variants) % 4 == 0 && (attempts - first_attempt) % RELEARN == 5)
			learn_call(call);
		(void)run_and_jump(variant, call);
		(variant->deeper ? go_on_deeper : go_on_allocating)(variant->steps);
	}
	return jumps - before;
}

/* ---- what holds afterwards ------------------------------------------------------------------------------------- */

/* Once the thread has called from above the frames that were left, it has a heap of its own: no call of it is
 * re-entrant any more. */
static void
check_own_heap(void)
{
	struct lab_stats before, after;

	go_on_allocating(200);
	library_stats(&before);
	go_on_allocating(100);
	library_stats(&after);
	if (after.reentrant != before.reentrant)
		fail("the thread still borrows: calls", after.reentrant - before.reentrant, 0);
}

static void
check_figures(const struct variant *variant, size_t may_be_lost)
{
	struct lab_stats stats;

	if (!library_stats)
		return;
	check_own_heap();
	library_stats(&stats);
	printf("%-46s %6zu jumps so far, %2zu heaps, %6zu MiB in use of which %zu KiB live, %4zu MiB resident\n",
	       variant->name, jumps, stats.heaps, stats.in_use / MIB, live_bytes() / KIB, resident_bytes() / MIB);
	if (stats.heaps > HEAPS_MAX)
		fail("heaps grow with the jumps: heaps, jumps", stats.heaps, jumps);
	if (stats.in_use > live_bytes() * 9 / 8 + may_be_lost + SLACK)
		fail("memory grows by more than the blocks in hand: bytes, allowed", stats.in_use, may_be_lost + SLACK);
}

/* Of small blocks; the instructions are those of all ways that the calls take. */
static void
jump_out_of_small_calls(const struct variant *variant)
{
	static const size_t small[] = {0, 1, 8, 20};
	size_t before, after, left = 0;

	(void)malloc_trim(0);
	before = resident_bytes();
	for (int round = 0; round < 10; round++)
		for (size_t i = 0; i < sizeof small / sizeof *small; i++)
			left += jump_out_of_call(variant, &calls[small[i]], JUMPS * scale / 4);
	free(malloc(1));
	go_on_allocating(200);
	(void)malloc_trim(0);
	after = resident_bytes();
	printf("%-46s %6zu jumps, %zu bytes each stay resident\n", variant->name, left, (after - before) / left);
	if (after > before && after - before > left * RESIDENT_EACH)
		fail("jumps leave memory behind: bytes, jumps", after - before, left);
}

static void
jump_out_of_calls(const struct variant *variant)
{
	static size_t may_be_lost;
	size_t weights = 0;

	jumper = gettid();
	if (variant->small) {
		jump_out_of_small_calls(variant);
		return;
	}
	for (size_t i = 0; i < CALLS; i++)
		weights += calls[i].weight;
	for (size_t i = 0; i < CALLS; i++) {
		size_t left = jump_out_of_call(variant, &calls[i], JUMPS * scale * calls[i].weight / weights + 1);
		may_be_lost += left * (calls[i].most + (variant->nested ? 8 * MIB / 16 : 0));
		if (left == 0)
			fail("a call was never left: its place in the table", i, 0);
	}
	free(malloc(1));
	check_figures(variant, may_be_lost);
}

/* ---- stacks and threads ---------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void
with_stack_in_frame(const struct variant *variant)
{
	char stack[32 * 1024]; /* all of it nearer than a handler's frames usually are */

	use_stack(stack, sizeof stack);
	jump_out_of_calls(variant);
	use_static_stack();
}

static ucontext_t outside, inside;

static void
live_as_coroutine(void)
{
	jump_out_of_calls(current_variant);
	REQUIRE(swapcontext(&inside, &outside) == 0);
}

static void
in_coroutine(const struct variant *variant)
{
	static char of_bss[64 * KIB] __attribute__((aligned(64)));
	size_t size = variant->place == SMALL_ON_HEAP ? 16 * KIB : 64 * KIB;
	char *volatile stack = of_bss;

	if (variant->place == MAPPED) { /* with a guard page */
		stack = mmap(NULL, size + 4 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(stack != MAP_FAILED && mprotect(stack, 4 * KIB, PROT_NONE) == 0);
		stack += 4 * KIB;
	} else if (variant->place != STATIC) {
		stack = malloc(size);
	}
	REQUIRE(stack && getcontext(&inside) == 0);
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = size;
	makecontext(&inside, live_as_coroutine, 0);
	REQUIRE(swapcontext(&outside, &inside) == 0);
}

static void *
with_stack(void *argument)
{
	const struct variant *variant = argument;
	size_t size = variant->place == SMALL_ON_HEAP ? 16 * KIB : 64 * KIB;
	void *stack = NULL;

	use_static_stack();
	break_use_flags(variant->handler_on_alternate ? SA_ONSTACK : 0);
	if (variant->place == IN_FRAME) {
		with_stack_in_frame(variant);
		return NULL;
	}
	current_variant = variant;
	if (variant->coroutine) {
		in_coroutine(variant);
		return NULL;
	}
	if (variant->place == ON_HEAP || variant->place == SMALL_ON_HEAP) {
		stack = malloc(size);
		REQUIRE(stack != NULL);
		use_stack(stack, size);
	}
	if (variant->disarms) {
		disarming = (stack_t){.ss_sp = stack, .ss_size = size, .ss_flags = DISARMS};
		arm_again();
	}
	jump_out_of_calls(variant);
	disarming.ss_sp = NULL;
	use_static_stack();
	free(stack);
	return NULL;
}

static void
run_variant(const struct variant *variant)
{
	pthread_t thread;

	current_scenario = variant->name;
	if (!variant->in_thread) {
		(void)with_stack((void *)variant);
		return;
	}
	REQUIRE(pthread_create(&thread, NULL, with_stack, (void *)variant) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_user_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};

	start_test(argc, argv, 1000);
	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
	start_helper();
	fill_live_set();
	step_start(learn_hook, 0);
	break_start(hook, 0);
	for (size_t i = 0; i < CALLS; i++)
		for (int round = 0; round < 3; round++)
			learn_call(&calls[i]);
	for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
		if (strstr(variants[i].name, only))
			run_variant(&variants[i]);
	printf("%zu jumps out of %zu distinct instructions of the library, in %zu attempts\n", jumps,
	       step_figures().distinct, attempts);
	step_write_coverage();
	return end_test();
}
