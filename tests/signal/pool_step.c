/*
 * pool_step.c - typed caches and pools interrupted after every single instruction, by a handler that allocates and
 * frees in the same cache and the same pool, shrinks the cache, and checks all contents; and left by siglongjmp at
 * every instruction. Objects are freed by lab_cache_free and by free.
 *
 * The functions are found by dlsym: the library that is stepped is the one that malloc is taken from.
 *
 * Clauses: G2.7.
 */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stepper.h"
#include "support.h"

#define MAGIC UINT64_C(0x6361636865706f6f)

enum { HELD = 37, POOL_MIN = 3, JUMPS_MAX = 2000000 };

static struct lab_cache *(*cache_create)(const char *name, size_t size, size_t align, void (*construct)(void *object));
static void *(*cache_alloc)(struct lab_cache *cache, unsigned gfp);
static void (*cache_free)(struct lab_cache *cache, void *object);
static size_t (*cache_shrink)(struct lab_cache *cache);
static bool (*cache_destroy)(struct lab_cache *cache);
static void (*cache_stats)(const struct lab_cache *cache, struct lab_cache_stats *stats);
static struct lab_mempool *(*mempool_create)(size_t min, void *(*alloc)(unsigned gfp, void *data),
                                             void (*release)(void *element, void *data), void *data);
static void *(*mempool_alloc)(struct lab_mempool *pool, unsigned gfp);
static void (*mempool_free)(struct lab_mempool *pool, void *element);
static bool (*mempool_resize)(struct lab_mempool *pool, size_t min);
static size_t (*mempool_available)(const struct lab_mempool *pool);
static void (*mempool_destroy)(struct lab_mempool *pool);

static void
find_functions(void)
{
	const struct {
		const char *name;
		void *place;
	} functions[] = {
	        {"lab_cache_create", &cache_create},
	        {"lab_cache_alloc", &cache_alloc},
	        {"lab_cache_free", &cache_free},
	        {"lab_cache_shrink", &cache_shrink},
	        {"lab_cache_destroy", &cache_destroy},
	        {"lab_cache_stats_get", &cache_stats},
	        {"lab_mempool_create", &mempool_create},
	        {"lab_mempool_alloc", &mempool_alloc},
	        {"lab_mempool_free", &mempool_free},
	        {"lab_mempool_resize", &mempool_resize},
	        {"lab_mempool_available", &mempool_available},
	        {"lab_mempool_destroy", &mempool_destroy},
	};

	for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) {
		void *function = dlsym(RTLD_DEFAULT, functions[i].name);
		REQUIRE(function != NULL);
		memcpy(functions[i].place, &function, sizeof function);
	}
}

/* ---- objects with a holder ------------------------------------------------------------------------------------- */

struct thing {
	uint64_t magic, holder, more[9];
};

static struct lab_cache *cache;
static struct lab_mempool *pool;

static void
construct(void *object)
{
	*(struct thing *)object = (struct thing){.magic = MAGIC};
}

static struct thing *
hold(struct thing *thing, uint64_t holder)
{
	if (thing) {
		REQUIRE(thing->magic == MAGIC && thing->holder == 0);
		thing->holder = thing->more[8] = holder;
	}
	return thing;
}

static void *
let_go(struct thing *thing, uint64_t holder)
{
	REQUIRE(thing->magic == MAGIC && thing->holder == holder && thing->more[8] == holder);
	thing->holder = thing->more[8] = 0;
	return thing;
}

/* The pool's elements come from a second cache, and there are few. */
static struct lab_cache *elements;
static volatile int elements_left;

static void *
make_element(unsigned gfp, void *data)
{
	(void)data;
	if (elements_left <= 0)
		return NULL;
	elements_left--;
	return cache_alloc(elements, gfp);
}

static void
unmake_element(void *element, void *data)
{
	(void)data;
	cache_free(elements, element);
	elements_left++;
}

/* As an object of the cache, or as any block. */
static void
free_object(void *object, bool as_block)
{
	if (as_block)
		free(object);
	else
		cache_free(cache, object);
}

