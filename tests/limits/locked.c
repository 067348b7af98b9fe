/*
 * locked.c - mlockall: of what is there, of what will come, of both, on fault or at once; before the first allocation
 * and after; by who may lock all and by who may lock little. Memory that is locked cannot be given back: madvise
 * refuses. Everything works or is NULL with ENOMEM, what is resident stays near what is used (not the address space
 * that is reserved), calloc is zero, and what was refused is not asked for again and again.
 *
 * Clauses: G9.2, G10.1.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/capability.h>

#include "filter.h"
#include "load.h"
#include "process.h"

#define MIB          ((size_t)1 << 20)
#define RESIDENT_MAX (400 * MIB) /* the load uses up to 150 MiB at once */

static const int forms[] = {
        MCL_CURRENT,
        MCL_FUTURE,
        MCL_CURRENT | MCL_FUTURE,
        MCL_CURRENT | MCL_ONFAULT,
        MCL_FUTURE | MCL_ONFAULT,
        MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT,
};

enum { FORMS = sizeof forms / sizeof *forms, EARLY = 1, WEAK = 2, KINDS = 4 };

/* LIMITS_ROLE is "FORM KIND", two digits: kind is EARLY, before any constructor of a library; WEAK, without the right
 * to lock more than RLIMIT_MEMLOCK says; or both. */
static bool
read_role(char **variables, int *form, int *kind)
{
	for (; *variables; variables++)
		if (sscanf(*variables, "LIMITS_ROLE=%d %d", form, kind) == 2)
			return true;
	return false;
}

static bool locked_early;

static void
lock_early(int argc, char **argv, char **variables)
{
	int form, kind;

	(void)argc;
	(void)argv;
	if (read_role(variables, &form, &kind) && kind & EARLY)
		locked_early = mlockall(forms[form]) == 0;
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **, char **) = lock_early;

static void
check_resident(void)
{
	size_t resident = process_status("VmRSS:");

	if (resident > RESIDENT_MAX)
		fail("KiB resident", resident >> 10, RESIDENT_MAX >> 10);
}

static void
live(int form, int kind)
{
	bool locked = kind & EARLY ? locked_early : false;

	if (!(kind & EARLY)) {
		load_blocks(6);
		locked = mlockall(forms[form]) == 0;
	}
	if (!(kind & WEAK) && !locked) {
		fputs("not run: mlockall is not allowed here\n", stderr);
		exit(SKIPPED);
	}
	load_all();
	load_trim();
	check_resident();
	printf("%d %d: %s, %zu MiB resident, %zu MiB locked, %lu given, %lu refused\n", form, kind,
	       locked ? "locked" : "not allowed", process_status("VmRSS:") >> 20, process_status("VmLck:") >> 20,
	       load_count.given, load_count.refused);
	REQUIRE(munlockall() == 0);
	if (kind == 0)
		load_must_work();
}

static void
run(int form, int kind)
{
	char role[32];
	struct rlimit little = {(rlim_t)MIB, (rlim_t)MIB};
	int status;

	snprintf(role, sizeof role, "LIMITS_ROLE=%d %d", form, kind);
	pid_t child = fork();
	if (child == 0) {
		alarm(500);
		if (kind & WEAK &&
		    (setrlimit(RLIMIT_MEMLOCK, &little) != 0 || prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) != 0))
			_exit(SKIPPED);
		process_again(role);
		_exit(3);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	if (status != 0 && status != SKIPPED << 8)
		fail("mlockall: form and kind, status", (uintptr_t)form << 4 | (uintptr_t)kind, (uintptr_t)status);
}

/* ---- what cannot be given back --------------------------------------------------------------------------------- */

static volatile sig_atomic_t asked, refused;

/* The library's madvise, made here in its place and counted. */
static void
on_madvise(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number;
	(void)info;
	long result = madvise((void *)registers[REG_RDI], (size_t)registers[REG_RSI], (int)registers[REG_RDX]);
	asked = asked + 1;
	refused = refused + (result != 0);
	registers[REG_RAX] = result != 0 ? -22 : 0;
}

/* So much time passes under frees, in other segments, that there are many looks at what is free for long. */
static void
wait_and_free(uint64_t ms)
{
	uint64_t from = now_ms();

	while (now_ms() - from < ms) {
		void *volatile p = malloc(5 * MIB);
		free(p);
	}
}

static void
do_not_ask_again(void *unused)
{
	enum { DECAY = 40, TIME = 400, PERIODS = TIME / DECAY, RANGES = 32 };
	struct sigaction action = {.sa_sigaction = on_madvise, .sa_flags = SA_SIGINFO};
	void *kept[RANGES], *freed[RANGES];

	(void)unused;
	library_set(LAB_PARAM_DECAY_MS, DECAY);
	for (int i = 0; i < RANGES; i++) {
		kept[i] = malloc(40000);
		freed[i] = malloc(40000);
		memset(freed[i], 1, 40000);
	}
	REQUIRE(sigaction(SIGSYS, &action, NULL) == 0);
	if (mlockall(MCL_CURRENT) != 0 || !filter_trap(filter_library(), SYS_madvise)) {
		fputs("not run: neither mlockall nor a filter is allowed here\n", stderr);
		_exit(SKIPPED);
	}
	for (int i = 0; i < RANGES; i++)
		free(freed[i]);
	uint64_t from = now_ms();
	wait_and_free(TIME);
	uint64_t periods = (now_ms() - from) / (DECAY / 2) + 1; /* in each there is one look */
	printf("%d calls of madvise, %d refused, in %llu looks\n", asked, refused, (unsigned long long)periods);
	REQUIRE(refused > 0); /* else nothing was tested */
	/* at most eight tries a segment, of four; twice as many looks apart each time, up to 64 */
	if ((uint64_t)refused > (8 + periods / 64) * 4 * 8)
		fail("madvise is refused again and again: times, looks", (uintptr_t)refused, periods);
	for (int i = 0; i < RANGES; i++)
		free(kept[i]);
	/* a threshold that cannot be reached is no reason to try at each free */
	int before = refused;
	library_set(LAB_PARAM_DECAY_MS, SIZE_MAX);
	library_set(LAB_PARAM_TRIM_THRESHOLD, 64 << 10);
	for (int i = 0; i < 1000; i++) {
		void *volatile p = malloc(200000);
		free(p);
	}
	if (refused - before > 200)
		fail("madvise is refused at each free", (uintptr_t)(refused - before), 0);
	munlockall();
	(void)load_until_null(100000, 4 * MIB);
	before = refused;
	REQUIRE(process_status("VmRSS:") > 0);
	load_trim();
	if (refused != before)
		fail("refused although nothing is locked", (uintptr_t)(refused - before), 0);
}

int
main(int argc, char **argv)
{
	int form, kind;

	load_start(argc, argv, 600);
	if (read_role(environ, &form, &kind)) {
		current_scenario = getenv("LIMITS_ROLE");
		live(form, kind);
		return 0;
	}
	process_prepare();
	current_scenario = "do not ask again";
	if (strstr(current_scenario, only))
		(void)process_in_child(do_not_ask_again, NULL);
	current_scenario = "mlockall";
	for (form = 0; form < FORMS && strstr(current_scenario, only); form++)
		for (kind = 0; kind < KINDS; kind++)
			run(form, kind);
	return end_test();
}
