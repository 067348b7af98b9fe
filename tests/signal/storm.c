/*
 * storm.c - signals at up to 20 kHz on several threads that allocate, nested, on alternate stacks of 16 KiB; handlers
 * that free what the threads have allocated and the other way round, across threads; and fork in a handler that may
 * have interrupted malloc, with parent and child both going on.
 *
 * A storm hits each point rarely; it shows what the stepping tests cannot: real concurrency with drains, births,
 * borrowing and adoption. What must hold is the same: no hang, no crash, no changed contents, no NULL.
 *
 * Clauses: G2.2, G2.4.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

enum { THREADS = 8, MS = 2500, SHELF = 256, BURST = 64, RATE = 20000, FORKS = 100 };

/*
 * Every second thread has an alternate stack of 16 KiB, on which two handlers fit (a signal frame may take 3.5 KiB),
 * and gets one kind of signal from outside. The others nest more deeply. Each kind but the last is blocked in its own
 * handler, so that depth is bounded; the last is raised by handlers themselves, and interrupts itself.
 */
enum { SMALL_STACK = 16 * 1024, LARGE_STACK = 96 * 1024, SMALL_DEPTH = 2, LARGE_DEPTH = 5, KINDS = 5 };

static int kinds[KINDS];

/* ---- what handlers and threads hand each other ----------------------------------------------------------------- */

/* Each place holds a block with its description in its first bytes, or NULL. */
struct parcel {
	size_t size;
	unsigned seed;
	_Alignas(16) unsigned char bytes[];
};

static _Atomic(struct parcel *) shelf[SHELF];

static void
open_parcel(struct parcel *parcel)
{
	struct block inside;

	if (!parcel)
		return;
	inside = (struct block){.p = parcel->bytes, .size = parcel->size, .seed = parcel->seed};
	check_block(&inside);
	free(parcel);
}

/* Puts a new parcel on the shelf, and frees what was there, whoever made it. */
static void
exchange(uint32_t *random)
{
	uint32_t n = next_random(random);
	size_t size = n % 50 == 0 ? 30000 + n % 90000 : n % 9 == 0 ? 1200 + n % 3000 : 16 + n % 600;
	struct parcel *parcel = malloc(sizeof *parcel + size);

	if (!parcel)
		fail("NULL while there is memory: size", size, 0);
	parcel->size = size;
	parcel->seed = block_of(parcel->bytes, size).seed;
	open_parcel(atomic_exchange(&shelf[n / 7 % SHELF], parcel));
}

/* ---- the handler ----------------------------------------------------------------------------------------------- */

static _Atomic size_t signals_handled, depth_reached, forks;
static _Thread_local int depth, depth_max;
static _Thread_local uint32_t handler_random;

static void
on_signal(int number)
{
	int saved = errno;
	struct block block;

	(void)number;
	depth++;
	block = new_block(40 + next_random(&handler_random) % 500);
	exchange(&handler_random);
	reallocated(&block, realloc(block.p, block.size * 3), block.size * 3);
	if (next_random(&handler_random) % 4 == 0 && depth < depth_max)
		raise(kinds[KINDS - 1]);
	exchange(&handler_random);
	free_block(&block);
	if ((size_t)depth > depth_reached)
		depth_reached = (size_t)depth;
	depth--;
	signals_handled++;
	errno = saved;
}

/* ---- the threads ----------------------------------------------------------------------------------------------- */

static _Atomic bool stop_now;
static pthread_t threads[THREADS];

static void
sometimes_large(uint32_t n)
{
	struct block block = new_block(n % 3 == 0 ? 5 << 20 : 200 << 10);

	reallocated(&block, realloc(block.p, block.size + (1 << 20)), block.size + (1 << 20));
	free_block(&block);
}

static void *
work(void *argument)
{
	enum { OWN = 64 };
	struct block own[OWN] = {{0}};
	uint32_t random = (uint32_t)(uintptr_t)argument;
	bool is_small = random % 2;
	size_t stack_size = is_small ? SMALL_STACK : LARGE_STACK;
	stack_t stack = {.ss_sp = malloc(stack_size), .ss_size = stack_size};

	handler_random = random * 77 + 1;
	depth_max = is_small ? SMALL_DEPTH : LARGE_DEPTH;
	REQUIRE(stack.ss_sp && sigaltstack(&stack, NULL) == 0);
	while (!stop_now) {
		uint32_t n = next_random(&random);
		struct block *block = &own[n % OWN];
		size_t size = n / OWN % 17 == 0 ? 2000 + n % 20000 : 1 + n / OWN % 800;
		if (block->p && n % 5 == 0) {
			reallocated(block, realloc(block->p, size), size);
		} else {
			free_block(block);
			*block = new_block(size);
		}
		exchange(&random);
		if (n % 256 == 0)
			sometimes_large(n / 256);
	}
	for (int i = 0; i < OWN; i++)
		free_block(&own[i]);
	stack_t off = {.ss_flags = SS_DISABLE};
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	REQUIRE(sigaltstack(&off, NULL) == 0);
	free(stack.ss_sp);
	return NULL;
}

static size_t sent, bursts;

/* Many real-time signals to one thread, each with a value: they queue, and are delivered one upon the other's end. */
static void
send_burst(pthread_t thread)
{
	for (int i = 0; i < BURST; i++)
		if (pthread_sigqueue(thread, kinds[2 + i % 2], (union sigval){.sival_int = i}) != 0)
			break; /* RLIMIT_SIGPENDING */
	bursts++;
}

