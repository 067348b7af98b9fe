/* report.c - see report.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report.h"
#include "tool.h"

bool
look_at(struct looked *looked, pid_t pid)
{
	memset(looked, 0, sizeof *looked);
	if (!target_attach_or_complain(&looked->target, pid))
		return false;
	if (!snapshot_take(&looked->snapshot, &looked->target)) {
		(void)complain("process %d (%s) has ended, or what it shows makes no sense", (int)pid,
		               looked->target.name);
		target_detach(&looked->target);
		return false;
	}
	census_take(&looked->census, &looked->snapshot);
	return true;
}

void
look_away(struct looked *looked)
{
	snapshot_free(&looked->snapshot);
	target_detach(&looked->target);
}

char *
report_duration(uint64_t seconds)
{
	unsigned hours = (unsigned)(seconds / 3600 % 24), minutes = (unsigned)(seconds / 60 % 60);
	unsigned rest = (unsigned)(seconds % 60);

	if (seconds < 60)
		return print_text("%us", rest);
	if (seconds < 86400)
		return print_text("%u:%02u:%02u", hours, minutes, rest);
	return print_text("%llud %02u:%02u:%02u", (unsigned long long)(seconds / 86400), hours, minutes, rest);
}

double
report_age(const struct target *target)
{
	struct timespec now;

	if (!target->started_ms || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		return -1;
	double age = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)target->started_ms / 1000;
	return age > 0 ? age : 0;
}

int
report_print(json_t *json)
{
	bool printed =
	        json && json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0 && putchar('\n') != EOF;

	json_decref(json);
	return printed ? EXIT_OK : complain("the output could not be written");
}

/* Values of more than 2^63 are none that JSON's readers know. */
static json_t *
number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *
report_head(const struct snapshot *snapshot)
{
	const struct target *target = snapshot->target;

	/* a name that is no UTF-8 is null */
	return json_pack("{s:s, s:i, s:o?, s:f, s:f, s:I}", "labyrinth", target->block.release, "pid", (int)target->pid,
	                 "command", json_string(target->name), "time", snapshot->at, "age", report_age(target),
	                 "skipped_segments", (json_int_t)snapshot->skipped);
}

json_t *
report_classes(const struct census *census)
{
	json_t *classes = json_array();
	bool are_counted = false; /* with `stats` alone */

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		are_counted |= census->classes[c].allocations != 0;
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct class_figures *class = &census->classes[c];
		if (class->spans || class->allocations)
			json_array_append_new(
			        classes, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o*}", "size", number(class->size),
			                           "live", number(class->live), "carved", number(class->carved),
			                           "spans", number(class->spans), "pinned", number(class->pinned),
			                           "allocations", are_counted ? number(class->allocations) : NULL));
	}
	return classes;
}

static json_t *
report_heaps(const struct snapshot *snapshot)
{
	json_t *heaps = json_array();
	struct heap_figures *figures = heap_figures_take(snapshot);

	for (size_t i = 0; i < snapshot->heap_count; i++) {
		const struct heap_figures *heap = &figures[i];
		json_array_append_new(
		        heaps, json_pack("{s:i, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", (int)heap->id,
		                         "state", heap_state_name(heap->state), "thread", (int)heap->tid, "segments",
		                         number(heap->segments), "mapped", number(heap->mapped), "active",
		                         number(heap->active), "remote_waiting", number(heap->remote_waiting),
		                         "remote_frees", number(heap->remote_frees), "reentrant_calls",
		                         number(heap->reentrant_calls), "slow_calls", number(heap->slow_calls)));
	}
	free(figures);
	return heaps;
}

