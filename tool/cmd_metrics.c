/* cmd_metrics.c - `labyrinth metrics`: OpenMetrics text. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "tool.h"

/* What is printed: processes, and the labels of all samples. */
struct metrics {
	pid_t *pids;
	size_t count;
	struct looked *looked;
	char *labels; /* as they stand in braces, a comma behind each */
	bool json, is_of_several;
	bool for_prometheus; /* its older text format, which the textfile collector reads */
};

/* ---- arguments ---- */

static void
append(char **text, const char *more)
{
	size_t length = *text ? strlen(*text) : 0;

	*text = reallocate(*text, length + strlen(more) + 1);
	memcpy(*text + length, more, strlen(more) + 1);
}

/* The name, which is a label's, and the value as the format wants it. */
static void
append_label(char **labels, const char *name, const char *value)
{
	append(labels, name);
	append(labels, "=\"");
	for (; *value; value++) {
		char one[3] = {*value, 0, 0};
		if (strchr("\\\"\n", *value)) {
			one[0] = '\\';
			one[1] = *value == '\n' ? 'n' : *value;
		}
		append(labels, one);
	}
	append(labels, "\",");
}

static bool
is_label_name(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!(isalpha((unsigned char)name[i]) || name[i] == '_' || (i > 0 && isdigit((unsigned char)name[i]))))
			return false;
	return length > 0 && strncmp(name, "__", 2) != 0;
}

static void
parse_label(char *argument, struct metrics *metrics, struct argp_state *state)
{
	static const char *const own[] = {"size", "version", "asserts", "pid", "command"};
	char *value = strchr(argument, '=');

	if (!value || !is_label_name(argument, (size_t)(value - argument)))
		argp_error(state, "--label: NAME=VALUE");
	*value++ = '\0';
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (strcmp(argument, own[i]) == 0)
			argp_error(state, "--label: %s is a label that samples have already", argument);
	for (const char *at = metrics->labels; at && (at = strstr(at, argument)) != NULL; at++)
		if ((at == metrics->labels || at[-1] == ',') && strncmp(at + strlen(argument), "=\"", 2) == 0)
			argp_error(state, "--label: %s twice", argument);
	append_label(&metrics->labels, argument, value);
}

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct metrics *metrics = state->input;
	pid_t pid;

	switch (key) {
	case 'j':
		metrics->json = true;
		return 0;
	case 'p':
		metrics->for_prometheus = true;
		return 0;
	case 'l':
		parse_label(argument, metrics, state);
		return 0;
	case ARGP_KEY_ARG:
		pid = parse_pid(argument, state);
		for (size_t i = 0; i < metrics->count; i++)
			if (metrics->pids[i] == pid)
				return 0;
		metrics->pids = reallocate(metrics->pids, (metrics->count + 1) * sizeof *metrics->pids);
		metrics->pids[metrics->count++] = pid;
		return 0;
	case ARGP_KEY_END:
		if (metrics->count == 0)
			argp_error(state, "of which process?");
		if (metrics->json && metrics->count > 1)
			argp_error(state, "--json: of one process");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* ---- samples ---- */

/* name{labels} value, of the i-th process; own: labels of this sample, with a comma behind each. */
static void
print_sample(const struct metrics *metrics, size_t i, const char *name, const char *own, uint64_t value)
{
	char *labels = NULL;

	append(&labels, own);
	append(&labels, metrics->labels ? metrics->labels : "");
	if (metrics->is_of_several) {
		char pid[20];
		snprintf(pid, sizeof pid, "%d", (int)metrics->pids[i]);
		append_label(&labels, "pid", pid);
		append_label(&labels, "command", metrics->looked[i].target.name);
	}
	if (*labels) {
		labels[strlen(labels) - 1] = '\0'; /* the last comma */
		printf("%s{%s} %llu\n", name, labels, (unsigned long long)value);
	} else {
		printf("%s %llu\n", name, (unsigned long long)value);
	}
	free(labels);
}

static void
print_figure(const struct metrics *metrics, const struct figure *figure)
{
	const char *unit = figure->bytes ? "_bytes" : "";
	char name[100];
	bool is_begun = false;

	snprintf(name, sizeof name, "labyrinth_%s%s%s", figure->key, unit, figure->counter ? "_total" : "");
	for (size_t i = 0; i < metrics->count; i++) {
		uint64_t value = figure_value(&metrics->looked[i].census.all, figure);
		if (value == UINT64_MAX) /* no limit, no figure */
			continue;
		if (!is_begun) {
			const char *family = metrics->for_prometheus && figure->counter ? "_total" : "";
			printf("# TYPE labyrinth_%s%s%s %s\n", figure->key, unit, family,
			       figure->counter ? "counter" : "gauge");
			if (figure->bytes && !metrics->for_prometheus)
				printf("# UNIT labyrinth_%s_bytes bytes\n", figure->key);
			printf("# HELP labyrinth_%s%s%s %s%s.\n", figure->key, unit, family,
			       figure->bytes ? "Bytes " : "Number of ", figure->help);
		}
		is_begun = true;
		print_sample(metrics, i, name, "", value);
	}
}

/* A family with a sample for each size class that is in use. */
static void
print_classes(const struct metrics *metrics, const char *name, const char *help, size_t offset)
{
	bool is_bytes = strstr(name, "_bytes") != NULL;

	printf("# TYPE %s gauge\n", name);
	if (is_bytes && !metrics->for_prometheus)
		printf("# UNIT %s bytes\n", name);
	printf("# HELP %s %s\n", name, help);
	for (size_t i = 0; i < metrics->count; i++) {
		const struct class_figures *classes = metrics->looked[i].census.classes;
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
			char label[40];
			snprintf(label, sizeof label, "size=\"%llu\",", (unsigned long long)classes[c].size);
			if (classes[c].spans)
				print_sample(metrics, i, name, label,
				             *(const uint64_t *)(const void *)((const char *)&classes[c] + offset));
		}
	}
}

