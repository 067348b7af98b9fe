/*
 * stopped.c - one thread is stopped, killed or sent elsewhere at an instruction of the malloc library, and all others
 * must get on. Each operation (stopped_ops.c) is stepped to see which instructions it passes; then it is run again, at
 * full speed, for every point that is chosen, up to a breakpoint on that instruction, and there, by mode:
 *
 *     held       the thread is stopped by ptrace while the others work, then goes on to the end
 *     blocked    it waits in a signal handler instead, every other time holding blocks that the handler has allocated
 *     forked     it is stopped while another thread forks (fork and _Fork in turn), and while the others work
 *     forking    its handler forks; the child lives on in that handler
 *     jumped     its handler is left by siglongjmp
 *     killed     the thread ends there by a raw exit system call
 *
 * What all threads hold is filled with patterns and looked at after the thread has gone on. The steps of
 * protocols come first, then what no other operation has reached in this mode (stopped_points.c); --scale N tries N
 * times as many points. "--only MODE: OPERATION" picks; with ", k=N," one point.
 *
 * After a jump the thread allocates as high in its stack as it did before, which proves what was left to be dead. With
 * SIGNAL_TEST_DEEPER it does so further down only.
 *
 * Clauses: G3.4, G8.7.
 */
#include "stopped.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "breakpoints.h"
#include "stepper.h"

enum mode { HELD, BLOCKED, FORKED, FORKING, JUMPED, KILLED, MODES, TRACED };

/* How many points of each kind an operation gets. */
static const struct {
	const char *name;
	unsigned most[POINTS_KINDS];
} modes[MODES] = {
        {"held", {24, 8, 3}},   {"blocked", {12, 8, 2}}, {"forked", {6, 3, 1}},
        {"forking", {6, 3, 1}}, {"jumped", {16, 8, 3}},  {"killed", {24, 8, 3}},
};

enum {
	HEAPS_MAX = 64,
	SEGMENTS_MAX = 64,
	UNFINISHED_MAX = 8,
	SKIPPED = 77,
	STEPS_EACH = 200000,
	LOST_BY_ANY = 68 * 1024
};
#define SLACK (24 * MIB)

static struct {
	enum mode mode;
	const struct operation *operation;
	struct point point;
	bool reached, jumped, odd;
} current;

static pthread_t victim;
static pid_t victim_tid;
static sem_t go, event, resume;
static sigjmp_buf target;
static pid_t (*fork_quietly)(void);
static size_t lost, least_in_use, least_segments, points, missed, distinct;
static bool is_denied, goes_deeper, victim_ends;

/* ---- the victim ------------------------------------------------------------------------------------------------ */

/* Where a killed thread goes: exit, for this thread alone. */
void raw_exit(void);
__asm__(".text\n"
        ".globl raw_exit\n"
        "raw_exit:\n"
        "	movl $60, %eax\n"
        "	xorl %edi, %edi\n"
        "	syscall\n");

static void
wait_in_handler(void)
{
	struct block small = {0}, large = {0};

	if (current.odd) {
		small = new_block(48);
		large = new_block(40000);
	}
	sem_post(&event);
	await(&resume, "the driver has forgotten the victim");
	free_block(&small);
	free_block(&large);
}

static void
fork_here(void)
{
	pid_t child = current.odd ? fork_quietly() : fork();

	if (child == 0)
		live_in_child();
	wait_for_child(child);
}

static void
divert(void (*to)(void))
{
	if (current.point.is_call)
		step_divert(to);
	else
		break_divert(to);
}

static void
act(void)
{
	current.reached = true;
	switch (current.mode) {
	case HELD:
	case FORKED:
		divert(stopper_spin);
		sem_post(&event);
		break;
	case KILLED:
		divert(raw_exit);
		sem_post(&event);
		break;
	case BLOCKED:
		if (current.point.is_call)
			step_no_more();
		wait_in_handler();
		break;
	case FORKING:
		if (current.point.is_call)
			step_no_more();
		fork_here();
		break;
	case JUMPED:
		current.jumped = true;
		siglongjmp(target, 1);
	case MODES:
	case TRACED:
		break;
	}
}

/* Stepped: all is recorded, or the point is the first instruction of a function outside, where no breakpoint can be. */
static bool
on_step(void)
{
	if (current.mode == TRACED)
		points_record((uint32_t)current_offset, step_address);
	else if (!current.reached && current_offset == current.point.offset &&
	         step_address != step_library().base + current_offset && --current.point.countdown == 0)
		act();
	return true;
}

