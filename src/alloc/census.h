/* census.h - the figures of everything, by walks. Any context; nothing is allocated. */
#ifndef LAB_ALLOC_CENSUS_H
#define LAB_ALLOC_CENSUS_H

#include <labyrinth/labyrinth.h>

#include "heap/registry.h"

enum { LAB_HEAP_STATES = LAB_HEAP_FROZEN + 1 };

/* Of all segments of one size. */
struct lab_segment_census {
	size_t owned, empty; /* segments */
	size_t bytes;        /* of both */
	size_t taken;        /* bytes of pages that are in use */
};

struct lab_census {
	struct lab_stats stats;
	struct lab_class_stats classes[LAB_CLASS_COUNT];
	size_t runs, run_bytes;
	size_t touched;                                            /* bytes of carved pages of spans */
	struct lab_segment_census segments[LAB_SLOTS_LOG_MAX + 1]; /* by their logarithm of slots */
	size_t heaps_in[LAB_HEAP_STATES];
};
void lab_census_take(struct lab_census *census);

/* The first `count` heaps that were ever used, by id, each in `size` bytes, at least a struct lab_heap_stats; how many
 * there are. O(segments × heaps). */
size_t lab_census_heaps(void *heaps, size_t count, size_t size);

const char *lab_heap_state_name(enum lab_heap_state state);

#endif
