/*
 * long_arguments.c - executes itself with one and a half MiB of arguments and environment, which lie above the first
 * frame of the main thread's stack, and with none at all (argc is 0 where the kernel still allows that). A handler
 * interrupts malloc in each, also by a jump.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "boot.h"

enum { STRINGS = 24, STRING_SIZE = 64 << 10, JUMPS = 200 };

static sigjmp_buf out;
static volatile sig_atomic_t jumps;

static void
handler(int signal)
{
	(void)signal;
	free(malloc(200));
	jumps++;
	if (jumps % 2)
		siglongjmp(out, 1);
}

static void
jump_out_of_malloc(void)
{
	const struct itimerval often = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200}, never = {0};
	struct sigaction action = {.sa_handler = handler};

	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	(void)sigsetjmp(out, 1);
	while (jumps < JUMPS)
		free(malloc((size_t)rand() % 5000));
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	signal(SIGALRM, SIG_IGN);
	boot_free(boot_allocate());
}

static bool
runs_with(char **arguments, char **environment)
{
	pid_t child = fork();

	if (child == 0) {
		execve("/proc/self/exe", arguments, environment);
		_exit(2);
	}
	return boot_child_succeeded(child);
}

int
main(int argc, char **argv)
{
	struct rlimit stack;
	char *preload, *arguments[STRINGS + 2] = {argv[0]}, *few[2] = {0};
	static char string[STRING_SIZE];

	CHECK(lab_owns != NULL);
	jump_out_of_malloc();
	if (argc > 1 || getenv("SECOND"))
		return 0;
	memset(string, 'a', sizeof string - 1);
	for (int i = 1; i <= STRINGS; i++)
		arguments[i] = string;
	CHECK(asprintf(&preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD")) > 0);
	char second[] = "SECOND=1", *environment[] = {preload, second, NULL};
	if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur / 4 > (size_t)STRINGS * STRING_SIZE)
		CHECK(runs_with(arguments, environment));
	else
		boot_say("not run: so much stack is not allowed\n");
	CHECK(runs_with(few, environment));
	return 0;
}
