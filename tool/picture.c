/* picture.c - see picture.h. */
#include <string.h>

#include "picture.h"
#include "tool.h"

enum {
	CELL_WIDTH = 11,
	CELL_HEIGHT = 22,
	LEFT = 190, /* of the first cell */
	TOP = 78,
	BAR_HEIGHT = 16,
	BAR_LENGTH = 480,
	UNITS = LAB_SEGMENT_SIZE / LAB_UNIT_SIZE,
};

struct cell
picture_cell(const struct segment *segment, size_t unit)
{
	const struct lab_unit *span = segment_span(segment, unit * LAB_UNIT_PAGES);
	struct cell cell = {CELL_FREE, 0, 0, 0};

	if (span) {
		uint64_t touched = lab_unit_touched(span);
		cell = (struct cell){CELL_SPAN, span->size, span_live(span) * span->size, 0};
		cell.kept = touched > cell.live ? (uint32_t)touched - cell.live : 0;
		return cell;
	}
	for (size_t page = unit * LAB_UNIT_PAGES; page < (unit + 1) * LAB_UNIT_PAGES; page++)
		if (segment_page_is(segment->taken, page)) {
			cell.kind = CELL_PAGES;
			cell.live += LAB_PAGE_SIZE;
		} else if (segment_page_is(segment->dirty, page)) {
			cell.kept += LAB_PAGE_SIZE;
		}
	return cell;
}

/* A part of a cell, `from` and `bytes` counted from below. */
static void
draw_part(FILE *stream, unsigned x, unsigned y, uint32_t from, uint32_t bytes, const char *class)
{
	double scale = (double)CELL_HEIGHT / LAB_UNIT_SIZE;

	if (bytes)
		fprintf(stream, "<rect class=\"%s\" x=\"%u\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>", class, x,
		        y + CELL_HEIGHT - (from + bytes) * scale, CELL_WIDTH - 1, bytes * scale);
}

static void
draw_cell(FILE *stream, const struct cell *cell, unsigned x, unsigned y)
{
	static const char *const kinds[] = {"free", "span", "pages"};

	fprintf(stream, "<g><title>");
	if (cell->kind == CELL_SPAN)
		fprintf(stream, "span of blocks of %u bytes: %u live, ", cell->size, cell->live / cell->size);
	else
		fprintf(stream, "%s: ", cell->kind == CELL_PAGES ? "blocks of pages" : "free");
	fprintf(stream, "%u bytes in use, %u kept</title>", cell->live, cell->kept);
	draw_part(stream, x, y, 0, LAB_UNIT_SIZE, "none");
	draw_part(stream, x, y, 0, cell->live, kinds[cell->kind]);
	draw_part(stream, x, y, cell->live, cell->kept, cell->kind == CELL_SPAN ? "pinned" : "dirty");
	fprintf(stream, "</g>\n");
}

static void
draw_legend(FILE *stream)
{
	static const struct {
		const char *class, *text;
	} entries[] = {
	        {"span", "live blocks"},           {"pinned", "pinned by them"}, {"pages", "blocks of whole pages"},
	        {"dirty", "free, not given back"}, {"none", "takes no memory"},
	};

	for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++)
		fprintf(stream,
		        "<rect class=\"%s\" x=\"%u\" y=\"44\" width=\"14\" height=\"14\"/><text x=\"%u\" "
		        "y=\"56\">%s</text>\n",
		        entries[i].class, 12 + i * 170, 32 + i * 170, entries[i].text);
}

/* The classes that pin most, as bars; the number of them. */
static unsigned
draw_pinned(FILE *stream, const struct census *census, unsigned y)
{
	uint64_t most = 1;
	unsigned rows = 0;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		if (census->classes[c].pinned > most)
			most = census->classes[c].pinned;
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct class_figures *class = &census->classes[c];
		unsigned top = y + rows * BAR_HEIGHT;
		if (!class->pinned)
			continue;
		fprintf(stream,
		        "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">%llu B</text><rect class=\"pinned\" x=\"%d\" "
		        "y=\"%u\" "
		        "width=\"%.1f\" height=\"%d\"/><text x=\"%.1f\" y=\"%u\">%s</text>\n",
		        LEFT - 8, top + 12, (unsigned long long)class->size, LEFT, top,
		        (double)BAR_LENGTH * (double)class->pinned / (double)most, BAR_HEIGHT - 3,
		        LEFT + 6 + (double)BAR_LENGTH * (double)class->pinned / (double)most, top + 12,
		        human_bytes(class->pinned));
		rows++;
	}
	return rows;
}

void
picture_svg(FILE *stream, const struct snapshot *snapshot, const struct census *census)
{
	unsigned rows = (unsigned)snapshot->segment_count, y = TOP, classes = 0;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		classes += census->classes[c].pinned != 0;
	fprintf(stream,
	        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" font-family=\"sans-serif\" "
	        "font-size=\"12\">\n<style>.span{fill:#2f6db3}.pinned{fill:#d1495b}.pages{fill:#3a8f6f}.dirty{fill:#"
	        "e0b04a}"
	        ".none{fill:#e8eaed}.free{fill:#e8eaed}</style>\n<rect width=\"100%%\" height=\"100%%\" "
	        "fill=\"white\"/>\n",
	        LEFT + UNITS * CELL_WIDTH + 20, TOP + rows * (CELL_HEIGHT + 4) + 60 + classes * BAR_HEIGHT);
	fprintf(stream, "<text x=\"12\" y=\"26\" font-size=\"16\">");
	print_escaped(stream, snapshot->target->name, SIZE_MAX);
	fprintf(stream, " (%d): %s in blocks, ", (int)snapshot->target->pid, human_bytes(census->all.allocated));
	fprintf(stream, "%s pinned, ", human_bytes(census->all.pinned));
	fprintf(stream, "%s in segments; a cell is 64 KiB</text>\n", human_bytes(census->all.mapped));
	draw_legend(stream);
	for (size_t i = 0; i < rows; i++, y += CELL_HEIGHT + 4) {
		const struct segment *segment = &snapshot->segments[i];
		fprintf(stream, "<text x=\"12\" y=\"%u\">0x%lx %s", y + 15, (unsigned long)segment->base,
		        segment->is_empty ? "empty</text>\n" : "");
		if (!segment->is_empty)
			fprintf(stream, "heap %u</text>\n", segment->heap);
		for (size_t unit = 0; unit < segment->pages / LAB_UNIT_PAGES; unit++) {
			struct cell cell = picture_cell(segment, unit);
			draw_cell(stream, &cell, LEFT + (unsigned)unit * CELL_WIDTH, y);
		}
	}
	fprintf(stream, "<text x=\"12\" y=\"%u\" font-size=\"14\">Bytes pinned by survivors, by block size</text>\n",
	        y + 28);
	(void)draw_pinned(stream, census, y + 44);
	fprintf(stream, "</svg>\n");
}
