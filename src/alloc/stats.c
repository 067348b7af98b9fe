/*
 * stats.c - figures, taken by walking what everybody may read: owner words, bitmaps, descriptors, counters. Nothing is
 * decided by them. Any context; O(segments).
 */
#include <string.h>

#include "alloc/fastpath.h"
#include "alloc/limit.h"
#include "alloc/objects.h"
#include "alloc/reserve_api.h"
#include "base/format.h"
#include "heap/registry.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/purge.h"
#include "reserve/reserve.h"

_Static_assert(LAB_CLASS_COUNT < LAB_CLASSES_MAX, "as the public header promises");

/* What a walk adds up. */
struct census {
	struct lab_class_stats classes[LAB_CLASS_COUNT];
	size_t runs, run_bytes;
	struct lab_stats *stats;
};

static void
count_span(struct census *census, const struct lab_unit *unit)
{
	unsigned c = unit->size_class;
	const struct lab_heap *heap = lab_unit_heap(unit);
	bool is_current = lab_peek(&heap->bins[c].current) == unit;
	uint32_t used = ((lab_peek(&unit->freelist_state) >> 16) + !is_current) & 0xffff; /* INV-SPAN-2 */
	size_t carved = lab_peek(&unit->carved);

	if (used > carved)
		used = (uint32_t)carved; /* read in the middle of a change */
	census->classes[c].live += used;
	census->classes[c].carved += carved;
	census->classes[c].spans++;
}

static void
count_segment(struct census *census, const struct lab_segment *segment)
{
	for (size_t page = 0; page < lab_segment_pages(segment); page++) {
		const struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		const struct lab_run *run = &segment->runs[page];
		if (!(lab_load_rlx(&segment->taken[page / 64]) >> (page % 64) & 1))
			continue;
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN) {
			if (page % LAB_UNIT_PAGES == 0)
				count_span(census, unit);
			page |= LAB_UNIT_PAGES - 1;
		} else if (lab_run_kind_of(lab_load_acq(&run->state)) ==
		           LAB_RUN_LIVE) { /* pairs with the rel of heap/take.c */
			census->runs++;
			census->run_bytes += lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT;
		}
	}
}

static void
count_huge(struct census *census)
{
	struct lab_huge *huge;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		enum lab_huge_kind kind = lab_huge_kind(huge);
		size_t mapped = lab_load_rlx(&huge->mapped) << LAB_PAGE_SHIFT;
		if (kind == LAB_HUGE_FREE || kind == LAB_HUGE_BUSY)
			continue;
		census->stats->reserved += mapped;
		census->stats->committed += mapped;
		if (kind == LAB_HUGE_LIVE) {
			census->stats->huge_blocks++;
			census->stats->huge += lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT;
		}
	}
}

static void
count_segments(struct census *census)
{
	struct lab_segment *segment;
	uint64_t owner;

	census->stats->reserved = lab_space_table_size();
	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;) {
		census->stats->committed += lab_segment_pages(segment) * LAB_PAGE_SIZE;
		if (lab_owner_state(owner) != LAB_SLOT_OWNED)
			continue;
		census->stats->segments++;
		count_segment(census, segment);
	}
	census->stats->reserved += census->stats->committed;
}

static void
count_heaps(struct census *census)
{
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		if (lab_registry_state(id) == LAB_HEAP_UNUSED)
			continue;
		const struct lab_heap *heap = lab_registry_heap(id);
		census->stats->heaps++;
		census->stats->remote_frees += lab_load_rlx(&heap->remote_frees);
		census->stats->reentrant += lab_peek(&heap->reentrant);
		census->stats->adopted += lab_peek(&heap->adopted);
		for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
			census->classes[c].allocations += lab_peek(&heap->allocations[c]);
	}
}

static void
take_census(struct census *census, struct lab_stats *stats)
{
	memset(census, 0, sizeof *census);
	memset(stats, 0, sizeof *stats);
	census->stats = stats;
	count_segments(census);
	count_huge(census);
	count_heaps(census);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_class_stats *class = &census->classes[c];
		class->size = lab_class_size(c);
		stats->blocks += class->live;
		stats->in_use += class->live * class->size;
		stats->free_in_spans += (class->carved - class->live) * class->size;
	}
	stats->blocks += census->runs + stats->huge_blocks;
	stats->in_use += census->run_bytes + stats->huge;
	stats->dirty = lab_purge_dirty_pages() << LAB_PAGE_SHIFT;
	stats->purged = lab_purge_total_pages() << LAB_PAGE_SHIFT;
	stats->limit = lab_charge_is_limited() ? lab_load_rlx(&lab_charge_limit) << LAB_PAGE_SHIFT : SIZE_MAX;
	stats->charged = lab_charge_is_limited() ? lab_charge_count() << LAB_PAGE_SHIFT : 0;
	stats->waits = lab_limit_waits();
	struct lab_reserve_bytes reserve = lab_reserve_bytes();
	stats->reserve_total = reserve.total;
	stats->reserve_used = reserve.used;
}

