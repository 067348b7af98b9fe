/*
 * cmd_profile.c - `labyrinth profile`: who asked for the memory that a heap profile counts. A table, folded stacks, a
 * flame graph.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flame.h"
#include "pprof.h"
#include "report.h"
#include "symbols.h"
#include "tool.h"

enum { KEY_FOLDED = 256, KEY_SVG, KEY_JSON, TOP_DEFAULT = 30 };

struct arguments {
	const char *file, *type, *svg;
	bool folded, json;
	size_t top;
};

/* What a function has asked for itself, and with all that it called. */
struct row {
	const char *name, *source;
	int64_t own, all;
	size_t seen_in; /* the last sample that was counted in `all`, plus 1 */
};

static error_t
parse(int key, char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	char *end;

	switch (key) {
	case 't':
		arguments->type = text;
		return 0;
	case 'n':
		arguments->top = strtoul(text, &end, 10);
		if (*end || end == text)
			argp_error(state, "--top wants a number, not `%s'", text);
		return 0;
	case KEY_FOLDED:
		arguments->folded = true;
		return 0;
	case KEY_SVG:
		arguments->svg = text;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->file)
			argp_error(state, "one file, not `%s' as well", text);
		arguments->file = text;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which file?");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* The index of a type by its name; that which the file says, or the last, where none is named. -1: no such type. */
static int
find_type(const struct profile *profile, const char *name)
{
	const char *wanted = name ? name : profile_string(profile, profile->default_type);

	for (size_t i = 0; i < profile->type_count; i++)
		if (strcmp(profile_string(profile, profile->types[i].type), wanted) == 0)
			return (int)i;
	return name ? -1 : (int)profile->type_count - 1;
}

/* The library's own functions, innermost in a stack: operator new, posix_memalign. Whoever called them has asked. */
static void
drop_own_frames(struct profile *profile)
{
	for (size_t i = 0; i < profile->sample_count; i++) {
		struct sample *sample = &profile->samples[i];
		while (sample->depth > 1) {
			const struct file_mapping *mapping = profile_mapping(profile, sample->stack[0]->mapping);
			if (!mapping || !strstr(profile_string(profile, mapping->file), "/liblabyrinth"))
				break;
			sample->stack++;
			sample->depth--;
		}
	}
}

/* ---- the table ---- */

static int
compare_rows(const void *a, const void *b)
{
	const struct row *one = a, *other = b;

	if (one->own != other->own)
		return one->own > other->own ? -1 : 1;
	if (one->all != other->all)
		return one->all > other->all ? -1 : 1;
	return strcmp(one->name, other->name);
}

static struct row *
row_of(struct row **rows, size_t *count, struct location *location)
{
	if (location->row == 0) {
		size_t i = 0;
		while (i < *count && strcmp((*rows)[i].name, location->name) != 0)
			i++;
		if (i == *count)
			*APPEND(*rows, *count) = (struct row){.name = location->name, .source = location->source};
		location->row = i + 1;
	}
	return &(*rows)[location->row - 1];
}

static struct row *
make_rows(const struct profile *profile, size_t type, size_t *count, int64_t *total)
{
	struct row *rows = NULL;

	*count = 0;
	*total = 0;
	for (size_t i = 0; i < profile->sample_count; i++) {
		const struct sample *sample = &profile->samples[i];
		*total += sample->values[type];
		for (size_t k = 0; k < sample->depth && sample->values[type] != 0; k++) {
			struct row *row = row_of(&rows, count, sample->stack[k]);
			row->own += k == 0 ? sample->values[type] : 0;
			row->all += row->seen_in != i + 1 ? sample->values[type] : 0;
			row->seen_in = i + 1;
		}
	}
	if (rows)
		qsort(rows, *count, sizeof *rows, compare_rows);
	return rows;
}

static const char *
print_amount(char buffer[32], int64_t value, bool is_bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double amount = (double)value;
	unsigned unit = 0;

	for (; is_bytes && amount >= 1024 && unit < 4; unit++)
		amount /= 1024;
	if (!is_bytes)
		snprintf(buffer, 32, "%" PRId64, value);
	else
		snprintf(buffer, 32, unit ? "%.1f %s" : "%.0f %s", amount, units[unit]);
	return buffer;
}

static double
percent(int64_t part, int64_t total)
{
	return total ? 100 * (double)part / (double)total : 0;
}

static void
print_table(const struct profile *profile, size_t type, size_t top)
{
	const char *name = profile_string(profile, profile->types[type].type);
	bool is_bytes = strcmp(profile_string(profile, profile->types[type].unit), "bytes") == 0;
	size_t count;
	int64_t total;
	struct row *rows = make_rows(profile, type, &count, &total);
	char own[32], all[32];

	printf("%s: %s", name, print_amount(own, total, is_bytes));
	if (profile->period > 1)
		printf(", estimated from a sample every %s", print_amount(own, (int64_t)profile->period, true));
	printf("\n%12s %7s %12s %7s  function\n", "own", "", "with callees", "");
	for (size_t i = 0; i < count && i < top; i++)
		printf("%12s %6.1f%% %12s %6.1f%%  %s%s%s\n", print_amount(own, rows[i].own, is_bytes),
		       percent(rows[i].own, total), print_amount(all, rows[i].all, is_bytes),
		       percent(rows[i].all, total), rows[i].name, rows[i].source ? "  " : "",
		       rows[i].source ? rows[i].source : "");
	free(rows);
}

static int
print_json(const struct profile *profile, size_t type)
{
	size_t count;
	int64_t total;
	struct row *rows = make_rows(profile, type, &count, &total);
	json_t *functions = json_array();

	for (size_t i = 0; i < count; i++) /* what is no UTF-8 is null */
		json_array_append_new(functions,
		                      json_pack("{s:o?, s:o*, s:I, s:I}", "name", json_string(rows[i].name), "source",
		                                rows[i].source ? json_string(rows[i].source) : NULL, "own",
		                                (json_int_t)rows[i].own, "all", (json_int_t)rows[i].all));
	free(rows);
	return report_print(json_pack(
	        "{s:o?, s:o?, s:I, s:I, s:o}", "type", json_string(profile_string(profile, profile->types[type].type)),
	        "unit", json_string(profile_string(profile, profile->types[type].unit)), "total", (json_int_t)total,
	        "period", (json_int_t)profile->period, "functions", functions));
}

/* ---- folded stacks: what flamegraph.pl and speedscope read ---- */

static void
print_folded(const struct profile *profile, size_t type)
{
	for (size_t i = 0; i < profile->sample_count; i++) {
		const struct sample *sample = &profile->samples[i];
		if (sample->values[type] == 0)
			continue;
		for (size_t k = sample->depth; k-- > 0;) {
			for (const char *c = sample->stack[k]->name; *c; c++)
				putchar(*c == ';' ? ':' : *c);
			putchar(k ? ';' : ' ');
		}
		printf("%" PRId64 "\n", sample->values[type]);
	}
}

static int
write_picture(const struct profile *profile, size_t type, const char *path)
{
	FILE *file = fopen(path, "w");

	if (file)
		flame_write(file, profile, type, profile_string(profile, profile->types[type].type),
		            profile_string(profile, profile->types[type].unit));
	bool failed = !file || ferror(file);
	if ((file && fclose(file) != 0) || failed) {
		return complain("%s: %s", path, strerror(errno));
	}
	return EXIT_OK;
}

int
cmd_profile(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"type", 't', "TYPE", 0, "inuse_space (the default), inuse_objects, alloc_space or alloc_objects", 0},
	        {"top", 'n', "N", 0, "so many functions (30)", 0},
	        {"folded", KEY_FOLDED, NULL, 0, "a line for each stack, as flamegraph.pl and speedscope read them", 0},
	        {"svg", KEY_SVG, "OUT", 0, "write a flame graph to OUT", 0},
	        {"json", KEY_JSON, NULL, 0, "all functions, as JSON", 0},
	        {0},
	};
	static const struct argp argp = {
	        .options = options,
	        .parser = parse,
	        .args_doc = "FILE",
	        .doc = "Says who asked for the memory that a heap profile counts.\v"
	               "FILE is what a process has written that ran with LABYRINTH_HEAP_PROFILE, or any other profile "
	               "of "
	               "pprof's. Names come from the files that the process had mapped, and their debugging "
	               "information.",
	};
	struct arguments arguments = {.top = TOP_DEFAULT};
	const char *why;

	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	struct profile *profile = profile_read(arguments.file, &why);
	if (!profile) {
		return complain("%s: %s", arguments.file, why);
	}
	int type = find_type(profile, arguments.type);
	if (type < 0) {
		return complain("%s: no values of type %s", arguments.file, arguments.type);
	}
	symbols_find(profile);
	drop_own_frames(profile);
	int result = arguments.svg ? write_picture(profile, (size_t)type, arguments.svg) : EXIT_OK;
	if (arguments.folded)
		print_folded(profile, (size_t)type);
	else if (arguments.json)
		result = print_json(profile, (size_t)type);
	else if (!arguments.svg)
		print_table(profile, (size_t)type, arguments.top);
	return result;
}
