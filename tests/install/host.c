/* host.c - a program that knows nothing of Labyrinth, and opens a plug-in that was linked with it. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int
main(int count, char **arguments)
{
	void *plug_in = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	int (*start)(void) = plug_in ? (int (*)(void))(uintptr_t)dlsym(plug_in, "main_of_plug_in") : NULL;

	if (!start) {
		fprintf(stderr, "host.c: %s\n", dlerror());
		return 1;
	}
	return start();
}
