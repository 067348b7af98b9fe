/*
 * interrupted.c - calls to the kernel that fail while a frame is suspended in the heap: a handler's own, and those by
 * which a frame that a jump has left is proved dead. A thread whose frame cannot be proved dead borrows a heap for each
 * call.
 */
#include <setjmp.h>

#include "faults.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { MANY = 30, INTERRUPTIONS = 100, JUMPS = 2 };

static struct kept blocks[MANY];

static void
free_all(void)
{
	for (int i = 0; i < MANY; i++)
		kept_free(&blocks[i]);
}

/* ---- handlers that allocate ------------------------------------------------------------------------------------ */

static int interruptions;

/* As a handler would, in the middle of a call to the kernel: from heaps that are borrowed. */
static void
allocate_within(void)
{
	struct kept within[3] = {{0}};

	if (interruptions++ >= INTERRUPTIONS)
		return;
	kept_malloc(&within[0], 50);
	kept_calloc(&within[1], 40 * KIB);
	kept_malloc(&within[2], 20 * KIB);
	kept_realloc(&within[0], 5000, LAB_GFP_KERNEL);
	kept_realloc(&within[1], 400 * KIB, LAB_GFP_KERNEL);
	for (int i = 0; i < 3; i++)
		kept_free(&within[i]);
}

static void
allocating(void)
{
	interruptions = 0;
	fault_interrupt = allocate_within;
	for (int i = 0; i < 20; i++)
		kept_malloc(&blocks[i], (size_t)1000 << i % 12);
	kept_malloc(&blocks[20], 9 * MIB);
	(void)lab_trim(0);
	for (int i = 0; i < 20; i += 2)
		kept_realloc(&blocks[i], 70 * KIB, LAB_GFP_KERNEL);
	free_all();
	(void)lab_trim(0);
	fault_interrupt = NULL;
}

/* ---- handlers that jump away ----------------------------------------------------------------------------------- */

static sigjmp_buf before;
static int calls_left;

static void
jump(void)
{
	if (calls_left-- == 0)
		siglongjmp(before, 1);
}

/* The frames that are left lie deeper than those of all calls that come later, in any build: so they are known to be
 * gone. */
static __attribute__((noinline)) void
trim_far_below(void)
{
	volatile char below[16384];

	below[0] = 0;
	(void)lab_trim(0);
	below[1] = below[0];
}

/* Out of the giving back of pages: no block is in hand. */
static void
leave_trim(int after)
{
	calls_left = after;
	fault_interrupt = jump;
	if (sigsetjmp(before, 0) == 0)
		trim_far_below();
	fault_interrupt = NULL;
	fault_interrupt_was_left();
}

static void
jumping(void)
{
	for (int round = 0; round < JUMPS; round++) {
		for (int i = 0; i < MANY; i++)
			kept_malloc(&blocks[i], (size_t)(i + 1) * 3000);
		for (int i = 0; i < MANY; i += 2)
			kept_free(&blocks[i]);
		leave_trim(2 * round);
		for (int i = 0; i < MANY; i += 2)
			kept_calloc(&blocks[i], (size_t)(i + 1) * 2500);
		free_all();
	}
	(void)lab_trim(0);
}

static const struct fault_workload workloads[] = {
        {"allocating", NULL, allocating, false, false},
        {"jumping", NULL, jumping, false, false},
};

const struct fault_group fault_interrupted = FAULT_GROUP("interrupted", workloads);
