/* stats.c - figures, and as text: see the public header. Any context; O(segments). */
#include <string.h>

#include "alloc/fastpath.h"
#include "alloc/metrics.h"
#include "alloc/objects.h"
#include "alloc/reserve_api.h"
#include "alloc/setting_show.h"
#include "alloc/settings.h"

_Static_assert(LAB_CLASS_COUNT < LAB_CLASSES_MAX, "as the public header promises");

#define KNOWN_AT_FIRST offsetof(struct lab_stats, active)

LAB_EXPORT size_t
lab_stats_get_sized(struct lab_stats *stats, size_t size)
{
	struct lab_census census;
	size_t known = size < sizeof census.stats ? size : sizeof census.stats;

	lab_census_take(&census);
	memcpy(stats, &census.stats, known);
	memset((char *)stats + known, 0, size - known);
	return sizeof census.stats;
}

LAB_EXPORT void(lab_stats_get)(struct lab_stats *stats)
{
	(void)lab_stats_get_sized(stats, KNOWN_AT_FIRST);
}

LAB_EXPORT size_t
lab_class_stats_get(struct lab_class_stats *classes, size_t count, struct lab_stats *stats)
{
	struct lab_census census;

	lab_census_take(&census);
	if (stats)
		memcpy(stats, &census.stats, KNOWN_AT_FIRST);
	for (size_t c = 0; c < count && c < LAB_CLASS_COUNT; c++)
		classes[c] = census.classes[c];
	return LAB_CLASS_COUNT;
}

LAB_EXPORT size_t
lab_heap_stats_get(struct lab_heap_stats *heaps, size_t count, size_t size)
{
	return size < sizeof *heaps ? 0 : lab_census_heaps(heaps, count, size);
}

/* ---- as text --------------------------------------------------------------------------------------------------- */

/* A line of a table. */
enum { COLUMNS = 5, VALUE_AT = 18 };

static void
print_figure(const struct lab_printer *printer, const char *name, uint64_t value, bool is_bytes)
{
	char buffer[96];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, name);
	while (text.length < VALUE_AT)
		lab_text_string(&text, " ");
	lab_text_column(&text, value, 16);
	if (is_bytes) {
		lab_text_string(&text, " bytes = ");
		lab_text_bytes(&text, value);
	}
	printer->write_line(printer->context, buffer);
}

static void
print_row(const struct lab_printer *printer, const uint64_t *row, unsigned columns)
{
	char buffer[96];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	for (unsigned i = 0; i < columns; i++)
		lab_text_column(&text, row[i], 12);
	printer->write_line(printer->context, buffer);
}

static void
print_reserve(const struct lab_printer *printer)
{
	struct lab_reserve_info info;
	struct lab_reserve_class class;
	char buffer[128];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_reserve_info(&info);
	lab_text_string(&text, "reserve: ");
	lab_text_string(&text, lab_reserve_mode_name(info.mode));
	if (*info.why) {
		lab_text_string(&text, ": ");
		lab_text_string(&text, info.why);
	}
	printer->write_line(printer->context, buffer);
	print_figure(printer, "reserve_grown", info.grown, true);
	print_figure(printer, "reserve_limit", info.limit, true);
	print_figure(printer, "reserve_shares", info.shares, true);
	print_figure(printer, "reserve_failures", info.failures, false);
	print_figure(printer, "reserve_lost_races", info.lost_races, false);
	if (info.mode == LAB_RESERVE_NONE)
		return;
	printer->write_line(printer->context, "reserve class       slots    overflow        used         low");
	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		print_row(printer, (uint64_t[]){class.size, class.slots, class.overflow, class.used, class.low},
		          COLUMNS);
}

static void
print_settings(const struct lab_printer *printer)
{
	const struct lab_setting *setting;
	char buffer[LAB_VALUE_MAX + 128];

	for (unsigned i = 0; (setting = lab_setting_at(i)) != NULL; i++) {
		struct lab_text text = lab_text_start(buffer, sizeof buffer);
		if (lab_setting_source(setting) == LAB_SOURCE_BUILT_IN)
			continue;
		lab_text_string(&text, "setting ");
		lab_text_string(&text, setting->key);
		lab_text_string(&text, ": ");
		lab_setting_show(&text, setting);
		lab_text_string(&text, " (");
		lab_text_string(&text, lab_source_name(lab_setting_source(setting)));
		lab_text_string(&text, ")");
		lab_print(printer, &text);
	}
}