static void
print_info(const struct metrics *metrics)
{
	if (metrics->for_prometheus)
		printf("# TYPE labyrinth_build_info gauge\n# HELP labyrinth_build_info The library in the process.\n");
	else
		printf("# TYPE labyrinth_build info\n# HELP labyrinth_build The library in the process.\n");
	for (size_t i = 0; i < metrics->count; i++) {
		const struct lab_inspect *block = &metrics->looked[i].target.block;
		char *labels = NULL;
		append_label(&labels, "version", block->release);
		append_label(&labels, "asserts", block->asserts ? "1" : "0");
		print_sample(metrics, i, "labyrinth_build_info", labels, 1);
		free(labels);
	}
}

static void
print(const struct metrics *metrics)
{
	print_info(metrics);
	for (size_t i = 0; i < figures_count; i++)
		print_figure(metrics, &figures_table[i]);
	print_classes(metrics, "labyrinth_class_blocks", "Live blocks of a size class.",
	              offsetof(struct class_figures, live));
	print_classes(metrics, "labyrinth_class_spans", "Spans of a size class.",
	              offsetof(struct class_figures, spans));
	print_classes(metrics, "labyrinth_class_pinned_bytes", "Bytes of pages that stay because of live blocks.",
	              offsetof(struct class_figures, pinned));
	if (!metrics->for_prometheus)
		puts("# EOF");
}

int
cmd_metrics(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {"prometheus", 'p', NULL, 0, "Print Prometheus' own text format, which its textfile collector reads",
	         0},
	        {"label", 'l', "NAME=VALUE", 0, "A label of all samples", 0},
	        {0},
	};
	static const char doc[] =
	        "Prints the figures of processes as OpenMetrics text, in jemalloc's vocabulary as far as that goes, or "
	        "in the text format that Prometheus' textfile collector reads. Samples of several processes have "
	        "labels "
	        "`pid` and `command`. Processes that cannot be looked into are named on stderr, and left out.";
	static const struct argp argp = {options, parse, "PID...", doc, NULL, NULL, NULL};
	struct metrics metrics = {0};
	int result = EXIT_OK;
	size_t looked = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &metrics);
	metrics.is_of_several = metrics.count > 1;
	metrics.looked = reallocate(NULL, metrics.count * sizeof *metrics.looked);
	for (size_t i = 0; i < metrics.count; i++)
		if (look_at(&metrics.looked[looked], metrics.pids[i]))
			metrics.pids[looked++] = metrics.pids[i];
		else
			result = EXIT_NO; /* one line was printed; the others are, all the same */
	metrics.count = looked;
	if (looked > 0 && metrics.json)
		result = report_print(report_json(&metrics.looked->snapshot, &metrics.looked->census));
	else if (looked > 0)
		print(&metrics);
	while (looked > 0)
		look_away(&metrics.looked[--looked]);
	free(metrics.looked);
	free(metrics.labels);
	free(metrics.pids);
	return result;
}
