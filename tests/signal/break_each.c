/*
 * break_each.c - every instruction of malloc's family that any scene reaches is interrupted by a handler that
 * allocates, resizes and frees, the handlers' own calls included, up to three deep; and some frames are left by
 * siglongjmp, so that what repairs them is interrupted as well.
 *
 * All instructions get breakpoints (breakpoints.h), or a part of them; each is hit once a round. So a round costs no
 * more than a few thousand handlers, and reaches instructions that a stepped main program never does: of borrowing,
 * births, repair. The list of instructions is coverage.py's, which runs this program, prints what was reached, and
 * judges the figure.
 *
 * With --only start it makes processes that are interrupted as the library starts. With --only segments it runs itself
 * again with little address space, so that segments and huge blocks have to go for others to come. With --only limit it
 * runs the scenes that reach the memory limit, which LABYRINTH_LIMIT and LABYRINTH_WAIT_MS have to set.
 *
 * Clauses: G2.1.
 */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "breakpoints.h"
#include "calls.h"
#include "handler.h"
#include "scenes.h"
#include "scenes_kinds.h"
#include "stepper.h"
#include "support.h"

enum { ROUNDS = 12, NEW_ONES = 0, DEPTH_MAX = 3, LONG_HANDLER = 20, JUMPS = 600, PASSES_MAX = 500, HEAPS_MAX = 32 };

static const char started[] = "started";

static struct break_list list;
static uint32_t random_state = 1;
static pid_t main_thread, main_process;
static bool has_kinds;
static _Thread_local int depth;
static size_t interrupted, left_by_jump, long_ones;
static _Atomic unsigned passed_over; /* in this scene */

/* ---- what happens at a breakpoint ------------------------------------------------------------------------------ */

static sigjmp_buf where_jumps_go;
static bool may_jump;      /* the main program's calls may be left */
static uint32_t jump_from; /* the instruction at which they are; 0: none */
static unsigned long_every;

static void
leave(void)
{
	may_jump = false;
	jump_from = 0;
	depth = 0;
	left_by_jump++;
	siglongjmp(where_jumps_go, 1);
}

/* Also for a child of fork: in every second one no handler does the work that the first ordinary call has to do. */
static void
handler_of_thread(bool is_main)
{
	bool is_short = memory_is_short && !is_main; /* who is to free must not wait for memory */

	if (has_kinds && (is_short || (getpid() != main_process && getpid() % 2)))
		handler_atomic();
	else if (memory_is_short)
		handler_frugal();
	else if (!is_main)
		handler_program_elsewhere();
	else
		handler_program();
}

static bool
hook(uint32_t offset)
{
	bool is_main = gettid() == main_thread;

	if (is_main && may_jump && offset == jump_from)
		leave();
	if (depth >= DEPTH_MAX)
		return passed_over++ < PASSES_MAX;
	depth++;
	interrupted++;
	if (is_main && handlers_fork_every && next_random(&random_state) % handlers_fork_every == 0)
		fork_in_handler();
	bool is_long = is_main && long_every && next_random(&random_state) % long_every == 0;
	for (int i = is_long ? LONG_HANDLER : 1; i > 0; i--)
		handler_of_thread(is_main);
	if (has_kinds && is_main && !may_jump && offset % 8 == 0) /* a handler that is left would keep its slots */
		handler_frugal();
	long_ones += is_long;
	depth--;
	step_count_distinct(offset);
	return false;
}

/* One of `part` instructions gets a breakpoint; NEW_ONES: those that have not been interrupted yet. */
static void
arm(unsigned part)
{
	for (size_t i = 0; i < list.count; i++)
		if (part == NEW_ONES ? !step_is_counted(list.offsets[i]) : next_random(&random_state) % part == 0)
			break_arm(list.offsets[i]);
}

static void
disarm_all(void)
{
	for (size_t i = 0; i < list.count; i++)
		break_disarm(list.offsets[i]);
}

/* ---- frames that are left -------------------------------------------------------------------------------------- */

static void
calls_to_leave(uint32_t n)
{
	static const size_t sizes[] = {60, 5000, 20 * KIB, 90 * KIB, 900 * KIB, 5 * MIB};
	struct block block = new_block(sizes[n % 6]);

	reallocated(&block, realloc(block.p, sizes[n / 6 % 6]), sizes[n / 6 % 6]);
	free_block(&block);
	if (n % 16 == 0)
		(void)malloc_trim(0);
}

/* Lower in the stack than any scene makes its calls: so these see that frames that were left here are gone. */
static __attribute__((noinline)) void
calls_to_leave_below(uint32_t n)
{
	volatile char below[4096];

	below[0] = 0;
	calls_to_leave(n);
	below[1] = below[0];
}

