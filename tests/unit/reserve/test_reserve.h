/* test_reserve.h - a reserve of its own for a test: all of its memory is accessible from the start, and so is that of
 * shares. */
#ifndef LAB_TESTS_UNIT_RESERVE_TEST_RESERVE_H
#define LAB_TESTS_UNIT_RESERVE_TEST_RESERVE_H

#include <string.h>
#include <sys/mman.h>

#include "reserve/reserve.h"
#include "trace.h"

static inline void *
test_reserve_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(size != 0 && memory != MAP_FAILED);
	return memory;
}

static inline void
test_reserve_make(const uint32_t *slots)
{
	struct lab_reserve_plan plan = {.limit = 0};

	memcpy(plan.slots, slots, sizeof plan.slots);
	lab_reserve_install(&plan, test_reserve_map(lab_reserve_plan_memory(&plan)));
}

/* A closed share whose lease is tid's; one for growth is in its class's list. NULL: the table is full. */
static inline struct lab_share *
test_reserve_share(unsigned shift, size_t slots, uint32_t tid, bool is_growth)
{
	struct lab_share *share =
	        lab_share_make(test_reserve_map(lab_share_bytes(shift, slots)), shift, slots, tid, is_growth);

	if (share && is_growth)
		lab_share_link(&lab_reserve.pools[shift - LAB_RESERVE_MIN_SHIFT].growth, share);
	return share;
}

static inline struct lab_reserve_figures
test_reserve_figures(unsigned c)
{
	struct lab_reserve_figures figures;

	REQUIRE(lab_reserve_figures(c, &figures));
	return figures;
}

static inline size_t
test_reserve_size(unsigned c)
{
	return (size_t)32 << c;
}

#endif
