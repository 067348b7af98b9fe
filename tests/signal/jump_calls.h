/*
 * jump_calls.h - the calls of malloc's family that longjmp_step.c and fork_step.c interrupt, and the live blocks with
 * which it is seen whether the heap is sound afterwards.
 */
#ifndef LAB_TESTS_SIGNAL_JUMP_CALLS_H
#define LAB_TESTS_SIGNAL_JUMP_CALLS_H

#include <stddef.h>
#include <stdint.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

struct call {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
	size_t most;     /* bytes that a jump out of it may lose */
	unsigned weight; /* how often, relative to others */
};
enum { CALLS = 25 };
extern const struct call calls[CALLS];

/* What the call got before it is run and what it gave. */
extern void *in_hand;
extern void *volatile result;

/* Frees what a call that was not left has given. */
void finish_call(const struct call *call);

/* The thread that frees this one's blocks and allocates for it. */
void start_helper(void);

/* Some blocks of the live set are checked, freed and replaced; no two may overlap. */
void go_on_allocating(int steps);
/* The same in a frame that is far below the caller's. */
void go_on_deeper(int steps);
void fill_live_set(void);
size_t live_bytes(void);

/* For choices of the tests. */
extern uint32_t random_state;

#endif
