/*
 * metrics.c - figures for programs: JSON (RFC 8259) and OpenMetrics 1.0. Names are jemalloc's where it has one for the
 * same thing, so that what reads those reads these. Any context.
 */
#include "alloc/metrics.h"
#include "alloc/reserve_api.h"
#include "alloc/setting_show.h"
#include "alloc/settings.h"

enum { LINE = LAB_VALUE_MAX * 2 + 160 }; /* each byte of a value may be written as an escape of two */

/* Bytes of the character that begins here, in UTF-8 (RFC 3629); 0: none does. */
static unsigned
character_length(const char *string)
{
	const unsigned char *byte = (const unsigned char *)string;
	unsigned length = *byte < 0x80   ? 1
	                  : *byte < 0xc2 ? 0
	                  : *byte < 0xe0 ? 2
	                  : *byte < 0xf0 ? 3
	                  : *byte < 0xf5 ? 4
	                                 : 0;

	for (unsigned i = 1; i < length; i++)
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	bool is_long = (*byte == 0xe0 && byte[1] < 0xa0) || (*byte == 0xf0 && byte[1] < 0x90);
	bool is_none = (*byte == 0xed && byte[1] > 0x9f) || (*byte == 0xf4 && byte[1] > 0x8f);
	return is_long || is_none ? 0 : length;
}

/* A text between quotes, as both formats want it: with escapes; control characters, which OpenMetrics has no escape
 * for, become blanks, and what is no UTF-8 question marks. */
static void
put_quoted(struct lab_text *text, const char *string)
{
	lab_text_string(text, "\"");
	while (*string) {
		unsigned length = character_length(string);
		char letters[5] = {(unsigned char)*string < ' ' ? ' ' : length == 0 ? '?' : *string};
		for (unsigned i = 1; i < length; i++)
			letters[i] = string[i];
		if (*string == '"' || *string == '\\')
			lab_text_string(text, "\\");
		lab_text_string(text, letters);
		string += length > 1 ? length : 1;
	}
	lab_text_string(text, "\"");
}

/* As much of the name as a line has room for, whole characters. */
static void
put_program(struct lab_text *text)
{
	char name[64];
	size_t length = 0;

	for (const char *from = lab_os_program(); *from && length < sizeof name - 1; from++)
		name[length++] = *from;
	while (length == sizeof name - 1 && length > 0 && ((unsigned char)name[length - 1] & 0xc0) == 0x80)
		length--;
	if (length > 0 && (unsigned char)name[length - 1] >= 0xc0)
		length--;
	name[length] = 0;
	put_quoted(text, name);
}

