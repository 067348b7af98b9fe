/*
 * longjmp_step.c - a handler that interrupts malloc, free, realloc … at the k-th instruction and is left by siglongjmp, for every k of
 * the call (G3). The thread goes on allocating: nothing hangs, no live block is given out twice or changes, the number of
 * heaps stays bounded, and memory grows by no more than the blocks in hand.
 *
 * The same from several places: on the normal stack, with the handler on an alternate stack, with the interrupted call itself on an
 * alternate stack (a handler that allocates, interrupted in turn), and with the thread going on deeper in its stack than the frame
 * that was left.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stepper.h"
#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* Heaps that all variants together may make: by the jumps of one stack there is no more than a few. */
enum { HEAPS_MAX = 24 };
/* What a jump may lose besides the block in hand: nothing; but a fixed part for what is cached. */
#define SLACK (16 * MIB)

/* ---- the live set ------------------------------------------------------------------------------------------------------- */

enum { LIVE = 300 };

static struct block live[LIVE];
static uint32_t random_state = 1;

static void
check_overlap(const struct block *new)
{
	for (int i = 0; i < LIVE; i++) {
		const struct block *old = &live[i];
		if (old->p && new->p < old->p + old->size && old->p < new->p + new->size)
			fail("two live blocks overlap", (uintptr_t) new->p, (uintptr_t)old->p);
	}
}

static size_t
random_size(void)
{
	uint32_t n = next_random(&random_state);

	if (n % 97 == 0)
		return 40 * KIB + n % 60 * KIB;
	if (n % 13 == 0)
		return 1100 + n % 20000;
	return 1 + n % 1000;
}

/* Some blocks of the live set are checked, freed and replaced. */
static void
go_on_allocating(int steps)
{
	for (int i = 0; i < steps; i++) {
		struct block *at = &live[next_random(&random_state) % LIVE];
		size_t size = random_size();
		free_block(at);
		struct block block = {.p = malloc(size), .size = size};
		if (!block.p)
			fail("NULL while there is memory: size", size, 0);
		check_overlap(&block);
		*at = block_of(block.p, size);
	}
}

/* The same in a frame that is far below the caller's. */
static __attribute__((noinline)) void
go_on_deeper(int steps)
{
	volatile char below[16 * 1024];

	below[0] = 0;
	go_on_allocating(steps);
	below[1] = below[0];
}

static size_t
live_bytes(void)
{
	size_t bytes = 0;

	for (int i = 0; i < LIVE; i++)
		bytes += live[i].p ? live[i].size : 0;
	return bytes;
}

/* ---- another thread, which frees this one's blocks and allocates for it ---------------------------------------------------- */

enum { SHARED = 24 };

static void *to_free[SHARED];
static void *allocated[SHARED];
static sem_t wanted, done;

static void *
helper(void *unused)
{
	for (;;) {
		while (sem_wait(&wanted) != 0)
			;
		for (int i = 0; i < SHARED; i++) {
			free(to_free[i]);
			to_free[i] = NULL;
			if (!allocated[i])
				allocated[i] = malloc(300);
		}
		sem_post(&done);
	}
	return unused;
}

static void
ask_helper(void)
{
	sem_post(&wanted);
	while (sem_wait(&done) != 0)
		;
}

/* ---- the calls that are interrupted -------------------------------------------------------------------------------------- */

static void *in_hand;
static void *volatile result;

static void
nothing(void)
{
}

static void
prepare_small(void)
{
	in_hand = malloc(100);
}

static void
prepare_medium(void)
{
	in_hand = malloc(20 * KIB);
}

static void
prepare_run(void)
{
	in_hand = malloc(100 * KIB);
}

static void
prepare_huge(void)
{
	in_hand = malloc(5 * MIB);
}

/* Of another thread's heap: its free goes into a batch. */
static void
prepare_foreign(void)
{
	for (int i = 0; i < SHARED; i++) {
		in_hand = allocated[i];
		if (in_hand) {
			allocated[i] = NULL;
			return;
		}
	}
	ask_helper();
	prepare_foreign();
}

/* The other thread frees some of ours, which the next slow path drains. */
static void
prepare_drain(void)
{
	for (int i = 0; i < SHARED; i++)
		to_free[i] = malloc(i % 8 ? 700 : 50 * KIB);
	ask_helper();
}

static void
call_malloc_small(void)
{
	result = malloc(100);
}

static void
call_malloc_medium(void)
{
	result = malloc(20 * KIB);
}

static void
call_malloc_run(void)
{
	result = malloc(100 * KIB);
}

static void
call_malloc_huge(void)
{
	result = malloc(5 * MIB);
}

static void
call_calloc(void)
{
	result = calloc(1, 3000);
}

static void
call_memalign(void)
{
	result = memalign(4096, 10 * KIB);
}

static void
call_free(void)
{
	free(in_hand);
}

static void
call_realloc_more(void)
{
	result = realloc(in_hand, 150 * KIB);
}

static void
call_realloc_huge(void)
{
	result = realloc(in_hand, 14 * MIB);
}

static void
call_realloc_less(void)
{
	result = realloc(in_hand, 40);
}

