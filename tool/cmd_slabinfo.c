/* cmd_slabinfo.c - `labyrinth slabinfo`: blocks by size class, in the columns of /proc/slabinfo. */
#include <stdio.h>

#include "report.h"
#include "tool.h"

static void
print_class(const struct class_figures *class)
{
	char name[32];

	snprintf(name, sizeof name, "size-%llu", (unsigned long long)class->size);
	printf("%-12s %10llu %10llu %9llu %11llu %12llu : %8llu %12llu %3.0f%%\n", name,
	       (unsigned long long)class->live, (unsigned long long)class->carved, (unsigned long long)class->size,
	       (unsigned long long)(LAB_UNIT_SIZE / class->size), (unsigned long long)LAB_UNIT_PAGES,
	       (unsigned long long)class->spans, (unsigned long long)class->pinned,
	       class->carved ? 100.0 * (double)class->live / (double)class->carved : 0.0);
}

int
cmd_slabinfo(int argc, char **argv)
{
	struct pid_arguments arguments;
	struct looked looked;
	int result = EXIT_OK;

	parse_pid_arguments(
	        argc, argv,
	        "Prints the blocks of a process by size class, in the columns of /proc/slabinfo: live blocks, "
	        "blocks that were made, bytes of a block, blocks and pages of a span; then spans, bytes that "
	        "live blocks pin (touched pages around them), and how much of what was made is live.",
	        &arguments);
	if (!look_at(&looked, arguments.pid))
		return EXIT_NO;
	if (arguments.json) {
		json_t *report = report_head(&looked.snapshot);
		json_object_set_new(report, "classes", report_classes(&looked.census));
		result = report_print(report);
	} else {
		puts("# name       <active_objs> <num_objs> <objsize> <objperspan> <pagesperspan> : <spans> "
		     "<pinned_bytes> "
		     "<live>");
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
			if (looked.census.classes[c].spans)
				print_class(&looked.census.classes[c]);
	}
	look_away(&looked);
	return result;
}
