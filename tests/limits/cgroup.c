/*
 * cgroup.c - a memory cgroup with a limit, made for a child (version 2 or 1, where this machine lets us make one). With
 * LABYRINTH_LIMIT=cgroup the child gets NULL and ENOMEM where the kernel would kill it, frees what it has, and goes on.
 *
 * Clauses: G9.3.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"
#include "process.h"

#define MIB   ((size_t)1 << 20)
#define LIMIT "67108864" /* 64 MiB */

static const struct {
	const char *root, *file;
} versions[] = {{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}};

static bool
write_file(const char *folder, const char *name, const char *text)
{
	char path[300];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

/* Makes a group with the limit; its folder. False: not allowed here. */
static bool
make_group(char *folder, size_t size)
{
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		snprintf(folder, size, "%s/labyrinth-test-%d", versions[i].root, (int)getpid());
		if (mkdir(folder, 0755) != 0)
			continue;
		if (write_file(folder, versions[i].file, LIMIT))
			return true;
		rmdir(folder);
	}
	return false;
}

/* Blocks that are written to, until NULL. */
static size_t
use_until_null(size_t size)
{
	struct link {
		struct link *next;
	} *all = NULL, *link;
	size_t bytes = 0;

	for (;; bytes += size) {
		load_errno();
		if (!(link = load_given(malloc(size))))
			break;
		memset(link, 1, size);
		link->next = all;
		all = link;
		REQUIRE(bytes < 80 * MIB); /* the kernel would have killed us */
	}
	for (; all; all = link) {
		link = all->next;
		free(all);
	}
	return bytes;
}

static int
live_in_group(void)
{
	/* nine tenths of the cgroup's: there is room for what are no blocks */
	struct lab_stats stats;

	library_stats(&stats);
	if (stats.limit / 4096 != 64 * MIB / 4096 * 9 / 10)
		fail("the limit that was found", stats.limit, 64 * MIB * 9 / 10);
	for (int round = 0; round < 3; round++) {
		size_t small = use_until_null(1000), large = use_until_null(300000), huge = use_until_null(5 * MIB);
		if (small < 30 * MIB || large < 30 * MIB || huge < 25 * MIB)
			fail("too little was given", small, huge);
	}
	load_blocks_up_to(1, 200000);
	return 0;
}

static int
run(const char *folder)
{
	char pid[32];
	int status;
	pid_t child = fork();

	if (child == 0) {
		snprintf(pid, sizeof pid, "%d", (int)getpid());
		if (!write_file(folder, "cgroup.procs", pid))
			_exit(SKIPPED);
		alarm(500);
		setenv("LABYRINTH_LIMIT", "cgroup", 1);
		process_again("LIMITS_ROLE=cgroup");
		_exit(3);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

int
main(int argc, char **argv)
{
	char folder[128];
	int status = SKIPPED << 8;

	load_start(argc, argv, 600);
	if (getenv("LIMITS_ROLE"))
		return live_in_group();
	process_prepare();
	if (make_group(folder, sizeof folder)) {
		status = run(folder);
		for (int i = 0; i < 100 && rmdir(folder) != 0 && errno == EBUSY; i++)
			usleep(10000); /* the kernel is done with the child soon */
	}
	if (status == SKIPPED << 8) {
		fputs("not run: no memory cgroup can be made here\n", stderr);
		return SKIPPED;
	}
	if (status != 0)
		fail("the child's status", (uintptr_t)status, 0);
	return end_test();
}
