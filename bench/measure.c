/*
 * measure.c - runs a command and prints what each run cost: wall time, processor time, peak RSS, and how it ended.
 *
 * Why a C program, and not the runner itself: a child's ru_maxrss starts with the resident set that its process had
 * before exec. Forked by Python, nothing shows a peak below Python's own 10 MiB; forked by this program, the floor is
 * below what any dynamic program needs. Why not a shell: LD_PRELOAD must be set for the command alone.
 *
 * Several --preload options are taken in turn in every round, so that a drift of the machine's speed hits all alike.
 * For each run one line goes to stdout, after what the command prints there itself:
 *
 *     measured PRELOAD wall_ns N cpu_us N maxrss_kib N exit N signal N
 *
 * `exit` is -1 after a signal, `signal` is 0 without one. A run that outlives --timeout is ended by SIGALRM (an alarm
 * that is set before exec and inherited), and reported as any other signal. The status is 0 if every run ended with
 * exit 0.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PRELOADS 16

struct plan {
	const char *preloads[MAX_PRELOADS]; /* "-": none */
	size_t preload_count;
	unsigned long runs;
	unsigned long timeout; /* seconds; 0: none */
	char **command;
};

struct figures {
	long long wall_ns;
	long long cpu_us;
	long maxrss_kib;
	int status; /* as wait4 gives it */
};

static void
die(const char *what)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
usage(void)
{
	fputs("usage: measure [--runs N] [--timeout SECONDS] [--preload LIBRARY|-]... -- COMMAND [ARGUMENT]...\n",
	      stderr);
	exit(2);
}

static unsigned long
number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (end == text || *end != '\0')
		usage();
	return value;
}

static struct plan
read_plan(int argc, char **argv)
{
	struct plan plan = {.runs = 1};
	int arg = 1;
	for (; arg + 1 < argc && strcmp(argv[arg], "--") != 0; arg += 2) {
		if (strcmp(argv[arg], "--runs") == 0)
			plan.runs = number(argv[arg + 1]);
		else if (strcmp(argv[arg], "--timeout") == 0)
			plan.timeout = number(argv[arg + 1]);
		else if (strcmp(argv[arg], "--preload") == 0 && plan.preload_count < MAX_PRELOADS)
			plan.preloads[plan.preload_count++] = argv[arg + 1];
		else
			usage();
	}
	if (arg + 1 >= argc || strcmp(argv[arg], "--") != 0)
		usage();
	plan.command = &argv[arg + 1];
	if (plan.preload_count == 0)
		plan.preloads[plan.preload_count++] = "-";
	return plan;
}

static long long
now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long
microseconds(struct timeval time)
{
	return time.tv_sec * 1000000LL + time.tv_usec;
}

/* In the child: becomes the command. Exit status 127 if it cannot. */
static void
become(const struct plan *plan, const char *preload)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm((unsigned)plan->timeout);
	bool none = strcmp(preload, "-") == 0;
	if ((none ? unsetenv("LD_PRELOAD") : setenv("LD_PRELOAD", preload, 1)) == 0)
		execvp(plan->command[0], plan->command);
	fprintf(stderr, "measure: %s: %s\n", plan->command[0], strerror(errno));
	_exit(127);
}

static struct figures
run_once(const struct plan *plan, const char *preload)
{
	struct rusage usage;
	struct figures figures;
	fflush(stdout);
	long long start = now_ns();
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		become(plan, preload);
	while (wait4(child, &figures.status, 0, &usage) < 0) {
		if (errno != EINTR)
			die("wait4");
	}
	figures.wall_ns = now_ns() - start;
	figures.cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
	figures.maxrss_kib = usage.ru_maxrss;
	return figures;
}

static bool
report(const char *preload, const struct figures *figures)
{
	bool exited = WIFEXITED(figures->status);
	int status = exited ? WEXITSTATUS(figures->status) : -1;
	printf("measured %s wall_ns %lld cpu_us %lld maxrss_kib %ld exit %d signal %d\n", preload, figures->wall_ns,
	       figures->cpu_us, figures->maxrss_kib, status, exited ? 0 : WTERMSIG(figures->status));
	return status == 0;
}

int
main(int argc, char **argv)
{
	struct plan plan = read_plan(argc, argv);
	bool good = true;
	for (unsigned long run = 0; run < plan.runs; run++) {
		for (size_t i = 0; i < plan.preload_count; i++) {
			struct figures figures = run_once(&plan, plan.preloads[i]);
			good &= report(plan.preloads[i], &figures);
		}
	}
	if (fflush(stdout) != 0)
		die("stdout");
	return good ? 0 : 1;
}