static json_t *
report_reserve(const struct snapshot *snapshot)
{
	json_t *classes = json_array();

	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		const uint32_t *zones = snapshot->reserve.pools[c].zones;
		json_array_append_new(classes,
		                      json_pack("{s:i, s:i, s:i, s:i, s:i}", "size", 1 << (c + LAB_RESERVE_MIN_SHIFT),
		                                "slots", (int)zones[LAB_ZONE_OVERFLOW], "overflow",
		                                (int)(zones[LAB_ZONES] - zones[LAB_ZONE_OVERFLOW]), "used",
		                                (int)snapshot->reserve_used[c], "low",
		                                (int)(zones[LAB_ZONE_OVERFLOW] - zones[LAB_ZONE_LOW])));
	}
	return classes;
}

struct setting {
	const char *key;
	enum lab_setting_kind kind;
	const char *by_default, *words;
};

static const struct setting settings[] = {
#define LAB_SETTING(key, kind, param, by_default, least, most, words, doc)                                             \
	{#key, LAB_SETTING_##kind, by_default, words},
#define LAB_PRESET(name, settings, doc)
#include "alloc/settings.def"
#undef LAB_SETTING
#undef LAB_PRESET
};

/* The word with this number of a list with commas; "?" if there is none. To be freed. */
static char *
word_of(const char *words, size_t number)
{
	for (; number > 0 && *words; number--) {
		words += strcspn(words, ",");
		words += *words == ',';
	}
	return *words ? print_text("%.*s", (int)strcspn(words, ","), words) : print_text("?");
}

/* Its value, as it would be given. To be freed. */
static char *
show_setting(const struct setting *setting, uint64_t number, const char *text)
{
	if (setting->kind == LAB_SETTING_TEXT)
		return print_text("%s", text);
	if (setting->kind == LAB_SETTING_CHOICE)
		return word_of(setting->words, number);
	if (number == SIZE_MAX && *setting->words)
		return print_text("%s", strstr(setting->words, "none") ? "none" : "never");
	return print_text("%llu", (unsigned long long)number);
}

json_t *
report_settings(const struct snapshot *snapshot)
{
	static const char *const sources[] = {
	        [LAB_SOURCE_BUILT_IN] = "built in",          [LAB_SOURCE_PROFILE] = "profile",
	        [LAB_SOURCE_FILE] = "/etc/labyrinth.conf",   [LAB_SOURCE_PROGRAM] = "lab_conf",
	        [LAB_SOURCE_ENVIRONMENT] = "LABYRINTH_CONF", [LAB_SOURCE_VARIABLE] = "environment",
	        [LAB_SOURCE_CALL] = "lab_set_param",
	};
	json_t *all = json_object();
	unsigned texts = 0;

	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
		uint32_t source = lab_load_rlx(&snapshot->settings[i].source);
		char text[LAB_VALUE_MAX + 1] = "", *value;
		if (settings[i].kind == LAB_SETTING_TEXT && texts < LAB_SETTING_TEXTS)
			memcpy(text, snapshot->texts[texts++], LAB_VALUE_MAX);
		value = source == LAB_SOURCE_BUILT_IN
		                ? print_text("%s", settings[i].by_default)
		                : show_setting(&settings[i], lab_load_rlx(&snapshot->settings[i].number), text);
		json_object_set_new(all, settings[i].key,
		                    json_pack("{s:o?, s:s}", "value", json_string(value), "from",
		                              source < sizeof sources / sizeof *sources ? sources[source] : "?"));
		free(value);
	}
	return all;
}

json_t *
report_json(const struct snapshot *snapshot, const struct census *census)
{
	json_t *report = report_head(snapshot), *figures = json_object();

	for (size_t i = 0; i < figures_count; i++) {
		uint64_t value = figure_value(&census->all, &figures_table[i]);
		if (value != UINT64_MAX)
			json_object_set_new(figures, figures_table[i].key, number(value));
	}
	json_object_set_new(report, "figures", figures);
	json_object_set_new(report, "classes", report_classes(census));
	json_object_set_new(report, "heaps", report_heaps(snapshot));
	json_object_set_new(report, "reserve", report_reserve(snapshot));
	json_object_set_new(report, "settings", report_settings(snapshot));
	return report;
}
