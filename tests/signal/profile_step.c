/*
 * profile_step.c - allocations and frees that the heap profile samples, interrupted after every single instruction by a
 * handler that allocates and frees likewise; and left by siglongjmp at some of them. To be run with
 * LABYRINTH_HEAP_PROFILE=1, so that every block is sampled. At the end the profile is written by a handler that has
 * interrupted malloc, too.
 *
 * Clauses: G2.1, G2.8, G12.1.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stepper.h"
#include "support.h"

enum { JUMP_STEP = 331, DUMPS = 6 };

static bool (*profile_dump)(const char *path);
static unsigned traps_in_call, jump_at; /* 0: the handler returns */
static unsigned dump_at;                /* 0: it does not dump */
static sigjmp_buf left;
static volatile unsigned handled;

static bool
in_handler(void)
{
	unsigned n = ++traps_in_call;

	if (jump_at != 0) {
		if (n != jump_at)
			return false;
		siglongjmp(left, 1);
	}
	if (dump_at != 0) {
		if (n != dump_at)
			return false;
		REQUIRE(profile_dump("/dev/null"));
		return true;
	}
	struct block small = block_of(malloc(40), 40);
	check_block(&small);
	free(small.p);
	handled++;
	return true;
}

/* One call of each kind on the way of a sample. */
static void
call(unsigned which, struct block *block)
{
	static const size_t sizes[] = {24, 1500, 50000, 6 << 20};
	size_t size = sizes[which % 4];
	void *p = NULL;

	traps_in_call = 0;
	switch (which / 4) {
	case 0:
		step_on();
		p = malloc(size);
		step_off();
		*block = block_of(p, size);
		break;
	case 1:
		step_on();
		p = realloc(block->p, size + size / 2);
		step_off();
		block->p = p;
		check_block_part(block, size);
		break;
	default:
		check_block_part(block, size);
		step_on();
		free(block->p);
		step_off();
	}
}

enum { SIZES = 4, CALLS = 12 };

static void
interrupt_each(void)
{
	struct block blocks[SIZES];

	for (unsigned which = 0; which < CALLS; which++) {
		call(which, &blocks[which % SIZES]);
		printf("call %2u: %u instructions\n", which, traps_in_call);
	}
}

/* Each call left at some of its instructions, for good. What it had is lost, and nothing else is. */
static void
leave_some(void)
{
	for (unsigned which = 0; which < CALLS; which++) {
		bool was_left = true;
		for (volatile unsigned at = 1 + which; was_left; at += JUMP_STEP) {
			struct block block;
			jump_at = 0;
			size_t size = 0;
			if (which >= SIZES) {
				static const size_t sizes[] = {24, 1500, 50000, 6 << 20};
				size = sizes[which % SIZES];
				block = block_of(malloc(size), size);
			}
			jump_at = at;
			was_left = sigsetjmp(left, 1) != 0;
			if (!was_left)
				call(which, &block);
			if (!was_left && traps_in_call >= at)
				break;
		}
		jump_at = 0;
		struct block after = block_of(malloc(100), 100);
		check_block(&after);
		free(after.p);
	}
}

static void
dump_in_handlers(void)
{
	for (unsigned i = 1; i <= DUMPS; i++) {
		struct block block;
		dump_at = i * 97;
		call(i % SIZES, &block);
		dump_at = 0;
		free(block.p);
	}
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 600);
	void *function = dlsym(RTLD_DEFAULT, "lab_profile_dump");
	REQUIRE(function != NULL);
	memcpy(&profile_dump, &function, sizeof function);
	step_start(in_handler, 0);
	REQUIRE(profile_dump("/dev/null"));
	interrupt_each();
	printf("interrupted %u times\n", handled);
	REQUIRE(handled > 1000);
	dump_in_handlers();
	printf("dumped in handlers\n");
	leave_some();
	REQUIRE(profile_dump("/dev/null"));
	step_write_coverage();
	return end_test();
}
