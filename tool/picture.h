/* picture.h - the cells of a picture of the heap: a unit of 64 KiB each. */
#ifndef LAB_TOOL_PICTURE_H
#define LAB_TOOL_PICTURE_H

#include <stdio.h>

#include "figures.h"

enum cell_kind {
	CELL_FREE,  /* nothing is in use */
	CELL_SPAN,  /* blocks of one size */
	CELL_PAGES, /* blocks of whole pages */
};

/* Bytes of a unit, which add up to 64 KiB. */
struct cell {
	enum cell_kind kind;
	uint32_t size; /* of a span's blocks */
	uint32_t live; /* in blocks */
	uint32_t kept; /* touched, and not in blocks: pinned in a span, dirty elsewhere */
};

struct cell picture_cell(const struct segment *segment, size_t unit);

/* As SVG: all segments, a row each, and the bytes pinned by class. */
void picture_svg(FILE *stream, const struct snapshot *snapshot, const struct census *census);

#endif
