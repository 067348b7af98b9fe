/* objects.c - pools and typed caches: what cannot be made is not made, and what a pool has promised is there all the
 * same. */
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "faults.h"
#include "objects/cache.h"

#define KIB ((size_t)1 << 10)

enum { MINIMUM = 30, OBJECTS = 250 };

/* ---- pools ----------------------------------------------------------------------------------------------------- */

/* The promise: `min` elements, whatever the system refuses. */
static void
draw(struct lab_mempool *pool, size_t min, size_t size)
{
	char *elements[MINIMUM];

	for (size_t i = 0; i < min; i++) {
		REQUIRE(elements[i] = lab_mempool_alloc(pool, i % 2 ? LAB_GFP_KERNEL : LAB_GFP_NOWAIT));
		elements[i][0] = elements[i][size - 1] = (char)i;
	}
	for (size_t i = 0; i < min; i++) {
		REQUIRE(elements[i][0] == (char)i && elements[i][size - 1] == (char)i);
		lab_mempool_free(pool, elements[i]);
	}
	REQUIRE_EQUAL(lab_mempool_available(pool), min);
}

static void
pool_of(size_t size)
{
	kept_begin();
	struct lab_mempool *pool = lab_mempool_create_sized(MINIMUM / 3, size);
	kept_judge(pool);
	if (!pool)
		return;
	draw(pool, MINIMUM / 3, size);
	bool resized = lab_mempool_resize(pool, MINIMUM);
	size_t available = lab_mempool_available(pool);
	kept_judge_done(available == MINIMUM); /* elements that the system refused are missing, and no others */
	REQUIRE(available >= MINIMUM / 3 && (resized || available == MINIMUM / 3));
	draw(pool, available, size);
	char *more = resized && available < MINIMUM ? lab_malloc(size) : NULL;
	lab_mempool_free(pool, more);
	REQUIRE_EQUAL(lab_mempool_available(pool), available + (more != NULL)); /* what is missing comes by frees */
	REQUIRE(lab_mempool_resize(pool, 3));                                   /* to fewer: nothing is needed */
	draw(pool, 3, size);
	lab_mempool_destroy(pool);
}

static void
pools(void)
{
	pool_of(100);
	pool_of(3000);
	pool_of(700 * KIB);
}

/* ---- caches ------------------------------------------------------------------------------------------------------ */

static void *objects[OBJECTS];

static void
construct(void *object)
{
	memset(object, 0x5a, 64);
}

static bool
is_constructed(const char *object)
{
	for (int i = 0; i < 64; i++)
		if (object[i] != 0x5a)
			return false;
	return true;
}

static size_t
descriptors(struct lab_cache *cache)
{
	size_t count = 0;

	for (struct lab_slab *slab = lab_load_acq(&cache->slabs.list); slab; slab = slab->next)
		count++;
	return count;
}

/* One failure after the other uses up one slab's place, not one each. */
static void
take_objects(struct lab_cache *cache, int count)
{
	size_t slabs = SIZE_MAX;

	for (int i = 0; i < count; i++) {
		kept_begin();
		objects[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
		kept_judge(objects[i]);
		REQUIRE(objects[i] || descriptors(cache) <= slabs);
		slabs = objects[i] ? SIZE_MAX : descriptors(cache);
		if (objects[i]) {
			REQUIRE(is_constructed(objects[i]));
			*(int *)objects[i] = i;
		}
	}
}

static void
give_objects(struct lab_cache *cache, int count)
{
	for (int i = 0; i < count; i++) {
		if (!objects[i])
			continue;
		REQUIRE(*(int *)objects[i] == i);
		construct(objects[i]);
		lab_cache_free(cache, objects[i]);
	}
}

static void
cache_of(size_t size, size_t align, int count)
{
	kept_begin();
	struct lab_cache *cache = lab_cache_create("faults", size, align, construct);
	kept_judge(cache);
	if (!cache)
		return;
	for (int round = 0; round < 2; round++) {
		take_objects(cache, count);
		give_objects(cache, count);
		(void)lab_cache_shrink(cache);
		(void)lab_trim(0);
	}
	REQUIRE(lab_cache_destroy(cache));
}

static void
caches(void)
{
	cache_of(100, 0, OBJECTS);
	cache_of(20000, 64, OBJECTS);
	cache_of(300 * KIB, 4 * KIB, 9);
	(void)lab_caches_shrink(0);
}

static const struct fault_workload workloads[] = {
        {"pools", NULL, pools, false, false},
        {"caches", NULL, caches, false, false},
};

const struct fault_group fault_objects = FAULT_GROUP("objects", workloads);