/* ---- the handler ----------------------------------------------------------------------------------------------- */

static struct thing *held[HELD], *element; /* of the cache, of the pool */
static uint32_t turn, chance = 1;
static sigjmp_buf out;
static unsigned instruction, jump_at; /* 0: no jump */
static bool is_quiet;

static bool
hook(void)
{
	static const unsigned kinds[] = {LAB_GFP_ATOMIC, LAB_GFP_KERNEL, LAB_GFP_NOWAIT, LAB_GFP_ATOMIC};
	uint32_t n = turn++;
	uint64_t holder = 1000 + n % HELD;
	struct thing **place = &held[n % HELD];

	instruction++;
	if (jump_at && instruction == jump_at)
		siglongjmp(out, 1);
	if (is_quiet)
		return false;
	/* Each trap changes something: a call that was interrupted between a look and an act would undo it. */
	if (*place) {
		free_object(let_go(*place, holder), n % 2);
		*place = NULL;
	} else {
		*place = hold(cache_alloc(cache, kinds[n % 4]), holder);
	}
	bool changes = next_random(&chance) % 2; /* else one instruction would always see the same */
	if (changes && element) {
		mempool_free(pool, let_go(element, 3));
		element = NULL;
	} else if (changes) {
		element = hold(mempool_alloc(pool, LAB_GFP_ATOMIC), 3);
	}
	if (n % 4096 == 0)
		(void)cache_shrink(cache);
	if (n % 8 == 0) { /* the malloc under it all */
		struct block block = new_block(40 + n % 64);
		free_block(&block);
	}
	return true;
}

static void
release_held(void)
{
	for (unsigned i = 0; i < HELD; i++)
		if (held[i]) {
			cache_free(cache, let_go(held[i], 1000 + i));
			held[i] = NULL;
		}
	if (element)
		mempool_free(pool, let_go(element, 3));
	element = NULL;
}

/* ---- the main program ------------------------------------------------------------------------------------------ */

static size_t
live_in(struct lab_cache *which)
{
	struct lab_cache_stats stats;

	cache_stats(which, &stats);
	return stats.live;
}

static struct thing *
step_cache_alloc(unsigned gfp)
{
	step_on();
	void *object = cache_alloc(cache, gfp);
	step_off();
	return hold(object, 1);
}

static void
step_cache_free(struct thing *thing, bool as_block)
{
	(void)let_go(thing, 1);
	step_on();
	free_object(thing, as_block);
	step_off();
}

static void
step_caches(unsigned rounds)
{
	struct thing *things[70];

	current_scenario = "cache";
	for (unsigned round = 0; round < rounds; round++) {
		unsigned count = round % 3 == 0 ? 70 : 5;
		for (unsigned i = 0; i < count; i++) {
			things[i] = step_cache_alloc(LAB_GFP_KERNEL);
			REQUIRE(things[i] != NULL);
		}
		for (unsigned i = 0; i < count; i++)
			step_cache_free(things[i], i % 2);
		step_on();
		(void)cache_shrink(cache);
		step_off();
		struct thing *atomic = step_cache_alloc(LAB_GFP_ATOMIC);
		REQUIRE(atomic != NULL);
		step_cache_free(atomic, round % 2);
		step_on();
		struct lab_cache *other = cache_create("other", 100, 0, NULL);
		bool destroyed = cache_destroy(other);
		step_off();
		REQUIRE(other && destroyed);
	}
	release_held();
	REQUIRE(live_in(cache) == 0);
}

