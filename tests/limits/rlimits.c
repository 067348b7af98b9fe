/*
 * rlimits.c - the addresses that a process takes, and limits that it sets itself, or is started under: RLIMIT_AS at a
 * ladder of values, and lowered when much is mapped; RLIMIT_DATA; RLIMIT_MEMLOCK 0; RLIMIT_NPROC, so that there can be
 * no background thread; small RLIMIT_STACK. One thread and several allocate until there is no more; then all is freed,
 * and all works again.
 *
 * Clauses: G9.2, G10.5, G10.6.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "load.h"
#include "process.h"

#define MIB             ((size_t)1 << 20)
#define LOADER_NEEDS    (12 * MIB) /* below that a program of two libraries may not start */
#define ALLOCATOR_NEEDS (48 * MIB) /* below that there may be no segment; from here on there must be blocks */

static int limits_done;

enum { NOBODY = 65534, LOADER_FAILED = 127, NO_EXEC = 126 };

static void
set_limit(int resource, size_t soft)
{
	struct rlimit limit;

	REQUIRE(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
	limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
	REQUIRE(setrlimit((__rlimit_resource_t)resource, &limit) == 0);
}

static size_t
get_limit(int resource)
{
	struct rlimit limit;

	REQUIRE(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
	return limit.rlim_cur;
}

/* ---- started anew, under a limit ------------------------------------------------------------------------------- */

/* What `become` is to do before the program begins anew in `role`; what it then writes to stderr. */
struct start {
	const char *role;
	void (*become)(size_t value);
	size_t value;
	char output[4096];
};

static int
run(struct start *start)
{
	char role[64];
	int ends[2], status;
	size_t length = 0;

	snprintf(role, sizeof role, "LIMITS_ROLE=%s", start->role);
	REQUIRE(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(500); /* it stays over the exec */
		dup2(ends[1], STDERR_FILENO);
		start->become(start->value);
		process_again(role);
		_exit(NO_EXEC);
	}
	close(ends[1]);
	for (ssize_t got; (got = read(ends[0], start->output + length, sizeof start->output - 1 - length)) > 0;)
		length += (size_t)got;
	start->output[length] = 0;
	close(ends[0]);
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

static int
lines_with(const char *output, const char *text)
{
	int lines = 0;

	while ((output = strstr(output, text)) != NULL) {
		output += strlen(text);
		lines++;
	}
	return lines;
}

/* ---- addresses without a limit --------------------------------------------------------------------------------- */

static int
say_size(void)
{
	fprintf(stderr, "%zu\n", process_status("VmSize:"));
	return 0;
}

static void
begin_with_it(size_t value)
{
	(void)value;
}

static void
begin_without_it(size_t value)
{
	(void)value;
	unsetenv("LD_PRELOAD");
	setenv("LIMITS_ROLE", "size", 1);
	execl("/proc/self/exe", "size", (char *)NULL);
}

static size_t
size_of_process(void (*begin)(size_t value))
{
	struct start start = {.role = "size", .become = begin};
	int status = run(&start);

	if (status != 0)
		fputs(start.output, stderr), fail("a process that does nothing: status", (uintptr_t)status, 0);
	return strtoul(start.output, NULL, 10);
}

/* What a process that does nothing has more of: the table, of 72 MiB for a window of 64 GiB, and little else; no room
 * for growth of the reserve. */
static void
addresses(void)
{
	size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE), window = (size_t)64 << 30;
	size_t bare = size_of_process(begin_without_it), more = size_of_process(begin_with_it) - bare;

	while (window < 2 * memory)
		window *= 2;
	if (more > 72 * MIB * (window >> 36) + 8 * MIB)
		fail("bytes of addresses more than without it, and without it", more, bare);
}

/* ---- RLIMIT_AS ------------------------------------------------------------------------------------------------- */

static void
limit_addresses(size_t value)
{
	set_limit(RLIMIT_AS, value);
}

static int
live_in_address_space(void)
{
	size_t limit = get_limit(RLIMIT_AS), blocks = 0;

	for (int round = 0; round < 2; round++) {
		size_t given = load_until_null(1000, limit) + load_until_null(100000, limit);
		load_threads_until_null(limit);
		if (given < blocks / 10 * 9)
			fail("memory was lost: blocks", given, blocks);
		blocks = given;
	}
	load_all();
	if (limit >= ALLOCATOR_NEEDS && blocks == 0)
		fail("no block under a limit of", limit, 0);
	unsigned long refused = load_count.refused;
	if (limit >= ALLOCATOR_NEEDS)
		load_blocks_up_to(9, limit / 256);
	if (load_count.refused != refused)
		fail("refused when all was freed: limit", limit, load_count.refused - refused);
	return 0;
}

static void
ladder(void)
{
	static const size_t rungs[] = {1, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 100, 200, 400, 1024};

	for (size_t i = 0; i < sizeof rungs / sizeof *rungs; i++) {
		struct start start = {.role = "as", .become = limit_addresses, .value = rungs[i] * MIB};
		int status = run(&start);
		bool is_loader = WIFSIGNALED(status)
		                         ? WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGSEGV
		                         : WEXITSTATUS(status) == LOADER_FAILED || WEXITSTATUS(status) == NO_EXEC;
		if (status != 0 && !(is_loader && start.value < LOADER_NEEDS))
			fputs(start.output, stderr), fail("under RLIMIT_AS: MiB, status", rungs[i], (uintptr_t)status);
	}
}

static void *
live_a_moment(void *unused)
{
	void *p = malloc(1000);

	free(p);
	return p ? &limits_done : unused;
}

/* The limit bounds the heap as it does every program's memory, and what the heap gives back others can have. */
static void
lower_addresses(void *unused)
{
	enum { ROOM = 64 };
	struct block blocks[20];
	size_t before = get_limit(RLIMIT_AS);
	pthread_t thread;
	void *result;

	(void)unused;
	for (int i = 0; i < 20; i++)
		blocks[i] = new_block(8 * MIB);
	load_all();
	(void)malloc_trim(0);
	set_limit(RLIMIT_AS, process_status("VmSize:") + ROOM * MIB);
	size_t given = load_until_null(100000, (size_t)1 << 30) * 100000;
	if (given > ROOM * MIB + 8 * MIB || given < ROOM / 2 * MIB)
		fail("bytes in blocks, under a limit that leaves so many MiB", given, ROOM);
	(void)malloc_trim(0);
	REQUIRE(pthread_create(&thread, NULL, live_a_moment, NULL) == 0);
	REQUIRE(pthread_join(thread, &result) == 0 && result == &limits_done);
	set_limit(RLIMIT_AS, MIB); /* less than there is: nothing more, and nothing breaks */
	load_all();
	load_threads_until_null(64 * MIB);
	for (int i = 0; i < 20; i++)
		free_block(&blocks[i]);
	load_moves();
	load_trim();
	set_limit(RLIMIT_AS, before);
	load_must_work();
}

/* ---- RLIMIT_DATA ------------------------------------------------------------------------------------------------- */

static void
lower_data(void *unused)
{
	size_t before = get_limit(RLIMIT_DATA), first, again;

	(void)unused;
	load_all();
	set_limit(RLIMIT_DATA, process_status("VmData:") + 64 * MIB);
	first = load_until_null(100000, 512 * MIB);
	load_threads_until_null(512 * MIB);
	load_all();
	again = load_until_null(100000, 512 * MIB);
	if (first * 100000 < 40 * MIB || again < first / 10 * 8)
		fail("blocks under RLIMIT_DATA, first and again", first, again);
	set_limit(RLIMIT_DATA, 0);
	load_all();
	set_limit(RLIMIT_DATA, before);
	load_must_work();
}

/* ---- as somebody who may not ----------------------------------------------------------------------------------- */

/* Without the right to lock more than the limit. */
static void
lock_nothing(size_t value)
{
	(void)prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
	set_limit(RLIMIT_MEMLOCK, value);
	setenv("LABYRINTH_RESERVE", "1M", 1);
}

static int
live_unlocked(void)
{
	load_all();
	load_must_work();
	return 0;
}

static void
no_locked_memory(void)
{
	struct start start = {.role = "memlock", .become = lock_nothing, .value = 0};
	int status = run(&start);

	/* and load_all's own limit is hit */
	if (status != 0 || lines_with(start.output, "RLIMIT_MEMLOCK") != 1 ||
	    lines_with(start.output, "labyrinth: the limit of") != 1 || lines_with(start.output, "\n") != 2)
		fputs(start.output, stderr), fail("under RLIMIT_MEMLOCK 0: status", (uintptr_t)status, 0);
}

/* After the change of user, so that exec is allowed still. */
static void
be_alone(size_t value)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
		_exit(SKIPPED);
	set_limit(RLIMIT_NPROC, value);
	setenv("LABYRINTH_BACKGROUND_THREAD", "1", 1);
}

static int
live_alone(void)
{
	if (process_status("Threads:") != 1 << 10) /* the figure is no size */
		fail("threads", process_status("Threads:") >> 10, 1);
	if (fork() >= 0)
		return SKIPPED;
	load_all();
	load_must_work();
	return 0;
}

static void
no_threads(void)
{
	struct start start = {.role = "nproc", .become = be_alone, .value = 1};
	int status = geteuid() == 0 ? run(&start) : SKIPPED << 8;

	if (WIFEXITED(status) && (WEXITSTATUS(status) == SKIPPED || WEXITSTATUS(status) == NO_EXEC)) {
		fputs("not run: RLIMIT_NPROC: only root can become a user who has no other process\n", stderr);
		return;
	}
	if (status != 0)
		fputs(start.output, stderr), fail("under RLIMIT_NPROC: status", (uintptr_t)status, 0);
}

/* ---- RLIMIT_STACK ---------------------------------------------------------------------------------------------- */

static void
limit_stack(size_t value)
{
	set_limit(RLIMIT_STACK, value);
}

static void
small_stack(void)
{
	struct start start = {.role = "stack", .become = limit_stack, .value = 160 << 10};
	int status = run(&start);

	if (status != 0)
		fputs(start.output, stderr), fail("under RLIMIT_STACK: status", (uintptr_t)status, 0);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static int
play(const char *role)
{
	static const struct {
		const char *name;
		int (*live)(void);
	} roles[] = {{"as", live_in_address_space},
	             {"memlock", live_unlocked},
	             {"nproc", live_alone},
	             {"stack", live_unlocked}};

	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (strcmp(role, roles[i].name) == 0)
			return current_scenario = role, roles[i].live();
	return 2;
}

static bool
scenario(const char *name)
{
	current_scenario = name;
	return strstr(name, only) != NULL;
}

int
main(int argc, char **argv)
{
	const char *role = getenv("LIMITS_ROLE");

	if (role && strcmp(role, "size") == 0)
		return say_size(); /* on any malloc */
	load_start(argc, argv, 600);
	if (role)
		return play(role);
	process_prepare();
	if (scenario("addresses without a limit"))
		addresses();
	if (scenario("RLIMIT_AS"))
		ladder();
	if (scenario("RLIMIT_AS lowered"))
		(void)process_in_child(lower_addresses, NULL);
	if (scenario("RLIMIT_DATA"))
		(void)process_in_child(lower_data, NULL);
	if (scenario("RLIMIT_MEMLOCK"))
		no_locked_memory();
	if (scenario("RLIMIT_STACK"))
		small_stack();
	if (scenario("RLIMIT_NPROC"))
		no_threads();
	return end_test();
}
