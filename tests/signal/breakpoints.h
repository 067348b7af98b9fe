/*
 * breakpoints.h - interrupts the malloc library at chosen instructions while it runs at full speed (x86-64): a
 * breakpoint instruction is written over the first byte of each. Where stepping costs a trap for every instruction,
 * this costs one for each that is chosen.
 *
 * The library's text becomes this process's own and writable. A breakpoint that is hit is taken out before the hook
 * runs, so that what the hook itself calls does not meet it again. Any thread may hit one; arming is one thread's
 * business.
 */
#ifndef LAB_TESTS_SIGNAL_BREAKPOINTS_H
#define LAB_TESTS_SIGNAL_BREAKPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Called in the SIGTRAP handler before the instruction at this offset of the library is executed. May be left by
 * siglongjmp. True: the breakpoint is put back when the instruction has been executed. False: it stays out.
 */
typedef bool break_hook(uint32_t offset);

/* After step_start, whose handler serves what is no breakpoint's: finds the text, makes it writable, installs the
 * handler. */
void break_start(break_hook *hook, int flags);

/* In a hook that returns false: the thread goes on at `to`, all registers else and the stack being as they were. */
void break_divert(void (*to)(void));

/* Another handler's flags: SA_ONSTACK or not. */
void break_use_flags(int flags);

/* An offset that is no instruction's start is the end of the program. */
void break_arm(uint32_t offset);
void break_disarm(uint32_t offset);
bool break_is_armed(uint32_t offset);

/* The starts of instructions of malloc's family, which the environment names in SIGNAL_INSTRUCTIONS (coverage.py makes
 * the list). */
struct break_list {
	const uint32_t *offsets;
	size_t count;
};
struct break_list break_list(void);

#endif