static bool
on_breakpoint(uint32_t offset)
{
	if (--current.point.countdown != 0)
		return true;
	step_address = step_library().base + offset;
	act();
	step_count_distinct(offset);
	return false;
}

void
watch_on(void)
{
	if (current.mode == TRACED || current.point.is_call)
		step_on();
	else if (!current.reached)
		break_arm(current.point.offset);
}

void
watch_off(void)
{
	if (current.mode == TRACED || current.point.is_call)
		step_off();
	else
		break_disarm(current.point.offset);
}

static void
run_operation(void)
{
	if (sigsetjmp(target, 1) == 0) {
		if (!current.operation->inner)
			watch_on();
		current.operation->run();
		if (!current.operation->inner)
			watch_off();
	} else {
		go_on();
	}
	operations_clear();
}

static void *
live_as_victim(void *argument)
{
	victim_tid = gettid();
	for (;;) {
		await(&go, "the driver has forgotten the victim");
		if (victim_ends)
			return argument;
		if (current.operation->prepare) {
			if (!goes_deeper)
				free(malloc(40000)); /* here: no operation is called from as high */
			kept_fill();
			current.operation->prepare();
		}
		run_operation();
		sem_post(&event);
	}
}

static void
make_victim(void)
{
	victim_ends = false;
	REQUIRE(pthread_create(&victim, NULL, live_as_victim, NULL) == 0);
}

static void
replace_victim(void)
{
	victim_ends = true;
	sem_post(&go);
	REQUIRE(pthread_join(victim, NULL) == 0);
	make_victim();
}

/* ---- a round --------------------------------------------------------------------------------------------------- */

static const char blocked[] = "the victim does not get on: seconds";

/* The victim is at the point. True if it goes on to the end of the operation. */
static bool
do_meanwhile(void)
{
	switch (current.mode) {
	case HELD:
	case FORKED:
		is_denied = !stopper_stop(victim_tid, step_address);
		if (is_denied)
			return false;
		if (current.mode == HELD)
			workers_work();
		else
			fork_here(), workers_work();
		stopper_release();
		return true;
	case BLOCKED:
		workers_work();
		sem_post(&resume);
		return true;
	case KILLED:
		REQUIRE(pthread_join(victim, NULL) == 0);
		if (current.operation->is_finished)
			operations_begin_free();
		workers_work();
		operations_clear();
		make_victim();
		return false;
	default:
		return false; /* it has gone on already */
	}
}

/* One run of the operation up to the point; false if it was not reached. */
static bool
run_round(void)
{
	current.reached = current.jumped = false;
	if (!current.operation->prepare)
		replace_victim();
	sem_post(&go);
	await(&event, blocked);
	if (current.reached && do_meanwhile())
		await(&event, blocked);
	if (is_denied)
		return false;
	if (current.mode != TRACED && current.mode != FORKED)
		workers_check();
	if (current.mode == JUMPED)
		workers_work();
	kept_free();
	return current.reached;
}

/* ---- the points of an operation -------------------------------------------------------------------------------- */

static char label[160];

static void
name_point(size_t k)
{
	snprintf(label, sizeof label, "%s: %s, k=%zu, aimed at library+0x%x", modes[current.mode].name,
	         current.operation->name, k, current.point.offset);
	current_scenario = label;
}

static void
try_point(enum mode mode, size_t k)
{
	const char *chosen = strstr(only, ", k=");

	current.mode = mode;
	current.odd = points % 2;
	current.point = points_aim(k);
	name_point(k);
	if (is_denied || (chosen && !strstr(label, chosen)))
		return;
	if (!run_round()) {
		missed++;
		return;
	}
	points++;
	distinct += points_cover(current.point.offset);
	if (mode == JUMPED || mode == KILLED)
		lost += current.operation->most + LOST_BY_ANY;
}

static void
try_points(enum mode mode, enum points_kind kind)
{
	size_t most = (size_t)modes[mode].most[kind] * scale,
	       far = (size_t)STEPS_EACH * scale / (points_traced() + 1) + 1;
	const size_t *chosen;
	size_t count = points_choose(kind, most < far || kind == POINTS_STEPS ? most : far, &chosen);

	for (size_t i = 0; i < count; i++)
		try_point(mode, chosen[i]);
}

