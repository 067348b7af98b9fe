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
#include "watch.h"

enum {
	NAME_WIDTH = 15,
	INTERVAL_MAX = 3600,
};

static const struct column {
	const char *title;
	int width;
	size_t offset;
	bool rate, count;
	char key; /* that sorts by it */
} columns[] = {
        {"ALLOC", 10, offsetof(struct figures, allocated), false, false, 'a'},
        {"ACTIVE", 10, offsetof(struct figures, active), false, false, 't'},
        {"RES", 10, offsetof(struct figures, resident), false, false, 'm'},
        {"DIRTY", 10, offsetof(struct figures, dirty), false, false, 'd'},
        {"PINNED", 10, offsetof(struct figures, pinned), false, false, 'p'},
        {"HEAPS", 6, offsetof(struct figures, heaps_in_use), false, true, 'h'},
        {"SLOW/s", 8, offsetof(struct figures, slow_calls), true, true, 's'},
        {"REMOTE/s", 9, offsetof(struct figures, remote_frees), true, true, 'r'},
        {"REENTR/s", 9, offsetof(struct figures, reentrant_calls), true, true, 'e'},
        {"PURGED/s", 10, offsetof(struct figures, purged), true, false, 'g'},
        {"RSV-USED", 10, offsetof(struct figures, reserve_used), false, false, 'v'},
};

enum { COLUMNS = sizeof columns / sizeof *columns };

struct top {
	struct watch watch;
	unsigned sorted;     /* column */
	unsigned long count; /* of looks; 0: no end */
	double interval;     /* seconds */
	pid_t selected;
};

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
	for (unsigned c = 0; c < COLUMNS; c++) {
		size_t length = strcspn(columns[c].title, "/");
		if (strlen(name) == length && strncasecmp(name, columns[c].title, length) == 0)
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

/* ---- rows ---- */

static void
format_cell(const struct watched *process, const struct column *column, char *text, size_t size)
{
	struct figure figure = {.offset = column->offset};
	uint64_t value = column->rate ? (uint64_t)(watch_rate(process, column->offset) + 0.5)
	                              : figure_value(&process->census.all, &figure);

	if (column->count)
		snprintf(text, size, "%*llu", column->width, (unsigned long long)value);
	else
		snprintf(text, size, "%*s", column->width, human_bytes(value));
}

static void
format_row(const struct watched *process, char *row, size_t size)
{
	int length = snprintf(row, size, "%8d %-*.*s", (int)process->pid, NAME_WIDTH, NAME_WIDTH, process->name);

	for (unsigned c = 0; c < COLUMNS && (size_t)length < size; c++) {
		char cell[40];
		format_cell(process, &columns[c], cell, sizeof cell);
		length += snprintf(row + length, size - (size_t)length, " %s", cell);
	}
}

static void
format_titles(char *row, size_t size)
{
	int length = snprintf(row, size, "%8s %-*s", "PID", NAME_WIDTH, "COMMAND");

	for (unsigned c = 0; c < COLUMNS && (size_t)length < size; c++)
		length += snprintf(row + length, size - (size_t)length, " %*s", columns[c].width, columns[c].title);
}

static void
look(struct top *top)
{
	watch_look(&top->watch);
	watch_sort(&top->watch, columns[top->sorted].offset, columns[top->sorted].rate);
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
		format_titles(row, sizeof row);
		puts(row);
		for (size_t i = 0; i < top->watch.count; i++) {
			format_row(&top->watch.processes[i], row, sizeof row);
			puts(row);
		}
		if (fflush(stdout) != 0 || (top->count && n + 1 >= top->count))
			break;
		sleep_for(top->interval);
	}
	return EXIT_OK;
}

/* ---- the screen ---- */

static int
by_live_bytes(const void *left, const void *right)
{
	const struct class_figures *a = left, *b = right;
	uint64_t first = a->live * a->size, second = b->live * b->size;

	return first < second ? 1 : first > second ? -1 : 0;
}

static void
put_line(int y, const char *text)
{
	mvaddnstr(y, 0, text, COLS);
	clrtoeol();
}

