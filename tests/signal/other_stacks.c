/*
 * other_stacks.c - calls and handlers on stacks of every kind: alternate ones that disarm themselves (SS_AUTODISARM),
 * coroutines' stacks, from malloc, mapped, static, or in a frame; in the main thread, in another, in the child that a
 * thread has forked; coroutines that go from thread to thread; children that share memory, made in a handler.
 *
 * No handler is left by a jump: so a library that takes an interrupted frame for one that was left hands blocks out
 * twice. It compares stack pointers for that, and has to know when they are on one stack.
 *
 * Each arrangement runs in a process of its own, until so many handlers have interrupted it.
 *
 * Clauses: G2.8.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "support.h"

#define DISARMS ((int)(1u << 31)) /* SS_AUTODISARM: not in glibc's headers */

enum {
	STACK = 64 * 1024,
	GUARD = 4096,
	HANDLERS = 2500,
	CHILDREN = 400,
	INTERVAL_NS = 30000,
	HELD = 61,
	COROUTINES = 6,
	THREADS = 3
};

/* Where a stack is. NONE: the thread's own. */
enum place { NONE, ON_HEAP, MAPPED, STATIC, IN_FRAME };
enum where { IN_MAIN, IN_THREAD, IN_THREADS_CHILD, IN_THREADS };

static const struct arrangement {
	const char *name;
	enum where where;
	enum place calls, handlers;
	bool disarms;
	bool makes_children;
} arrangements[] = {
        {"handlers on a stack that disarms itself, on the heap", IN_MAIN, NONE, ON_HEAP, true, false},
        {"in a frame", IN_MAIN, NONE, IN_FRAME, true, false},
        {"in a frame of a thread", IN_THREAD, NONE, IN_FRAME, true, false},
        {"mapped, in a thread", IN_THREAD, NONE, MAPPED, true, false},
        {"in a child that a thread forked: on the heap", IN_THREADS_CHILD, NONE, ON_HEAP, true, false},
        {"in a child that a thread forked: one that stays armed", IN_THREADS_CHILD, NONE, ON_HEAP, false, false},
        {"in a child that a thread forked: in a frame", IN_THREADS_CHILD, NONE, IN_FRAME, false, false},
        {"in a child that a thread forked: no other stack", IN_THREADS_CHILD, NONE, NONE, false, false},
        {"coroutines on the heap", IN_MAIN, ON_HEAP, NONE, false, false},
        {"coroutines and handlers on the heap", IN_MAIN, ON_HEAP, ON_HEAP, false, false},
        {"coroutines on the heap, the handlers' stack disarms itself", IN_MAIN, ON_HEAP, ON_HEAP, true, false},
        {"coroutines on the heap, in a thread", IN_THREAD, ON_HEAP, ON_HEAP, true, false},
        {"mapped coroutines", IN_MAIN, MAPPED, MAPPED, true, false},
        {"mapped coroutines, in a thread", IN_THREAD, MAPPED, MAPPED, true, false},
        {"static coroutines", IN_MAIN, STATIC, STATIC, true, false},
        {"static coroutines, handlers in a frame", IN_THREAD, STATIC, IN_FRAME, true, false},
        {"coroutines that migrate", IN_THREADS, ON_HEAP, ON_HEAP, false, false},
        {"coroutines that migrate, stacks that disarm themselves", IN_THREADS, MAPPED, ON_HEAP, true, false},
        {"children that share memory", IN_MAIN, NONE, NONE, false, true},
        {"children that share memory, of a thread", IN_THREAD, NONE, NONE, false, true},
        {"children that share memory, of a handler's stack", IN_MAIN, NONE, STATIC, false, true},
};

static const struct arrangement *current;
static atomic_size_t handled;

static bool
is_enough(void)
{
	return atomic_load(&handled) >= (current->makes_children ? CHILDREN : HANDLERS) * (size_t)scale;
}

/* ---- stacks ---------------------------------------------------------------------------------------------------- */

/* The i-th stack of a kind; `frame` is the one in a frame. Mapped ones have a guard page below. */
static char *
make_stack(enum place place, int i, char *frame)
{
	static char of_bss[COROUTINES + THREADS][STACK] __attribute__((aligned(64)));
	char *low;

	switch (place) {
	case ON_HEAP:
		low = malloc(STACK);
		REQUIRE(low != NULL);
		return low;
	case MAPPED:
		low = mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(low != MAP_FAILED && mprotect(low, GUARD, PROT_NONE) == 0);
		return low + GUARD;
	case STATIC:
		return of_bss[i];
	default:
		return frame;
	}
}

/* ---- handlers -------------------------------------------------------------------------------------------------- */

/* What one thread's handlers keep. */
struct keeping {
	struct block held[HELD];
	uint32_t random;
	char *child_stack;
};
static _Thread_local struct keeping *keeping;

static void
turn_over(struct keeping *mine)
{
	for (int i = 0; i < 6; i++) {
		struct block *block = &mine->held[next_random(&mine->random) % HELD];
		if (block->p)
			free_block(block);
		else
			*block = new_block(16 + next_random(&mine->random) % 90);
	}
}

static int
live_as_child(void *mine)
{
	turn_over(mine);
	syscall(SYS_exit, 0);
	return 0;
}

