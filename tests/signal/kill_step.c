/*
 * kill_step.c - a thread ends for good by a raw exit at the instructions that a call of malloc's family passes, one
 * thread for each: while it wins a heap, names its frame, gives a heap back, maps and unmaps segments, and in the life
 * of a huge block. Then other threads go on: none waits, what the dead had not in their hands is used again, and no
 * heap stays theirs.
 *
 * Each operation is stepped to see which instructions it passes; a breakpoint (breakpoints.h) at the first passage of
 * each is where a thread ends. (Later passages, and other protocols: stopped.c.) In CI some are tried, others each
 * time.
 *
 * Clauses: G3.4, G8.7.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "breakpoints.h"
#include "stepper.h"
#include "support.h"

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)

/* THREADS: of an operation, at scale 1. */
enum {
	OFFSETS = 1 << 15,
	HAND = 32,
	THREADS = 100,
	KILLS_LEAST = 4,
	HEAPS_MORE = 4,
	LOST_MOST = 1024,
	PINNED = 64 * 1024, /* pages that blocks which are lost keep from going back, whatever their number */
};

/* ---- what the victims do --------------------------------------------------------------------------------------- */

static void *volatile hand[HAND]; /* a block that a thread has got, or has not begun to free */

static void
get(size_t size, int count)
{
	for (int i = 0; i < count; i++) {
		unsigned char *p = malloc(size);
		hand[i] = p;
		REQUIRE(p != NULL);
		p[0] = p[size - 1] = (unsigned char)i;
	}
}

static void
drop(void)
{
	for (int i = 0; i < HAND; i++) {
		void *p = hand[i];
		hand[i] = NULL;
		free(p);
	}
}

static void
resize(size_t size)
{
	void *p = hand[0];

	hand[0] = NULL;
	hand[0] = realloc(p, size);
}

static void
nothing(void)
{
}

#define RUNS(name, ...)                                                                                                \
	static void name(void)                                                                                         \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
	}

RUNS(use_a_little, free(malloc(40000)))
RUNS(get_48, get(48, 1))
RUNS(get_3000, get(3000, HAND))
RUNS(get_20k, get(20 * KIB, 6))
RUNS(get_100k, get(100 * KIB, 1))
RUNS(get_3m, get(3 * MIB, 3))
RUNS(get_9m, get(9 * MIB, 1))
RUNS(zeroed_48, hand[0] = calloc(6, 8))
RUNS(zeroed_100k, hand[0] = calloc(100, KIB))
RUNS(zeroed_9m, hand[0] = calloc(9, MIB))
RUNS(to_200, resize(200))
RUNS(to_20k, resize(20 * KIB))
RUNS(to_130k, resize(130 * KIB))
RUNS(to_70k, resize(70 * KIB))
RUNS(to_13m, resize(13 * MIB))
RUNS(to_5m, resize(5 * MIB))
RUNS(give_segments_back, drop(), (void)malloc_trim(0))

static void *
free_all(void *unused)
{
	drop();
	return unused;
}

