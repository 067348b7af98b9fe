/*
 * main.c - every workload with every call of the table lab_os failing in turn, early and late: once, from there on, and
 * all calls of one kind. Each in a process of its own, whose end is compared with that of one in which nothing failed.
 *
 *   faults [GROUP [WORKLOAD]] [--all]   --all: every call of long workloads too, and 200 repetitions each
 *   faults GROUP WORKLOAD FORM K LATE   one process, as it was named when it failed
 *
 * Clauses: G9.2.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

enum {
	/* calls of a workload that CI fails, at least: all of the first half of these, then evenly spread */
	TRIED = 24,
	REPETITIONS = 25, /* in CI; with --all: */
	REPETITIONS_ALL = 200,
	FAILURES_SHOWN = 5, /* of a workload */
	SHARED_FD = 100,
	ATTEMPTS = 5,
};

static const struct fault_group *const groups[] = {&fault_first,   &fault_blocks,  &fault_interrupted, &fault_memory,
                                                   &fault_threads, &fault_reserve, &fault_exclusive,   &fault_objects};
enum { GROUPS = sizeof groups / sizeof *groups };

static int shared_fd;
static bool all;

/* What a workload came to. */
struct tally {
	unsigned long calls, tried, runs, failures;
	unsigned long of_kind[FAULT_KINDS];
	uint8_t kinds[FAULT_CALLS];
	struct lab_stats end; /* when nothing failed */
};

/* ---- one process ----------------------------------------------------------------------------------------------- */

static const struct fault_workload *
find(const char *group, const char *workload)
{
	for (int g = 0; g < GROUPS; g++)
		for (size_t i = 0; i < groups[g]->count; i++)
			if (strcmp(groups[g]->name, group) == 0 && strcmp(groups[g]->workloads[i].name, workload) == 0)
				return &groups[g]->workloads[i];
	return NULL;
}

/* The new program's first constructor: before the library's own. */
__attribute__((constructor(101))) static void
begin_spawned(void)
{
	if (!getenv("FAULT_SPAWNED"))
		return;
	fault_share(SHARED_FD);
	fault_install();
	fault_arm();
}

static _Noreturn void
spawn(const struct fault_group *group, const struct fault_workload *workload)
{
	char *const arguments[] = {(char *)"faults", (char *)group->name, (char *)workload->name, NULL};

	REQUIRE(dup2(shared_fd, SHARED_FD) == SHARED_FD);
	(void)setenv("FAULT_SPAWNED", "1", 1);
	(void)unsetenv("LABYRINTH_RESERVE");
	(void)setenv("LABYRINTH_LIMIT", "cgroup", 1);
	(void)execv("/proc/self/exe", arguments);
	_exit(127);
}

/* 0, or the status that it ended with. */
static int
run_process_once(const struct fault_group *group, const struct fault_workload *workload, struct fault_plan plan)
{
	int status = -1;

	memset(fault_run, 0, sizeof *fault_run);
	fault_run->plan = plan;
	(void)fflush(stdout);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0 && workload->spawned)
		spawn(group, workload);
	if (child == 0)
		fault_be_process(workload);
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

static int
run_process(const struct fault_group *group, const struct fault_workload *workload, struct fault_plan plan)
{
	int status = -1;

	for (int i = 0; i < ATTEMPTS; i++) {
		status = run_process_once(group, workload, plan);
		if (!fault_run->disturbed)
			return status;
	}
	fprintf(stderr, "%s: the machine itself refuses memory\n", workload->name);
	return status;
}

/* ---- what it left ---------------------------------------------------------------------------------------------- */

static const char *
objection(const struct fault_workload *workload, const struct lab_stats *expected)
{
	const struct lab_stats *end = &fault_run->end;

	if (fault_hides_frames())
		return NULL; /* what is freed waits on the heap's stack until the thread ends */
	if (end->blocks != expected->blocks)
		return "blocks are left";
	if (end->in_use != expected->in_use)
		return "bytes are left";
	if (end->reserve_used != 0)
		return "slots are left";
	if (end->heaps > expected->heaps + 1 && !fault_hides_deaths())
		return "more heaps than without failures";
	if (!workload->loses &&
	    end->segments > expected->segments + 1 + end->heaps) /* each heap keeps one that is free */
		return "more segments than without failures";
	return NULL;
}

static const char *
form_name(enum fault_form form)
{
	static const char *const names[] = {"none", "once", "from", "all"};

	return names[form];
}

static void
say_failure(const struct fault_workload *workload, const struct fault_plan *plan, int status, const char *why)
{
	printf("%s: %s %s %s: ", workload->name, form_name(plan->form), plan->late ? "late" : "early",
	       plan->form == FAULT_ALL ? fault_kind_name(plan->kind) : "call");
	if (plan->form != FAULT_ALL)
		printf("%lu, ", plan->k);
	if (why)
		printf("%s (%zu blocks, %zu bytes, %zu heaps, %zu segments)\n", why, fault_run->end.blocks,
		       fault_run->end.in_use, fault_run->end.heaps, fault_run->end.segments);
	else
		printf("ended with status 0x%x\n", (unsigned)status);
}

static void
try_plan(const struct fault_group *group, const struct fault_workload *workload, struct fault_plan plan,
         struct tally *tally)
{
	int status = run_process(group, workload, plan);
	const char *why = status == 0 ? objection(workload, &tally->end) : NULL;

	tally->runs++;
	if (status == 0 && !why)
		return;
	if (++tally->failures <= FAILURES_SHOWN)
		say_failure(workload, &plan, status, why);
}

/* ---- all of a workload ----------------------------------------------------------------------------------------- */

