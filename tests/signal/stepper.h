/*
 * stepper.h - runs a hook after every single instruction of the malloc library (x86-64, the trap flag).
 *
 * Between step_on and step_off the processor traps after each instruction; the SIGTRAP handler calls the hook if the
 * next instruction is one of the library's, or the first of a function that the library calls in another (memcpy, the
 * vDSO's clock). The rest of such a function runs at full speed: nothing of the library's state changes in it, and a
 * `rep movsb` would trap for each byte. The kernel clears the trap flag while a handler runs. After a `syscall`
 * instruction one instruction is run without a trap.
 *
 * "The library" is the object from which the dynamic linker takes malloc, so that the same program steps any malloc,
 * glibc's included. One thread of the process can be stepped at a time.
 */
#ifndef LAB_TESTS_SIGNAL_STEPPER_H
#define LAB_TESTS_SIGNAL_STEPPER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Called in the SIGTRAP handler, which may be left by siglongjmp: step_off is then not needed. False: it has done
 * nothing, and the instruction does not count as interrupted.
 */
typedef bool step_hook(void);

/* Finds the library's text and installs the handler with these flags besides SA_SIGINFO (SA_ONSTACK, SA_NODEFER). */
void step_start(step_hook *hook, int flags);

/* The same for the library that defines another function than malloc. */
void step_start_in(const char *function, step_hook *hook, int flags);

/* The object whose text is stepped: what it is based on, and its text. */
struct step_library {
	uintptr_t base, low, high;
};
struct step_library step_library(void);

/* The handler itself, for a test that has one of its own for other traps. */
void step_trap(int number, siginfo_t *info, void *context);

/* Nothing may be called between them but what is to be stepped. */
void step_on(void);
void step_off(void);

/* In a hook: the rest of the call runs at full speed. */
void step_no_more(void);

/* In a hook: the same, and the thread goes on at `to`, all registers else and the stack being as they were: as if it
 * had been sent there by a tracer. */
void step_divert(void (*to)(void));

/* The address of the instruction before which the hook is called, or was last. */
extern uintptr_t volatile step_address;

struct step_figures {
	size_t traps;    /* in the library */
	size_t distinct; /* instructions of the library before which the hook has done something */
};
struct step_figures step_figures(void);

/* An instruction was interrupted otherwise. Kept in memory that a child of fork shares. */
void step_count_distinct(uint32_t offset);
bool step_is_counted(uint32_t offset);

/*
 * Writes the offsets of the instructions that were reached, one a line, to the file that the environment names in
 * SIGNAL_COVERAGE, if it does: coverage.py makes a table of them.
 */
void step_write_coverage(void);

#endif
