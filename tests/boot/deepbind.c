/*
 * deepbind.c - a plug-in opened with RTLD_DEEPBIND by a preloaded program. The program finds it by its own RUNPATH
 * ($ORIGIN/plugins), the plug-in what it needs by another ($ORIGIN/libraries): both only if dlopen still knows who
 * calls it.
 *
 * Blocks are exchanged both ways.
 *
 * Clauses: G8.4.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>

#include "boot.h"
#include "deep.h"

static const struct deep_calls *
open_plugin(void *handle)
{
	if (!handle)
		boot_say(dlerror());
	CHECK(handle != NULL);
	const struct deep_calls *calls = dlsym(handle, "deep_calls");
	CHECK(calls && strcmp(calls->depends(), "deep library") == 0);
	return calls;
}

static void
free_ours(char *block, const char *text)
{
	CHECK(block && strcmp(block, text) == 0 && lab_owns(block));
	free(block);
}

static void
exchange(const struct deep_calls *plugin)
{
	FILE *stream = tmpfile();

	CHECK(stream && fputs("a line that is longer than one byte\n", stream) >= 0);
	for (int i = 0; i < 1000; i++) {
		size_t size = (size_t)i * 37 + 1;
		char *block = plugin->allocate(size), *line = NULL;
		CHECK(lab_owns(block));
		block = realloc(block, 2 * size);
		free(block);
		plugin->release(malloc(size));
		free_ours(plugin->duplicate("twin"), "twin");
		plugin->release(strdup("twin"));
		free_ours(plugin->print(7), "number 7");
		CHECK(asprintf(&line, "%d", i) > 0);
		plugin->release(line);
		rewind(stream);
		free_ours(plugin->read_line(stream), "a line that is longer than one byte\n");
		rewind(stream);
		line = NULL;
		CHECK(getline(&line, &size, stream) > 0);
		plugin->release(line);
	}
	fclose(stream);
}

int
main(void)
{
	const int deep = RTLD_NOW | RTLD_DEEPBIND;
	void *handle = dlopen("deep_plugin.so", deep);
	const struct deep_calls *plugin = open_plugin(handle);

	exchange(plugin);
	CHECK(plugin->open("deep_library.so", deep) != NULL);
	CHECK(dlopen("deep_library.so", RTLD_NOW | RTLD_NOLOAD) !=
	      NULL); /* it is loaded; else our RUNPATH would not find it */
	CHECK(dlclose(handle) == 0);
	exchange(open_plugin(dlmopen(LM_ID_BASE, "deep_plugin.so", deep)));

	/* a libc of its own, and what dlopen says of a library that is not there */
	plugin = open_plugin(dlmopen(LM_ID_NEWLM, "deep_plugin.so", deep));
	char *foreign = plugin->allocate(100);
	CHECK(foreign && !lab_owns(foreign));
	plugin->release(foreign);
	CHECK(dlopen("no-such-library.so", deep) == NULL && strstr(dlerror(), "no-such-library.so"));
	CHECK(dlopen(NULL, deep) != NULL);
	return 0;
}
