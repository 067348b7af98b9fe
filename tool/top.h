/* top.h - what `labyrinth top` shows: its columns, and how the screen is drawn (top.c). */
#ifndef LAB_TOOL_TOP_H
#define LAB_TOOL_TOP_H

#include "watch.h"

enum { TOP_COLUMNS = 11 };

struct top_column {
	const char *title;
	int width;
	size_t offset; /* in struct figures */
	bool rate, count;
	char key; /* that sorts by it */
};
extern const struct top_column top_columns[TOP_COLUMNS];

struct top {
	struct watch watch;
	unsigned sorted;     /* column */
	unsigned long count; /* of looks; 0: no end */
	double interval;     /* seconds */
	pid_t selected;
	bool shows_heaps; /* of the selected process, not its classes */
};

/* A line of titles, or of a process, with `count` columns from `first` on. */
void top_titles(char *row, size_t size, unsigned first, unsigned count);
void top_row(const struct watched *process, char *row, size_t size, unsigned first, unsigned count);

/* The selected process's number; the first one if it has ended. */
size_t top_selected(struct top *top);

/* Draws the screen of curses as large as it is. Columns that do not fit are left out, the sorted one never. */
void top_draw(struct top *top);

#endif
