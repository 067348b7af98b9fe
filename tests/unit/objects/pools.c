/*
 * pools.c - four threads at one cache or one pool at once, with shrinking, resizing and figures meanwhile: no object
 * has two holders, each is as its constructor made it, none is lost. A plain program, for TSan.
 *
 * Clauses: G9.4.
 */
#include "many_threads.h"
#include "objects/cache.h"

#if defined(LAB_THREAD_SANITIZER)
enum { STEPS = 60000 };
#else
enum { STEPS = 600000 };
#endif

enum { THREADS = 4, HELD = 100, MAGIC = 0x5eed };

struct thing {
	size_t magic, holder, more[8];
};

static struct lab_cache *cache;
static struct lab_mempool *pool;

static size_t
descriptors(void)
{
	size_t count = 0;

	for (struct lab_slab *slab = cache->slabs.list; slab; slab = slab->next)
		count++;
	return count;
}

static void
construct(void *object)
{
	*(struct thing *)object = (struct thing){.magic = MAGIC};
}

/* Plain stores: TSan sees two holders, and a holder of memory that was given back. */
static void
hold(struct thing *thing, size_t number)
{
	REQUIRE(thing->magic == MAGIC && thing->holder == 0);
	thing->holder = number;
}

static void
let_go(struct thing *thing, size_t number)
{
	REQUIRE(thing->magic == MAGIC && thing->holder == number);
	thing->holder = 0;
}

/* Objects that go from thread to thread. */
static _Atomic(struct thing *) mail[16];

static void
use_cache(size_t number)
{
	static const unsigned kinds[] = {LAB_GFP_KERNEL, LAB_GFP_KERNEL, LAB_GFP_NOWAIT, LAB_GFP_ATOMIC};
	struct trace_random random = {number + 1};
	struct thing *held[HELD];
	size_t live = 0;

	for (int step = 0; step < STEPS; step++) {
		size_t most = step / 1000 % 2 ? HELD : 3; /* so that slabs become empty */
		if (live < most && trace_below(&random, 4) < (most == HELD ? 3 : 2)) {
			struct thing *thing = lab_cache_alloc(cache, kinds[trace_below(&random, 4)]);
			if (thing)
				hold(held[live++] = thing, number + 1);
		} else if (live > 0) {
			size_t victim = trace_below(&random, live);
			struct thing *thing = held[victim];
			held[victim] = held[--live];
			let_go(thing, number + 1);
			thing = atomic_exchange(&mail[trace_below(&random, 16)], thing);
			if (thing && trace_below(&random, 2))
				lab_cache_free(cache, thing);
			else
				lab_free(thing);
		}
		if (trace_below(&random, 50) == 0)
			(void)(trace_below(&random, 2) ? lab_cache_shrink(cache) : lab_caches_shrink(0));
		if (trace_below(&random, 1000) == 0) {
			struct lab_cache_stats stats;
			lab_cache_stats_get(cache, &stats);
			REQUIRE(stats.live <= stats.allocations);
		}
	}
	while (live > 0) {
		let_go(held[--live], number + 1);
		lab_cache_free(cache, held[live]);
	}
}

static void
run_cache(void)
{
	struct lab_cache_stats stats;

	cache = lab_cache_create("crowd", sizeof(struct thing), 64, construct);
	threads_run(use_cache, THREADS);
	for (int i = 0; i < 16; i++)
		if (mail[i])
			lab_cache_free(cache, mail[i]);
	(void)lab_cache_shrink(cache);
	lab_cache_stats_get(cache, &stats);
	printf("%zu allocations, %zu of the reserve, %zu slab descriptors\n", stats.allocations, stats.from_reserve,
	       descriptors());
	REQUIRE(stats.live == 0 && stats.slabs == 0);
	/* a slab is opened only where all seem full, and one that was closed is found again */
	REQUIRE(descriptors() < 2 * (size_t)THREADS * HELD / cache->slabs.objects + 4 * (size_t)THREADS);
	REQUIRE(lab_cache_destroy(cache));
}

/* Caches come and go while others reclaim: the destroyed one's slabs are walked as long as anybody likes. */
static void
make_and_destroy(size_t number)
{
	const char *const names[THREADS] = {"own 1", "own 2", "own 3", "own 4"};

	for (int step = 0; step < STEPS / 40; step++) {
		struct lab_cache *own = lab_cache_create(names[number], 16 + (number + (size_t)step) % 7 * 48, 0, NULL);
		size_t *objects[40];
		for (int i = 0; i < 40; i++) {
			objects[i] = lab_cache_alloc(own, LAB_GFP_KERNEL);
			*objects[i] = number;
		}
		(void)lab_caches_shrink(0);
		for (int i = 0; i < 40; i++) {
			REQUIRE(*objects[i] == number);
			lab_cache_free(own, objects[i]);
		}
		REQUIRE(lab_cache_destroy(own));
	}
}

static void
run_caches(void)
{
	threads_run(make_and_destroy, THREADS);
	REQUIRE(lab_caches_shrink(0) == 0);
}

/* A source that soon has no more: the pool's slots are what is fought for. */
static _Atomic size_t made, unmade;
enum { ELEMENTS = 24 };

static void *
make(unsigned gfp, void *data)
{
	(void)data;
	if (atomic_fetch_add(&made, 1) - unmade >= ELEMENTS) {
		atomic_fetch_sub(&made, 1);
		return NULL;
	}
	struct thing *thing = lab_alloc(sizeof *thing, gfp & ~LAB_GFP_ATOMIC);
	construct(thing);
	return thing;
}

static void
unmake(void *element, void *data)
{
	(void)data;
	REQUIRE(((struct thing *)element)->holder == 0);
	lab_free(element);
	atomic_fetch_add(&unmade, 1);
}

/* Thread 0 resizes; the others never hold so much that waiting cannot end. */
static void
use_pool(size_t number)
{
	struct trace_random random = {number + 1};
	struct thing *held[5];
	size_t live = 0;

	for (int step = 0; step < STEPS / 2; step++) {
		if (number == 0 && step % 20 == 0)
			(void)lab_mempool_resize(pool, 1 + trace_below(&random, ELEMENTS));
		if (live < 5 && trace_below(&random, 2)) {
			bool waits = live == 0 && trace_below(&random, 4) == 0;
			struct thing *thing = lab_mempool_alloc(pool, waits ? LAB_GFP_KERNEL : LAB_GFP_ATOMIC);
			REQUIRE(thing || !waits);
			if (thing)
				hold(held[live++] = thing, number + 1);
		} else if (live > 0) {
			let_go(held[--live], number + 1);
			lab_mempool_free(pool, held[live]);
		}
	}
	while (live > 0) {
		let_go(held[--live], number + 1);
		lab_mempool_free(pool, held[live]);
	}
}

static void
run_pool(void)
{
	pool = lab_mempool_create(8, make, unmake, NULL);
	threads_run(use_pool, THREADS);
	REQUIRE(lab_mempool_resize(pool, 12) || lab_mempool_available(pool) <= ELEMENTS);
	printf("%zu elements made\n", (size_t)made);
	lab_mempool_destroy(pool);
	REQUIRE_EQUAL(made, unmade);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {
	        {"cache", run_cache}, {"caches", run_caches}, {"pool", run_pool}};

	return threads_main(argc, argv, patterns, 3);
}