/* The classes of one process, from line y on. */
static void
draw_classes(const struct watched *process, int y)
{
	struct class_figures classes[LAB_CLASS_COUNT];
	char row[160];

	memcpy(classes, process->census.classes, sizeof classes);
	qsort(classes, LAB_CLASS_COUNT, sizeof *classes, by_live_bytes);
	snprintf(row, sizeof row, "%.40s: %10s %12s %12s %10s %10s %6s", process->name, "SIZE", "LIVE", "BYTES",
	         "SPANS", "PINNED", "FILL");
	attron(A_BOLD);
	put_line(y++, row);
	attroff(A_BOLD);
	for (unsigned c = 0; c < LAB_CLASS_COUNT && y < LINES - 1 && classes[c].spans; c++, y++) {
		snprintf(row, sizeof row, "%*s  %10llu %12llu %12s %10llu %10s %5.0f%%",
		         (int)strnlen(process->name, 40), "", (unsigned long long)classes[c].size,
		         (unsigned long long)classes[c].live, human_bytes(classes[c].live * classes[c].size),
		         (unsigned long long)classes[c].spans, human_bytes(classes[c].pinned),
		         classes[c].carved ? 100.0 * (double)classes[c].live / (double)classes[c].carved : 0.0);
		put_line(y, row);
	}
}

/* The selected process's number; the first one if it has ended. */
static size_t
selected_number(struct top *top)
{
	for (size_t i = 0; i < top->watch.count; i++)
		if (top->watch.processes[i].pid == top->selected)
			return i;
	top->selected = top->watch.count ? top->watch.processes[0].pid : 0;
	return 0;
}

static void
draw(struct top *top)
{
	size_t number = selected_number(top), rows = LINES > 8 ? (size_t)(LINES - 4) / 2 : 1;
	size_t first = number >= rows ? number - rows + 1 : 0;
	char row[256];
	int y = 0;

	erase();
	snprintf(row, sizeof row, "labyrinth top: %zu process%s, every %.1f s, by %s", top->watch.count,
	         top->watch.count == 1 ? "" : "es", top->interval, columns[top->sorted].title);
	put_line(y++, row);
	format_titles(row, sizeof row);
	attron(A_REVERSE);
	put_line(y++, row);
	attroff(A_REVERSE);
	for (size_t i = first; i < top->watch.count && i < first + rows; i++) {
		format_row(&top->watch.processes[i], row, sizeof row);
		if (i == number)
			attron(A_BOLD);
		put_line(y++, row);
		attroff(A_BOLD);
	}
	if (top->watch.count == 0)
		put_line(y++, "no process on Labyrinth that may be looked into");
	else
		draw_classes(&top->watch.processes[number], y + 1);
	put_line(LINES - 1, "q quit  up/down select  < > sort  + - interval  a t m d p h s r e g v sort by a column");
	refresh();
}

static void
select_by(struct top *top, int step)
{
	size_t number = selected_number(top);

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
		top->sorted = (top->sorted + COLUMNS - 1) % COLUMNS;
		break;
	case '>':
	case KEY_RIGHT:
		top->sorted = (top->sorted + 1) % COLUMNS;
		break;
	case '+':
		top->interval = top->interval * 2 < INTERVAL_MAX ? top->interval * 2 : INTERVAL_MAX;
		break;
	case '-':
		top->interval = top->interval / 2 > 0.1 ? top->interval / 2 : 0.1;
		break;
	}
	for (unsigned c = 0; c < COLUMNS; c++)
		if (key == columns[c].key)
			top->sorted = c;
	watch_sort(&top->watch, columns[top->sorted].offset, columns[top->sorted].rate);
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
		draw(top);
		if (top->count && n + 1 >= top->count)
			break;
		for (double rest; !ended && (rest = end - now()) > 0;) {
			timeout((int)(rest * 1000) + 1);
			int key = getch(); /* a change of the size is a key, too */
			if (key != ERR && !handle(top, key))
				return EXIT_OK;
			if (key != ERR)
				draw(top);
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
	                          "the size classes of the selected one. Where there is no terminal it prints lines.";
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
