/*
 * single_step.c - a handler that allocates, resizes and frees after every single instruction of malloc, calloc,
 * realloc, free, aligned_alloc and memalign in the main program, on every path that the scenes take (scenes.h).
 *
 * Each trap runs one step of the handler's own program (handler.h). All blocks have patterns. On any malloc without
 * this property the program hangs, crashes or reports changed contents within moments; peers_fail.py sees to it that it
 * does. break_each.c interrupts fewer times, but what this cannot: handlers' own calls, births, and what follows jumps,
 * each at every instruction.
 *
 * Clauses: G1.3, G2.1, G2.8.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "handler.h"
#include "scenes.h"
#include "stepper.h"
#include "support.h"

/* Handlers three deep in two threads, and the heaps of some dead ones. */
enum { HEAPS_MAX = 64, SWEEP_END = 100 };

/* ---- long handlers --------------------------------------------------------------------------------------------- */

/* A few calls, each with a long handler at its k-th instruction, for all k. */
static void
sweep_calls(size_t size, unsigned step)
{
	unsigned longest = 1;

	for (sweep_target = 1; sweep_target <= longest && sweep_target <= SWEEP_END; sweep_target += step) {
		struct block blocks[3];
		longest = 0;
		for (int i = 0; i < 3; i++) {
			blocks[i] = step_new(size);
			longest = call_instructions > longest ? call_instructions : longest;
		}
		step_realloc(&blocks[1], size + size / 8);
		for (int i = 0; i < 3; i++)
			step_free(&blocks[i]);
	}
}

static void
long_handlers(void)
{
	call_mode = SWEEP;
	sweep_calls(2000, 1);
	sweep_calls(30000, 1);
	sweep_calls(70000, 1);
	call_mode = SPARSE;
}

static const struct scene long_handlers_scene = {"long handlers", long_handlers};
static const struct scene other_stacks_scene = {"other stacks", scene_other_stacks};

/* ---- all of it ------------------------------------------------------------------------------------------------- */

/* Nothing of the reserve is in use while there is memory, and heaps do not grow with the number of handlers. Gives
 * their number. */
static size_t
check_figures(void)
{
	struct lab_stats stats;

	if (!library_stats)
		return 0;
	library_stats(&stats);
	if (stats.reserve_used != 0)
		fail("the reserve was used while there was memory", stats.reserve_used, 0);
	if (stats.heaps > HEAPS_MAX)
		fail("heaps grow with the handlers", stats.heaps, HEAPS_MAX);
	return stats.heaps;
}

static void
run_scene(const struct scene *scene)
{
	size_t traps = step_figures().traps;
	uint64_t start = now_ms();

	current_scenario = scene->name;
	scene->run();
	check_held();
	size_t heaps = check_figures();
	printf("%-36s %8zu traps %6llu ms %3zu heaps\n", scene->name, step_figures().traps - traps,
	       (unsigned long long)(now_ms() - start), heaps);
}

static const struct mode_name {
	enum call_mode mode;
	const char *name;
} modes[] = {
        {DENSE, "the handler runs at every instruction"},
        {SPARSE, "the handler runs at some instructions"},
        {TWO_LEVELS, "the handler is interrupted in turn"},
};

static void
run_mode(const struct mode_name *wanted)
{
	printf("%s:\n", wanted->name);
	call_mode = wanted->mode;
	/* break_each.c interrupts handlers' calls everywhere: in the CI form a third of the scenes is enough for the
	 * other modes */
	for (size_t i = 0; i < scene_count; i++)
		if (strstr(scenes[i].name, only) && (scale > 1 || *only || wanted->mode == DENSE || i % 3 == 0))
			run_scene(&scenes[i]);
	if (wanted->mode == SPARSE && strstr(long_handlers_scene.name, only))
		run_scene(&long_handlers_scene);
	if (wanted->mode == DENSE && strstr(other_stacks_scene.name, only))
		run_scene(&other_stacks_scene);
	struct step_figures figures = step_figures();
	printf("%zu instructions stepped so far, %zu distinct ones of the library interrupted\n", figures.traps,
	       figures.distinct);
}

int
main(int argc, char **argv)
{
	const char *mode_text = getenv("SIGNAL_TEST_MODE"); /* part of a name: only those modes */

	if (!mode_text)
		mode_text = "";
	start_test(argc, argv, 1200);
	step_start(call_hook, SA_NODEFER);
	for (unsigned round = 0; round < scale; round++) {
		for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
			if (strstr(modes[i].name, mode_text))
				run_mode(&modes[i]);
	}
	printf("%u calls, %u handlers interrupted by handlers\n", calls_made, second_hits);
	step_write_coverage();
	return end_test();
}
