/* cmd_run.c - `labyrinth run`: a program with Labyrinth preloaded, and settings. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "library.h"
#include "tool.h"

struct run {
	const char *library;
	bool report, report_full, check_atomic;
	char **command;
};

static pid_t child;

/* KEY=VALUE as the variable LABYRINTH_KEY. */
static void
set(const char *text, struct argp_state *state)
{
	size_t length = strcspn(text, "=");
	char *name;

	if (!text[length] || length == 0)
		argp_error(state, "--set %s: it is to be KEY=VALUE", text);
	name = print_text("LABYRINTH_%.*s", (int)length, text);
	for (char *letter = name; *letter; letter++) {
		*letter = *letter == '-' || *letter == '.' ? '_' : (char)toupper((unsigned char)*letter);
		if (!isalnum((unsigned char)*letter) && *letter != '_')
			argp_error(state, "--set %s: no setting has such a name", text);
	}
	setenv(name, text + length + 1, 1);
	free(name);
}

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct run *run = state->input;

	switch (key) {
	case 's':
		set(argument, state);
		return 0;
	case 'p':
		setenv("LABYRINTH_PROFILE", argument, 1);
		return 0;
	case 'l':
		run->library = argument;
		return 0;
	case 'r':
		if (argument && strcmp(argument, "full") != 0)
			argp_error(state, "--report=%s: it is to be --report or --report=full", argument);
		run->report = true;
		run->report_full = argument != NULL;
		return 0;
	case 'a':
		run->check_atomic = true;
		return 0;
	}
	return launch_parse(key, state, &run->command);
}

static void
parse_arguments(int argc, char **argv, struct run *run)
{
	static const struct argp_option options[] = {
	        {"set", 's', "KEY=VALUE", 0, "A setting, as the variable LABYRINTH_KEY; may be repeated", 0},
	        {"profile", 'p', "NAME", 0, "The profile of settings, as --set profile=NAME", 0},
	        {"report", 'r', "full", OPTION_ARG_OPTIONAL,
	         "Print the figures on stderr when the program has ended: if there were several processes, a line of "
	         "each, or with `full` all of each",
	         0},
	        {"check-atomic", 'a', NULL, 0,
	         "Say which calls come from signal handlers that have interrupted another one, each place once, and "
	         "afterwards how many there were, and how many atomic calls got no memory",
	         0},
	        {"library", 'l', "FILE", 0, "Preload this one, not the one that is installed or built with this tool",
	         0},
	        {0},
	};
	static const char doc[] =
	        "Runs PROGRAM with Labyrinth preloaded, in front of what LD_PRELOAD has already.\v"
	        "Exit status: the program's; 128 + N if signal N ended it and --report or --check-atomic was given; "
	        "125 if "
	        "it could not work there, 126 if it cannot be executed, 127 if it is not found, 2 on wrong arguments.";
	static const struct argp argp = {options, parse, "[--] PROGRAM [ARGUMENTS...]", doc, NULL, NULL, NULL};

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, run);
}

/* ---- figures at the end ---- */

static void
pass_on(int signal)
{
	if (child > 0)
		kill(child, signal);
}

static int
wait_for_child(void)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_REFUSED;
	child = 0; /* its id may be another's now */
	return WIFSIGNALED(status) ? EXIT_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Runs it as a child; what a terminal sends goes to both, and what is sent to us is passed on. */
static int
run_child(char **command)
{
	static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT};
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	child = fork();
	if (child == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		_exit(launch_execute(command));
	}
	for (unsigned i = 0; child > 0 && i < sizeof passed / sizeof *passed; i++)
		sigaction(passed[i], &(struct sigaction){.sa_handler = pass_on, .sa_flags = SA_RESTART}, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (child < 0) {
		(void)complain("fork: %s", strerror(errno));
		return EXIT_REFUSED;
	}
	return wait_for_child();
}

/* What is said of a process in a line, where there are several. */
static const struct {
	const char *name, *title;
	bool is_bytes;
} summary[] = {
        {"allocated", "allocated", true},
        {"resident", "resident", true},
        {"purged", "purged", true},
        {"heaps", "heaps", false},
        {"remote_frees", "remote frees", false},
        {"reentrant_calls", "re-entrant", false},
        {"reserve_failures", "failures", false},
};
enum { SUMMARY = sizeof summary / sizeof *summary, REENTRANT = 5, FAILURES = 6 };

struct process {
	char *pid, *program, *figures; /* `figures`: all lines */
	unsigned long long values[SUMMARY];
};

struct ended {
	struct process *processes;
	size_t count;
};

static char *
read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t length = 0, room = 0;

	while (file && !feof(file) && !ferror(file)) {
		if (room - length < 2)
			text = reallocate(text, room = 2 * room + 4096);
		length += fread(text + length, 1, room - length - 1, file);
		text[length] = 0;
	}
	if (file)
		fclose(file);
	return text;
}

