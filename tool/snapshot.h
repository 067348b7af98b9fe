/*
 * snapshot.h - a copy of what describes a process's heap: segments, spans, runs, huge blocks, heaps, reserve. Taken
 * while the process runs: each segment is as it was at some instant or later, checked by its owner word; what does not
 * check is left out and counted.
 */
#ifndef LAB_TOOL_SNAPSHOT_H
#define LAB_TOOL_SNAPSHOT_H

#include "reserve/share.h"
#include "target.h"

struct segment {
	uintptr_t base;
	uint32_t heap; /* its id */
	uint32_t pages;
	bool is_empty; /* mapped, and nobody's */
	uint64_t taken[LAB_SEGMENT_WORDS], dirty[LAB_SEGMENT_WORDS];
	struct lab_unit *units; /* a copy of one each 16 pages */
	uint32_t *runs;         /* a page each: the pages of a live run that begins there, or 0 */
};

struct heap {
	uint32_t id, tid;
	enum lab_heap_state state;
	struct lab_heap heap;
};

struct snapshot_share {
	uint64_t bytes, used; /* in slots */
	unsigned shift;
	bool open, everybodys;
	uintptr_t start, end;
};

struct snapshot {
	const struct target *target;
	double at; /* seconds, CLOCK_REALTIME */
	uintptr_t space_start, space_end, heaps_base;
	struct segment *segments;
	size_t segment_count;
	struct lab_huge *huge; /* LIVE, FREEING or CACHED ones */
	size_t huge_count;
	struct heap *heaps;
	size_t heap_count;
	struct lab_reserve reserve;
	uint32_t reserve_used[LAB_RESERVE_CLASSES]; /* slots */
	struct snapshot_share *shares;
	size_t share_count;
	struct lab_setting_now settings[LAB_SETTINGS_MAX];
	char texts[LAB_SETTING_TEXTS][LAB_VALUE_MAX + 1];
	struct lab_counts counts;
	uint64_t limit; /* pages */
	uint64_t waits;
	size_t skipped; /* segments that could not be read as one */
};

/* False: the process is gone, or shows nothing that makes sense. To be freed only if true. */
bool snapshot_take(struct snapshot *snapshot, const struct target *target);
void snapshot_free(struct snapshot *snapshot);

/* The page's unit, if a span is there: its page is taken, and its descriptor makes sense. */
const struct lab_unit *segment_span(const struct segment *segment, size_t page);

static inline bool
segment_page_is(const uint64_t *bits, size_t page)
{
	return bits[page / 64] >> (page % 64) & 1;
}

/* The segment in which the address lies; NULL: in none. */
const struct segment *snapshot_find(const struct snapshot *snapshot, uintptr_t address);

const char *heap_state_name(enum lab_heap_state state);

#endif