static void
trace_operation(void)
{
	enum mode mode = current.mode;

	for (int i = 0; i < 3; i++) {
		points_forget();
		current.mode = TRACED;
		run_round();
	}
	current.mode = mode;
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

static void
check_figures(void)
{
	struct lab_stats stats;

	if (!library_stats)
		return;
	library_stats(&stats);
	if (getenv("SIGNAL_TEST_VERBOSE"))
		printf("    %zu heaps, %zu segments, %zu KiB in use, %zu adopted\n", stats.heaps, stats.segments,
		       stats.in_use / KIB, stats.adopted);
	if (least_in_use == 0) {
		least_in_use = stats.in_use;
		least_segments = stats.segments;
	}
	if (stats.heaps > HEAPS_MAX)
		fail("heaps are not adopted in time: heaps, points", stats.heaps, points);
	if (stats.in_use > least_in_use + lost + SLACK)
		fail("memory grows by more than the blocks in hand: bytes, allowed", stats.in_use,
		     least_in_use + lost + SLACK);
	if (stats.segments > least_segments + lost / (4 * MIB) + SEGMENTS_MAX)
		fail("segments are lost: segments, at the start", stats.segments, least_segments);
}

/* In use when what can go back has gone. */
static size_t
segments_needed(void)
{
	struct lab_stats stats = {0};

	(void)malloc_trim(0);
	if (library_stats)
		library_stats(&stats);
	return stats.segments;
}

/* A segment between the last two steps of its release waits for a scan of its heap: few of the points are there. */
static void
check_finished(size_t segments_before)
{
	size_t now = segments_needed();

	if (now > segments_before + UNFINISHED_MAX)
		fail("what the dead had begun is not finished: segments, before", now, segments_before);
}

static void
stop_in(enum mode mode, const struct operation *operation)
{
	size_t points_before = points, missed_before = missed, distinct_before = distinct;

	current.mode = mode;
	current.operation = operation;
	current.point = (struct point){0};
	name_point(0);
	if (!strstr(label, *only ? strndup(only, strcspn(only, ",")) : "") || is_denied ||
	    (operation->is_here && !operation->is_here()))
		return;
	trace_operation();
	size_t segments_before = operation->is_finished ? segments_needed() : 0;
	for (enum points_kind kind = 0; kind < POINTS_KINDS; kind++)
		try_points(mode, kind);
	if (mode == KILLED && operation->is_finished)
		check_finished(segments_before);
	printf("%-8s %-24s %6zu instructions passed, %5zu points, %5zu of them new, %4zu missed\n", modes[mode].name,
	       operation->name, points_traced(), points - points_before, distinct - distinct_before,
	       missed - missed_before);
	check_figures();
}

/* All of a mode, in a process of its own. */
static int
run_mode(enum mode mode, unsigned seconds)
{
	alarm(seconds);
	*(void **)&fork_quietly = dlsym(RTLD_DEFAULT, "_Fork");
	if (!fork_quietly)
		fork_quietly = fork;
	REQUIRE(sem_init(&go, 0, 0) == 0 && sem_init(&event, 0, 0) == 0 && sem_init(&resume, 0, 0) == 0);
	goes_deeper = getenv("SIGNAL_TEST_DEEPER") != NULL;
	operations_start();
	step_start(on_step, 0);
	break_start(on_breakpoint, 0);
	workers_start();
	make_victim();
	workers_work();
	for (size_t i = 0; i < operation_count; i++)
		stop_in(mode, &operations[i]);
	if (is_denied) {
		printf("%s: not run: ptrace denied\n", modes[mode].name);
		_exit(SKIPPED);
	}
	printf("%s: %zu points at %zu distinct instructions, %zu not reached again\n", modes[mode].name, points,
	       distinct, missed);
	REQUIRE(!*only || points + missed > 0);
	REQUIRE(missed <= points / 4);
	step_write_coverage();
	return 0;
}

int
main(int argc, char **argv)
{
	bool skipped = false;
	int status;

	start_test(argc, argv, 1200);
	unsigned seconds = alarm(0);
	alarm(seconds);
	for (enum mode mode = 0; mode < MODES; mode++) {
		if (strlen(only) && strncmp(only, modes[mode].name, strlen(modes[mode].name)) != 0)
			continue;
		if (stopper_fork(&status))
			_exit(run_mode(mode, seconds > 1 ? seconds - 1 : 1));
		if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != SKIPPED))
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		skipped |= WEXITSTATUS(status) == SKIPPED;
	}
	printf("stopped: %s (scale %u)\n", skipped ? "passed what could be run" : "passed", scale);
	return skipped ? SKIPPED : 0;
}
