/* launch.h - programs that are started with libraries preloaded. */
#ifndef LAB_TOOL_LAUNCH_H
#define LAB_TOOL_LAUNCH_H

#include <stdbool.h>

#include "program.h"
#include "tool.h"

/* As those of env(1) and nohup(1). */
enum {
	EXIT_REFUSED = 125,
	EXIT_CANNOT_EXECUTE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_BY_SIGNAL = 128,
};

/* What a parser of argp does with keys that are not its own: all from the first argument on is *command. */
error_t launch_parse(int key, struct argp_state *state, char ***command);

/* Looks at a program. The exit code where nothing can be preloaded into it, after a line that says why; 0: it can. */
int launch_inspect(struct program *program, const char *name);

/* Puts a library in front of what LD_PRELOAD has already. False, after a line: LD_PRELOAD cannot name it. */
bool launch_preload(const char *library);

/* Whatever the parent of this process does of its own children, this one is told how its children end. At the start. */
void launch_watch_children(void);

/* Becomes the program, with what it inherits as this process did. Does not return but to say why not: an exit code. */
int launch_execute(char **command);

#endif
