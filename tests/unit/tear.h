/*
 * tear.h - leaves a call by a jump, at its n-th instruction or when something has come to be: the trap flag steps the
 * thread through it. x86-64 only; elsewhere a call runs to its end, and the tests that tear see no tear.
 */
#ifndef LAB_TESTS_UNIT_TEAR_H
#define LAB_TESTS_UNIT_TEAR_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>

#include "require.h"

/* Instrumented code takes many more steps, each of them a signal. */
#ifdef __SANITIZE_ADDRESS__
enum { TEAR_COARSER = 40 };
#else
enum { TEAR_COARSER = 1 };
#endif

static sigjmp_buf tear_out;
static volatile long tear_left;
static bool (*tear_now)(void);

static inline bool
tear_is_counted_out(void)
{
	return tear_left-- <= 0;
}

static inline void
tear_step(int signal)
{
	(void)signal;
	if (tear_now())
		siglongjmp(tear_out, 1);
}

static inline void
tear_set_trap(bool on)
{
#ifdef __x86_64__
	if (on)
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	else
		__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
#else
	(void)on;
#endif
}

/* Whether the call was left, before the first instruction at which `now` said so; false: it ended before. */
static inline bool
tear_when(bool (*now)(void), void (*call)(void *argument), void *argument)
{
	struct sigaction action = {.sa_handler = tear_step}, before;

	REQUIRE(sigaction(SIGTRAP, &action, &before) == 0);
	tear_now = now;
	bool torn = sigsetjmp(tear_out, 1) != 0;
	if (!torn) {
		tear_set_trap(true);
		call(argument);
		tear_set_trap(false);
	}
	REQUIRE(sigaction(SIGTRAP, &before, NULL) == 0);
	return torn;
}

/* The same after `steps` instructions. */
static inline bool
tear(long steps, void (*call)(void *argument), void *argument)
{
	tear_left = steps;
	return tear_when(tear_is_counted_out, call, argument);
}

#endif
