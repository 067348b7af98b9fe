/* island.h - a reserve of its own for a test: all of its memory is accessible from the start, and is mapped once. */
#ifndef LAB_TESTS_UNIT_RESERVE_ISLAND_H
#define LAB_TESTS_UNIT_RESERVE_ISLAND_H

#include <sys/mman.h>

#include "reserve/layout.h"
#include "trace.h"

static struct lab_reserve_plan island_plan;

/* `limit` 0: no growth. */
static inline void
island_make(const uint32_t *slots, uint32_t overflow, size_t limit)
{
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		island_plan.slots[c] = slots[c];
		island_plan.overflow[c] = c ? overflow : 0;
	}
	island_plan.limit = limit;
	REQUIRE(lab_reserve_plan(&island_plan));
	void *region = mmap(NULL, island_plan.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(region != MAP_FAILED);
	lab_reserve_install(&island_plan, region);
}

static inline struct lab_reserve_figures
island_figures(unsigned c)
{
	struct lab_reserve_figures figures;

	REQUIRE(lab_reserve_figures(c, &figures));
	return figures;
}

static inline size_t
island_size(unsigned c)
{
	return (size_t)32 << c;
}

#endif
