/*
 * stale_word.c - a fast malloc that is interrupted between reading its thread's word and marking it goes on into the
 * heap that it has read: whatever handlers did meanwhile, it has to be the thread's still, and nobody else may be
 * inside.
 *
 * The handler at the k-th instruction enters the heap by a slow call; a handler in that call allocates much, and leaves
 * by siglongjmp; more calls of the first handler bring the heap to rest. Then the fast malloc goes on, and is
 * interrupted at each of its instructions by a handler that allocates: nothing may be given out twice.
 *
 * Clauses: G2.5.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "stepper.h"
#include "support.h"

enum {
	KEPT = 65536,
	SIZE = 48,
	MANY = 80, /* allocations of one handler that finds the heap busy */
	LARGE = 100000,
	HEAPS_MAX = 16,
	ROUNDS_MAX = 400,
};

/* Blocks of SIZE that are in use at once. */
static struct block kept[KEPT];
static size_t kept_count;

static void
keep(void)
{
	struct block block = {.p = malloc(SIZE)};

	REQUIRE(kept_count < KEPT);
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i].p == block.p)
			fail("a block was given out twice", (uintptr_t)block.p, i);
	kept[kept_count++] = block_of(block.p, SIZE);
}

static size_t instruction, disturb_at, nested, nested_at, jumps;
static volatile int level;
static sigjmp_buf out;

/* In the call of the first handler: allocates, and leaves the call. */
static void
borrow_and_jump(void)
{
	for (int i = 0; i < MANY; i++)
		keep();
	jumps++;
	level = 0;
	siglongjmp(out, 1);
}

/* Interrupts a slow call of its own, then makes another from the same place. */
static __attribute__((noinline)) void
disturb(void)
{
	for (volatile int i = 0; i < 2; i++) {
		if (i == 0 && sigsetjmp(out, 1) == 0) {
			nested = 0;
			level = 1;
			step_on();
			void *p = malloc(LARGE);
			step_off(); /* not reached unless the call was shorter than nested_at */
			level = 0;
			free(p);
		} else {
			free(malloc(LARGE));
		}
	}
}

static bool
hook(void)
{
	if (level == 1) {
		if (++nested == nested_at)
			borrow_and_jump();
		return false;
	}
	if (instruction++ == disturb_at)
		disturb();
	else if (instruction > disturb_at)
		keep();
	return true;
}

static bool
one_round(void)
{
	instruction = 0;
	step_on();
	void *p = malloc(SIZE);
	step_off();
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i].p == p)
			fail("the interrupted call's block was given out twice", (uintptr_t)p, i);
	free(p);
	while (kept_count > 0)
		free_block(&kept[--kept_count]);
	return instruction > disturb_at;
}

int
main(int argc, char **argv)
{
	struct lab_stats stats;
	size_t rounds = 0;

	start_test(argc, argv, 600);
	step_start(hook, SA_NODEFER);
	for (size_t i = 0; i < 64; i++) /* blocks to take at once */
		keep();
	while (kept_count > 0)
		free_block(&kept[--kept_count]);
	for (nested_at = 20; nested_at < 300; nested_at += 35)
		for (disturb_at = 0; rounds < ROUNDS_MAX * scale && one_round(); disturb_at++)
			rounds++;
	REQUIRE(jumps > 100);
	if (library_stats) {
		library_stats(&stats);
		printf("%zu rounds, %zu jumps, %zu heaps\n", rounds, jumps, stats.heaps);
		if (stats.heaps > HEAPS_MAX)
			fail("heaps pile up", stats.heaps, HEAPS_MAX);
	}
	return end_test();
}
