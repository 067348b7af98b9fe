/* process.c - see process.h. */
#include "process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what the kernel says -------------------------------------------------------------------------------------- */

size_t
process_status(const char *name)
{
	char line[200];
	size_t kib = 0;
	FILE *file = fopen("/proc/self/status", "r");

	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtoul(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return kib << 10;
}

size_t
process_mappings(void)
{
	size_t lines = 0;
	FILE *file = fopen("/proc/self/maps", "r");

	for (int c; file && (c = getc(file)) != EOF;)
		lines += c == '\n';
	if (file)
		fclose(file);
	return lines;
}

bool
process_in_child(void (*body)(void *argument), void *argument)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		alarm(500 * scale);
		body(argument);
		_exit(0);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != SKIPPED))
		fail("a child ended with", (uintptr_t)status, 0);
	return WEXITSTATUS(status) == 0;
}

/* ---- anew ------------------------------------------------------------------------------------------------------ */

static int program_fd = -1, library_fd = -1;

void
process_prepare(void)
{
	Dl_info info;

	REQUIRE(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) != 0);
	program_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	library_fd = open(info.dli_fname, O_RDONLY); /* ld.so opens it again by its number */
	REQUIRE(program_fd >= 0 && library_fd >= 0);
}

void
process_again(const char *variable)
{
	enum { KEPT = 16 };
	char preload[64], *arguments[] = {program_invocation_name, NULL},
	                  *variables[KEPT + 3] = {preload, (char *)(uintptr_t)variable};
	int count = 2;

	snprintf(preload, sizeof preload, "LD_PRELOAD=/proc/self/fd/%d", library_fd);
	for (char **entry = environ; *entry && count < KEPT; entry++)
		if (strncmp(*entry, "LABYRINTH_", 10) == 0 || strncmp(*entry, "SIGNAL_TEST_", 12) == 0)
			variables[count++] = *entry;
	fexecve(program_fd, arguments, variables);
}
