/* first.c - the first call of a process, whatever it is: the tables are mapped, the fork mark is made, the heap is
 * born, a segment opened. */
#include <string.h>

#include "faults.h"

#define MIB ((size_t)1 << 20)

static void
first_malloc(void)
{
	struct kept block = {0};

	kept_malloc(&block, 100);
	kept_free(&block);
}

static void
first_calloc(void)
{
	struct kept small = {0}, large = {0};

	kept_calloc(&large, 100000);
	kept_calloc(&small, 40);
	kept_free(&large);
	kept_free(&small);
}

static void
first_huge(void)
{
	struct kept block = {0};

	kept_aligned(&block, 8 * MIB, 9 * MIB);
	kept_free(&block);
}

static void
first_exclusive(void)
{
	struct kept block = {0};

	kept_gfp(&block, 9000, LAB_GFP_NOMERGE);
	kept_free(&block);
}

static void
first_realloc(void)
{
	struct kept block = {0};

	kept_realloc(&block, 5000, LAB_GFP_ZERO);
	kept_realloc(&block, 50000, LAB_GFP_ZERO);
	kept_free(&block);
}

static void
first_cache(void)
{
	kept_begin();
	struct lab_cache *cache = lab_cache_create("first", 100, 0, NULL);
	kept_judge(cache);
	if (!cache)
		return;
	kept_begin();
	void *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);
	kept_judge(object);
	lab_cache_free(cache, object);
	REQUIRE(lab_cache_destroy(cache));
}

static void
first_pool(void)
{
	kept_begin();
	struct lab_mempool *pool = lab_mempool_create_sized(5, 5000);
	kept_judge(pool);
	lab_mempool_destroy(pool);
}

static void
first_share(void)
{
	bool done = lab_reserve_thread(64, 20);

	kept_judge_done(done);
	void *slot = lab_alloc(64, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	REQUIRE((slot != NULL) == done);
	lab_free(slot);
	REQUIRE(lab_reserve_thread(64, 0));
}

/* What needs no memory works without any. */
static void
first_others(void)
{
	struct lab_stats stats;
	char outside;

	lab_free(NULL);
	REQUIRE(!lab_owns(&outside) && lab_owner(&outside) == -1 && lab_usable_size(NULL) == 0);
	REQUIRE(!lab_transfer(&outside, 1));
	lab_stats_get(&stats);
	(void)lab_trim(0);
	(void)lab_reserve_balance();
	REQUIRE(lab_alloc(100, LAB_GFP_ATOMIC | LAB_GFP_NOWARN) == NULL);
	first_malloc();
}

/* Under the constructors, with the default reserve and a limit that is read from files. */
static void
program(void)
{
	struct lab_reserve_info info;
	struct kept blocks[4] = {{0}};

	kept_malloc(&blocks[0], 1000);
	kept_calloc(&blocks[1], 300000);
	kept_gfp(&blocks[2], 10, LAB_GFP_HIGH);
	kept_malloc(&blocks[3], 6 * MIB);
	lab_reserve_info(&info);
	REQUIRE(info.mode == LAB_RESERVE_STRICT || *info.why);
	void *slot = lab_alloc(500, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	REQUIRE((slot != NULL) == (info.mode != LAB_RESERVE_NONE));
	if (slot)
		memset(slot, 1, 500);
	lab_free(slot);
	for (int i = 0; i < 4; i++)
		kept_free(&blocks[i]);
}

static const struct fault_workload workloads[] = {
        {"program", NULL, program, true, false},           {"malloc", NULL, first_malloc, false, false},
        {"calloc", NULL, first_calloc, false, false},      {"huge", NULL, first_huge, false, false},
        {"exclusive", NULL, first_exclusive, false, true}, {"realloc", NULL, first_realloc, false, false},
        {"cache", NULL, first_cache, false, false},        {"pool", NULL, first_pool, false, false},
        {"share", NULL, first_share, false, false},        {"others", NULL, first_others, false, false},
};

const struct fault_group fault_first = FAULT_GROUP("first", workloads);
