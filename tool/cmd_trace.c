/* cmd_trace.c - `labyrinth trace`: a program with the recorder of allocations preloaded, on the malloc that it has. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/trace.h"
#include "launch.h"
#include "library.h"
#include "tool.h"

#define RECORDER "librecord.so"

struct trace {
	const char *output;
	char **command;
};

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct trace *trace = state->input;

	if (key == 'o') {
		trace->output = argument;
		return 0;
	}
	return launch_parse(key, state, &trace->command);
}

/* The file's name for the recorder: absolute, as a program that is started by another may be in another folder. NULL,
 * after a line: there is no such folder. */
static char *
absolute(const char *output)
{
	char folder[PATH_MAX];

	if (*output == '/')
		return print_text("%s", output);
	if (getcwd(folder, sizeof folder))
		return print_text("%s/%s", folder, output);
	(void)complain("this folder: %s", strerror(errno));
	return NULL;
}

/* Whether the recorder will be able to write this process's file; else there was a line. */
static bool
is_writable(const char *output)
{
	char path[PATH_MAX];

	(void)trace_path(path, sizeof path, output);
	int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (file < 0)
		(void)complain("%s: %s", path, strerror(errno));
	else
		close(file);
	return file >= 0;
}

int
cmd_trace(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"output", 'o', "FILE", 0,
	         "Where the trace goes; %p is the process id (default: PROGRAM.%p.trace). Without %p each process "
	         "that the program starts begins the file anew",
	         0},
	        {0},
	};
	static const char doc[] =
	        "Runs PROGRAM on the malloc that it has, and records its calls of malloc, free and their like, "
	        "with sizes and threads: for `labyrinth replay'.\v"
	        "A lock keeps the order of the calls, so the program is slower; a signal handler of it must not "
	        "allocate. A process that a signal or _exit ends leaves out its last calls. Exit status: as of "
	        "`labyrinth run'.";
	static const struct argp argp = {options, parse, "[--] PROGRAM [ARGUMENTS...]", doc, NULL, NULL, NULL};
	struct trace trace = {0};
	struct program program;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &trace);
	int refusal = launch_inspect(&program, trace.command[0]);
	if (refusal)
		return refusal;
	char *by_default = print_text("%s.%%p.trace", base_name(trace.command[0]));
	char *recorder = library_find_bench(RECORDER), *output = absolute(trace.output ? trace.output : by_default);
	if (!recorder || !output || !is_writable(output) || !launch_preload(recorder))
		return EXIT_REFUSED;
	setenv("TRACE_FILE", output, 1);
	return launch_execute(trace.command);
}
