/* every.c - see faults.h. What a fault may have left undone, half done or forgotten shows here. */
#include <string.h>
#include <sys/resource.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "faults.h"
#include "reserve/reserve.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static void
every_size(void)
{
	static const size_t sizes[] = {0, 1, 16, 100, 1000, 4000, 9000, 32 << 10, 33 << 10, 100 << 10, 300 << 10};
	enum { SIZES = sizeof sizes / sizeof *sizes };
	struct kept plain[SIZES + 1] = {{0}}, zeroed[SIZES + 1] = {{0}};

	for (int i = 0; i < SIZES; i++) {
		kept_malloc(&plain[i], sizes[i]);
		kept_calloc(&zeroed[i], sizes[i]);
	}
	kept_malloc(&plain[SIZES], 4 * MIB);
	kept_calloc(&zeroed[SIZES], 4 * MIB + 1);
	for (int i = 0; i <= SIZES; i++) {
		kept_free(&plain[i]);
		kept_free(&zeroed[i]);
	}
}

static void
every_alignment(void)
{
	struct kept blocks[20] = {{0}};

	for (int i = 0; i < 20; i++)
		kept_aligned(&blocks[i], (size_t)16 << i, (size_t)40 << i % 7);
	for (int i = 0; i < 20; i++)
		kept_free(&blocks[i]);
}

static void
every_resizing(void)
{
	static const size_t sizes[] = {10,       100,     50,      10 * KIB, 100 * KIB, 200 * KIB,
	                               90 * KIB, 2 * MIB, 5 * MIB, 9 * MIB,  6 * MIB,   20};
	struct kept block = {0}, neighbour = {0};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		kept_realloc(&block, sizes[i], LAB_GFP_KERNEL);
		if (sizes[i] == 5 * MIB)
			kept_malloc(&neighbour, 5 * MIB); /* so that it has to move */
	}
	kept_free(&neighbour);
	kept_free(&block);
}

static bool
may_lock(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= 4 * MIB;
}

static void
every_mark(void)
{
	static const unsigned kinds[] = {LAB_GFP_EXCLUSIVE, LAB_GFP_NOFORK, LAB_GFP_NOMERGE, LAB_GFP_LOCKED,
	                                 LAB_GFP_NOFORK | LAB_GFP_ZERO};
	enum { KINDS = sizeof kinds / sizeof *kinds };
	struct kept blocks[KINDS] = {{0}};

	for (int i = 0; i < KINDS; i++)
		if (kinds[i] != LAB_GFP_LOCKED || may_lock())
			kept_gfp(&blocks[i], 5000 * (size_t)(i + 1), kinds[i]);
	for (int i = 0; i < KINDS; i++)
		kept_free(&blocks[i]);
}

static void
every_object(void)
{
	struct lab_mempool *pool = lab_mempool_create_sized(8, 200);
	struct lab_cache *cache = lab_cache_create("every kind", 300, 0, NULL);
	void *objects[70];

	REQUIRE(pool && cache && lab_mempool_resize(pool, 20) && lab_mempool_available(pool) == 20);
	for (int i = 0; i < 70; i++)
		REQUIRE(objects[i] = i % 2 ? lab_cache_alloc(cache, LAB_GFP_KERNEL)
		                           : lab_mempool_alloc(pool, LAB_GFP_KERNEL));
	for (int i = 0; i < 70; i++)
		i % 2 ? lab_cache_free(cache, objects[i]) : lab_mempool_free(pool, objects[i]);
	lab_mempool_destroy(pool);
	REQUIRE(lab_cache_destroy(cache));
}

/* A class that has fallen below its mark grows, if there is a reserve. */
static void
every_growth(void)
{
	struct lab_reserve_class class;
	static void *slots[4096];
	size_t count = 0;

	if (!lab_reserve_class_get(1, &class))
		return;
	struct lab_reserve_info before;
	lab_reserve_info(&before);
	for (; count < class.slots - class.low + 1; count++)
		REQUIRE(slots[count] = lab_alloc(class.size, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC));
	REQUIRE(before.grown > 0 || lab_reserve_balance());
	while (count > 0)
		lab_free(slots[--count]);
	while (lab_reserve_balance() || lab_trim(0))
		;
	struct lab_reserve_info after;
	lab_reserve_info(&after);
	REQUIRE(after.grown == 0 && after.used == 0 && after.mode != LAB_RESERVE_NONE &&
	        after.mode != LAB_RESERVE_COPIED);
}

static void
every_share(void)
{
	void *slots[10];

	REQUIRE(lab_reserve_thread(500, 10));
	for (int i = 0; i < 10; i++) {
		REQUIRE(slots[i] = lab_alloc(500, LAB_GFP_ATOMIC));
		memset(slots[i], i, 500);
	}
	for (int i = 0; i < 10; i++)
		lab_free(slots[i]);
	REQUIRE(lab_reserve_thread(500, 0));
}

void
fault_every_kind(void)
{
	REQUIRE(!lab_load_acq(&fault_run->armed));
	every_size();
	every_alignment();
	every_resizing();
	every_mark();
	every_object();
	every_growth();
	every_share();
}