/* Of several dumps in a file the last says all. */
static void
parse_figures(struct process *process)
{
	for (char *line = process->figures; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		char program[64];
		int start = 0;
		if (strncmp(line, "labyrinth: ", 11) != 0)
			continue;
		if (sscanf(line + 11, "process %*u (%63[^)\n]", program) == 1) {
			free(process->program);
			process->program = print_text("%s", program);
		}
		for (unsigned i = 0; i < SUMMARY; i++) {
			size_t length = strlen(summary[i].name);
			if (strncmp(line + 11, summary[i].name, length) == 0 &&
			    sscanf(line + 11 + length, " %n%llu", &start, &process->values[i]) == 1)
				break;
		}
	}
}

static void
add_process(struct ended *ended, const char *path, const char *pid)
{
	struct process process = {.figures = read_file(path)};

	if (!process.figures || !*process.figures) { /* the file is there from the start on, and may stay empty */
		free(process.figures);
		return;
	}
	process.pid = print_text("%s", pid);
	process.program = print_text("?");
	parse_figures(&process);
	ended->processes = reallocate(ended->processes, (ended->count + 1) * sizeof process);
	ended->processes[ended->count++] = process;
}

static void
print_summary(const struct ended *ended)
{
	fprintf(stderr, "labyrinth: %8s %-15s", "process", "program");
	for (unsigned i = 0; i < SUMMARY; i++)
		fprintf(stderr, " %12s", summary[i].title);
	for (size_t p = 0; p < ended->count; p++) {
		const struct process *process = &ended->processes[p];
		fprintf(stderr, "\nlabyrinth: %8s %-15.15s", process->pid, process->program);
		for (unsigned i = 0; i < SUMMARY; i++)
			if (summary[i].is_bytes)
				fprintf(stderr, " %12s", human_bytes(process->values[i]));
			else
				fprintf(stderr, " %12llu", process->values[i]);
	}
	fprintf(stderr, "\nlabyrinth: --report=full prints all figures of each\n");
}

static void
print_figures(const struct ended *ended)
{
	for (size_t p = 0; p < ended->count; p++)
		fprintf(stderr, "labyrinth: figures of process %s\n%s", ended->processes[p].pid,
		        ended->processes[p].figures);
}

static void
print_handlers(const struct ended *ended)
{
	unsigned long long reentrant = 0, failures = 0;

	for (size_t p = 0; p < ended->count; p++) {
		reentrant += ended->processes[p].values[REENTRANT];
		failures += ended->processes[p].values[FAILURES];
	}
	warn("%llu calls of malloc and its like came from signal handlers that had interrupted another one; "
	     "%llu atomic calls got no memory (%zu process%s)",
	     reentrant, failures, ended->count, ended->count == 1 ? "" : "es");
}

static void
report(const struct run *run, const char *folder)
{
	struct ended ended = {0};
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, NULL, versionsort);

	for (int i = 0; i < count; i++) {
		char *path = print_text("%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.') {
			add_process(&ended, path, entries[i]->d_name);
			unlink(path);
		}
		free(path);
		free(entries[i]);
	}
	free(entries);
	if (ended.count == 0)
		warn("no figures: the program was ended by a signal or by _exit, or cleared its environment");
	else if (run->report && ended.count > 1 && !run->report_full)
		print_summary(&ended);
	else if (run->report)
		print_figures(&ended);
	if (ended.count != 0 && run->check_atomic)
		print_handlers(&ended);
	for (size_t p = 0; p < ended.count; p++) {
		free(ended.processes[p].pid);
		free(ended.processes[p].program);
		free(ended.processes[p].figures);
	}
	free(ended.processes);
}

static int
run_and_report(const struct run *run)
{
	char folder[] = "/tmp/labyrinth-run-XXXXXX";
	char *pattern;
	int status;

	if (!mkdtemp(folder)) {
		(void)complain("/tmp: %s", strerror(errno));
		return EXIT_REFUSED;
	}
	pattern = print_text("%s/%%p", folder);
	setenv("LABYRINTH_STATS_FILE", pattern, 1);
	setenv("LABYRINTH_STATS_FORMAT", "text", 1); /* as read_report reads it */
	free(pattern);
	if (run->check_atomic)
		setenv("LABYRINTH_REPORT_REENTRANT", "1", 0);
	status = run_child(run->command);
	report(run, folder);
	if (rmdir(folder) != 0)
		warn("%s stays: %s", folder, strerror(errno));
	return status;
}

int
cmd_run(int argc, char **argv)
{
	struct run run = {0};
	struct program program;
	char *library = NULL;

	parse_arguments(argc, argv, &run);
	int refusal = launch_inspect(&program, run.command[0]);
	if (refusal)
		return refusal;
	if (program.has_labyrinth && !run.library)
		return run.report || run.check_atomic ? run_and_report(&run) : launch_execute(run.command);
	library = run.library ? realpath(run.library, NULL) : library_find();
	if (!library) {
		(void)complain("%s: %s", run.library ? run.library : "liblabyrinth.so",
		               run.library ? strerror(errno) : "not found beside this tool; say where with --library");
		return EXIT_REFUSED;
	}
	if (!launch_preload(library))
		return EXIT_REFUSED;
	return run.report || run.check_atomic ? run_and_report(&run) : launch_execute(run.command);
}
