/* cmd_doctor.c - `labyrinth doctor`: would it work here, in this program; is it active, in this process. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "known.h"
#include "library.h"
#include "machine.h"
#include "program.h"
#include "report.h"
#include "tool.h"

struct doctor {
	const char *program; /* or NULL */
	pid_t pid;           /* or 0 */
	bool json;
};

static const char by_name[] =
        "malloc and free are Labyrinth's all the same; what the program asks the other one for by "
        "name (figures, purging, defragmentation) is of an empty heap";

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct doctor *doctor = state->input;

	switch (key) {
	case 'j':
		doctor->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one PROGRAM or PID only");
		if (*argument && strspn(argument, "0123456789") == strlen(argument))
			doctor->pid = parse_pid(argument, state);
		else
			doctor->program = argument;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void
check_library(struct findings *findings)
{
	char *library = library_find();

	if (library)
		findings_add(findings, FINE, "library", NULL, "%s", library);
	else
		findings_add(findings, PROBLEM, "library", "install it, or name it with `labyrinth run --library'",
		             "liblabyrinth.so is not beside this tool");
	if (library && strpbrk(library, " \t:$"))
		findings_add(findings, PROBLEM, "library", "move it", "LD_PRELOAD cannot name such a path");
	free(library);
}

/* The library reads its settings wherever it is preloaded, and says what is wrong with them. */
static void
check_configuration(struct findings *findings)
{
	static const char prefix[] = "labyrinth: ";
	char *library = library_find(), line[1024];
	FILE *said = library ? library_run(library) : NULL;
	bool is_right = true;

	while (said && fgets(line, sizeof line, said)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, prefix, sizeof prefix - 1) != 0)
			continue; /* the loader's, or figures that were asked for */
		findings_add(findings, NOTE, "settings", "mend it there: labyrinth(3) lists the settings", "%s",
		             line + sizeof prefix - 1);
		is_right = false;
	}
	if (said && pclose(said) == 0 && is_right)
		findings_add(findings, FINE, "settings", NULL, "what %sthe environment sets is understood",
		             access("/etc/labyrinth.conf", R_OK) == 0 ? "/etc/labyrinth.conf and " : "");
	free(library);
}

/* ---- a program ---- */

static void
check_libraries(struct findings *findings, const struct program *program)
{
	char **libraries = program_libraries(program);

	for (char **library = libraries; *library; library++) {
		const char *allocator = allocator_of_library(base_name(*library));
		const char *sanitizer = sanitizer_of_library(base_name(*library));
		if (sanitizer)
			findings_add(findings, PROBLEM, "libraries", "build that library without it",
			             "a library of the program was built with %s, which must come first (%s)",
			             sanitizer, *library);
		if (strcmp(*library, "not found") == 0)
			findings_add(findings, PROBLEM, "libraries", "install it: ldd names it",
			             "a library of the program is not there");
		else if (allocator && (!program->allocator || strcmp(allocator, program->allocator) != 0))
			findings_add(findings, NOTE, "allocator", by_name, "a library of it brings %s (%s)", allocator,
			             *library);
		free(*library);
	}
	free(libraries);
}

static void
check_program(struct findings *findings, const char *name)
{
	struct program program;
	char *objection;

	program_inspect(&program, name);
	objection = program_objection(&program);
	for (size_t i = 0; i < program.script_count && program.path; i++)
		findings_add(findings, FINE, "script", NULL, "%s is run by %s", program.scripts[i],
		             i + 1 < program.script_count ? program.scripts[i + 1] : program.path);
	if (objection) {
		findings_add(findings, PROBLEM, "program", NULL, "%s", objection);
	} else if (program.has_labyrinth) {
		findings_add(findings, FINE, "program", NULL, "%s is linked with Labyrinth: nothing is to be preloaded",
		             program.path);
	} else {
		findings_add(findings, FINE, "program", NULL, "%s: dynamic, glibc, not privileged, no sanitizer",
		             program.path);
		if (program.allocator)
			findings_add(findings, NOTE, "allocator", by_name, "the program is linked with %s%s",
			             program.allocator, program.asks_by_name);
		check_libraries(findings, &program);
	}
	free(objection);
	program_free(&program);
}

/* ---- a process ---- */

static void
check_start(struct findings *findings, const struct target *target)
{
	double age = report_age(target);
	time_t since = time(NULL) - (time_t)age;
	char text[64], *duration;
	struct tm local;

	if (age < 0 || !localtime_r(&since, &local) || !strftime(text, sizeof text, "%F %T", &local))
		return;
	duration = report_duration((uint64_t)age);
	findings_add(findings, FINE, "since", NULL, "%s (%s)%s", text, duration,
	             target->start_pid && target->start_pid != (uint32_t)target->pid
	                     ? ", started in another process of which this is a fork, or in a PID namespace"
	                     : "");
	free(duration);
}