/* The same deeper in the stack, from where it cannot be seen whether the frame that was left is gone. They are
 * interrupted, too. */
static __attribute__((noinline)) void
go_on_deeper(uint32_t n, size_t depth_in_stack)
{
	volatile char *below = __builtin_alloca(depth_in_stack);

	below[0] = below[depth_in_stack - 1] = 0;
	passed_over = 0;
	arm(NEW_ONES);
	for (uint32_t i = 0; i < (n % 4 == 0 ? 80 : 4); i++)
		calls_to_leave(n + i);
	disarm_all();
	below[1] = below[0];
}

/* Jumps from random instructions: at those that are not met nothing happens. */
static void
left_frames(void)
{
	for (volatile int i = 0; i < JUMPS; i++) {
		uint32_t n = next_random(&random_state);
		if (sigsetjmp(where_jumps_go, 1) == 0) {
			jump_from = list.offsets[n % list.count];
			break_arm(jump_from);
			may_jump = true;
			calls_to_leave_below(n >> 4);
		}
		may_jump = false;
		if (i % 3 == 0)
			go_on_deeper((uint32_t)i, i % 2 ? 96 * KIB : 16 * KIB);
	}
}

/* ---- segments -------------------------------------------------------------------------------------------------- */

/* Segments of every size, of every kind of block, all filled; then everything goes back, their addresses too. */
static void
many_segments(void)
{
	enum { BLOCKS = 160 };
	static struct block blocks[BLOCKS];
	static const size_t sizes[] = {32 * KIB, 700 * KIB, 3 * MIB, 5 * MIB};
	struct block big = step_new(20 * MIB);

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = step_new(sizes[i % 4] / (i % 4 && i % 3 ? 4 : 1));
	step_realloc(&big, 37 * MIB);
	for (int i = 0; i < BLOCKS; i += 2)
		step_realloc(&blocks[i], blocks[i].size / 2 + 100);
	struct block aligned = step_aligned(16 * MIB, 100, true);
	step_free(&aligned);
	for (int i = 0; i < BLOCKS; i++)
		step_free(&blocks[i]);
	step_free(&big);
	call_begin();
	call_on();
	(void)malloc_trim(0);
	call_off();
}

/* ---- the process's start --------------------------------------------------------------------------------------- */

/*
 * Before any constructor the program calls malloc, which is interrupted at the instruction of this number, in a process
 * of its own; 0: at each, in a child that is forked there. What the constructors do then is the library's, too. Where
 * there was no such instruction, the process says so.
 */
enum { NOT_THAT_FAR = 3, SAMPLE = 20 };

static unsigned instructions_until;
static bool forks_at_start;

static bool
hook_at_start(uint32_t offset)
{
	if (forks_at_start) {
		int status;
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child != 0) {
			while (waitpid(child, &status, 0) < 0)
				REQUIRE(errno == EINTR);
			if (status != 0)
				fail("a process did not start: status", (uintptr_t)status, 0);
			return false;
		}
		forks_at_start = false;
		disarm_all();
	} else if (instructions_until > 0 && --instructions_until > 0) {
		return false;
	}
	return hook(offset);
}

static void
start_interrupted(int argc, char **argv, char **envp)
{
	static const size_t sizes[] = {100, 100 * KIB, 5 * MIB};
	const char *number;

	if (argc != 3 || strcmp(argv[2], started) != 0)
		return;
	environ = envp;
	number = getenv("SIGNAL_START");
	instructions_until = number ? (unsigned)atoi(number) : 0;
	forks_at_start = instructions_until == 0;
	current_scenario = started;
	main_thread = gettid();
	main_process = getpid();
	list = break_list();
	call_mode = UNSTEPPED;
	step_start(call_hook, SA_NODEFER);
	break_start(hook_at_start, 0);
	arm(1);
	for (int i = 0; i < 3; i++) {
		struct block block = new_block(sizes[i]);
		free_block(&block);
	}
}

__attribute__((section(".preinit_array"), used)) static void (*const before_constructors)(int, char **,
                                                                                          char **) = start_interrupted;

static int
end_start(void)
{
	disarm_all();
	check_held();
	if (getpid() == main_process)
		step_write_coverage();
	return instructions_until > 0 ? NOT_THAT_FAR : 0;
}

static bool
start_process(char **argv, unsigned number)
{
	char text[16];
	int status;

	snprintf(text, sizeof text, "%u", number);
	REQUIRE(setenv("SIGNAL_START", text, 1) == 0);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		execl("/proc/self/exe", argv[0], "--only", started, (char *)NULL);
		_exit(1);
	}
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == NOT_THAT_FAR))
		fail("a process did not start: status, number of the instruction", (uintptr_t)status, number);
	return status == 0;
}