static void
show_setting(char *value, size_t size, const struct lab_setting *setting)
{
	struct lab_text text = lab_text_start(value, size);

	lab_setting_show(&text, setting);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

/* One of a line's members: "key": value, */
static void
put_number(struct lab_text *text, const char *key, uint64_t value, bool is_last)
{
	put_quoted(text, key);
	lab_text_string(text, ": ");
	lab_text_number(text, value);
	lab_text_string(text, is_last ? "" : ", ");
}

static void
json_settings(const struct lab_printer *printer)
{
	const struct lab_setting *setting;
	char line[LINE], value[LAB_VALUE_MAX + 1];

	lab_print_line(printer, "  \"settings\": {");
	for (unsigned i = 0; (setting = lab_setting_at(i)) != NULL; i++) {
		struct lab_text text = lab_text_start(line, sizeof line);
		show_setting(value, sizeof value, setting);
		lab_text_string(&text, "    ");
		put_quoted(&text, setting->key);
		lab_text_string(&text, ": {\"value\": ");
		put_quoted(&text, value);
		lab_text_string(&text, ", \"source\": ");
		put_quoted(&text, lab_source_name(lab_setting_source(setting)));
		lab_text_string(&text, lab_setting_at(i + 1) ? "}," : "}");
		lab_print(printer, &text);
	}
	lab_print_line(printer, "  },");
}

static void
json_figures(const struct lab_printer *printer, const struct lab_census *census)
{
	char line[160];

	for (size_t i = 0; i < lab_figure_count; i++) {
		const struct lab_figure *figure = &lab_figures[i];
		struct lab_text text = lab_text_start(line, sizeof line);
		if (!lab_figure_applies(figure, &census->stats))
			continue;
		lab_text_string(&text, "  \"");
		lab_text_string(&text, figure->name);
		lab_text_string(&text, lab_figure_is_bytes(figure) ? "_bytes\": " : "\": ");
		lab_text_number(&text, lab_figure_value(figure, &census->stats));
		lab_text_string(&text, ",");
		lab_print(printer, &text);
	}
}

static void
json_heaps(const struct lab_printer *printer, const struct lab_census *census)
{
	char line[256];
	struct lab_text text = lab_text_start(line, sizeof line);

	lab_text_string(&text, "  \"heaps_by_state\": {");
	for (unsigned state = LAB_HEAP_IDLE; state < LAB_HEAP_STATES; state++)
		put_number(&text, lab_heap_state_name((enum lab_heap_state)state), census->heaps_in[state],
		           state + 1 == LAB_HEAP_STATES);
	lab_text_string(&text, "},");
	lab_print(printer, &text);
}

static void
json_segments(const struct lab_printer *printer, const struct lab_census *census)
{
	char line[256];

	lab_print_line(printer, "  \"segments_by_size\": [");
	for (unsigned n = 0; n <= LAB_SLOTS_LOG_MAX; n++) {
		const struct lab_segment_census *sum = &census->segments[n];
		struct lab_text text = lab_text_start(line, sizeof line);
		lab_text_string(&text, "    {");
		put_number(&text, "size_bytes", LAB_SLOT_SIZE << n, false);
		put_number(&text, "owned", sum->owned, false);
		put_number(&text, "empty", sum->empty, false);
		put_number(&text, "mapped_bytes", sum->bytes, false);
		put_number(&text, "active_bytes", sum->taken, true);
		lab_text_string(&text, n == LAB_SLOTS_LOG_MAX ? "}" : "},");
		lab_print(printer, &text);
	}
	lab_print_line(printer, "  ],");
}

static void
json_classes(const struct lab_printer *printer, const struct lab_census *census)
{
	char line[256];
	bool are_counted = lab_load_rlx(&lab_settings.count_allocations);

	lab_print_line(printer, "  \"classes\": [");
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct lab_class_stats *class = &census->classes[c];
		struct lab_text text = lab_text_start(line, sizeof line);
		lab_text_string(&text, "    {");
		put_number(&text, "size_bytes", class->size, false);
		put_number(&text, "live", class->live, false);
		put_number(&text, "carved", class->carved, false);
		put_number(&text, "spans", class->spans, !are_counted);
		if (are_counted)
			put_number(&text, "allocations", class->allocations, true);
		lab_text_string(&text, c + 1 == LAB_CLASS_COUNT ? "}" : "},");
		lab_print(printer, &text);
	}
	lab_print_line(printer, "  ]");
}

void
lab_stats_json(const struct lab_printer *printer, const struct lab_census *census)
{
	char line[160];
	struct lab_text text = lab_text_start(line, sizeof line);

	lab_print_line(printer, "{");
	lab_text_string(&text, "  \"version\": ");
	put_quoted(&text, lab_version());
	lab_text_string(&text, ",");
	lab_print(printer, &text);
	text = lab_text_start(line, sizeof line);
	lab_text_string(&text, "  \"pid\": ");
	lab_text_number(&text, lab_os_pid());
	lab_text_string(&text, ", \"program\": ");
	put_program(&text);
	lab_text_string(&text, ",");
	lab_print(printer, &text);
	json_settings(printer);
	json_figures(printer, census);
	json_heaps(printer, census);
	json_segments(printer, census);
	json_classes(printer, census);
	lab_print_line(printer, "}");
}

/* ---- OpenMetrics ----------------------------------------------------------------------------------------------- */

#define PREFIX "labyrinth_"

static void
family(const struct lab_printer *printer, const char *name, const char *type, const char *unit, const char *help)
{
	char line[200];
	const char *const parts[][2] = {{"# TYPE ", type}, {"# UNIT ", unit}, {"# HELP ", help}};

	for (unsigned i = 0; i < 3; i++) {
		struct lab_text text = lab_text_start(line, sizeof line);
		if (!parts[i][1])
			continue;
		lab_text_string(&text, parts[i][0]);
		lab_text_string(&text, PREFIX);
		lab_text_string(&text, name);
		if (unit) {
			lab_text_string(&text, "_");
			lab_text_string(&text, unit);
		}
		lab_text_string(&text, " ");
		lab_text_string(&text, parts[i][1]);
		lab_print(printer, &text);
	}
}

