/* figures.h - what the figures are called, and how lines of them are written. Any context. */
#ifndef LAB_ALLOC_FIGURES_H
#define LAB_ALLOC_FIGURES_H

#include "alloc/census.h"
#include "base/format.h"

struct lab_printer {
	void (*write_line)(void *context, const char *line);
	void *context;
};

static inline void
lab_print_line(const struct lab_printer *printer, const char *line)
{
	printer->write_line(printer->context, line);
}

static inline void
lab_print(const struct lab_printer *printer, const struct lab_text *text)
{
	printer->write_line(printer->context, text->buffer);
}

/* The fields of struct lab_stats, in the order in which they are shown. */
enum lab_figure_kind {
	LAB_FIGURE_BYTES,
	LAB_FIGURE_LIMIT, /* bytes; there while there is a limit */
	LAB_FIGURE_COUNT,
	LAB_FIGURE_BYTES_TOTAL, /* so far: it never falls */
	LAB_FIGURE_TOTAL,
};

struct lab_figure {
	size_t offset; /* in struct lab_stats */
	enum lab_figure_kind kind;
	const char *name; /* in each format, and in the command line tool; without the unit */
	const char *help;
};
extern const struct lab_figure lab_figures[];
extern const size_t lab_figure_count;

static inline bool
lab_figure_is_bytes(const struct lab_figure *figure)
{
	return figure->kind == LAB_FIGURE_BYTES || figure->kind == LAB_FIGURE_LIMIT ||
	       figure->kind == LAB_FIGURE_BYTES_TOTAL;
}

static inline size_t
lab_figure_value(const struct lab_figure *figure, const struct lab_stats *stats)
{
	return *(const size_t *)(const void *)((const char *)stats + figure->offset);
}

bool lab_figure_applies(const struct lab_figure *figure, const struct lab_stats *stats);

#endif
