/* program.h - what a program file is, as far as it decides whether a malloc can be preloaded into it. */
#ifndef LAB_TOOL_PROGRAM_H
#define LAB_TOOL_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

enum program_kind {
	PROGRAM_MISSING, /* no such file */
	PROGRAM_REFUSED, /* not readable, or not executable */
	PROGRAM_NOT_ELF, /* neither a program nor a script */
	PROGRAM_FOREIGN, /* for another machine */
	PROGRAM_STATIC,  /* no interpreter: nothing is preloaded */
	PROGRAM_DYNAMIC,
};

enum { PROGRAM_SCRIPTS = 6 };

struct program {
	/* Of what is run: behind all "#!" lines, and env. The files on the way, the first as it was asked for. */
	char *path;
	char *scripts[PROGRAM_SCRIPTS];
	size_t script_count;
	enum program_kind kind;
	char *interpreter;        /* the loader; NULL: none */
	const char *sanitizer;    /* "AddressSanitizer", … or NULL */
	const char *allocator;    /* another one that the program has, or asks for by name: "jemalloc", … or NULL */
	const char *asks_by_name; /* ", and asks …", or "" */
	bool has_labyrinth;       /* linked with it already: nothing is to be preloaded */
	bool defines_malloc;      /* of its own */
	bool privileged;          /* set-user-ID, set-group-ID or file capabilities that are more than the caller's */
};

/* Looks at the program that execvp would run: with a slash `name` is a path, else PATH is searched. */
void program_inspect(struct program *program, const char *name);
void program_free(struct program *program);

/* Why nothing preloaded works in it, in a line without its end, and what to do; NULL: it works. To be freed. */
char *program_objection(const struct program *program);

/* Whether the loader is glibc's. */
bool program_is_glibc(const struct program *program);

/* The names and paths of all libraries that the loader would map, told by the loader itself, which runs nothing of the
 * program. A list that ends with NULL; to be freed, texts and all. */
char **program_libraries(const struct program *program);

#endif