/* A sample; its one label is a number, unless that has no name. */
static void
sample(const struct lab_printer *printer, const char *name, const char *suffix, const char *label, uint64_t number,
       uint64_t value)
{
	char line[200];
	struct lab_text text = lab_text_start(line, sizeof line);

	lab_text_string(&text, PREFIX);
	lab_text_string(&text, name);
	lab_text_string(&text, suffix);
	if (label) {
		lab_text_string(&text, "{");
		lab_text_string(&text, label);
		lab_text_string(&text, "=\"");
		lab_text_number(&text, number);
		lab_text_string(&text, "\"}");
	}
	lab_text_string(&text, " ");
	lab_text_number(&text, value);
	lab_print(printer, &text);
}

static void
metrics_settings(const struct lab_printer *printer)
{
	const struct lab_setting *setting;
	char line[LINE], value[LAB_VALUE_MAX + 1];
	struct lab_text text = lab_text_start(line, sizeof line);

	family(printer, "build", "info", NULL, "the library");
	lab_text_string(&text, PREFIX "build_info{version=");
	put_quoted(&text, lab_version());
	lab_text_string(&text, "} 1");
	lab_print(printer, &text);
	family(printer, "setting", "info", NULL, "what each setting is, and where that comes from");
	for (unsigned i = 0; (setting = lab_setting_at(i)) != NULL; i++) {
		text = lab_text_start(line, sizeof line);
		show_setting(value, sizeof value, setting);
		lab_text_string(&text, PREFIX "setting_info{key=");
		put_quoted(&text, setting->key);
		lab_text_string(&text, ",value=");
		put_quoted(&text, value);
		lab_text_string(&text, ",source=");
		put_quoted(&text, lab_source_name(lab_setting_source(setting)));
		lab_text_string(&text, "} 1");
		lab_print(printer, &text);
	}
}

static void
metrics_figures(const struct lab_printer *printer, const struct lab_census *census)
{
	for (size_t i = 0; i < lab_figure_count; i++) {
		const struct lab_figure *figure = &lab_figures[i];
		bool is_total = figure->kind == LAB_FIGURE_TOTAL || figure->kind == LAB_FIGURE_BYTES_TOTAL;
		bool is_bytes = lab_figure_is_bytes(figure);
		if (!lab_figure_applies(figure, &census->stats))
			continue;
		family(printer, figure->name, is_total ? "counter" : "gauge", is_bytes ? "bytes" : NULL, figure->help);
		sample(printer, figure->name,
		       is_total   ? is_bytes ? "_bytes_total" : "_total"
		       : is_bytes ? "_bytes"
		                  : "",
		       NULL, 0, lab_figure_value(figure, &census->stats));
	}
}

static void
metrics_classes(const struct lab_printer *printer, const struct lab_census *census)
{
	family(printer, "class_blocks", "gauge", NULL, "live blocks, by size class");
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		sample(printer, "class_blocks", "", "size", census->classes[c].size, census->classes[c].live);
	family(printer, "class_spans", "gauge", NULL, "spans, by size class");
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		sample(printer, "class_spans", "", "size", census->classes[c].size, census->classes[c].spans);
	if (lab_load_rlx(&lab_settings.count_allocations))
		family(printer, "class_allocations", "counter", NULL, "allocations, by size class");
	for (unsigned c = 0; lab_load_rlx(&lab_settings.count_allocations) && c < LAB_CLASS_COUNT; c++)
		sample(printer, "class_allocations", "_total", "size", census->classes[c].size,
		       census->classes[c].allocations);
	family(printer, "segment_active", "gauge", "bytes", "bytes of pages in use, by size of segment");
	for (unsigned n = 0; n <= LAB_SLOTS_LOG_MAX; n++)
		sample(printer, "segment_active", "_bytes", "size", LAB_SLOT_SIZE << n, census->segments[n].taken);
}

static void
metrics_reserve(const struct lab_printer *printer)
{
	struct lab_reserve_class class;

	family(printer, "reserve_slots", "gauge", NULL, "slots of the reserve, by size");
	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		sample(printer, "reserve_slots", "", "size", class.size, class.slots);
	family(printer, "reserve_slots_used", "gauge", NULL, "slots of the reserve that are in use, by size");
	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		sample(printer, "reserve_slots_used", "", "size", class.size, class.used);
}

void
lab_stats_openmetrics(const struct lab_printer *printer, const struct lab_census *census)
{
	metrics_settings(printer);
	metrics_figures(printer, census);
	metrics_classes(printer, census);
	metrics_reserve(printer);
	lab_print_line(printer, "# EOF");
}
