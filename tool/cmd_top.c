/* cmd_top.c - `labyrinth top`: figures of processes as they change; a screen in a terminal, else lines. */
#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"
#include "top.h"

enum { INTERVAL_MAX = 3600 };

static volatile sig_atomic_t ended;

static void
on_end(int signal)
{
	ended = signal;
}

/* ---- arguments ---- */

static unsigned
parse_column(const char *name, struct argp_state *state)
{
	for (unsigned c = 0; c < TOP_COLUMNS; c++) {
		size_t length = strcspn(top_columns[c].title, "/");
		if (strlen(name) == length && strncasecmp(name, top_columns[c].title, length) == 0)
			return c;
	}
	argp_error(state, "--sort: no column %s", name);
	return 0;
}

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct top *top = state->input;
	struct watch *watch = &top->watch;
	char *end = NULL;

	switch (key) {
	case 'i':
		top->interval = strtod(argument, &end);
		if (*end || !(top->interval >= 0.1) || top->interval > INTERVAL_MAX)
			argp_error(state, "--interval: seconds, 0.1 to %d", INTERVAL_MAX);
		return 0;
	case 'n':
		top->count = strtoul(argument, &end, 10);
		if (*end || *argument == '-' || top->count == 0)
			argp_error(state, "--count: a number of looks");
		return 0;
	case 's':
		top->sorted = parse_column(argument, state);
		return 0;
	case ARGP_KEY_ARG:
		watch->wanted = reallocate(watch->wanted, (watch->wanted_count + 1) * sizeof *watch->wanted);
		watch->wanted[watch->wanted_count++] = parse_pid(argument, state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void
look(struct top *top)
{
	watch_look(&top->watch);
	watch_sort(&top->watch, top_columns[top->sorted].offset, top_columns[top->sorted].rate);
}

/* ---- lines ---- */

static void
sleep_for(double seconds)
{
	struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	(void)nanosleep(&time, NULL);
}

static int
print_lines(struct top *top)
{
	char row[256];

	for (unsigned long n = 0; !ended; n++) {
		look(top);
		if (top->watch.count == 0 && top->watch.wanted_count)
			return n == 0 ? EXIT_NO : EXIT_OK; /* they have ended */
		top_titles(row, sizeof row, 0, TOP_COLUMNS);
		puts(row);
		for (size_t i = 0; i < top->watch.count; i++) {
			top_row(&top->watch.processes[i], row, sizeof row, 0, TOP_COLUMNS);
			puts(row);
		}
		if (fflush(stdout) != 0 || (top->count && n + 1 >= top->count))
			break;
		sleep_for(top->interval);
	}
	return EXIT_OK;
}

/* ---- the screen ---- */

static void
select_by(struct top *top, int step)
{
	size_t number = top_selected(top);

	if (top->watch.count == 0 || (step < 0 && number == 0) || (step > 0 && number + 1 >= top->watch.count))
		return;
	top->selected = top->watch.processes[number + (size_t)step].pid;
}

/* False: quit. */
static bool
handle(struct top *top, int key)
{
	switch (key) {
	case 'q':
		return false;
	case KEY_UP:
		select_by(top, -1);
		break;
	case KEY_DOWN:
		select_by(top, 1);
		break;
	case '<':
	case KEY_LEFT:
		top->sorted = (top->sorted + TOP_COLUMNS - 1) % TOP_COLUMNS;
		break;
	case '>':
	case KEY_RIGHT:
		top->sorted = (top->sorted + 1) % TOP_COLUMNS;
		break;
	case 'H':
		top->shows_heaps = !top->shows_heaps;
		break;
	case '+':
		top->interval = top->interval * 2 < INTERVAL_MAX ? top->interval * 2 : INTERVAL_MAX;
		break;
	case '-':
		top->interval = top->interval / 2 > 0.1 ? top->interval / 2 : 0.1;
		break;
	}
	for (unsigned c = 0; c < TOP_COLUMNS; c++)
		if (key == top_columns[c].key)
			top->sorted = c;
	watch_sort(&top->watch, top_columns[top->sorted].offset, top_columns[top->sorted].rate);
	return true;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Until it is to be left: how that came. */
static int
run_screen(struct top *top)
{
	for (unsigned long n = 0; !ended; n++) {
		double end = now() + top->interval;
		look(top);
		if (top->watch.count == 0 && top->watch.wanted_count)
			return n == 0 ? EXIT_NO : EXIT_OK;
		top_draw(top);
		if (top->count && n + 1 >= top->count)
			break;
		for (double rest; !ended && (rest = end - now()) > 0;) {
			timeout((int)(rest * 1000) + 1);
			int key = getch(); /* a change of the size is a key, too */
			if (key != ERR && !handle(top, key))
				return EXIT_OK;
			if (key != ERR)
				top_draw(top);
		}
	}
	return EXIT_OK;
}

static int
show_screen(struct top *top)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int result;

	if (!screen)
		return print_lines(top);
	(void)cbreak();
	(void)noecho();
	(void)keypad(stdscr, true);
	(void)curs_set(0);
	result = run_screen(top);
	(void)endwin();
	delscreen(screen);
	return result;
}

/* Those that were asked for by name are ours, or one line says why not. */
static bool
check_wanted(const struct watch *watch)
{
	for (size_t i = 0; i < watch->wanted_count; i++) {
		struct target target;
		if (!target_attach_or_complain(&target, watch->wanted[i]))
			return false;
		target_detach(&target);
	}
	return true;
}

int
cmd_top(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"interval", 'i', "SECONDS", 0, "Look again after so long; 1 by default", 0},
	        {"count", 'n', "N", 0, "End after so many looks", 0},
	        {"sort", 's', "COLUMN", 0, "Sort by this one: its title, up to a slash; alloc by default", 0},
	        {0},
	};
	static const char doc[] = "Shows processes on Labyrinth as they change, all that may be looked into or those "
	                          "that are named; below them "
	                          "the size classes, or with H the heaps, of the selected one. Where there is no "
	                          "terminal it prints lines.";
	static const struct argp argp = {options, parse, "[PID...]", doc, NULL, NULL, NULL};
	struct top top = {.interval = 1};
	struct sigaction end = {.sa_handler = on_end};
	int result = EXIT_NO;

	setlocale(LC_CTYPE, "");
	argp_parse(&argp, argc, argv, 0, NULL, &top);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	if (check_wanted(&top.watch))
		result = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) ? show_screen(&top) : print_lines(&top);
	watch_free(&top.watch);
	return result;
}
