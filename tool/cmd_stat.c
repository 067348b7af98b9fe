/* cmd_stat.c - `labyrinth stat`: the figures of a process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "tool.h"

static void
print_figure(const struct figure *figure, uint64_t value)
{
	if (value == UINT64_MAX)
		printf("%-16s %11s\n", figure->key, "none");
	else if (figure->bytes)
		printf("%-16s %11s %s\n", figure->key, human_bytes(value), figure->help);
	else
		printf("%-16s %11llu %s\n", figure->key, (unsigned long long)value, figure->help);
}

/* Those that are not as they are built in. */
static void
print_settings(const struct snapshot *snapshot)
{
	json_t *settings = report_settings(snapshot), *setting;
	const char *key;
	bool any = false;

	printf("settings:");
	json_object_foreach(settings, key, setting)
	{
		const char *value = json_string_value(json_object_get(setting, "value"));
		if (strcmp(json_string_value(json_object_get(setting, "from")), "built in") == 0)
			continue;
		printf(" %s:%s", key, value ? value : "?");
		any = true;
	}
	puts(any ? "" : " as built in");
	json_decref(settings);
}

int
cmd_stat(int argc, char **argv)
{
	struct pid_arguments arguments;
	struct looked looked;
	int result = EXIT_OK;

	parse_pid_arguments(argc, argv,
	                    "Prints what Labyrinth holds in a process: bytes by what they are for, blocks, heaps, the "
	                    "reserve, settings. The process is neither stopped nor asked.",
	                    &arguments);
	if (!look_at(&looked, arguments.pid))
		return EXIT_NO;
	if (arguments.json) {
		result = report_print(report_json(&looked.snapshot, &looked.census));
	} else {
		double age = report_age(&looked.target);
		char *duration = age < 0 ? NULL : report_duration((uint64_t)age);
		printf("%s (%d): Labyrinth %s, %s%s%s\n", looked.target.name, (int)looked.target.pid,
		       looked.target.block.release, looked.target.library, duration ? ", up " : "",
		       duration ? duration : "");
		free(duration);
		for (size_t i = 0; i < figures_count; i++)
			print_figure(&figures_table[i], figure_value(&looked.census.all, &figures_table[i]));
		print_settings(&looked.snapshot);
	}
	look_away(&looked);
	return result;
}