LAB_EXPORT void
lab_stats_get(struct lab_stats *stats)
{
	struct census census;

	take_census(&census, stats);
}

LAB_EXPORT size_t
lab_class_stats_get(struct lab_class_stats *classes, size_t count, struct lab_stats *stats)
{
	struct census census;
	struct lab_stats all;

	take_census(&census, stats ? stats : &all);
	for (size_t c = 0; c < count && c < LAB_CLASS_COUNT; c++)
		classes[c] = census.classes[c];
	return LAB_CLASS_COUNT;
}

struct printer {
	void (*write_line)(void *context, const char *line);
	void *context;
};

static void
print_figure(const struct printer *printer, const char *name, uint64_t value)
{
	char buffer[96];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, name);
	while (text.length < 28)
		lab_text_string(&text, " ");
	lab_text_column(&text, value, 16);
	printer->write_line(printer->context, buffer);
}

/* A line of a table. */
enum { COLUMNS = 5 };

static void
print_row(const struct printer *printer, const uint64_t row[COLUMNS])
{
	char buffer[96];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	for (unsigned i = 0; i < COLUMNS; i++)
		lab_text_column(&text, row[i], 12);
	printer->write_line(printer->context, buffer);
}

static void
print_reserve(const struct printer *printer)
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
	print_figure(printer, "reserve: grown (bytes)", info.grown);
	print_figure(printer, "reserve: limit (bytes)", info.limit);
	print_figure(printer, "reserve: shares (bytes)", info.shares);
	print_figure(printer, "reserve: failures", info.failures);
	print_figure(printer, "reserve: lost races", info.lost_races);
	if (info.mode == LAB_RESERVE_NONE)
		return;
	printer->write_line(printer->context, "reserve class       slots    overflow        used         low");
	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		print_row(printer, (uint64_t[]){class.size, class.slots, class.overflow, class.used, class.low});
}

LAB_EXPORT void
lab_stats_print(void (*write_line)(void *context, const char *line), void *context)
{
	const struct printer printer = {write_line, context};
	struct census census;
	struct lab_stats s;

	take_census(&census, &s);
	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {
	        {"reserved (bytes)", s.reserved},
	        {"committed (bytes)", s.committed},
	        {"in use (bytes)", s.in_use},
	        {"live blocks", s.blocks},
	        {"free in spans (bytes)", s.free_in_spans},
	        {"free and dirty (bytes)", s.dirty},
	        {"given back so far (bytes)", s.purged},
	        {"huge (bytes)", s.huge},
	        {"huge blocks", s.huge_blocks},
	        {"segments", s.segments},
	        {"heaps", s.heaps},
	        {"remote frees", s.remote_frees},
	        {"re-entrant calls", s.reentrant},
	        {"heaps adopted", s.adopted},
	        {"reserve (bytes)", s.reserve_total},
	        {"reserve in use (bytes)", s.reserve_used},
	        {"limit (bytes)", s.limit},
	        {"charged (bytes)", s.charged},
	        {"waits", s.waits},
	};
	const size_t limited = s.limit != SIZE_MAX ? 0 : 3; /* the last three are of the limit */
	for (unsigned i = 0; i < sizeof figures / sizeof *figures - limited; i++)
		print_figure(&printer, figures[i].name, figures[i].value);
	print_reserve(&printer);
	if (!LAB_GUARD)
		write_line(context, "NOT SIGNAL-SAFE: built without guards, for measurement");
	write_line(context, "  class size        live      carved       spans allocations");
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct lab_class_stats *class = &census.classes[c];
		const uint64_t row[] = {class->size, class->live, class->carved, class->spans, class->allocations};
		if (class->carved || class->allocations)
			print_row(&printer, row);
	}
	const struct lab_objects *objects = lab_load_acq(&lab_objects); /* pairs with the rel of objects/cache.c */
	if (objects)
		objects->print(write_line, context);
}

LAB_EXPORT const char *
lab_version(void)
{
#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define VERSION  TEXT(LAB_VERSION_MAJOR) "." TEXT(LAB_VERSION_MINOR) "." TEXT(LAB_VERSION_PATCH)
	return LAB_GUARD ? VERSION : VERSION " (not signal-safe: built without guards, for measurement)";
}
