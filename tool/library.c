/* library.c - see library.h. LAB_TOOL_LIBDIR: the folder of libraries as seen from that of programs, by meson.build. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "tool.h"

#define NAME "liblabyrinth.so.0"

char *
library_find(void)
{
	static const char *const places[] = {
	        "../preload/" NAME, /* in a build folder */
	        LAB_TOOL_LIBDIR "/" NAME,
	        "../lib/" NAME,
	};
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

	if (length <= 0)
		return NULL;
	self[length] = 0;
	*strrchr(self, '/') = 0;
	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		char *path = print_text("%s/%s", *places[i] == '/' ? "" : self, places[i]);
		char *real = realpath(path, NULL);
		free(path);
		if (real)
			return real;
	}
	return NULL;
}
