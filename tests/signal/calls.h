/*
 * calls.h - the main program's calls of malloc's family, each run so that it is interrupted: stepped with the trap flag
 * and handed to the handler's program in one of several ways (single_step.c), or at full speed over breakpoints
 * (break_each.c). One thread steps at a time.
 */
#ifndef LAB_TESTS_SIGNAL_CALLS_H
#define LAB_TESTS_SIGNAL_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/*
 * DENSE: at every instruction.
 * SPARSE: at every SPARSE_STEP'th instruction, others each time.
 * SWEEP: at one instruction, another each time, the handler makes many calls. After that it runs ten times more.
 * TWO_LEVELS: sparse, and the handler's own calls are stepped as well and interrupted at one instruction, another each
 * time. UNSTEPPED: not at all; breakpoints do it.
 */
enum call_mode { DENSE, SPARSE, SWEEP, TWO_LEVELS, UNSTEPPED };
extern enum call_mode call_mode;

/* What the stepper calls. */
bool call_hook(void);

/* SWEEP: the instruction that is interrupted for long, and the length of the last call in instructions. */
extern unsigned sweep_target, call_instructions;

extern unsigned calls_made, second_hits;

/* Around what no function here does: a call that begins, its first and last instruction. */
void call_begin(void);
void call_on(void);
void call_off(void);

/* A stepped call must not change errno. */
struct block step_new(size_t size);
struct block step_calloc(size_t count, size_t size);
struct block step_aligned(size_t alignment, size_t size, bool as_memalign);
void step_realloc(struct block *block, size_t size);
void step_free(struct block *block);
void step_trim(void);

/* Fills what the handler is to free, and frees what it has sent. */
void exchange_mail(size_t size);

#endif
