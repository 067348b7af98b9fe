/* library.c - see library.h. LAB_TOOL_LIBDIR, LAB_TOOL_BENCHDIR: the folders of libraries and of benchmarks, as seen
 * from that of programs; by meson.build. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "tool.h"

#define NAME "liblabyrinth.so.0"

/* The real path of the first of some paths that is there; those that do not begin with a slash are as seen from the
 * folder of this tool. */
static char *
find_beside(const char *const places[], unsigned count)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

	if (length <= 0)
		return NULL;
	self[length] = 0;
	*strrchr(self, '/') = 0;
	for (unsigned i = 0; i < count; i++) {
		char *path = print_text("%s/%s", *places[i] == '/' ? "" : self, places[i]);
		char *real = realpath(path, NULL);
		free(path);
		if (real)
			return real;
	}
	return NULL;
}

char *
library_find(void)
{
	static const char *const places[] = {
	        "../preload/" NAME, /* in a build folder */
	        LAB_TOOL_LIBDIR "/" NAME,
	        "../lib/" NAME,
	};

	return find_beside(places, sizeof places / sizeof *places);
}

char *
library_find_bench(const char *name)
{
	char *built = print_text("../bench/%s", name), *installed = print_text("%s/%s", LAB_TOOL_BENCHDIR, name);
	const char *places[] = {built, installed};
	char *found = find_beside(places, 2);

	free(built);
	free(installed);
	if (!found)
		(void)complain("%s is not there: this tool was built without the benchmarks (-Dbenches=true)", name);
	return found;
}

char *
library_find_system(const char *soname)
{
	Dl_info libc;
	char *beside = dladdr((void *)(uintptr_t)&printf, &libc) && libc.dli_fname && strrchr(libc.dli_fname, '/')
	                       ? print_text("%.*s/%s", (int)(strrchr(libc.dli_fname, '/') - libc.dli_fname),
	                                    libc.dli_fname, soname)
	                       : NULL;
	char *local = print_text("/usr/local/lib/%s", soname), *other = print_text("/usr/lib/%s", soname);
	const char *places[] = {local, beside ? beside : other, other};
	char *found = find_beside(places, sizeof places / sizeof *places);

	free(beside);
	free(local);
	free(other);
	return found;
}

FILE *
library_run(const char *library)
{
	char *before = getenv("LD_PRELOAD") ? strdup(getenv("LD_PRELOAD")) : NULL;
	FILE *said = NULL;

	/* a path that LD_PRELOAD can name needs no quotes but for the shell's own characters */
	if (!strchr(library, '\'')) {
		char *command = print_text("LD_PRELOAD='%s' exec true 2>&1 >/dev/null", library);
		unsetenv("LD_PRELOAD");
		said = popen(command, "re");
		if (before)
			setenv("LD_PRELOAD", before, 1);
		free(command);
	}
	free(before);
	return said;
}
