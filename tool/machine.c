/* machine.c - see machine.h. What the system does not say is left out. */
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "machine.h"
#include "tool.h"

#define MIB         ((unsigned long long)1 << 20)
#define SPACE_LEAST (48 * MIB) /* docs/tuning.md, "Address space" */
#define SPACE_SMALL (512 * MIB)
#define RESERVE     (704 * 1024ull) /* with the library's own pages, rounded up: reserve_lock in docs/tuning.md */

_Static_assert(4 * RESERVE == 2816 * 1024, "what is advised: a quarter of the limit is to hold it");

enum { MAPS_SMALL = 16384 };

static bool
read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	bool read = file && fgets(line, size, file);

	if (file)
		fclose(file);
	if (read)
		line[strcspn(line, "\n")] = 0;
	return read;
}

static long
read_number(const char *path)
{
	char line[64];

	return read_line(path, line, sizeof line) ? strtol(line, NULL, 10) : -1;
}

static void
check_versions(struct findings *findings)
{
	struct utsname system;
	const char *libc = gnu_get_libc_version();
	unsigned major = 0, minor = 0;

	(void)sscanf(libc, "%u.%u", &major, &minor);
	if (major > 2 || (major == 2 && minor >= 34))
		findings_add(findings, FINE, "glibc", NULL, "%s", libc);
	else
		findings_add(findings, PROBLEM, "glibc", "use Debian 12, Ubuntu 22.04, RHEL 9 or newer",
		             "%s: 2.34 or newer is needed", libc);
	if (uname(&system) == 0)
		findings_add(findings, strcmp(system.machine, "x86_64") == 0 ? FINE : PROBLEM, "kernel", NULL,
		             "%s %s, %s", system.sysname, system.release, system.machine);
}

static void
check_overcommit(struct findings *findings)
{
	static const char *const modes[] = {"heuristic", "always", "strict"};
	long mode = read_number("/proc/sys/vm/overcommit_memory");

	if (mode == 2)
		findings_add(findings, NOTE, "overcommit",
		             "nothing: memory is mapped as it is used; a fork of a large process may fail, as with any "
		             "malloc",
		             "strict (vm.overcommit_memory is 2)");
	else if (mode >= 0)
		findings_add(findings, FINE, "overcommit", NULL, "%s", mode < 2 ? modes[mode] : "?");
}

static void
check_huge_pages(struct findings *findings)
{
	char line[64];

	if (!read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line))
		return;
	if (strstr(line, "[always]"))
		findings_add(findings, NOTE, "huge pages",
		             "set LABYRINTH_THP=never where memory matters more than time, or always to let decay keep "
		             "them whole",
		             "transparent huge pages are always on: a few blocks can take 2 MiB");
	else
		findings_add(findings, FINE, "huge pages", NULL, "%s",
		             strstr(line, "[never]") ? "never" : "by madvise; LABYRINTH_THP=always asks for them");
}

void
machine_check(struct findings *findings)
{
	long maps = read_number("/proc/sys/vm/max_map_count");

	check_versions(findings);
	check_overcommit(findings);
	check_huge_pages(findings);
	if (maps > 0 && maps < MAPS_SMALL)
		findings_add(
		        findings, NOTE, "mappings",
		        "raise vm.max_map_count if the heap is to be larger than some GiB, or has many huge blocks",
		        "a process may have %ld", maps);
	else if (maps > 0)
		findings_add(findings, FINE, "mappings", NULL, "a process may have %ld", maps);
}

/* ---- a process ---- */

