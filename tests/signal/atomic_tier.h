/*
 * atomic_tier.h - the functions of the atomic tier, and those of exclusive blocks, found by dlsym in the malloc under
 * test, for programs that are not linked with it.
 */
#ifndef LAB_TESTS_SIGNAL_ATOMIC_TIER_H
#define LAB_TESTS_SIGNAL_ATOMIC_TIER_H

#include <labyrinth/labyrinth.h>

extern struct tier {
	void *(*alloc)(size_t size, unsigned gfp);
	void *(*alloc_aligned)(size_t alignment, size_t size, unsigned gfp);
	void *(*alloc_pages)(unsigned gfp, unsigned order);
	void (*free_pages)(void *pages, unsigned order);
	void *(*realloc)(void *block, size_t size, unsigned gfp);
	void (*release)(void *block);
	size_t (*usable_size)(const void *block);
	void (*reserve_info)(struct lab_reserve_info *info);
	bool (*reserve_class_get)(size_t index, struct lab_reserve_class *info);
	bool (*reserve_thread)(size_t size, size_t count);
	bool (*reserve_balance)(void);
	void (*reserve_on_low)(void (*callback)(void *context, size_t size), void *context);
	int (*owner)(const void *block);
	bool (*transfer)(void *block, int tid);
	struct lab_cache *(*cache_create)(const char *name, size_t size, size_t align, void (*construct)(void *object));
	void *(*cache_alloc)(struct lab_cache *cache, unsigned gfp);
} tier;

/* Fails if one is missing. Before anything that must not allocate. */
void find_tier(void);

/* Writes to each page of the test's own data and of the stack below, which a fork has made copy-on-write. */
void touch_own_pages(void *data, size_t size);

#endif
