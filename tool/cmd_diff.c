/* cmd_diff.c - `labyrinth diff`: what changed between two snapshots that `labyrinth stat --json` printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "tool.h"

struct diff {
	const char *paths[2];
	bool json;
};

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct diff *diff = state->input;

	switch (key) {
	case 'j':
		diff->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num >= 2)
			argp_error(state, "two files");
		diff->paths[state->arg_num] = argument;
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 2)
			argp_error(state, "two files");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* A snapshot; NULL: it is none, and a line was printed. */
static json_t *
load(const char *path)
{
	json_error_t error;
	json_t *json = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &error) : json_load_file(path, 0, &error);

	if (!json)
		(void)complain("%s: %s", path, error.text);
	else if (json_is_object(json_object_get(json, "figures")) && json_is_array(json_object_get(json, "classes")))
		return json;
	else
		(void)complain("%s: no snapshot of `labyrinth stat --json'", path);
	json_decref(json);
	return NULL;
}

static json_int_t
value_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const json_t *
class_of(const json_t *snapshot, json_int_t size)
{
	const json_t *classes = json_object_get(snapshot, "classes"), *class;
	size_t i;

	json_array_foreach(classes, i, class) if (value_of(class, "size") == size) return class;
	return NULL;
}

/* {"before", "after", "change"}; NULL: nothing changed. */
static json_t *
change(const json_t *before, const json_t *after, const char *key)
{
	json_int_t old = value_of(before, key), new = value_of(after, key);

	return old == new ? NULL : json_pack("{s:I, s:I, s:I}", "before", old, "after", new, "change", new - old);
}

static json_t *
compare_figures(const json_t *before, const json_t *after)
{
	const json_t *old = json_object_get(before, "figures"), *new = json_object_get(after, "figures");
	json_t *changes = json_object();

	for (size_t i = 0; i < figures_count; i++) {
		json_t *one = change(old, new, figures_table[i].key);
		if (one)
			json_object_set_new(changes, figures_table[i].key, one);
	}
	return changes;
}

static json_t *
compare_classes(const json_t *before, const json_t *after)
{
	static const char *const keys[] = {"live", "carved", "spans", "pinned"};
	json_t *changes = json_array();

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		json_int_t size = (json_int_t)lab_class_size(c);
		const json_t *old = class_of(before, size), *new = class_of(after, size);
		json_t *entry = json_object();
		for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
			json_t *one = change(old, new, keys[i]);
			if (one)
				json_object_set_new(entry, keys[i], one);
		}
		if (json_object_size(entry)) {
			json_object_set_new(entry, "size", json_integer(size));
			json_array_append(changes, entry);
		}
		json_decref(entry);
	}
	return changes;
}

static const char *
signed_bytes(json_int_t bytes)
{
	static char buffer[32];

	snprintf(buffer, sizeof buffer, "%c%s", bytes < 0 ? '-' : '+',
	         human_bytes(bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes));
	return buffer;
}

static void
print_figures(const json_t *changes, double seconds)
{
	for (size_t i = 0; i < figures_count; i++) {
		const json_t *one = json_object_get(changes, figures_table[i].key);
		json_int_t by = value_of(one, "change");
		if (!one)
			continue;
		printf("%-18s %14lld -> %14lld  %+14lld", figures_table[i].key, (long long)value_of(one, "before"),
		       (long long)value_of(one, "after"), (long long)by);
		if (figures_table[i].bytes)
			printf("  %s", signed_bytes(by));
		if (figures_table[i].counter && seconds > 0)
			printf("  %.1f/s", (double)by / seconds);
		putchar('\n');
	}
}

static void
print_classes(const json_t *changes)
{
	const json_t *entry;
	size_t i;

	if (json_array_size(changes))
		printf("%-12s %12s %12s %12s %14s\n", "# class", "live", "made", "spans", "pinned");
	json_array_foreach(changes, i, entry)
	{
		printf("size-%-7lld %+12lld %+12lld %+12lld %+14lld\n", (long long)value_of(entry, "size"),
		       (long long)value_of(json_object_get(entry, "live"), "change"),
		       (long long)value_of(json_object_get(entry, "carved"), "change"),
		       (long long)value_of(json_object_get(entry, "spans"), "change"),
		       (long long)value_of(json_object_get(entry, "pinned"), "change"));
	}
}

int
cmd_diff(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {0},
	};
	static const char doc[] =
	        "Prints what changed from snapshot A to snapshot B: files that `labyrinth stat --json' has "
	        "written, or - for standard input.";
	static const struct argp argp = {options, parse, "A B", doc, NULL, NULL, NULL};
	struct diff diff = {0};
	json_t *before, *after = NULL;
	int result = EXIT_NO;

	argp_parse(&argp, argc, argv, 0, NULL, &diff);
	before = load(diff.paths[0]);
	after = before ? load(diff.paths[1]) : NULL;
	if (after) {
		double seconds = json_number_value(json_object_get(after, "time")) -
		                 json_number_value(json_object_get(before, "time"));
		json_t *figures = compare_figures(before, after), *classes = compare_classes(before, after);
		if (value_of(before, "pid") != value_of(after, "pid"))
			warn("of two processes: %lld and %lld", (long long)value_of(before, "pid"),
			     (long long)value_of(after, "pid"));
		result = EXIT_OK;
		if (diff.json) {
			result = report_print(json_pack("{s:f, s:O, s:O}", "seconds", seconds, "figures", figures,
			                                "classes", classes));
		} else {
			printf("# %.1f s\n", seconds);
			print_figures(figures, seconds);
			print_classes(classes);
		}
		json_decref(figures);
		json_decref(classes);
	}
	json_decref(before);
	json_decref(after);
	return result;
}
