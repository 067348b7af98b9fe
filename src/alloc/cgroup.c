/*
 * cgroup.c - the memory limit of the process's cgroup, for LABYRINTH_LIMIT=cgroup. At start only: the buffers are static.
 * The format is that of cgroups(7) and of the kernel's Documentation/admin-guide/cgroup-v2.rst.
 */
#include <string.h>

#include "alloc/alloc.h"
#include "base/format.h"
#include "os/os.h"

/* The line of the unified hierarchy is "0::/path". NULL: there is none. The path is then the end of the text. */
static char *
find_path(char *text)
{
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		char *path = line + 3, *end = strchr(path, '\n');
		if (end)
			*end = 0;
		return path;
	}
	return NULL;
}

/* "max", or bytes. */
static size_t
parse(const char *text)
{
	size_t value = 0;

	if (*text < '0' || *text > '9')
		return SIZE_MAX;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (size_t)(*text - '0'), &value))
			return SIZE_MAX;
	return value;
}

static size_t
limit_of(const char *path)
{
	static char name[4200], value[64];
	struct lab_text text = lab_text_start(name, sizeof name);

	lab_text_string(&text, "/sys/fs/cgroup");
	lab_text_string(&text, path);
	lab_text_string(&text, "/memory.max");
	return lab_os.read_file(name, value, sizeof value) ? parse(value) : SIZE_MAX;
}

size_t
lab_cgroup_limit(void)
{
	static char text[4200];
	size_t least = SIZE_MAX;

	if (lab_os.read_file("/proc/self/cgroup", text, sizeof text) == 0)
		return SIZE_MAX;
	char *path = find_path(text);
	for (char *last = path; last;) {
		size_t limit = limit_of(path);
		least = limit < least ? limit : least;
		last = strrchr(path, '/');
		if (last)
			*last = 0; /* its parent; in the end "", the root */
	}
	return least;
}
