/* deep.h - what deepbind.c calls of deep_plugin.c, by a table. */
#ifndef LAB_TESTS_BOOT_DEEP_H
#define LAB_TESTS_BOOT_DEEP_H

#include <stddef.h>
#include <stdio.h>

struct deep_calls {
	char *(*allocate)(size_t size); /* by the malloc that the plug-in is bound to */
	void (*release)(void *block);   /* by its free */
	char *(*duplicate)(const char *text);
	char *(*read_line)(FILE *stream);
	char *(*print)(int number);
	void *(*open)(const char *name, int flags); /* dlopen from the plug-in, whose RUNPATH is its own */
	const char *(*depends)(void);               /* what the library says that the plug-in's RUNPATH finds */
};

#endif
