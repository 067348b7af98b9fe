/* cmd_map.c - `labyrinth map`: a picture of the segments. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "picture.h"
#include "report.h"
#include "tool.h"

enum { KEY_COLOR = 256, PINNED_ROWS = 12, BAR = 30, ROW = 32 /* cells in a line of 80 columns */ };

struct map {
	pid_t pid;
	bool json, svg, colors, unicode;
};

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct map *map = state->input;

	switch (key) {
	case 'j':
		map->json = true;
		return 0;
	case 's':
		map->svg = true;
		return 0;
	case KEY_COLOR:
		if (!argument || strcmp(argument, "always") == 0)
			map->colors = true;
		else if (strcmp(argument, "never") == 0)
			map->colors = false;
		else if (strcmp(argument, "auto") != 0)
			argp_error(state, "--color: always, auto or never");
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one PID only");
		map->pid = parse_pid(argument, state);
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num == 0)
			argp_error(state, "PID is missing");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* A cell as a character: how much of it is in use, in eighths; in a terminal coloured by what keeps the rest. */
static void
print_cell(const struct map *map, const struct cell *cell)
{
	static const char *const bars[] = {"▁", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const int colors[] = {[CELL_FREE] = 33, [CELL_SPAN] = 34, [CELL_PAGES] = 32};
	unsigned eighths = (unsigned)((cell->live * 8ull + LAB_UNIT_SIZE - 1) / LAB_UNIT_SIZE);
	bool mostly_pinned = cell->kind == CELL_SPAN && cell->live > 0 && cell->kept > cell->live;
	const char *text;
	char letter[2] = "?";

	if (cell->live == 0) {
		text = cell->kept ? "~" : map->unicode ? "·" : ".";
	} else if (map->unicode) {
		text = bars[eighths];
	} else {
		*letter = (char)('0' + eighths);
		text = letter;
	}
	if (map->colors)
		printf("\033[%dm%s\033[0m", mostly_pinned ? 31 : colors[cell->kind], text);
	else
		fputs(text, stdout);
}

static void
print_segments(const struct map *map, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->segment_count; i++) {
		const struct segment *segment = &snapshot->segments[i];
		char heap[24] = "empty";
		if (!segment->is_empty)
			snprintf(heap, sizeof heap, "heap %u", segment->heap);
		printf("%#14lx %-10s ", (unsigned long)segment->base, heap);
		for (size_t unit = 0; unit < segment->pages / LAB_UNIT_PAGES; unit++) {
			struct cell cell = picture_cell(segment, unit);
			if (unit > 0 && unit % ROW == 0)
				printf("\n%25s ", "");
			print_cell(map, &cell);
		}
		putchar('\n');
	}
}

static int
by_pinned(const void *left, const void *right)
{
	const struct class_figures *a = left, *b = right;

	return a->pinned < b->pinned ? 1 : a->pinned > b->pinned ? -1 : 0;
}

static void
print_pinned(const struct map *map, const struct census *census)
{
	struct class_figures classes[LAB_CLASS_COUNT];

	memcpy(classes, census->classes, sizeof classes);
	qsort(classes, LAB_CLASS_COUNT, sizeof *classes, by_pinned);
	printf("\npinned by survivors: %s\n", human_bytes(census->all.pinned));
	for (unsigned c = 0; c < PINNED_ROWS && classes[c].pinned; c++) {
		unsigned length = (unsigned)(classes[c].pinned * BAR / classes[0].pinned);
		printf("%8llu B %10s in %6llu spans, %3.0f%% live  ", (unsigned long long)classes[c].size,
		       human_bytes(classes[c].pinned), (unsigned long long)classes[c].spans,
		       100.0 * (double)classes[c].live / (double)classes[c].carved);
		if (map->colors)
			fputs("\033[31m", stdout);
		for (unsigned i = 0; i < length; i++)
			fputs(map->unicode ? "█" : "#", stdout);
		puts(map->colors ? "\033[0m" : "");
	}
}

static json_t *
make_json(const struct snapshot *snapshot, const struct census *census)
{
	static const char *const kinds[] = {"free", "span", "pages"};
	json_t *report = report_head(snapshot), *segments = json_array();

	for (size_t i = 0; i < snapshot->segment_count; i++) {
		const struct segment *segment = &snapshot->segments[i];
		json_t *units = json_array();
		char base[32];
		snprintf(base, sizeof base, "0x%lx", (unsigned long)segment->base);
		for (size_t unit = 0; unit < segment->pages / LAB_UNIT_PAGES; unit++) {
			struct cell cell = picture_cell(segment, unit);
			json_array_append_new(units, json_pack("{s:s, s:i, s:i, s:i}", "kind", kinds[cell.kind], "size",
			                                       (int)cell.size, "live", (int)cell.live, "kept",
			                                       (int)cell.kept));
		}
		json_array_append_new(segments, json_pack("{s:s, s:o, s:o}", "base", base, "heap",
		                                          segment->is_empty ? json_null() : json_integer(segment->heap),
		                                          "units", units));
	}
	json_object_set_new(report, "segments", segments);
	json_object_set_new(report, "classes", report_classes(census));
	return report;
}

int
cmd_map(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {"svg", 's', NULL, 0, "Print an SVG picture", 0},
	        {"color", KEY_COLOR, "WHEN", OPTION_ARG_OPTIONAL, "always, never, or auto: in a terminal", 0},
	        {0},
	};
	static const char doc[] = "Draws the segments of a process, a character for 64 KiB: how much of it is in "
	                          "blocks (spans blue, or red "
	                          "where less is live than a few survivors pin; blocks of whole pages green; ~ is free "
	                          "and not given back "
	                          "yet), and then what survivors pin by block size.";
	static const struct argp argp = {options, parse, "PID", doc, NULL, NULL, NULL};
	struct map map = {0};
	struct looked looked;
	int result = EXIT_OK;

	setlocale(LC_CTYPE, "");
	map.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	map.colors = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	argp_parse(&argp, argc, argv, 0, NULL, &map);
	if (!look_at(&looked, map.pid))
		return EXIT_NO;
	if (map.json) {
		result = report_print(make_json(&looked.snapshot, &looked.census));
	} else if (map.svg) {
		picture_svg(stdout, &looked.snapshot, &looked.census);
	} else {
		print_segments(&map, &looked.snapshot);
		print_pinned(&map, &looked.census);
	}
	look_away(&looked);
	return result;
}
