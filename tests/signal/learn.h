/*
 * learn.h - which instructions of the library a call runs through: found by stepping it, so that a breakpoint can be
 * put on any of them. In this way a call is interrupted at its k-th instruction at the price of one trap instead of k.
 * Works on any malloc.
 */
#ifndef LAB_TESTS_SIGNAL_LEARN_H
#define LAB_TESTS_SIGNAL_LEARN_H

#include "jump_calls.h"

/* For step_start: notes the instruction for the call that is learned. */
bool learn_hook(void);

/* Steps the call once. */
void learn_call(const struct call *call);

/* A random one of its instructions, among all that were ever seen; those seen last are preferred. */
uint32_t learned_offset(const struct call *call);

#endif
