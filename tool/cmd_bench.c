/* cmd_bench.c - `labyrinth bench`: the suite's scripts, with the library and the programs that are beside this tool. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "library.h"
#include "tool.h"

static const struct {
	const char *name, *script;
	bool takes_library; /* the others are given libraries by their arguments */
} scripts[] = {
        {"run", "run.py", true},         {"report", "report.py", true},   {"compare", "compare.py", false},
        {"scaling", "scaling.py", true}, {"latency", "latency.py", true},
};
enum { SCRIPTS = sizeof scripts / sizeof *scripts };

struct bench {
	unsigned script;
	char **arguments; /* of the script, after those that this tool gives it */
	size_t count;
};

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct bench *bench = state->input;

	if (key == ARGP_KEY_NO_ARGS)
		argp_error(state, "which? run, report, compare, scaling or latency");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	while (bench->script < SCRIPTS && strcmp(scripts[bench->script].name, argument) != 0)
		bench->script++;
	if (bench->script == SCRIPTS)
		argp_error(state, "no benchmark `%s'", argument);
	bench->arguments = state->argv + state->next;
	bench->count = (size_t)(state->argc - state->next);
	state->next = state->argc;
	return 0;
}

int
cmd_bench(int argc, char **argv)
{
	static const char doc[] =
	        "Runs the benchmarks on Labyrinth and on the other allocators that are installed.\v"
	        "run       every workload on every allocator, as tables\n"
	        "report    all benchmarks as one page, FOLDER/report.html\n"
	        "compare   is the library AFTER slower, or larger, than BEFORE\n"
	        "scaling   throughput by the number of threads\n"
	        "latency   the longest calls\n"
	        "\n`labyrinth bench WHICH --help' says what each takes: run and report take --quick, --only NAMES, "
	        "--rounds N, --peers NAMES and --alloc NAME=FILE. Exit status: the script's.";
	static const struct argp argp = {NULL, parse, "WHICH [ARGUMENTS...]", doc, NULL, NULL, NULL};
	struct bench bench = {0};
	char **command = NULL;
	size_t count = 0;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &bench);
	char *script = library_find_bench(scripts[bench.script].script), *library = library_find();
	if (!script || (!library && scripts[bench.script].takes_library))
		return script ? complain("liblabyrinth.so is not beside this tool") : EXIT_NO;
	*APPEND(command, count) = print_text("python3");
	*APPEND(command, count) = print_text("-B"); /* the folder may be another user's */
	*APPEND(command, count) = script;
	*APPEND(command, count) = print_text("--programs");
	*APPEND(command, count) = print_text("%.*s", (int)(strrchr(script, '/') - script), script);
	if (scripts[bench.script].takes_library) {
		*APPEND(command, count) = print_text("--lib");
		*APPEND(command, count) = library;
	}
	for (size_t i = 0; i < bench.count; i++)
		*APPEND(command, count) = bench.arguments[i];
	*APPEND(command, count) = NULL;
	return launch_execute(command);
}