static bool
pass_by(uint32_t offset)
{
	(void)offset;
	return false;
}

/* Names those instructions to the processes that are to come which ordinary calls do not pass. */
static void
leave_out_ordinary_ones(void)
{
	static char path[32];
	int file = memfd_create("instructions", 0);

	list = break_list();
	step_start(call_hook, SA_NODEFER);
	break_start(pass_by, 0);
	arm(1);
	scene_small_first_use();
	scene_runs_of_pages();
	scene_huge_blocks();
	for (size_t i = 0; i < list.count; i++)
		if (break_is_armed(list.offsets[i]))
			REQUIRE(dprintf(file, "%x\n", list.offsets[i]) > 0);
	disarm_all();
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	REQUIRE(setenv("SIGNAL_INSTRUCTIONS", path, 1) == 0);
}

static void
starts(char **argv)
{
	static const char *const settings[][2] = {{"LABYRINTH_LIMIT", "cgroup"},
	                                          {"LABYRINTH_THP", "always"},
	                                          {"LABYRINTH_RESERVE_LOCK", "1"},
	                                          {"LABYRINTH_RESERVE", "0"}};
	unsigned count = 0;

	random_state = (uint32_t)now_ms();
	call_mode = UNSTEPPED;
	leave_out_ordinary_ones();
	REQUIRE(start_process(argv, 0));
	for (unsigned i = 1; start_process(argv, i); i += 1 + next_random(&random_state) % (2 * SAMPLE / scale)) {
		unsigned n = count++ % 8;
		if (n < 4)
			REQUIRE(setenv(settings[n][0], settings[n][1], 1) == 0);
		else
			REQUIRE(unsetenv(settings[n - 4][0]) == 0);
	}
	REQUIRE(count > 10);
	printf("%u processes were interrupted as they started\n", count);
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static void
run_scene(const char *name, void (*scene)(void), unsigned part)
{
	current_scenario = name;
	if (!strstr(name, only))
		return;
	passed_over = 0;
	arm(part);
	scene();
	disarm_all();
	check_held();
}

static void
run_scenes(const struct scene *table, size_t count, unsigned part)
{
	for (size_t i = 0; i < count; i++)
		run_scene(table[i].name, table[i].run, part);
}

/* Each round: another part of the instructions, another stack for the handlers, long handlers in some. */
static void
run_round(unsigned round, bool limited)
{
	static const unsigned parts[ROUNDS] = {1,        NEW_ONES, 12,       NEW_ONES, 1,        NEW_ONES,
	                                       NEW_ONES, NEW_ONES, NEW_ONES, NEW_ONES, NEW_ONES, NEW_ONES};
	unsigned part = parts[round % ROUNDS];

	break_use_flags(round / 4 % 2 ? SA_ONSTACK : 0);
	long_every = round % 3 == 2 ? 30 : 0;
	if (limited) {
		run_scene("many segments", many_segments, part);
		if (has_kinds)
			run_scene("segments: no address space is left", scene_limit_reached, part);
		return;
	}
	if (has_kinds && strcmp(only, "limit") == 0) {
		run_scenes(limit_scenes, limit_scene_count, part);
		return;
	}
	run_scenes(scenes, scene_count, part);
	if (has_kinds)
		run_scenes(kind_scenes, kind_scene_count, part);
	run_scene("frames that are left", left_frames, part);
}

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

int
main(int argc, char **argv)
{
	static char stack[256 * 1024];
	bool limited = argc == 3 && strcmp(argv[2], "segments") == 0;

	if (limited)
		run_again_limited((size_t)640 << 20, argv);
	if (argc == 3 && strcmp(argv[2], started) == 0)
		return end_start();
	start_test(argc, argv, 1200);
	if (argc == 3 && strcmp(argv[2], "start") == 0) {
		starts(argv);
		return end_test();
	}
	main_thread = gettid();
	main_process = getpid();
	has_kinds = find_kinds();
	list = break_list();
	call_mode = UNSTEPPED;
	REQUIRE(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) == 0);
	step_start(call_hook, SA_NODEFER);
	break_start(hook, 0);
	for (unsigned round = 0; round < ROUNDS * scale; round++) {
		run_round(round, limited);
		if (round % 4 == 3)
			printf("%u rounds: %zu handlers (%zu long ones), %zu distinct instructions, %zu left by a "
			       "jump, %zu "
			       "heaps\n",
			       round + 1, interrupted, long_ones, step_figures().distinct, left_by_jump,
			       check_figures());
	}
	step_write_coverage();
	return end_test();
}
