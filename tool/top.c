/* top.c - see top.h. */
#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "top.h"

enum { NAME_WIDTH = 15, PID_WIDTH = 8 };

const struct top_column top_columns[TOP_COLUMNS] = {
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

/* ---- rows ---- */

static void
format_cell(const struct watched *process, const struct top_column *column, char *text, size_t size)
{
	struct figure figure = {.offset = column->offset};
	uint64_t value = column->rate ? (uint64_t)(watch_rate(process, column->offset) + 0.5)
	                              : figure_value(&process->census.all, &figure);

	if (column->count)
		snprintf(text, size, "%*llu", column->width, (unsigned long long)value);
	else
		snprintf(text, size, "%*s", column->width, human_bytes(value));
}

void
top_row(const struct watched *process, char *row, size_t size, unsigned first, unsigned count)
{
	int length =
	        snprintf(row, size, "%*d %-*.*s", PID_WIDTH, (int)process->pid, NAME_WIDTH, NAME_WIDTH, process->name);

	for (unsigned c = first; c < first + count && (size_t)length < size; c++) {
		char cell[40];
		format_cell(process, &top_columns[c], cell, sizeof cell);
		length += snprintf(row + length, size - (size_t)length, " %s", cell);
	}
}

void
top_titles(char *row, size_t size, unsigned first, unsigned count)
{
	int length = snprintf(row, size, "%*s %-*s", PID_WIDTH, "PID", NAME_WIDTH, "COMMAND");

	for (unsigned c = first; c < first + count && (size_t)length < size; c++)
		length += snprintf(row + length, size - (size_t)length, " %*s", top_columns[c].width,
		                   top_columns[c].title);
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

size_t
top_selected(struct top *top)
{
	for (size_t i = 0; i < top->watch.count; i++)
		if (top->watch.processes[i].pid == top->selected)
			return i;
	top->selected = top->watch.count ? top->watch.processes[0].pid : 0;
	return 0;
}

/* The heaps of one process, from line y on; those that have most, first. */
static void
draw_heaps(const struct watched *process, int y)
{
	const struct census *census = &process->census;
	char row[256];

	snprintf(row, sizeof row, "%.11s: %8s %-9s %5s %10s %10s %10s %9s", process->name, "THREAD", "STATE", "SEGS",
	         "MAPPED", "ACTIVE", "WAITING", "SLOW");
	attron(A_BOLD);
	put_line(y++, row);
	attroff(A_BOLD);
	for (size_t i = 0; i < census->heaps_shown && y < LINES - 1; i++, y++) {
		const struct heap_figures *heap = &census->heaps[i];
		char bytes[3][40];
		snprintf(bytes[0], sizeof bytes[0], "%s", human_bytes(heap->mapped));
		snprintf(bytes[1], sizeof bytes[1], "%s", human_bytes(heap->active));
		snprintf(bytes[2], sizeof bytes[2], "%s", human_bytes(heap->remote_waiting));
		snprintf(row, sizeof row, "%*s  %8u %-9s %5llu %10s %10s %10s %9llu", (int)strnlen(process->name, 11),
		         "", heap->tid, heap_state_name(heap->state), (unsigned long long)heap->segments, bytes[0],
		         bytes[1], bytes[2], (unsigned long long)heap->slow_calls);
		put_line(y, row);
	}
}

/* How many columns fit from `first` on. */
static unsigned
fitting(unsigned first)
{
	int width = PID_WIDTH + 1 + NAME_WIDTH;
	unsigned count = 0;

	for (unsigned c = first; c < TOP_COLUMNS && (width += 1 + top_columns[c].width) <= COLS; c++)
		count++;
	return count;
}

static void
draw_heading(const struct top *top, unsigned first, unsigned shown)
{
	char row[256];
	int length = snprintf(row, sizeof row, "labyrinth top: %zu process%s, every %.1f s, by %s", top->watch.count,
	                      top->watch.count == 1 ? "" : "es", top->interval, top_columns[top->sorted].title);

	if (shown < TOP_COLUMNS)
		(void)snprintf(row + length, sizeof row - (size_t)length, ", columns %u to %u of %u", first + 1,
		               first + shown, TOP_COLUMNS);
	put_line(0, row);
}

void
top_draw(struct top *top)
{
	size_t number = top_selected(top), rows = LINES > 8 ? (size_t)(LINES - 4) / 2 : 1;
	size_t first_row = number >= rows ? number - rows + 1 : 0;
	unsigned first = 0;
	char row[256];
	int y = 1;

	while (first < top->sorted && first + fitting(first) <= top->sorted)
		first++;
	unsigned shown = fitting(first);
	erase();
	draw_heading(top, first, shown);
	top_titles(row, sizeof row, first, shown);
	attron(A_REVERSE);
	put_line(y++, row);
	attroff(A_REVERSE);
	for (size_t i = first_row; i < top->watch.count && i < first_row + rows; i++) {
		top_row(&top->watch.processes[i], row, sizeof row, first, shown);
		if (i == number)
			attron(A_BOLD);
		put_line(y++, row);
		attroff(A_BOLD);
	}
	if (top->watch.count == 0)
		put_line(y++, "no process on Labyrinth that may be looked into");
	else
		(top->shows_heaps ? draw_heaps : draw_classes)(&top->watch.processes[number], y + 1);
	put_line(LINES - 1, "q quit  up/down select  < > sort  H heaps  + - interval  a t m d p h s r e g v sort by");
	refresh();
}
