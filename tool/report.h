/* report.h - figures as text and as JSON; what several sub-commands print. */
#ifndef LAB_TOOL_REPORT_H
#define LAB_TOOL_REPORT_H

#include <jansson.h>

#include "figures.h"

/* All of it: the snapshot that `labyrinth diff` compares. */
json_t *report_json(const struct snapshot *snapshot, const struct census *census);

json_t *report_classes(const struct census *census);
json_t *report_settings(const struct snapshot *snapshot); /* {key: {"value", "from"}} */

/* {"labyrinth", "pid", "command"}: what each of them begins with. */
json_t *report_head(const struct snapshot *snapshot);

/* Prints it on stdout, and frees it. An exit code. */
int report_print(json_t *json);

/* "3 days 02:01:09", or shorter. To be freed. */
char *report_duration(uint64_t seconds);

/* Seconds that the library is active in the process; -1: unknown. */
double report_age(const struct target *target);

/* A snapshot and its census of a process from the command line. False: a line was printed. */
struct looked {
	struct target target;
	struct snapshot snapshot;
	struct census census;
};
bool look_at(struct looked *looked, pid_t pid);
void look_away(struct looked *looked);

#endif