static void
check_settings(struct findings *findings, const struct snapshot *snapshot)
{
	json_t *settings = report_settings(snapshot), *setting;
	const char *key;

	json_object_foreach(settings, key, setting)
	{
		const char *value = json_string_value(json_object_get(setting, "value"));
		findings_add(findings, FINE, "setting", NULL, "%s: %s (%s)", key, value && *value ? value : "-",
		             json_string_value(json_object_get(setting, "from")));
	}
	json_decref(settings);
}

static void
check_others(struct findings *findings, const struct target *target)
{
	const char *last = "";

	for (size_t i = 0; i < target->mapping_count; i++) {
		const char *path = target->mappings[i].path, *allocator = allocator_of_library(base_name(path));
		if (!allocator || strcmp(path, last) == 0)
			continue;
		findings_add(findings, NOTE, "allocator", by_name, "%s is mapped as well (%s)", allocator, path);
		last = path;
	}
}

static void
check_heap(struct findings *findings, const struct snapshot *snapshot)
{
	struct census census;

	census_take(&census, snapshot);
	findings_add(findings, FINE, "active", NULL, "%llu blocks, %s in use, %llu heaps",
	             (unsigned long long)census.all.blocks, human_bytes(census.all.allocated),
	             (unsigned long long)census.all.heaps);
	if (census.all.reserve == 0)
		findings_add(findings, NOTE, "reserve", "set LABYRINTH_RESERVE, unless nothing atomic is called",
		             "there is none");
	else
		findings_add(findings, census.all.reserve_failures ? NOTE : FINE, "reserve",
		             census.all.reserve_failures ? "set LABYRINTH_RESERVE to more" : NULL,
		             "%s, %s, %s in use, %llu atomic calls got nothing", human_bytes(census.all.reserve),
		             machine_is_locked(snapshot->target->pid, (uintptr_t)snapshot->reserve.start)
		                     ? "locked"
		                     : "not locked",
		             human_bytes(census.all.reserve_used), (unsigned long long)census.all.reserve_failures);
	if (!snapshot->target->block.guard)
		findings_add(findings, PROBLEM, "build", "use another build",
		             "without guards, for measurement: not signal-safe");
}

static int
check_process(struct findings *findings, pid_t pid)
{
	struct target target;
	struct snapshot snapshot;
	char *why;
	enum attached attached = target_attach(&target, pid, &why);

	switch (attached) {
	case TARGET_IS_GONE:
		target_detach(&target);
		(void)complain("%s", why);
		free(why);
		return EXIT_NO;
	case TARGET_IS_REFUSED:
	case TARGET_IS_STRANGE:
		findings_add(findings, PROBLEM, "process", NULL, "%s", why);
		break;
	case TARGET_IS_OTHER:
		findings_add(findings, PROBLEM, "process", "start it with `labyrinth run', or with LD_PRELOAD", "%s",
		             why);
		check_others(findings, &target);
		break;
	case TARGET_IS_EARLY:
		findings_add(findings, NOTE, "process",
		             "if it runs for long: another malloc comes first; see `labyrinth doctor PROGRAM'",
		             "%s is mapped, and has not been called", target.library);
		check_others(findings, &target);
		break;
	case TARGET_IS_OURS:
		findings_add(findings, FINE, "process", NULL, "%s runs on Labyrinth %s, %s", target.name,
		             target.block.release, target.library);
		check_start(findings, &target);
		check_others(findings, &target);
		if (snapshot_take(&snapshot, &target)) {
			check_heap(findings, &snapshot);
			check_settings(findings, &snapshot);
			snapshot_free(&snapshot);
		} else {
			warn("process %d (%s) has ended, or what it shows makes no sense", (int)pid, target.name);
		}
		break;
	}
	free(why);
	target_detach(&target);
	machine_check_process(findings, pid);
	return EXIT_OK;
}

int
cmd_doctor(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {0},
	};
	static const char doc[] = "Says whether Labyrinth would work on this machine, in PROGRAM, or works in the "
	                          "process PID; what is in the "
	                          "way, what to know, and what to do.\v"
	                          "Exit status: 0 if it works, 1 if not, 2 on wrong arguments.";
	static const struct argp argp = {options, parse, "[PROGRAM|PID]", doc, NULL, NULL, NULL};
	struct doctor doctor = {0};
	struct findings findings;
	int result = EXIT_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &doctor);
	findings_start(&findings);
	if (doctor.pid) {
		result = check_process(&findings, doctor.pid);
		if (result != EXIT_OK) {
			json_decref(findings.list);
			return result;
		}
	} else {
		check_library(&findings);
		check_configuration(&findings);
		if (doctor.program)
			check_program(&findings, doctor.program);
		machine_check_process(&findings, 0);
	}
	machine_check(&findings);
	return findings_end(&findings, doctor.json);
}