static bool
measure(const struct fault_group *group, const struct fault_workload *workload, struct tally *tally)
{
	int status = run_process(group, workload, (struct fault_plan){.form = FAULT_NONE, .repetitions = 20});

	if (status != 0)
		printf("%s: ended with status 0x%x though nothing failed\n", workload->name, (unsigned)status);
	tally->calls = fault_run->calls;
	memcpy(tally->of_kind, (const void *)fault_run->of_kind, sizeof tally->of_kind);
	memcpy(tally->kinds, fault_run->kinds, sizeof tally->kinds);
	tally->end = fault_run->end;
	return status == 0;
}

/* Of long workloads the first calls, then some. */
static bool
is_tried(const struct tally *tally, unsigned long k)
{
	unsigned long step = 1 + tally->calls / (TRIED / 2);

	return all || tally->calls <= TRIED || k <= TRIED / 2 || k % step == 0 || k == tally->calls;
}

/* Both ways once; from there on, in CI, one way for one call and the other for the next. */
static void
try_call(const struct fault_group *group, const struct fault_workload *workload, unsigned long k, struct tally *tally)
{
	unsigned repetitions = all ? REPETITIONS_ALL : 0;

	for (int late = 0; late < 2; late++) {
		if (!late || k >= FAULT_CALLS || fault_kind_has_late((enum fault_kind)tally->kinds[k]))
			try_plan(group, workload, (struct fault_plan){FAULT_ONCE, k, 0, late, repetitions}, tally);
		if (all || k % 2 == (unsigned long)late)
			try_plan(group, workload, (struct fault_plan){FAULT_FROM, k, 0, late, repetitions}, tally);
	}
}

static void
try_calls(const struct fault_group *group, const struct fault_workload *workload, struct tally *tally)
{
	for (unsigned long k = 1; k <= tally->calls; k++)
		if (is_tried(tally, k)) {
			tally->tried++;
			try_call(group, workload, k, tally);
		}
}

static void
try_kinds(const struct fault_group *group, const struct fault_workload *workload, struct tally *tally)
{
	for (int i = 0; i < FAULT_KINDS; i++) {
		enum fault_kind kind = (enum fault_kind)i;
		unsigned repetitions = all && !fault_kind_hides_deaths(kind) ? REPETITIONS_ALL : REPETITIONS;
		for (int late = 0; late < 2 && tally->of_kind[kind] > 0; late++)
			if (!late || fault_kind_has_late(kind))
				try_plan(group, workload, (struct fault_plan){FAULT_ALL, 0, kind, late, repetitions},
				         tally);
	}
}

static unsigned long
run_workload(const struct fault_group *group, const struct fault_workload *workload)
{
	struct tally tally = {0};

	if (!measure(group, workload, &tally))
		return 1;
	try_kinds(group, workload, &tally);
	try_calls(group, workload, &tally);
	printf("%s/%s: %lu calls, %lu failed in turn, %lu processes: ", group->name, workload->name, tally.calls,
	       tally.tried, tally.runs);
	if (tally.failures)
		printf("%lu FAILED\n", tally.failures);
	else
		printf("nothing lost\n");
	return tally.failures;
}

static int
run_one(char **argv)
{
	static const struct {
		const char *name;
		enum fault_form form;
	} forms[] = {{"none", FAULT_NONE}, {"once", FAULT_ONCE}, {"from", FAULT_FROM}, {"all", FAULT_ALL}};
	struct fault_plan plan = {.k = strtoul(argv[3], NULL, 10), .late = strcmp(argv[4], "late") == 0};
	const struct fault_workload *workload = find(argv[0], argv[1]);
	struct fault_group group = {.name = argv[0]};

	REQUIRE(workload);
	for (size_t i = 0; i < 4; i++)
		if (strcmp(forms[i].name, argv[2]) == 0)
			plan.form = forms[i].form;
	for (int kind = 0; kind < FAULT_KINDS; kind++)
		if (strcmp(fault_kind_name((enum fault_kind)kind), argv[3]) == 0)
			plan.kind = (enum fault_kind)kind;
	plan.repetitions = all ? REPETITIONS_ALL : plan.form == FAULT_ALL ? REPETITIONS : 0;
	int status = run_process(&group, workload, plan);
	printf("status 0x%x, %lu calls; at the end %zu blocks, %zu bytes, %zu heaps, %zu segments\n", (unsigned)status,
	       fault_run->calls, fault_run->end.blocks, fault_run->end.in_use, fault_run->end.heaps,
	       fault_run->end.segments);
	return status != 0;
}

int
main(int argc, char **argv)
{
	unsigned long failures = 0;

	if (getenv("FAULT_SPAWNED"))
		fault_be_process(find(argv[1], argv[2]));
	if (!getenv("LABYRINTH_RESERVE")) { /* nothing is to be there before the first allocation */
		(void)setenv("LABYRINTH_RESERVE", "0", 1);
		(void)execv("/proc/self/exe", argv);
	}
	shared_fd = memfd_create("faults", 0);
	REQUIRE(shared_fd >= 0 && ftruncate(shared_fd, sizeof *fault_run) == 0);
	fault_share(shared_fd);
	all = argc > 1 && strcmp(argv[argc - 1], "--all") == 0;
	argc -= all;
	if (argc > 5)
		return run_one(argv + 1);
	for (int g = 0; g < GROUPS; g++)
		for (size_t i = 0; i < groups[g]->count; i++)
			if ((argc < 2 || strcmp(argv[1], groups[g]->name) == 0) &&
			    (argc < 3 || strcmp(argv[2], groups[g]->workloads[i].name) == 0))
				failures += run_workload(groups[g], &groups[g]->workloads[i]);
	return failures != 0;
}
