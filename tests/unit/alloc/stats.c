/* stats.c - the figures tell the truth: known allocations, summed up by the test, against what the walk finds. */
#include <criterion/criterion.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "os/os.h"
#include "page/map.h"
#include "trace.h"

static struct lab_stats
stats_now(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats;
}

Test(stats, before_the_first_allocation_there_is_nothing)
{
	struct lab_stats s = stats_now();

	cr_assert_eq(s.in_use + s.blocks + s.committed + s.reserved + s.heaps + s.dirty, 0);
	cr_assert_eq(s.reserve_total, 0);
}

Test(stats, live_blocks_and_bytes_over_a_long_trace)
{
	static struct trace_block blocks[1000];
	struct trace trace = {{2}, blocks, 1000, 14, 23, 12, false};

	for (int round = 0; round < 60; round++) {
		size_t live = 0, bytes = 0, huge = 0, huge_blocks = 0, in_class[LAB_CLASS_COUNT] = {0};
		trace_run(&trace, 500);
		for (size_t i = 0; i < trace.slots; i++) {
			if (!blocks[i].p)
				continue;
			size_t usable = lab_usable_size(blocks[i].p);
			enum lab_place_kind kind = lab_map_find(blocks[i].p).kind;
			bool is_huge = kind == LAB_PLACE_HUGE;
			live++;
			bytes += usable;
			huge += is_huge ? usable : 0;
			huge_blocks += is_huge;
			if (kind == LAB_PLACE_SPAN)
				in_class[lab_class_of(usable)]++;
		}
		struct lab_stats s = stats_now();
		cr_assert_eq(s.blocks, live);
		cr_assert_eq(s.in_use, bytes);
		cr_assert_eq(s.huge, huge);
		cr_assert_eq(s.huge_blocks, huge_blocks);
		cr_assert_geq(s.committed, s.in_use + s.free_in_spans);
		cr_assert_geq(s.reserved, s.committed);
		cr_assert_leq(s.segments * LAB_SLOT_SIZE, s.committed);
		cr_assert_eq(s.heaps, 1);
		struct lab_class_stats classes[LAB_CLASSES_MAX];
		struct lab_stats same;
		size_t free_bytes = 0, count = lab_class_stats_get(classes, LAB_CLASSES_MAX, &same);
		cr_assert_eq(memcmp(&same, &s, offsetof(struct lab_stats, active)), 0, "one walk, the same figures");
		for (size_t c = 0; c < count; c++) {
			const struct lab_class_stats class = classes[c];
			cr_assert_eq(class.size, lab_class_size((unsigned)c));
			cr_assert_eq(class.live, in_class[c]);
			cr_assert_geq(class.carved, class.live);
			cr_assert_leq(class.carved * class.size, class.spans * LAB_UNIT_SIZE);
			free_bytes += (class.carved - class.live) * class.size;
		}
		cr_assert_eq(s.free_in_spans, free_bytes);
	}
	trace_free_all(&trace);
	struct lab_stats s = stats_now();
	cr_assert_eq(s.blocks, 0);
	cr_assert_eq(s.in_use, 0);
	cr_assert_gt(s.dirty, 0);
	(void)lab_trim(0);
	struct lab_stats after = stats_now();
	cr_assert_eq(after.dirty, 0);
	cr_assert_geq(after.purged, s.dirty);
}

Test(stats, remote_and_reentrant_calls_are_counted)
{
	struct lab_guard guard = {.sp = (uintptr_t)__builtin_frame_address(0) + 64};
	void *before[6];

	for (int i = 0; i < 6; i++)
		before[i] = lab_malloc(10);
	cr_assert(lab_enter(&guard));
	for (int i = 0; i < 5; i++)
		lab_free(lab_malloc(100)); /* of the heap that is borrowed, both */
	for (int i = 0; i < 6; i++)
		lab_free(before[i]);
	lab_leave(&guard);
	(void)lab_trim(0); /* takes them in */
	struct lab_stats s = stats_now();
	cr_assert_geq(s.reentrant, 5);
	cr_assert_geq(s.remote_frees, 6);
	cr_assert_eq(s.heaps, 2);
}

Test(stats, allocations_are_counted_when_asked_for)
{
	struct lab_class_stats classes[LAB_CLASSES_MAX] = {0};

	lab_store_rlx(&lab_settings.count_allocations, true);
	lab_config_apply();
	for (int i = 0; i < 1000; i++)
		lab_free(lab_malloc(100));
	cr_assert_eq(lab_class_stats_get(classes, lab_class_of(100) + 1, NULL), LAB_CLASS_COUNT);
	cr_assert_eq(classes[lab_class_of(100)].allocations, 1000);
	cr_assert_eq(classes[lab_class_of(100) + 1].size, 0, "no more than was asked for");
}

struct lines {
	size_t count, bytes_in_use;
	bool saw_class;
};

