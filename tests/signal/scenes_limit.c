/* scenes_limit.c - the memory limit reached: refused, reclaimed, waited for: see scenes_kinds.h. Handlers are frugal
 * meanwhile. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "calls.h"
#include "scenes_kinds.h"

/* The blocks that are held, as a list through themselves. */
static void **hoard;

static bool
take(size_t size)
{
	void **p = malloc(size);

	if (!p) {
		REQUIRE(errno == ENOMEM);
		return false;
	}
	*p = hoard;
	hoard = p;
	return true;
}

static void
take_all(void)
{
	static const size_t sizes[] = {20 * MIB, 5 * MIB, 1 * MIB, 70 * KIB, 20 * KIB};

	for (int i = 0; i < 5; i++)
		while (take(sizes[i]))
			;
	REQUIRE(hoard != NULL);
}

static void
give_back(size_t count)
{
	while (hoard && count-- > 0) {
		void **next = *hoard;
		free(hoard);
		hoard = next;
	}
}

/* All kinds of calls while nothing is left, or little. */
static void
calls_at_the_limit(void)
{
	static const size_t sizes[] = {100, 3000, 20 * KIB, 100 * KIB, 1 * MIB, 6 * MIB, 400 * MIB};

	for (int i = 0; i < 7; i++) {
		void *p = malloc(sizes[i]), *q = calloc(1, sizes[i]), *r = aligned_alloc(4096, sizes[i]);
		void *s = tier.alloc(sizes[i], LAB_GFP_NOWAIT), *t = tier.alloc(sizes[i], LAB_GFP_NOMERGE);
		void *u = tier.alloc(sizes[i], LAB_GFP_KERNEL | LAB_GFP_HIGH), *v;
		if (p && (v = realloc(p, sizes[i] * 2)) != NULL)
			p = v;
		if (q && (v = realloc(q, sizes[i] / 3)) != NULL)
			q = v;
		void *all[] = {p, q, r, s, t, u};
		for (int k = 0; k < 6; k++)
			free(all[k]);
	}
}

/* An object that is freed as a block leaves a slab to be reclaimed. */
static void
leave_an_empty_slab(void)
{
	static struct lab_cache *cache;

	if (!cache)
		cache = tier.cache_create("limit", 2000, 0, NULL);
	REQUIRE(cache != NULL);
	void *object = tier.cache_alloc(cache, LAB_GFP_KERNEL);
	REQUIRE(!object || malloc_usable_size(object) >= 2000);
	free(object);
}

void
scene_limit_reached(void)
{
	memory_is_short = true;
	for (int round = 0; round < 2; round++) {
		leave_an_empty_slab();
		take_all();
		calls_at_the_limit();
		give_back(3 + (size_t)round * 40);
		calls_at_the_limit();
		give_back(SIZE_MAX);
	}
	memory_is_short = false;
}

/* A huge block that grows to the limit where it lies, and then no further. */
static void
scene_limit_by_growth(void)
{
	size_t size = 5 * MIB, last = 0;
	void *p, *q;

	memory_is_short = true;
	p = malloc(size);
	REQUIRE(p != NULL);
	for (; (q = realloc(p, size)) != NULL; size += 9 * MIB) {
		p = q;
		last = size;
	}
	REQUIRE(errno == ENOMEM);
	while (last > 10 * MIB) {
		last -= 9 * MIB + 100;
		REQUIRE((p = realloc(p, last)) != NULL);
	}
	free(p);
	memory_is_short = false;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static _Atomic bool is_full;

static void *
free_by_and_by(void *unused)
{
	while (!is_full)
		usleep(100);
	for (int i = 0; i < 8; i++) {
		usleep(3000);
		give_back(1);
	}
	give_back(SIZE_MAX);
	return unused;
}

/* Others free, and a call that waits gets what it wants. */
static void
scene_limit_waited_for(void)
{
	pthread_t thread;

	memory_is_short = true;
	is_full = false;
	REQUIRE(pthread_create(&thread, NULL, free_by_and_by, NULL) == 0);
	take_all();
	REQUIRE(library_set(LAB_PARAM_WAIT_MS, 5000));
	is_full = true;
	void *p = malloc(21 * MIB);
	REQUIRE(pthread_join(thread, NULL) == 0);
	REQUIRE(library_set(LAB_PARAM_WAIT_MS, 1));
	REQUIRE(p != NULL);
	free(p);
	memory_is_short = false;
}

/* ---- ordinary scenes, charged for ------------------------------------------------------------------------------ */

/* Free pages that have not gone back count. The main program's calls reclaim them; a handler in the middle of that gets
 * nothing. */
static void
with_room(void (*scene)(void))
{
	memory_is_short = true;
	(void)malloc_trim(0);
	memory_is_short = false;
	scene();
}

static void
scene_limit_runs(void)
{
	with_room(scene_runs_of_pages);
}

static void
scene_limit_realloc(void)
{
	with_room(scene_realloc_of_runs);
}

static void
scene_limit_huge(void)
{
	with_room(scene_huge_blocks);
}

const struct scene limit_scenes[] = {
        {"limit: reached", scene_limit_reached},         {"limit: by growth", scene_limit_by_growth},
        {"limit: waited for", scene_limit_waited_for},   {"limit: runs of pages", scene_limit_runs},
        {"limit: realloc of runs", scene_limit_realloc}, {"limit: realloc of huge blocks", scene_limit_huge},
        {"limit: caches", scene_limit_caches},
};

const size_t limit_scene_count = sizeof limit_scenes / sizeof *limit_scenes;
