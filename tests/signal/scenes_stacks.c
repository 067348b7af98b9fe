/*
 * scenes_stacks.c - calls on a coroutine's stack or the thread's own, handlers on the same, or on alternate ones, which
 * may disarm themselves: see scenes.h. In a child of a thread's, as what a process has once done with SS_AUTODISARM
 * stays.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "calls.h"
#include "handler.h"
#include "scenes.h"
#include "stepper.h"

#define DISARMS ((int)(1u << 31)) /* SS_AUTODISARM: not in glibc's headers */

enum { STACK = 96 * 1024 };
enum place { OWN, ON_HEAP, STATIC, IN_FRAME };

static const struct arrangement {
	const char *name;
	enum place calls, handlers;
	bool disarms;
} arrangements[] = {
        {"handlers on a stack that disarms itself, in a frame", OWN, IN_FRAME, true},
        {"handlers on a stack that disarms itself, on the heap", OWN, ON_HEAP, true},
        {"handlers on another stack, in a frame", OWN, IN_FRAME, false},
        {"calls on a coroutine's stack", ON_HEAP, OWN, false},
        {"calls and handlers on other stacks", ON_HEAP, ON_HEAP, true},
        {"calls and handlers on other stacks, static ones", STATIC, STATIC, true},
};

static const struct arrangement *current;
static ucontext_t here, there;

static char *
make_stack(enum place place, bool of_calls, char *frame)
{
	static char of_bss[2][STACK] __attribute__((aligned(64)));

	return place == ON_HEAP ? malloc(STACK) : place == STATIC ? of_bss[!of_calls] : frame;
}

static void
make_calls(void)
{
	static const size_t sizes[] = {40, 100, 700, 5000, 40, 70000};
	struct block blocks[6];

	for (int i = 0; i < 6; i++)
		blocks[i] = step_new(sizes[i]);
	step_realloc(&blocks[2], 1500);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
}

static void
live_as_coroutine(void)
{
	make_calls();
	swapcontext(&there, &here);
}

static void
arrange(char *frame)
{
	if (current->handlers != OWN) {
		stack_t stack = {.ss_size = STACK, .ss_flags = current->disarms ? DISARMS : 0};
		stack.ss_sp = make_stack(current->handlers, false, frame);
		REQUIRE(sigaltstack(&stack, NULL) == 0);
	}
	step_start(call_hook, SA_NODEFER | (current->handlers == OWN ? 0 : SA_ONSTACK));
	if (current->calls == OWN) {
		make_calls();
		return;
	}
	REQUIRE(getcontext(&there) == 0);
	there.uc_stack.ss_sp = make_stack(current->calls, true, frame);
	there.uc_stack.ss_size = STACK;
	makecontext(&there, live_as_coroutine, 0);
	REQUIRE(swapcontext(&here, &there) == 0);
}

static void *
fork_and_arrange(void *unused)
{
	char frame[STACK];
	int status;
	pid_t child = fork();

	if (child == 0) {
		arrange(frame);
		check_held();
		_exit(0);
	}
	REQUIRE(child > 0);
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child failed: status", (uintptr_t)status, 0);
	return unused;
}

void
scene_other_stacks(void)
{
	pthread_t thread;

	for (size_t i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
		current = &arrangements[i];
		current_scenario = current->name;
		(void)fork_and_arrange(NULL);
		REQUIRE(pthread_create(&thread, NULL, fork_and_arrange, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
	}
}
