/* figures.h - what a snapshot adds up to. One table names the figures: stat, metrics, diff and top are made from it. */
#ifndef LAB_TOOL_FIGURES_H
#define LAB_TOOL_FIGURES_H

#include "heap/size_class.h"
#include "snapshot.h"

/* In jemalloc's words as far as they go, in bytes: allocated <= active <= mapped. */
struct figures {
	uint64_t allocated, active, resident, retained, mapped, metadata;
	uint64_t dirty, free_in_spans, pinned, remote_waiting, purged;
	uint64_t blocks, large, large_blocks, huge, huge_blocks, huge_cached;
	uint64_t segments, empty_segments, heaps, heaps_in_use;
	uint64_t remote_frees, reentrant_calls, adopted_heaps, slow_calls;
	uint64_t reserve, reserve_used, reserve_grown, reserve_limit, reserve_shares, reserve_failures;
	uint64_t limit, charged, waits; /* limit: UINT64_MAX if there is none */
};

/* Of a size class. */
struct class_figures {
	uint64_t size, live, carved, spans;
	uint64_t pinned; /* bytes of touched pages of spans that are not empty, and not in live blocks */
	uint64_t allocations;
};

/* Of a heap. */
struct heap_figures {
	uint32_t id, tid;
	enum lab_heap_state state;
	uint64_t segments, mapped, active;
	uint64_t remote_waiting, remote_frees, reentrant_calls, slow_calls;
};

enum { HEAPS_SHOWN = 64 };

struct census {
	struct figures all;
	struct class_figures classes[LAB_CLASS_COUNT];
	struct heap_figures heaps[HEAPS_SHOWN]; /* those that have most, first */
	size_t heaps_shown;
};

void census_take(struct census *census, const struct snapshot *snapshot);

/* Of each heap, in the order of the snapshot; to be freed. O(heaps + segments). */
struct heap_figures *heap_figures_take(const struct snapshot *snapshot);

/* Blocks in use of a span, and bytes that it pins: touched pages that cannot go back because of them. */
uint32_t span_live(const struct lab_unit *unit);
uint64_t span_pinned(const struct lab_unit *unit);

struct figure {
	const char *key; /* in JSON, and in metrics behind "labyrinth_" */
	size_t offset;   /* of the uint64_t in struct figures */
	bool bytes, counter;
	const char *help;
};
extern const struct figure figures_table[];
extern const size_t figures_count;

static inline uint64_t
figure_value(const struct figures *figures, const struct figure *figure)
{
	return *(const uint64_t *)(const void *)((const char *)figures + figure->offset);
}

#endif