/* The handler takes one element at a time: the main program holds at most all but one. */
static void
step_pools(unsigned rounds)
{
	current_scenario = "mempool";
	for (unsigned round = 0; round < rounds; round++) {
		struct thing *taken[POOL_MIN] = {NULL};
		for (unsigned i = 0; i + 1 < POOL_MIN + round % 2; i++) {
			step_on();
			void *got = mempool_alloc(pool, round % 2 ? LAB_GFP_ATOMIC : LAB_GFP_NOWAIT);
			step_off();
			taken[i] = hold(got, 2);
		}
		REQUIRE(taken[0] != NULL);
		for (unsigned i = 0; i < POOL_MIN; i++)
			if (taken[i]) {
				(void)let_go(taken[i], 2);
				step_on();
				mempool_free(pool, taken[i]);
				step_off();
			}
		step_on();
		(void)mempool_resize(pool, POOL_MIN + 20);
		bool resized = mempool_resize(pool, POOL_MIN);
		step_off();
		REQUIRE(resized && mempool_available(pool) <= POOL_MIN);
	}
	release_held();
	REQUIRE(mempool_available(pool) == POOL_MIN);
}

/* One call after the other is left at one instruction after the other. At most the object in hand is lost each time;
 * the cache and the pool go on. */
static unsigned
jump_out_of(void (*call)(void))
{
	volatile unsigned at = 1, jumps = 0;

	/* every instruction of the short calls; of the long ones others in each run of the test's loops */
	for (; at < JUMPS_MAX; at += at < 300 ? 1 : at / 8 + at % 5) {
		jumps++;
		instruction = 0;
		jump_at = at;
		if (sigsetjmp(out, 1) == 0) {
			step_on();
			call();
			step_off();
			break; /* it has fewer instructions */
		}
		jump_at = 0;
		struct thing *thing = hold(cache_alloc(cache, LAB_GFP_KERNEL), 1);
		REQUIRE(thing != NULL);
		cache_free(cache, let_go(thing, 1));
	}
	jump_at = 0;
	REQUIRE(at > 10 && at < JUMPS_MAX);
	return jumps;
}

static struct thing *volatile given;

static void
alloc_and_free(void)
{
	given = cache_alloc(cache, LAB_GFP_KERNEL);
	cache_free(cache, given);
}

static void
alloc_and_free_as_block(void)
{
	given = cache_alloc(cache, LAB_GFP_ATOMIC);
	free(given);
}

static void
open_and_close(void)
{
	(void)cache_shrink(cache);
	given = cache_alloc(cache, LAB_GFP_KERNEL);
	cache_free(cache, given);
	(void)cache_shrink(cache);
}

static void
take_and_put(void)
{
	given = mempool_alloc(pool, LAB_GFP_ATOMIC);
	if (given)
		mempool_free(pool, given);
}

static void
jump(void)
{
	struct lab_cache_stats stats;
	struct lab_stats before, after;

	current_scenario = "jumps";
	is_quiet = true;
	library_stats(&before);
	unsigned jumps =
	        jump_out_of(alloc_and_free) + jump_out_of(alloc_and_free_as_block) + jump_out_of(open_and_close);
	cache_stats(cache, &stats);
	library_stats(&after);
	printf("%u jumps out of the cache: %zu objects lost, %zu bytes in use before, %zu after\n", jumps, stats.live,
	       before.in_use, after.in_use);
	REQUIRE(stats.live <= jumps);
	REQUIRE(after.in_use < before.in_use + (size_t)jumps * 8192);
	for (unsigned i = 0; i < 3; i++) {
		unsigned put = jump_out_of(take_and_put);
		size_t available = mempool_available(pool);
		REQUIRE(put > 0 && available <= POOL_MIN);
		elements_left = 20;
		REQUIRE(mempool_resize(pool, 0) && mempool_resize(pool, POOL_MIN) &&
		        mempool_available(pool) == POOL_MIN);
		elements_left = 0;
	}
	is_quiet = false;
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 1000);
	find_functions();
	cache = cache_create("stepped", sizeof(struct thing), 0, construct);
	elements = cache_create("elements", sizeof(struct thing), 0, construct);
	elements_left = POOL_MIN;
	pool = mempool_create(POOL_MIN, make_element, unmake_element, NULL);
	REQUIRE(cache && elements && pool);
	step_start(hook, 0);
	step_caches(5 * scale);
	step_pools(20 * scale);
	jump();
	mempool_destroy(pool);
	printf("pool_step: %zu traps, %zu distinct instructions\n", step_figures().traps, step_figures().distinct);
	step_write_coverage();
	return end_test();
}
