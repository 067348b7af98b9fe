/* calls.c - see calls.h. */
#include "calls.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "handler.h"
#include "stepper.h"

enum { LONG_CALLS = 40, SWEEP_STEP = 13 };

enum call_mode call_mode;
unsigned sweep_target, call_instructions, calls_made, second_hits;

/* At every how manieth instruction the handler does something. */
static const unsigned steps[] = {[DENSE] = 1, [SPARSE] = 67, [SWEEP] = 1, [TWO_LEVELS] = 2503};

static unsigned level; /* depth of handlers */
static unsigned second_instruction, second_target, turn;

void
call_begin(void)
{
	if (level == 0) {
		call_instructions = 0;
		calls_made++;
	}
}

void
call_on(void)
{
	if (call_mode != UNSTEPPED)
		step_on();
}

void
call_off(void)
{
	if (call_mode != UNSTEPPED)
		step_off();
}

/* The program of a handler that is itself interrupted. */
static void
interrupted_handler_program(uint32_t n)
{
	level = 1;
	second_instruction = 0;
	static struct block own[HELD];
	struct block *block = &own[n % HELD];
	if (block->p && n % 3 == 0)
		step_realloc(block, size_for_turn(n) + 1);
	step_free(block);
	*block = step_new(size_for_turn(n));
	second_target = second_instruction > second_target ? second_target + 1 : 0;
	level = 0;
}

static bool
run_in_sweep(void)
{
	bool is_target = call_instructions == sweep_target;

	if (call_instructions > sweep_target + 10 * SWEEP_STEP)
		step_no_more();
	if (!is_target && (call_instructions < sweep_target || (call_instructions - sweep_target) % SWEEP_STEP != 0))
		return false;
	for (int i = 0; i < (is_target ? LONG_CALLS : 1); i++)
		handler_program();
	return true;
}

bool
call_hook(void)
{
	if (level == 1) {
		if (second_instruction++ != second_target)
			return false;
		step_no_more();
		second_hits++;
		level = 2;
		handler_program();
		level = 1;
		return true;
	}
	call_instructions++;
	if (call_mode == SWEEP)
		return run_in_sweep();
	if ((call_instructions + calls_made * 5) % steps[call_mode] != 0)
		return false;
	if (call_mode == TWO_LEVELS)
		interrupted_handler_program(turn++);
	else
		handler_program();
	return true;
}

/* ---- the main program's steps ---------------------------------------------------------------------------------- */

/* What a stepped call must not change. */
static void
check_errno(void)
{
	if (errno != EXDEV)
		fail("errno was changed to", (uintptr_t)errno, 0);
}

static void *
step_malloc(size_t size)
{
	errno = EXDEV;
	call_begin();
	call_on();
	void *p = malloc(size);
	call_off();
	check_errno();
	return p;
}

struct block
step_new(size_t size)
{
	return block_of(step_malloc(size), size);
}

struct block
step_calloc(size_t count, size_t size)
{
	call_begin();
	call_on();
	void *p = calloc(count, size);
	call_off();
	check_zero(p, count * size);
	return block_of(p, count * size);
}

void
step_realloc(struct block *block, size_t size)
{
	errno = EXDEV;
	call_begin();
	call_on();
	void *p = realloc(block->p, size);
	call_off();
	check_errno();
	reallocated(block, p, size);
}

void
step_free(struct block *block)
{
	unsigned char *p = block->p;

	if (!p)
		return;
	check_block(block);
	block->p = NULL;
	errno = EXDEV;
	call_begin();
	call_on();
	free(p);
	call_off();
	check_errno();
}

/* Whether errno stays is not said of it. */
void
step_trim(void)
{
	call_begin();
	call_on();
	(void)malloc_trim(0);
	call_off();
}

struct block
step_aligned(size_t alignment, size_t size, bool as_memalign)
{
	call_begin();
	call_on();
	void *p = as_memalign ? memalign(alignment, size) : aligned_alloc(alignment, size);
	call_off();
	if ((uintptr_t)p % alignment != 0)
		fail("not aligned: block, alignment", (uintptr_t)p, alignment);
	return block_of(p, size);
}

/* Fills what the handler is to free, and frees what it has sent; neither is stepped, the frees of `stepped` blocks
 * are. */
void
exchange_mail(size_t size)
{
	for (int i = 0; i < MAIL; i++) {
		if (i % 2)
			step_free(&mail_to_main[i]);
		else
			free_block(&mail_to_main[i]);
		if (!mail_to_handler[i].p)
			mail_to_handler[i] = new_block(size + (size_t)i);
	}
}