/* The soft limit by its name in /proc/PID/limits; false: not told. UINT64_MAX: none. */
static bool
read_limit(const char *folder, const char *name, unsigned long long *value)
{
	char *path = print_text("%s/limits", folder), *line = NULL;
	size_t capacity = 0, length = strlen(name);
	FILE *file = fopen(path, "re");
	bool found = false;

	free(path);
	while (file && !found && getline(&line, &capacity, file) > 0) {
		if (strncmp(line, name, length) != 0)
			continue;
		const char *text = line + length + strspn(line + length, " ");
		*value = strncmp(text, "unlimited", 9) == 0 ? ~0ull : strtoull(text, NULL, 10);
		found = true;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

static void
check_space(struct findings *findings, const char *folder, const char *name, const char *about)
{
	unsigned long long value;

	if (!read_limit(folder, name, &value))
		return;
	if (value < SPACE_LEAST)
		findings_add(findings, PROBLEM, about, "raise it (ulimit -v, ulimit -d), or set no limit",
		             "%s: too little for anything", human_bytes(value));
	else if (value < SPACE_SMALL)
		findings_add(findings, NOTE, about, "raise it if malloc fails; the heap's table is a sixteenth of it",
		             "%s: bounds the heap", human_bytes(value));
	else if (value != ~0ull)
		findings_add(findings, FINE, about, NULL, "%s: bounds the heap", human_bytes(value));
	else
		findings_add(findings, FINE, about, NULL, "no limit");
}

/* is_running: what the limit leads to is not to be foretold, but seen. */
static void
check_limits(struct findings *findings, const char *folder, bool is_running)
{
	unsigned long long value;

	check_space(findings, folder, "Max address space", "RLIMIT_AS");
	check_space(findings, folder, "Max data size", "RLIMIT_DATA");
	if (read_limit(folder, "Max locked memory", &value)) {
		const char *text = value == ~0ull ? "no limit" : human_bytes(value);
		if (is_running)
			findings_add(findings, FINE, "RLIMIT_MEMLOCK", NULL, "%s", text);
		else if (value / 4 < RESERVE)
			findings_add(findings, NOTE, "RLIMIT_MEMLOCK",
			             "raise it (ulimit -l, LimitMEMLOCK=) to 2816 KiB or more, or set "
			             "LABYRINTH_RESERVE_LOCK=1 "
			             "as root, if atomic calls are to be met without a page fault however little "
			             "memory is left",
			             "%s: the reserve is resident, but not locked", text);
		else
			findings_add(findings, FINE, "RLIMIT_MEMLOCK", NULL, "%s: the reserve is locked", text);
	}
	if (read_limit(folder, "Max processes", &value)) {
		if (value < 64)
			findings_add(findings, NOTE, "RLIMIT_NPROC",
			             "raise it if the background thread is wanted: it counts as one", "%llu", value);
		else
			findings_add(findings, FINE, "RLIMIT_NPROC", NULL, value == ~0ull ? "no limit" : "%llu", value);
	}
}

static void
check_filter(struct findings *findings, const char *folder)
{
	char *path = print_text("%s/status", folder), *line = NULL;
	size_t capacity = 0;
	FILE *file = fopen(path, "re");
	int mode;

	free(path);
	while (file && getline(&line, &capacity, file) > 0) {
		if (sscanf(line, "Seccomp: %d", &mode) != 1)
			continue;
		if (mode == 1)
			findings_add(findings, PROBLEM, "seccomp", "allow mmap, munmap and madvise: use a filter",
			             "strict mode: no memory can be had but what is there");
		else if (mode == 2)
			findings_add(findings, NOTE, "seccomp",
			             "nothing, if it allows what glibc's malloc calls; no more is needed",
			             "a filter is in force");
		else
			findings_add(findings, FINE, "seccomp", NULL, "no filter");
	}
	free(line);
	if (file)
		fclose(file);
}

static void
check_mappings(struct findings *findings, const char *folder)
{
	char *path = print_text("%s/maps", folder);
	FILE *file = fopen(path, "re");
	long count = 0, most = read_number("/proc/sys/vm/max_map_count");
	int letter;

	free(path);
	if (!file)
		return;
	while ((letter = getc(file)) != EOF)
		count += letter == '\n';
	fclose(file);
	if (most > 0 && count > most / 2)
		findings_add(findings, NOTE, "mappings", "raise vm.max_map_count", "it has %ld of %ld", count, most);
	else
		findings_add(findings, FINE, "mappings", NULL, "it has %ld of %ld", count, most);
}

bool
machine_is_locked(pid_t pid, uint64_t address)
{
	char *path = print_text("/proc/%d/smaps", (int)pid), *line = NULL;
	size_t capacity = 0;
	FILE *file = fopen(path, "re");
	unsigned long long start, end, locked = 0;
	bool is_in = false;

	free(path);
	while (file && getline(&line, &capacity, file) > 0) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			is_in = start <= address && address < end;
		else if (is_in && sscanf(line, "Locked: %llu kB", &locked) == 1)
			break;
	}
	free(line);
	if (file)
		fclose(file);
	return locked > 0;
}

void
machine_check_process(struct findings *findings, pid_t pid)
{
	char *folder = pid ? print_text("/proc/%d", (int)pid) : print_text("/proc/self");

	check_limits(findings, folder, pid != 0);
	check_filter(findings, folder);
	if (pid)
		check_mappings(findings, folder);
	free(folder);
}