static void
take_line(void *context, const char *line)
{
	struct lines *lines = context;

	lines->count++;
	REQUIRE(strchr(line, '\n') == NULL);
	if (strncmp(line, "allocated ", 10) == 0)
		lines->bytes_in_use = strtoull(line + 10, NULL, 10);
	lines->saw_class |= strtoull(line, NULL, 10) == 112;
}

Test(stats, the_text_has_the_same_figures)
{
	struct lines lines = {0};
	void *p = lab_malloc(100), *q = lab_malloc(100000);

	lab_stats_print(take_line, &lines);
	cr_assert_geq(lines.count, 18);
	cr_assert_eq(lines.bytes_in_use, lab_usable_size(p) + lab_usable_size(q));
	cr_assert(lines.saw_class);
	lab_free(p);
	lab_free(q);
}

/* What a caller of another version sees. */
Test(stats, the_struct_is_versioned_by_its_size)
{
	struct {
		struct lab_stats known;
		size_t later[4];
	} longer;
	size_t first[2];
	struct lab_stats shorter;
	void *p = lab_malloc(100000);

	memset(&longer, 0xff, sizeof longer);
	cr_assert_eq(lab_stats_get_sized(&longer.known, sizeof longer), sizeof longer.known);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(longer.later[i], 0, "what this version does not know is 0");
	cr_assert_eq(longer.known.runs, 1);
	cr_assert_eq(lab_stats_get_sized((struct lab_stats *)(void *)first, sizeof *first), sizeof longer.known);
	cr_assert_eq(first[0], longer.known.reserved);
	memset(&shorter, 0xff, sizeof shorter);
	(lab_stats_get)(&shorter);
	cr_assert_eq(shorter.waits, 0);
	cr_assert_eq(shorter.active, SIZE_MAX, "programs of the first version have no more room");
	lab_free(p);
}

Test(stats, heaps_and_segments_add_up)
{
	struct {
		struct lab_heap_stats known;
		size_t later;
	} heaps[3];
	struct lab_guard guard = LAB_GUARD_HERE;
	void *p = lab_malloc(100000), *q;

	REQUIRE(lab_enter(&guard));
	q = lab_malloc(1000); /* of another heap */
	lab_leave(&guard);
	memset(heaps, 0xff, sizeof heaps);
	cr_assert_eq(lab_heap_stats_get(&heaps[0].known, 3, sizeof heaps[0]), 2);
	cr_assert_eq(heaps[0].known.owner, (int)lab_os_tid());
	cr_assert_str_eq(heaps[0].known.state, "current");
	cr_assert_str_eq(heaps[1].known.state, "idle");
	cr_assert_eq(heaps[1].known.owner, 0);
	cr_assert_eq(heaps[0].later + heaps[1].later, 0);
	cr_assert_eq(heaps[2].later, SIZE_MAX, "there is no third one");
	struct lab_stats s = stats_now();
	cr_assert_eq(heaps[0].known.segments + heaps[1].known.segments, s.segments);
	cr_assert_eq(heaps[0].known.active + heaps[1].known.active, s.active);
	cr_assert_eq(heaps[0].known.mapped + heaps[1].known.mapped, s.committed);
	cr_assert_geq(s.active, s.in_use);
	cr_assert_geq(s.resident, s.in_use);
	cr_assert_eq(s.retained + s.active + s.dirty, s.committed);
	cr_assert_eq(lab_heap_stats_get(&heaps[0].known, 0, sizeof heaps[0].known), 2);
	cr_assert_eq(lab_heap_stats_get(&heaps[0].known, 3, sizeof heaps[0].known - 1), 0);
	lab_free(p);
	lab_free(q);
}

struct written {
	char first[100], last[100];
	bool has_allocated;
};

static void
take_written(void *context, const char *line)
{
	struct written *written = context;

	REQUIRE(strlen(line) < 2000 && strchr(line, '\n') == NULL);
	if (!*written->first)
		(void)snprintf(written->first, sizeof written->first, "%.99s", line);
	(void)snprintf(written->last, sizeof written->last, "%.99s", line);
	written->has_allocated |= strstr(line, "allocated_bytes") != NULL;
}

/* What a reader of each makes of them: boot/boot.py. */
Test(stats, formats)
{
	static const struct {
		enum lab_stats_format format;
		const char *first, *last;
		bool has_allocated;
	} formats[] = {
	        {LAB_STATS_JSON, "{", "}", true},
	        {LAB_STATS_OPENMETRICS, "# TYPE labyrinth_build info", "# EOF", true},
	        {LAB_STATS_TEXT, "version ", "", false},
	};

	for (unsigned i = 0; i < sizeof formats / sizeof *formats; i++) {
		struct written written = {0};
		lab_stats_write(formats[i].format, take_written, &written);
		cr_assert_eq(strncmp(written.first, formats[i].first, strlen(formats[i].first)), 0, "%s",
		             written.first);
		cr_assert_eq(written.has_allocated, formats[i].has_allocated);
		if (*formats[i].last)
			cr_assert_str_eq(written.last, formats[i].last);
	}
}