/* `most`: the greatest number of bytes that a jump out of it may lose. */
static const struct call {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
	size_t most;
} calls[] = {
        {"malloc, small", nothing, call_malloc_small, 112},
        {"free, small", prepare_small, call_free, 112},
        {"malloc, 20 KiB", nothing, call_malloc_medium, 64 * KIB},
        {"free, 20 KiB", prepare_medium, call_free, 20 * KIB},
        {"malloc, run", nothing, call_malloc_run, 100 * KIB},
        {"free, run", prepare_run, call_free, 100 * KIB},
        {"malloc, huge", nothing, call_malloc_huge, 8 * MIB},
        {"free, huge", prepare_huge, call_free, 8 * MIB},
        {"calloc, 3000", nothing, call_calloc, 4096},
        {"memalign, 10 KiB", nothing, call_memalign, 16 * KIB},
        {"realloc, small to run", prepare_small, call_realloc_more, 160 * KIB},
        {"realloc, run grows", prepare_run, call_realloc_more, 260 * KIB},
        {"realloc, run to small", prepare_run, call_realloc_less, 110 * KIB},
        {"realloc, huge grows", prepare_huge, call_realloc_huge, 24 * MIB},
        {"free, another thread's", prepare_foreign, call_free, 32 * 320},
        {"malloc that drains", prepare_drain, call_malloc_run, 160 * KIB},
        {"small malloc that drains", prepare_drain, call_malloc_medium, 110 * KIB},
};

/* ---- jumping ------------------------------------------------------------------------------------------------------------- */

static const struct variant {
	const char *name;
	bool handler_on_alternate; /* the handler that is left */
	bool call_on_alternate;    /* the call that is interrupted */
	bool deeper;               /* where the thread goes on */
	unsigned stride;           /* every how manieth instruction, in the CI form */
	int steps;                 /* how much it goes on */
} variants[] = {
        {"normal stack", false, false, false, 23, 8},
        {"handler on an alternate stack", true, false, false, 89, 8},
        {"going on deeper in the stack", false, false, true, 89, 8},
        {"going on deeper for long", false, false, true, 149, 150},
        {"the call on an alternate stack", true, true, false, 89, 8},
        {"the call on an alternate stack, going on for long", true, true, false, 149, 150},
};

static sigjmp_buf target;
static unsigned countdown; /* instructions until the jump; 0: none */
static unsigned instructions;
static size_t jumps;
static const struct call *current_call;

static bool
hook(void)
{
	instructions++;
	if (countdown && --countdown == 0) {
		jumps++;
		siglongjmp(target, 1);
	}
	return false;
}

static void
run_stepped(void)
{
	instructions = 0;
	step_on();
	current_call->run();
	step_off();
}

static void
on_user_signal(int number)
{
	(void)number;
	run_stepped();
}

/* Runs the call, leaving it after `k` instructions (0: not at all). True if it was left. */
static bool
run_and_jump(const struct variant *variant, const struct call *call, unsigned k)
{
	current_call = call;
	in_hand = result = NULL;
	if (!variant->deeper) /* here, above the frame that was left, its heap is put in order; else in the call itself */
		free(malloc(1));
	call->prepare();
	countdown = k;
	if (sigsetjmp(target, 1) != 0)
		return true;
	if (variant->call_on_alternate)
		raise(SIGUSR1);
	else
		run_stepped();
	countdown = 0;
	if (call->run == call_free)
		in_hand = NULL;
	free(result);
	return false;
}

static void
jump_out_of_call(const struct variant *variant, const struct call *call)
{
	unsigned stride = scale > 1 ? 1 : variant->stride;
	unsigned spread =
	        scale > 1 ? 3000 : 150; /* a call may rebuild the heap: beyond this, instructions are left out increasingly */
	size_t before = jumps;

	for (int i = 0; i < 3; i++)
		(void)run_and_jump(variant, call, 0);
	for (unsigned k = 1 + next_random(&random_state) % stride;; k += stride + k / spread * stride) {
		bool left = run_and_jump(variant, call, k);
		(variant->deeper ? go_on_deeper : go_on_allocating)(variant->steps);
		/* calls differ in length; well beyond the end, it is the end */
		if (!left && k > instructions + 50)
			break;
	}
	if (getenv("SIGNAL_TEST_VERBOSE"))
		printf("  %-28s %6zu jumps\n", call->name, jumps - before);
}

static void
check_figures(const struct variant *variant, size_t may_be_lost)
{
	struct lab_stats stats;

	if (!library_stats)
		return;
	library_stats(&stats);
	printf("%-50s %6zu jumps so far, %3zu heaps, %8zu KiB in use of which %zu live\n", variant->name, jumps, stats.heaps,
	       stats.in_use / KIB, live_bytes() / KIB);
	if (stats.heaps > HEAPS_MAX)
		fail("heaps grow with the jumps: heaps, jumps", stats.heaps, jumps);
	if (stats.in_use > live_bytes() * 9 / 8 + may_be_lost + SLACK)
		fail("memory grows by more than the blocks in hand: bytes, allowed", stats.in_use, may_be_lost + SLACK);
}

static void
run_variant(const struct variant *variant)
{
	static size_t may_be_lost;

	current_scenario = variant->name;
	step_start(hook, variant->handler_on_alternate ? SA_ONSTACK : 0);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		size_t before = jumps;
		jump_out_of_call(variant, &calls[i]);
		may_be_lost += (jumps - before) * calls[i].most;
	}
	check_figures(variant, may_be_lost);
}

static void
start_helper(void)
{
	pthread_t thread;

	REQUIRE(sem_init(&wanted, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
	REQUIRE(pthread_create(&thread, NULL, helper, NULL) == 0);
	REQUIRE(pthread_detach(thread) == 0);
}

int
main(int argc, char **argv)
{
	static char stack[64 * 1024];
	struct sigaction action = {.sa_handler = on_user_signal, .sa_flags = SA_ONSTACK};

	start_test(argc, argv, 100);
	REQUIRE(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) == 0);
	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
	start_helper();
	go_on_allocating(LIVE * 3);
	for (unsigned round = 0; round < scale; round++)
		for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
			if (strstr(variants[i].name, only))
				run_variant(&variants[i]);
	printf("%zu jumps\n", jumps);
	return end_test();
}
