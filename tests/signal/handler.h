/*
 * handler.h - what a handler does that has interrupted malloc: the handler's own program of the tests that interrupt
 * every instruction (single_step.c, break_each.c). Each run is one or two steps: blocks that live over several
 * interruptions, blocks handed over by the main program and to it, every size; errno must not change in anything that
 * frees.
 */
#ifndef LAB_TESTS_SIGNAL_HANDLER_H
#define LAB_TESTS_SIGNAL_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#include "support.h"

enum { HELD = 61, MAIL = 16 };

/* Blocks that stay for a while; what the main program and the handler hand each other. One thread's. */
extern struct block held[HELD];
extern struct block mail_to_handler[MAIL], mail_to_main[MAIL];

extern bool handler_is_calm; /* small blocks only */

extern void (*handler_also)(uint32_t n); /* a scene's part of the n'th step; NULL: none */

/* One step. It may itself be interrupted by another. The thread that runs the scenes only. */
void handler_program(void);

/* The same for any other thread: nothing is kept. */
void handler_program_elsewhere(void);

/* The size of the n'th block. */
size_t size_for_turn(uint32_t n);

/* Checks the blocks that are held. */
void check_held(void);

#endif