/* The thread's heap has blocks that another has freed. */
static void
freed_by_another(void)
{
	pthread_t thread;

	get(208, HAND);
	REQUIRE(pthread_create(&thread, NULL, free_all, NULL) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

static void
get_of_all(void)
{
	get(208, 4);
	get(60 * KIB, 2);
}

/* In a handler that interrupts malloc (reentry). */
static void
borrow(void)
{
	drop();
	get(48, 1);
	get(100 * KIB, 1);
	drop();
}

static const struct operation {
	const char *name;
	void (*prepare)(void); /* the thread's own, not interrupted */
	void (*run)(void);
	size_t most; /* bytes that are in its hands, or in those of the library for it */
	bool in_handler;
} operations[] = {
        {"a thread's first malloc", nothing, get_48, 48, false},
        {"a thread's first huge block", nothing, get_9m, 9 * MIB, false},
        {"malloc, small", use_a_little, get_48, 48, false},
        {"free, small", get_48, drop, 48, false},
        {"malloc, spans", use_a_little, get_3000, 3072, false},
        {"free, spans", get_3000, drop, 3072, false},
        {"malloc, medium", use_a_little, get_20k, 20 * KIB, false},
        {"free, medium", get_20k, drop, 20 * KIB, false},
        {"malloc of a run", use_a_little, get_100k, 100 * KIB, false},
        {"free of a run", get_100k, drop, 100 * KIB, false},
        {"malloc, segments", use_a_little, get_3m, 3 * MIB, false},
        {"free, segments", get_3m, give_segments_back, 3 * MIB, false},
        {"malloc of a huge block", use_a_little, get_9m, 9 * MIB, false},
        {"free of a huge block", get_9m, drop, 9 * MIB, false},
        {"calloc, small", use_a_little, zeroed_48, 48, false},
        {"calloc of a run", use_a_little, zeroed_100k, 100 * KIB, false},
        {"calloc of a huge block", use_a_little, zeroed_9m, 9 * MIB, false},
        {"realloc, small", get_48, to_200, 48 + 208, false},
        {"realloc, small to medium", get_48, to_20k, 20 * KIB + 48, false},
        {"realloc, run grows", get_100k, to_130k, 232 * KIB, false},
        {"realloc, run shrinks", get_100k, to_70k, 172 * KIB, false},
        {"realloc, huge grows", get_9m, to_13m, 22 * MIB, false},
        {"realloc, huge shrinks", get_9m, to_5m, 14 * MIB, false},
        {"free of others' blocks", freed_by_another, get_of_all, 60 * KIB, false},
        {"calls of a handler", use_a_little, borrow, 100 * KIB, true},
};

/* ---- how one ends ---------------------------------------------------------------------------------------------- */

static struct {
	uint32_t offsets[OFFSETS];
	size_t count;
	unsigned char seen[4 << 20];
} passed;

static const struct operation *current;
static uint32_t interrupted_at; /* where malloc is, as the handler comes whose calls are current->run */
static bool is_learning, is_in_handler;
static _Thread_local bool is_victim;
static size_t kills;
static uint32_t random_state;

static bool
learn(void)
{
	uint32_t offset = (uint32_t)current_offset;

	if (offset < sizeof passed.seen && !passed.seen[offset] && passed.count < OFFSETS) {
		passed.seen[offset] = 1;
		passed.offsets[passed.count++] = offset;
	}
	return false;
}

static void
run_in_handler(uint32_t target)
{
	is_in_handler = true;
	if (is_learning)
		step_on();
	else
		break_arm(target);
	current->run();
	if (is_learning)
		step_off();
	is_in_handler = false;
}

static uint32_t target_of_handler;

static bool
hook(uint32_t offset)
{
	if (!is_victim)
		return true;
	if (current->in_handler && !is_in_handler && offset == interrupted_at) {
		run_in_handler(target_of_handler);
		return false;
	}
	step_count_distinct(offset);
	kills++;
	syscall(SYS_exit, 0);
	return false;
}

/* argument: where it ends; NULL: nowhere, it is stepped. */
static void *
be_victim(void *argument)
{
	const uint32_t *target = argument;

	is_victim = true;
	is_in_handler = false;
	current->prepare();
	if (current->in_handler) {
		target_of_handler = target ? *target : 0;
		break_arm(interrupted_at);
		free(malloc(100 * KIB));
	} else if (target) {
		break_arm(*target);
		current->run();
	} else {
		step_on();
		current->run();
		step_off();
	}
	return NULL;
}

static void
live_and_end(uint32_t *target)
{
	pthread_t thread;

	is_learning = target == NULL;
	REQUIRE(pthread_create(&thread, NULL, be_victim, target) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
	if (target)
		break_disarm(*target);
	if (current->in_handler)
		break_disarm(interrupted_at);
	drop();
}

/* ---- the others go on ------------------------------------------------------------------------------------------ */

static void *
use_all_sizes(void *unused)
{
	static const size_t sizes[] = {48, 208, 3000, 20 * KIB, 40000, 100 * KIB, 5 * MIB};
	struct block blocks[7];

	for (int i = 0; i < 7; i++)
		blocks[i] = new_block(sizes[i]);
	reallocated(&blocks[5], realloc(blocks[5].p, 300 * KIB), 300 * KIB);
	for (int i = 0; i < 7; i++)
		free_block(&blocks[i]);
	return unused;
}

/* Bytes in use when what can go has gone; a thread that is born takes over what the dead have left. */
static struct lab_stats
what_stays(void)
{
	struct lab_stats stats = {0};
	pthread_t thread;

	for (int i = 0; i < 8; i++) {
		REQUIRE(pthread_create(&thread, NULL, use_all_sizes, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
		(void)malloc_trim(0);
	}
	if (library_stats)
		library_stats(&stats);
	return stats;
}

static void
check_what_stays(struct lab_stats before, size_t threads)
{
	struct lab_stats now = what_stays();
	size_t lost = now.in_use > before.in_use ? now.in_use - before.in_use : 0;

	printf("%-30s %5zu threads ended at %5zu instructions, %7zu bytes lost each, %zu heaps\n", current->name,
	       threads, passed.count, threads ? lost / threads : 0, now.heaps);
	if (lost > threads * (LOST_MOST + current->most) + PINNED)
		fail("more than the blocks in hand was lost: bytes, threads", lost, threads);
	if (now.heaps > before.heaps + HEAPS_MORE)
		fail("heaps stay with the dead: heaps, before", now.heaps, before.heaps);
}

/* What is passed once, as threads grow used to the operation, is not what the next ones pass. */
static void
learn_operation(const struct operation *operation)
{
	current = operation;
	for (int i = 0; i < 5; i++) {
		if (i < 4)
			memset(&passed, 0, sizeof passed);
		live_and_end(NULL);
	}
}

/* In the middle of a malloc that has to look for pages. */
static void
choose_where_to_interrupt(void)
{
	static const struct operation slow = {"malloc of a run", use_a_little, get_100k, 0, false};

	learn_operation(&slow);
	REQUIRE(passed.count > 100);
	interrupted_at = passed.offsets[passed.count / 2];
}

static void
end_everywhere(const struct operation *operation)
{
	size_t kills_before = kills;

	current_scenario = operation->name;
	if (operation->in_handler)
		choose_where_to_interrupt();
	learn_operation(operation);
	REQUIRE(passed.count > 10);
	struct lab_stats before = what_stays();
	size_t step = passed.count / (THREADS * scale) + 1;
	for (size_t i = next_random(&random_state) % step; i < passed.count; i += step) {
		live_and_end(&passed.offsets[i]);
		(void)use_all_sizes(NULL);
	}
	REQUIRE(kills - kills_before > KILLS_LEAST); /* what a thread passes depends on what the last ones have left */
	check_what_stays(before, kills - kills_before);
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 1000);
	random_state = (uint32_t)now_ms();
	step_start(learn, SA_NODEFER);
	break_start(hook, 0);
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
		if (strstr(operations[i].name, only))
			end_everywhere(&operations[i]);
	printf("%zu threads ended at %zu distinct instructions\n", kills, step_figures().distinct);
	return end_test();
}
