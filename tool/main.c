/* main.c - labyrinth(1): the table of sub-commands. Each is a file cmd_NAME.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "labyrinth/labyrinth.h"
#include "launch.h"
#include "tool.h"

static const struct command commands[] = {
        {"run", "run a program on Labyrinth", cmd_run},
        {"doctor", "would it work here, in this program; does it, in this process", cmd_doctor},
        {"stat", "figures of a process", cmd_stat},
        {"metrics", "the same as OpenMetrics text", cmd_metrics},
        {"buddyinfo", "free pages of a process by order, as /proc/buddyinfo", cmd_buddyinfo},
        {"slabinfo", "blocks of a process by size class, as /proc/slabinfo", cmd_slabinfo},
        {"map", "a picture of the segments of a process", cmd_map},
        {"top", "figures of processes as they change", cmd_top},
        {"diff", "what changed between two snapshots of stat --json", cmd_diff},
        {"profile", "who asked for the memory that a heap profile counts", cmd_profile},
        {"query", "how full the spans are that pointers lie in", cmd_query},
        {"trace", "record the allocations of a program", cmd_trace},
        {"replay", "make recorded allocations again, on several allocators", cmd_replay},
        {"bench", "the benchmarks, and how other allocators do", cmd_bench},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static char *
filter_help(int key, const char *text, void *input)
{
	char *list = NULL;
	size_t size;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)(uintptr_t)text;
	FILE *stream = open_memstream(&list, &size);
	if (!stream)
		return NULL;
	fputs("Commands:\n", stream);
	for (unsigned i = 0; i < COMMANDS; i++)
		fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n`labyrinth COMMAND --help' says more of one of them; so does labyrinth(1).", stream);
	fclose(stream);
	return list;
}

static int
run_command(const char *name, int argc, char **argv, struct argp_state *state)
{
	for (unsigned i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		argv[0] = print_text("labyrinth %s", name);
		program_invocation_name = argv[0];
		return commands[i].run(argc, argv);
	}
	argp_error(state, "no command `%s'", name);
	return EXIT_USAGE;
}

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	int *result = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		*result = run_command(argument, state->argc - state->next + 1, state->argv + state->next - 1, state);
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void
print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "labyrinth %d.%d.%d\n", LAB_VERSION_MAJOR, LAB_VERSION_MINOR, LAB_VERSION_PATCH);
}

int
main(int argc, char **argv)
{
	static const struct argp argp = {
	        .parser = parse,
	        .args_doc = "COMMAND [ARGUMENTS...]",
	        .doc = "Runs programs on Labyrinth's malloc, and looks into processes that run on it.\v",
	        .help_filter = filter_help,
	};
	int result = EXIT_OK;

	launch_watch_children();
	argp_err_exit_status = EXIT_USAGE;
	argp_program_version_hook = print_version;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &result);
	if (fflush(stdout) != 0 && result == EXIT_OK)
		return complain("the output could not be written");
	return result;
}