/* RATE signals a second in all, round the threads, or as many as the machine lets it: what it is late by is sent at
 * once. */
static void
send_signals(unsigned ms)
{
	uint64_t start = now_ms(), end = start + ms;

	for (uint64_t now = start; now < end; now = now_ms()) {
		for (; sent < (now - start) * RATE / 1000; sent++) {
			pthread_kill(threads[sent % THREADS], kinds[sent % 2 ? sent / THREADS % (KINDS - 1) : 0]);
			if (sent % 1024 == 0)
				send_burst(threads[sent / 1024 % THREADS]);
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
}

static void
install_handlers(void)
{
	const int numbers[KINDS] = {SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2};

	for (int i = 0; i < KINDS; i++) {
		int flags = SA_ONSTACK | SA_RESTART | (i == KINDS - 1 ? SA_NODEFER : 0);
		struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
		kinds[i] = numbers[i];
		REQUIRE(sigaction(kinds[i], &action, NULL) == 0);
	}
}

static void
run_threads(unsigned ms)
{
	stop_now = false;
	for (uintptr_t i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
	send_signals(ms);
	stop_now = true;
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
}

/* ---- fork in a handler ----------------------------------------------------------------------------------------- */

static void
allocate_a_while(int steps)
{
	enum { OWN = 32 };
	struct block own[OWN] = {{0}};
	uint32_t random = 5;

	for (int i = 0; i < steps; i++) {
		uint32_t n = next_random(&random);
		free_block(&own[n % OWN]);
		own[n % OWN] = new_block(n % 20 == 0 ? 50000 + n % 100000 : 1 + n % 3000);
	}
	for (int i = 0; i < OWN; i++)
		free_block(&own[i]);
}

/* async-signal-safe: _Fork does not run handlers of pthread_atfork, whose own locks the handler may have
 * interrupted. */
static void
on_fork_signal(int number)
{
	int saved = errno;

	(void)number;
	struct block block = new_block(100);
	pid_t child = _Fork();
	if (child == 0) {
		alarm(100);
		allocate_a_while(400);
		free_block(&block);
		_exit(0);
	}
	REQUIRE(child > 0);
	free_block(&block);
	forks++;
	int status;
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child forked in a handler failed: status", (uintptr_t)status, 0);
	errno = saved;
}

/* One signal, in a millisecond of the process's own time. The next is not asked for before this one's handler has
 * returned: however slow forks are, the program gets on between them. */
static void
ask_for_fork(void)
{
	struct itimerval once = {.it_value = {0, 1000}};

	REQUIRE(setitimer(ITIMER_PROF, &once, NULL) == 0);
}

/* The main thread allocates, and goes on after the handler; so do the others meanwhile. The child goes on in the
 * handler. */
static void
fork_in_handlers(unsigned times)
{
	pthread_t other;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPROF);
	stop_now = false;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	REQUIRE(pthread_create(&other, NULL, work, (void *)9) == 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	struct sigaction action = {.sa_handler = on_fork_signal, .sa_flags = SA_RESTART};
	REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
	for (size_t end = forks + times; forks < end;) {
		size_t before = forks;
		ask_for_fork();
		while (forks == before)
			allocate_a_while(20);
	}
	stop_now = true;
	REQUIRE(pthread_join(other, NULL) == 0);
}

/* The child returns from the handler and goes on in the malloc that was interrupted. */
static _Atomic bool is_child;

static void
on_returning_fork(int number)
{
	int saved = errno, status;

	(void)number;
	pid_t child = is_child ? 1 : _Fork();
	if (child == 0) {
		is_child = true;
		alarm(100);
	} else if (!is_child) {
		REQUIRE(child > 0);
		forks++;
		while (waitpid(child, &status, 0) < 0)
			REQUIRE(errno == EINTR);
		if (status != 0)
			fail("a child that returned from the handler failed: status", (uintptr_t)status, 0);
	}
	errno = saved;
}

static void
fork_and_return(unsigned times)
{
	struct sigaction action = {.sa_handler = on_returning_fork, .sa_flags = SA_RESTART};

	REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
	for (size_t end = forks + times; forks < end;) {
		size_t before = forks;
		ask_for_fork();
		while (forks == before) {
			allocate_a_while(20);
			if (is_child) {
				allocate_a_while(300);
				_exit(0);
			}
		}
	}
}

static void
storm_of_signals(void)
{
	install_handlers();
	run_threads(MS * scale);
	printf("%zu signals sent (%zu a second) and %zu bursts of %d queued ones to %d threads; %zu handled (%zu a "
	       "second), %zu "
	       "deep\n",
	       sent, sent * 1000 / (MS * scale), bursts, BURST, THREADS, (size_t)signals_handled,
	       (size_t)signals_handled * 1000 / (MS * scale), (size_t)depth_reached);
	REQUIRE(bursts > 0);
	for (int i = 0; i < SHELF; i++)
		open_parcel(atomic_exchange(&shelf[i], NULL));
}

static void
fork_in_a_handler(void)
{
	fork_in_handlers(FORKS * scale);
	fork_and_return(FORKS * scale);
	printf("%zu forks in handlers\n", (size_t)forks);
}

int
main(int argc, char **argv)
{
	static const struct scenario {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
	        {"storm of signals", storm_of_signals},
	        {"fork in a handler", fork_in_a_handler},
	};

	start_test(argc, argv, 300);
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
		current_scenario = scenarios[i].name;
		if (strstr(current_scenario, only))
			scenarios[i].run();
	}
	return end_test();
}
