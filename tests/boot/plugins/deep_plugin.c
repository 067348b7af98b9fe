/* deep_plugin.c - a plug-in that gives out blocks and takes others'; it needs a library that only its own RUNPATH
 * ($ORIGIN/…) finds. */
#include "../deep.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

extern const char *deep_library_name(void);
extern const struct deep_calls deep_calls;

static char *
allocate(size_t size)
{
	return malloc(size);
}

static void
release(void *block)
{
	free(block);
}

static char *
duplicate(const char *text)
{
	return strdup(text);
}

static char *
read_line(FILE *stream)
{
	char *line = malloc(1); /* too small: libc's getline resizes the plug-in's block */
	size_t size = 1;

	return getline(&line, &size, stream) > 0 ? line : NULL;
}

static char *
print(int number)
{
	char *text;

	return asprintf(&text, "number %d", number) > 0 ? text : NULL;
}

static void *
open_library(const char *name, int flags)
{
	void *handle = dlopen(name, flags);

	return handle; /* no tail call: dlopen looks at its caller */
}

const struct deep_calls deep_calls = {
        .allocate = allocate,
        .release = release,
        .duplicate = duplicate,
        .read_line = read_line,
        .print = print,
        .open = open_library,
        .depends = deep_library_name,
};
