/*
 * cgroup.c - the memory limit of the process's cgroup, for LABYRINTH_LIMIT=cgroup. At start only: the buffers are
 * static. The format is that of cgroups(7) and of the kernel's Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst.
 */
#include <string.h>

#include "alloc/cgroup.h"
#include "base/format.h"
#include "base/parse.h"
#include "os/os.h"

#define NO_MEMORY_HAS ((size_t)1 << 60)

/* The version 2 hierarchy, and the one of version 1's memory controller, where that is not mounted with others. */
static const struct hierarchy {
	const char *controllers; /* as /proc/self/cgroup has them in its line "number:controllers:/path" */
	const char *root, *file;
} hierarchies[] = {
        {"::/", "/sys/fs/cgroup", "/memory.max"},
        {":memory:/", "/sys/fs/cgroup/memory", "/memory.limit_in_bytes"},
};

/* The path is the end of the text then. NULL: there is none. */
static char *
find_path(char *text, const char *controllers)
{
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		char *list = line + strspn(line, "0123456789");
		if (strncmp(list, controllers, strlen(controllers)) != 0)
			continue;
		char *path = list + strlen(controllers) - 1, *end = strchr(path, '\n');
		if (end)
			*end = 0;
		return path;
	}
	return NULL;
}

/* "max", or bytes; version 1 says "none" by a number that no memory has. */
static size_t
parse(const char *text)
{
	size_t value;

	if (!lab_parse_number(text, &value))
		return SIZE_MAX;
	return value < NO_MEMORY_HAS ? value : SIZE_MAX;
}

static size_t
limit_of(const struct hierarchy *hierarchy, const char *path)
{
	static char name[4200], value[64];
	struct lab_text text = lab_text_start(name, sizeof name);

	lab_text_string(&text, hierarchy->root);
	lab_text_string(&text, path);
	lab_text_string(&text, hierarchy->file);
	return lab_os.read_file(name, value, sizeof value) ? parse(value) : SIZE_MAX;
}

static size_t
least_limit(const struct hierarchy *hierarchy)
{
	static char text[4200];
	size_t least = SIZE_MAX;

	if (lab_os.read_file("/proc/self/cgroup", text, sizeof text) == 0)
		return SIZE_MAX;
	char *path = find_path(text, hierarchy->controllers);
	for (char *last = path; last;) {
		size_t limit = limit_of(hierarchy, path);
		least = limit < least ? limit : least;
		last = strrchr(path, '/');
		if (last)
			*last = 0; /* its parent; in the end "", the root */
	}
	return least;
}

size_t
lab_cgroup_limit(void)
{
	size_t least = SIZE_MAX;

	for (unsigned i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
		size_t limit = least_limit(&hierarchies[i]);
		least = limit < least ? limit : least;
	}
	return least;
}
