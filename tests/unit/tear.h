/*
 * tear.h - leaves a call by a jump at its n-th instruction: the trap flag steps the thread through it. x86-64 only; elsewhere a call runs to
 * its end, and the tests that tear see no tear.
 */
#ifndef LAB_TESTS_UNIT_TEAR_H
#define LAB_TESTS_UNIT_TEAR_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>

#include "require.h"

static sigjmp_buf tear_out;
static volatile long tear_left;

static void
tear_step(int signal)
{
	(void)signal;
	if (tear_left-- <= 0)
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

/* Whether the call was left, after `steps` instructions; false: it ended before. */
static inline bool
tear(long steps, void (*call)(void *argument), void *argument)
{
	struct sigaction action = {.sa_handler = tear_step}, before;

	REQUIRE(sigaction(SIGTRAP, &action, &before) == 0);
	tear_left = steps;
	bool torn = sigsetjmp(tear_out, 1) != 0;
	if (!torn) {
		tear_set_trap(true);
		call(argument);
		tear_set_trap(false);
	}
	REQUIRE(sigaction(SIGTRAP, &before, NULL) == 0);
	return torn;
}

#endif