/* The parent's thread is suspended until the child has ended; the child has its memory, and its TLS. */
static void
make_child(struct keeping *mine)
{
	int status;
	pid_t child = clone(live_as_child, mine->child_stack + STACK - 64, CLONE_VM | CLONE_VFORK | SIGCHLD, mine);

	REQUIRE(child > 0);
	while (waitpid(child, &status, __WALL) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child that shares memory failed: status", (uintptr_t)status, 0);
}

static void
on_timer(int number)
{
	int saved = errno;

	(void)number;
	if (is_enough()) /* the thread gets on, however long the others take */
		return;
	if (current->makes_children)
		make_child(keeping);
	else
		turn_over(keeping);
	atomic_fetch_add(&handled, 1);
	errno = saved;
}

static void
start_timer(timer_t *timer)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	struct itimerspec often = {{0, INTERVAL_NS}, {0, INTERVAL_NS}};

	event._sigev_un._tid = gettid();
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, timer) == 0);
	REQUIRE(timer_settime(*timer, 0, &often, NULL) == 0);
}

/* ---- what is interrupted --------------------------------------------------------------------------------------- */

static void
work(struct block *own, int count, uint32_t *random)
{
	for (int i = 0; i < 300; i++) {
		uint32_t n = next_random(random);
		struct block *block = &own[n % (uint32_t)count];
		if (block->p)
			free_block(block);
		else
			*block = new_block(n % 97 == 0 ? 40000 : n % 31 == 0 ? 3000 : 16 + n / 64 % 90);
	}
}

/* One that nobody runs is in its place; who runs it takes it out. */
struct coroutine {
	ucontext_t context, *back;
	uint32_t random;
};
static struct coroutine coroutines[COROUTINES];
static _Atomic(struct coroutine *) places[COROUTINES];

static void
live_as_coroutine(int i)
{
	struct coroutine *volatile self = &coroutines[i];
	struct block own[HELD] = {{0}};

	for (;;) {
		work(own, HELD, &self->random);
		swapcontext(&self->context, self->back);
	}
}

static void
make_coroutines(char *frame)
{
	for (volatile int i = 0; i < COROUTINES; i++) {
		struct coroutine *coroutine = &coroutines[i];
		REQUIRE(getcontext(&coroutine->context) == 0);
		coroutine->context.uc_stack.ss_sp = make_stack(current->calls, i, frame);
		coroutine->context.uc_stack.ss_size = STACK;
		coroutine->random = (uint32_t)i * 77 + 1;
		makecontext(&coroutine->context, (void (*)(void))live_as_coroutine, 1, i);
		atomic_store(&places[i], coroutine);
	}
}

static __attribute__((noinline)) void
run_coroutine(int i)
{
	ucontext_t here;
	struct coroutine *coroutine = atomic_exchange(&places[i % COROUTINES], NULL);

	if (!coroutine)
		return;
	coroutine->back = &here;
	swapcontext(&here, &coroutine->context);
	atomic_store(&places[i % COROUTINES], coroutine);
}

static void
work_until_enough(void)
{
	struct block own[HELD] = {{0}};
	uint32_t random = 3;

	for (int i = 0; !is_enough(); i++) {
		if (current->calls == NONE)
			work(own, HELD, &random);
		else
			run_coroutine(i);
	}
	for (int i = 0; i < HELD; i++)
		free_block(&own[i]);
}

/* ---- arrangements ---------------------------------------------------------------------------------------------- */

static _Atomic int next_thread;

/* On a deep stack, in whose frame there is room for an alternate one. */
static void
live(void)
{
	struct sigaction action = {.sa_handler = on_timer,
	                           .sa_flags = SA_RESTART | (current->handlers == NONE ? 0 : SA_ONSTACK)};
	struct keeping mine = {.random = 7};
	char frame[STACK];
	timer_t timer;

	keeping = &mine;
	mine.child_stack = make_stack(ON_HEAP, 0, NULL);
	if (current->handlers != NONE) {
		stack_t stack = {.ss_size = STACK, .ss_flags = current->disarms ? DISARMS : 0};
		stack.ss_sp = make_stack(current->handlers, COROUTINES + next_thread++, frame);
		REQUIRE(sigaltstack(&stack, NULL) == 0);
	}
	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
	start_timer(&timer);
	work_until_enough();
	REQUIRE(timer_delete(timer) == 0);
	sigset_t ours;
	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &ours, NULL); /* what is pending goes with the thread */
	for (int i = 0; i < HELD; i++)
		free_block(&mine.held[i]);
}

static void
wait_for_child(pid_t child)
{
	int status;

	REQUIRE(child > 0);
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status)); /* it has said why */
	if (status != 0)
		fail("a process failed: status", (uintptr_t)status, 0);
}

static void
fork_and_live(void)
{
	pid_t child = fork();

	if (child == 0) {
		alarm(60 * scale);
		live();
		_exit(0);
	}
	wait_for_child(child);
}

static void *
live_in_thread(void *unused)
{
	if (current->where == IN_THREADS_CHILD)
		fork_and_live();
	else
		live();
	return unused;
}

static void
arrange(void)
{
	pthread_t threads[THREADS];
	int count = current->where == IN_THREADS ? THREADS : 1;

	if (current->calls != NONE)
		make_coroutines(NULL);
	if (current->where == IN_MAIN) {
		live();
		return;
	}
	for (int i = 0; i < count; i++)
		REQUIRE(pthread_create(&threads[i], NULL, live_in_thread, NULL) == 0);
	for (int i = 0; i < count; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 200);
	for (size_t i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
		current = &arrangements[i];
		current_scenario = current->name;
		if (!strstr(current->name, only))
			continue;
		pid_t child = fork();
		if (child == 0) {
			alarm(60 * scale);
			arrange();
			_exit(0);
		}
		wait_for_child(child);
		printf("%s\n", current->name);
	}
	return end_test();
}