static void
print_segments(const struct lab_printer *printer, const struct lab_census *census)
{
	lab_print_line(printer, "segment size       owned       empty       bytes      active");
	for (unsigned n = 0; n <= LAB_SLOTS_LOG_MAX; n++) {
		const struct lab_segment_census *sum = &census->segments[n];
		if (sum->owned + sum->empty != 0)
			print_row(printer,
			          (uint64_t[]){LAB_SLOT_SIZE << n, sum->owned, sum->empty, sum->bytes, sum->taken},
			          COLUMNS);
	}
}

/* So many; in a process that has more, the first ones. */
enum { HEAPS = 8 };

static void
print_heaps(const struct lab_printer *printer, const struct lab_census *census)
{
	struct lab_heap_stats heaps[HEAPS];
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);
	size_t count = lab_census_heaps(heaps, HEAPS, sizeof *heaps);

	lab_text_string(&text, "heaps:");
	for (unsigned state = LAB_HEAP_IDLE; state < LAB_HEAP_STATES; state++) {
		if (census->heaps_in[state] == 0)
			continue;
		lab_text_string(&text, " ");
		lab_text_number(&text, census->heaps_in[state]);
		lab_text_string(&text, " ");
		lab_text_string(&text, lab_heap_state_name((enum lab_heap_state)state));
	}
	lab_print(printer, &text);
	lab_print_line(printer, "heap: thread    segments      mapped      active      remote  state");
	for (size_t i = 0; i < count && i < HEAPS; i++) {
		const struct lab_heap_stats *heap = &heaps[i];
		text = lab_text_start(buffer, sizeof buffer);
		const uint64_t row[COLUMNS] = {(uint64_t)heap->owner, heap->segments, heap->mapped, heap->active,
		                               heap->remote_frees};
		for (unsigned column = 0; column < COLUMNS; column++)
			lab_text_column(&text, row[column], 12);
		lab_text_string(&text, "  ");
		lab_text_string(&text, heap->state);
		lab_print(printer, &text);
	}
}

static void
print_classes(const struct lab_printer *printer, const struct lab_census *census)
{
	bool are_counted = lab_load_rlx(&lab_settings.count_allocations);

	lab_print_line(printer, are_counted ? "  class size        live      carved       spans allocations"
	                                    : "  class size        live      carved       spans");
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct lab_class_stats *class = &census->classes[c];
		const uint64_t row[] = {class->size, class->live, class->carved, class->spans, class->allocations};
		if (class->carved || class->allocations)
			print_row(printer, row, are_counted ? COLUMNS : COLUMNS - 1);
	}
}

static void
print_text(const struct lab_printer *printer, const struct lab_census *census)
{
	char buffer[128];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "version ");
	lab_text_string(&text, lab_version());
	lab_print(printer, &text);
	text = lab_text_start(buffer, sizeof buffer);
	lab_text_string(&text, "process ");
	lab_text_number(&text, lab_os_pid());
	lab_text_string(&text, " (");
	lab_text_string(&text, lab_os_program());
	lab_text_string(&text, ")");
	lab_print(printer, &text);
	print_settings(printer);
	for (size_t i = 0; i < lab_figure_count; i++) {
		const struct lab_figure *figure = &lab_figures[i];
		if (lab_figure_applies(figure, &census->stats))
			print_figure(printer, figure->name, lab_figure_value(figure, &census->stats),
			             lab_figure_is_bytes(figure));
	}
	print_reserve(printer);
	if (!LAB_GUARD)
		lab_print_line(printer, "NOT SIGNAL-SAFE: built without guards, for measurement");
	print_heaps(printer, census);
	print_segments(printer, census);
	print_classes(printer, census);
	const struct lab_objects *objects = lab_load_acq(&lab_objects); /* pairs with the rel of objects/cache.c */
	if (objects)
		objects->print(printer->write_line, printer->context);
}

LAB_EXPORT void
lab_stats_print(void (*write_line)(void *context, const char *line), void *context)
{
	lab_stats_write(LAB_STATS_TEXT, write_line, context);
}

LAB_EXPORT void
lab_stats_write(enum lab_stats_format format, void (*write_line)(void *context, const char *line), void *context)
{
	const struct lab_printer printer = {write_line, context};
	struct lab_census census;

	lab_census_take(&census);
	if (format == LAB_STATS_JSON)
		lab_stats_json(&printer, &census);
	else if (format == LAB_STATS_OPENMETRICS)
		lab_stats_openmetrics(&printer, &census);
	else
		print_text(&printer, &census);
}

LAB_EXPORT const char *
lab_version(void)
{
	return LAB_GUARD ? LAB_VERSION_TEXT
	                 : LAB_VERSION_TEXT " (not signal-safe: built without guards, for measurement)";
}
