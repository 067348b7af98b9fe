/* launch.c - see launch.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "tool.h"

error_t
launch_parse(int key, struct argp_state *state, char ***command)
{
	if (key == ARGP_KEY_NO_ARGS)
		argp_error(state, "which program?");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	*command = state->argv + state->next - 1;
	state->next = state->argc;
	return 0;
}

int
launch_inspect(struct program *program, const char *name)
{
	char *objection;

	program_inspect(program, name);
	objection = program_objection(program);
	if (!objection)
		return 0;
	(void)complain("%s", objection);
	return program->kind == PROGRAM_MISSING                                       ? EXIT_NOT_FOUND
	       : program->kind == PROGRAM_REFUSED || program->kind == PROGRAM_NOT_ELF ? EXIT_CANNOT_EXECUTE
	                                                                              : EXIT_REFUSED;
}

bool
launch_preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *value;

	if (strpbrk(library, " \t\n:$")) {
		(void)complain("LD_PRELOAD cannot name a path with a space, a colon or a dollar sign: %s", library);
		return false;
	}
	value = before && *before ? print_text("%s:%s", library, before) : print_text("%s", library);
	setenv("LD_PRELOAD", value, 1);
	free(value);
	return true;
}

static bool children_were_ignored;

void
launch_watch_children(void)
{
	children_were_ignored = signal(SIGCHLD, SIG_DFL) == SIG_IGN;
}

int
launch_execute(char **command)
{
	if (children_were_ignored)
		signal(SIGCHLD, SIG_IGN);
	execvp(command[0], command);
	int error = errno;
	(void)complain("%s: %s", command[0], strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}
