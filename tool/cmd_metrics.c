/* cmd_metrics.c - `labyrinth metrics`: OpenMetrics text. */
#include <stdio.h>

#include "report.h"
#include "tool.h"

static void
print_figure(const struct figure *figure, uint64_t value)
{
	const char *unit = figure->bytes ? "_bytes" : "";

	if (value == UINT64_MAX) /* no limit, no figure */
		return;
	printf("# TYPE labyrinth_%s%s %s\n", figure->key, unit, figure->counter ? "counter" : "gauge");
	if (figure->bytes)
		printf("# UNIT labyrinth_%s_bytes bytes\n", figure->key);
	printf("# HELP labyrinth_%s%s %s%s.\n", figure->key, unit, figure->bytes ? "Bytes " : "Number of ",
	       figure->help);
	printf("labyrinth_%s%s%s %llu\n", figure->key, unit, figure->counter ? "_total" : "",
	       (unsigned long long)value);
}

/* A family with a sample for each size class that is in use. */
static void
print_classes(const struct census *census, const char *name, const char *unit, const char *help, size_t offset)
{
	printf("# TYPE labyrinth_class_%s%s gauge\n", name, unit);
	if (*unit)
		printf("# UNIT labyrinth_class_%s%s bytes\n", name, unit);
	printf("# HELP labyrinth_class_%s%s %s\n", name, unit, help);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct class_figures *class = &census->classes[c];
		if (class->spans)
			printf("labyrinth_class_%s%s{size=\"%llu\"} %llu\n", name, unit,
			       (unsigned long long)class->size,
			       (unsigned long long)*(const uint64_t *)(const void *)((const char *)class + offset));
	}
}

static void
print_info(const struct snapshot *snapshot)
{
	const struct lab_inspect *block = &snapshot->target->block;

	printf("# TYPE labyrinth_build info\n# HELP labyrinth_build The library in the process.\n");
	printf("labyrinth_build_info{version=\"%s\",asserts=\"%u\"} 1\n", block->release, block->asserts);
}

int
cmd_metrics(int argc, char **argv)
{
	struct pid_arguments arguments;
	struct looked looked;
	int result = EXIT_OK;

	parse_pid_arguments(
	        argc, argv,
	        "Prints the figures of a process as OpenMetrics text, in jemalloc's vocabulary as far as that "
	        "goes: for Prometheus' textfile collector, or an exporter that runs programs.",
	        &arguments);
	if (!look_at(&looked, arguments.pid))
		return EXIT_NO;
	if (arguments.json) {
		result = report_print(report_json(&looked.snapshot, &looked.census));
	} else {
		print_info(&looked.snapshot);
		for (size_t i = 0; i < figures_count; i++)
			print_figure(&figures_table[i], figure_value(&looked.census.all, &figures_table[i]));
		print_classes(&looked.census, "blocks", "", "Live blocks of a size class.",
		              offsetof(struct class_figures, live));
		print_classes(&looked.census, "spans", "", "Spans of a size class.",
		              offsetof(struct class_figures, spans));
		print_classes(&looked.census, "pinned", "_bytes", "Bytes of pages that stay because of live blocks.",
		              offsetof(struct class_figures, pinned));
		puts("# EOF");
	}
	look_away(&looked);
	return result;
}
