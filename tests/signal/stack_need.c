/*
 * stack_need.c - how much of a handler's stack a call takes: handlers on an alternate stack that is filled with a
 * pattern allocate, resize and free, while they interrupt a loop that does the same, and on their own; the deepest byte
 * that is overwritten tells. SIGNAL_MOST_STACK says how many bytes are right.
 *
 * Clauses: G2.9.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "support.h"

enum { STACK = 256 * 1024, PATTERN = 0xa5, HANDLERS = 20000, HELD = 64, INTERVAL_US = 100 };

static unsigned char *stack;
static volatile size_t handlers;
static volatile bool calls;

static size_t
used(void)
{
	size_t untouched = 0;

	while (untouched < STACK && stack[untouched] == PATTERN)
		untouched++;
	return STACK - untouched;
}

static void
call_all(size_t n)
{
	void *p[6] = {
	        malloc(1 + n * 7919 % 3000),
	        calloc(1, 1 + n * 31 % 500),
	        malloc(n % 7 ? 100 : 200000),
	        n % 11 ? NULL : aligned_alloc(4096, 8192),
	        n % 50 ? NULL : malloc((size_t)6 << 20),
	        NULL,
	};

	p[5] = realloc(p[0], 1 + n * 104729 % 10000);
	for (size_t i = 1; i < sizeof p / sizeof *p; i++)
		free(p[i]);
	if (n % 1000 == 0)
		(void)malloc_trim(0);
}

static void
handle(int signal)
{
	(void)signal;
	if (calls)
		call_all(++handlers);
}

static void
loop(void)
{
	void *held[HELD] = {NULL};

	for (size_t i = 0; handlers < HANDLERS; i++) {
		free(held[i % HELD]);
		held[i % HELD] = malloc(i * 31 % (i % 100 ? 500 : 70000));
	}
	for (size_t i = 0; i < HELD; i++)
		free(held[i]);
}

int
main(int argc, char **argv)
{
	const char *most = getenv("SIGNAL_MOST_STACK");
	const struct itimerval often = {{0, INTERVAL_US}, {0, INTERVAL_US}}, never = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};

	start_test(argc, argv, 600);
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(stack != MAP_FAILED);
	memset(stack, PATTERN, STACK);
	stack_t alternate = {.ss_sp = stack, .ss_size = STACK};
	REQUIRE(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
	REQUIRE(raise(SIGALRM) == 0);
	size_t frame = used();
	calls = true;
	for (size_t i = 0; i < HANDLERS / 10; i++)
		REQUIRE(raise(SIGALRM) == 0);
	REQUIRE(setitimer(ITIMER_REAL, &often, NULL) == 0);
	loop();
	REQUIRE(setitimer(ITIMER_REAL, &never, NULL) == 0);
	calls = false;
	printf("a handler's calls took %zu bytes of its stack, beside %zu for the signal\n", used() - frame, frame);
	REQUIRE(used() > frame);
	if (most)
		REQUIRE(used() - frame <= strtoul(most, NULL, 10));
	return end_test();
}
