/*
 * fork_step.c - a handler that interrupts malloc, free, realloc … at any instruction and forks there: parent and child
 * both return into the interrupted call, finish it, and go on allocating, with the contents of all live blocks
 * unchanged. _Fork, which is async-signal-safe, and fork as well, which a program may call here as none of its own
 * handlers is interrupted.
 *
 * The instructions of each call are learned by stepping it; a breakpoint then interrupts it at one of them (learn.h).
 *
 * Clauses: G2.4, G8.2.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "breakpoints.h"
#include "jump_calls.h"
#include "learn.h"
#include "stepper.h"

enum { FORKS = 150, CHILD_SECONDS = 200 };

static bool is_child;
static bool in_handler; /* the child allocates before it returns */
static pid_t child;
static size_t forks;

static bool
hook(uint32_t offset)
{
	if (child != 0 || is_child)
		return false;
	child = forks % 4 == 3 ? fork() : _Fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		is_child = true;
		alarm(CHILD_SECONDS);
	} else {
		forks++;
		step_count_distinct(offset);
	}
	if (in_handler) {
		struct block block = new_block(300), large = new_block(70 * KIB);
		free_block(&block);
		free_block(&large);
	}
	return false;
}

static void
wait_for_child(void)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child forked in a handler failed: status", (uintptr_t)status, 0);
}

/* In the parent, and in the child, which ends here. */
static void
fork_in_call(const struct call *call)
{
	in_hand = result = NULL;
	call->prepare();
	uint32_t at = learned_offset(call);
	child = 0;
	in_handler = next_random(&random_state) % 2;
	break_arm(at);
	call->run();
	break_disarm(at);
	finish_call(call);
	go_on_allocating(is_child ? 60 : 4);
	if (is_child)
		_exit(0);
	if (child > 0)
		wait_for_child();
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 600);
	start_helper();
	fill_live_set();
	step_start(learn_hook, 0);
	break_start(hook, 0);
	for (size_t i = 0; i < CALLS; i++) {
		size_t before = forks;
		current_scenario = calls[i].name;
		for (unsigned n = 0; n < FORKS * scale; n++) {
			if (n % 20 == 0)
				learn_call(&calls[i]);
			fork_in_call(&calls[i]);
		}
		if (forks == before)
			fail("no fork in this call", i, 0);
	}
	printf("%zu forks at %zu distinct instructions of the library\n", forks, step_figures().distinct);
	return end_test();
}
