/* cache.c - typed caches: constructed objects, layout, shrinking, the reserve, misuse, figures; and the word of a slab
 * alone. Clauses: G9.4. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "objects/cache.h"
#include "trace.h"
#include "world.h"

#define MAGIC UINT64_C(0x6c6162796c616221)

struct thing {
	uint64_t magic, user[5];
};

static size_t constructed;

static void
construct(void *object)
{
	struct thing *thing = object;

	thing->magic = MAGIC;
	constructed++;
}

static struct lab_cache *
new_cache(void)
{
	return lab_cache_create("thing", sizeof(struct thing), 0, construct);
}

static struct lab_cache_stats
stats_of(const struct lab_cache *cache)
{
	struct lab_cache_stats stats;

	lab_cache_stats_get(cache, &stats);
	return stats;
}

/* Descriptors of slabs, with memory or without. */
static size_t
descriptors(struct lab_cache *cache)
{
	size_t count = 0;

	for (struct lab_slab *slab = cache->slabs.list; slab; slab = slab->next)
		count++;
	return count;
}

/* ---- the word (INV-SLAB-1) ------------------------------------------------------------------------------------- */

Test(slab, claims_each_free_object_once)
{
	_Atomic uint64_t word = LAB_SLOTS_OPEN | 0x8000ff01;
	uint32_t claimed = 0;
	int bit;

	while ((bit = lab_slots_claim(&word, UINT32_MAX)) >= 0) {
		cr_assert_not(claimed >> bit & 1);
		claimed |= UINT32_C(1) << bit;
	}
	cr_assert_eq(claimed, 0x8000ff01);
	cr_assert_eq(lab_slots_release(&word, 31), LAB_RESERVE_RELEASED);
	cr_assert_eq(lab_slots_release(&word, 31), LAB_RESERVE_WAS_FREE, "a double release");
	cr_assert_eq(lab_slots_claim(&word, UINT32_MAX), 31);
}

Test(slab, that_is_not_open_gives_nothing_and_is_not_changed_by_stale_claims)
{
	const uint64_t words[] = {0, LAB_SLAB_OPENING, LAB_SLAB_CLOSING};

	for (int i = 0; i < 3; i++) {
		_Atomic uint64_t word = words[i];
		cr_assert_not(lab_slots_is_open(words[i]));
		cr_assert_eq(lab_slots_claim(&word, UINT32_MAX), LAB_SLOTS_NONE);
		cr_assert_not(lab_slots_take_bit(&word, 2));
		cr_assert_eq(word, words[i]);
	}
	cr_assert(words[1] != words[2] && words[1] != LAB_SLAB_ALL_FREE);
}

/* Who closes a slab need not know how many objects it has: the bits that are none stay set, and are never claimed. */
Test(slab, is_all_free_by_one_word_whatever_its_layout)
{
	for (size_t size = 1; size <= 200000; size = size * 3 + 1) {
		struct lab_cache *cache = lab_cache_create(NULL, size, 0, NULL);
		void *objects[LAB_SLOTS_A_WORD];
		for (size_t i = 0; i < cache->slabs.objects; i++)
			objects[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
		struct lab_slab *slab = cache->slabs.list;
		cr_assert(stats_of(cache).slabs == 1 && stats_of(cache).live == cache->slabs.objects && !slab->next);
		cr_assert_eq(lab_slots_claim(&slab->word, (uint32_t)lab_mask(cache->slabs.objects)), LAB_SLOTS_NONE);
		for (size_t i = 0; i < cache->slabs.objects; i++) {
			cr_assert_neq(slab->word, LAB_SLAB_ALL_FREE);
			cr_assert_eq(lab_cache_shrink(cache), 0);
			lab_cache_free(cache, objects[i]);
		}
		cr_assert_eq(slab->word, LAB_SLAB_ALL_FREE);
		cr_assert(lab_cache_destroy(cache));
	}
}

/* ---- objects --------------------------------------------------------------------------------------------------- */

/* INV-SLAB-2. */
Test(cache, objects_are_constructed_once_and_stay_so)
{
	struct lab_cache *cache = new_cache();
	struct thing *things[1000];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++) {
			things[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
			cr_assert(things[i]->magic == MAGIC && (uintptr_t)things[i] % 16 == 0);
			things[i]->user[0] = things[i]->user[4] = (uint64_t)i;
		}
		for (int i = 0; i < 1000; i++) {
			cr_assert(things[i]->user[0] == (uint64_t)i && things[i]->user[4] == (uint64_t)i);
			lab_cache_free(cache, things[i]);
		}
	}
	cr_assert(constructed >= 1000 && constructed < 1100, "%zu", constructed);
	lab_cache_free(cache, NULL);
	cr_assert(lab_cache_destroy(cache));
	cr_assert(lab_cache_destroy(NULL));
}

Test(cache, of_every_size_and_alignment)
{
	static const size_t sizes[] = {0,    1,    7,    8,    16,    24,    64,    100,    192,
	                               1000, 2048, 4096, 5000, 16384, 40000, 70000, 300000, 5000000};

	for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t align = 1; align <= 65536; align *= 4) {
			struct lab_cache *cache = lab_cache_create("size", sizes[s], align, NULL);
			char *objects[70];
			size_t count = sizes[s] > 100000 ? 9 : 70;
			for (size_t i = 0; i < count; i++) {
				objects[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
				cr_assert(objects[i] && (uintptr_t)objects[i] % align == 0);
				memset(objects[i], (int)i, sizes[s]);
			}
			for (size_t i = 0; i < count; i++) {
				cr_assert(sizes[s] == 0 ||
				          (objects[i][0] == (char)i && objects[i][sizes[s] - 1] == (char)i));
				lab_cache_free(cache, objects[i]);
			}
			cr_assert(lab_cache_destroy(cache));
		}
}

Test(cache, wastes_little)
{
	for (size_t size = 16; size <= 65536; size += size / 5 / 16 * 16 + 16) {
		struct lab_cache *cache = lab_cache_create("size", size, 0, NULL);
		const struct lab_slabs *slabs = &cache->slabs;
		cr_assert(slabs->objects * size * 100 >= slabs->slab_size * 72, "%zu: %u in %zu", size, slabs->objects,
		          slabs->slab_size);
		cr_assert(lab_cache_destroy(cache));
	}
}

Test(cache, refuses_what_cannot_be)
{
	struct lab_cache *cache = new_cache();

	errno = 0;
	cr_assert_null(lab_cache_create("x", 8, 24, NULL));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(lab_cache_create("x", SIZE_MAX / 2, 16, NULL));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(lab_cache_alloc(cache, 3));
	cr_assert_null(lab_cache_alloc(cache, LAB_GFP_ATOMIC | LAB_GFP_EXCLUSIVE));
	cr_assert_eq(errno, 0);
	cr_assert_null(lab_cache_alloc(cache, LAB_GFP_EXCLUSIVE));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(lab_cache_alloc(cache, 0x40000));
	cr_assert_eq(errno, EINVAL);
}

Test(cache, zeroes_on_request)
{
	struct lab_cache *cache = lab_cache_create("zero", 200, 8, NULL);
	char *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);

	memset(object, 1, 200);
	lab_cache_free(cache, object);
	object = lab_cache_alloc(cache, LAB_GFP_NOWAIT | LAB_GFP_ZERO);
	cr_assert(object && trace_is_zero(object, 200));
	/* what its constructor made included */
	cache = new_cache();
	object = lab_cache_alloc(cache, LAB_GFP_KERNEL | LAB_GFP_ZERO);
	cr_assert(object && trace_is_zero(object, sizeof(struct thing)));
	object = lab_cache_alloc(cache, LAB_GFP_ATOMIC | LAB_GFP_ZERO);
	cr_assert(object && trace_is_zero(object, sizeof(struct thing)));
}

/* ---- contexts -------------------------------------------------------------------------------------------------- */

static void *
alloc_quietly(void *cache)
{
	errno = 0;
	void *object = lab_cache_alloc(cache, LAB_GFP_NOWAIT);
	cr_assert(object || errno == ENOMEM);
	return object;
}

/* What is there, then slabs of what the thread's heap has; no system call. A thread's first call has none. */
Test(cache, nowait_opens_slabs_where_the_heap_has_pages)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	struct lab_cache *cache = new_cache();
	size_t got = 0;
	pthread_t thread;
	void *object;

	pthread_create(&thread, NULL, alloc_quietly, cache);
	pthread_join(thread, &object);
	cr_assert(!object && stats_of(cache).failures == 1 && stats_of(cache).slabs == 0);
	world_install();
	lab_free(lab_malloc(500000)); /* pages */
	world.maps_left = world.protects_left = 0;
	while ((object = alloc_quietly(cache)) != NULL) {
		cr_assert_eq(((struct thing *)object)->magic, MAGIC);
		got++;
	}
	cr_assert_eq(got, stats_of(cache).slabs * cache->slabs.objects);
	struct lab_cache_stats stats = stats_of(cache);
	cr_assert(stats.slabs > 1 && stats.failures == 2 && stats.from_reserve == 0, "%zu slabs, %zu failures",
	          stats.slabs, stats.failures);
	world_install();
	cr_assert(lab_enter(&guard));
	cr_assert_null(alloc_quietly(cache), "in a handler that interrupted the heap");
	lab_leave(&guard);
}

/* One object is free among 100 slabs, further than a KERNEL call walks: NOWAIT finds it. */
Test(cache, nowait_looks_everywhere)
{
	struct lab_cache *cache = new_cache();
	void *first = lab_cache_alloc(cache, LAB_GFP_KERNEL);

	while (stats_of(cache).slabs < 100)
		(void)lab_cache_alloc(cache, LAB_GFP_KERNEL);
	while (lab_cache_alloc(cache, LAB_GFP_NOWAIT))
		;
	lab_cache_free(cache, first);
	struct lab_slab *slab = cache->slabs.list;
	for (int i = 0; i < LAB_SLAB_HINTS; i++)
		cache->slabs.hints[i].slab = slab;
	cache->slabs.cursor = slab->next;
	cr_assert_eq(lab_cache_alloc(cache, LAB_GFP_NOWAIT), first);
}

Test(cache, atomic_goes_on_in_the_reserve)
{
	struct lab_cache *cache = new_cache();
	struct thing *a = lab_cache_alloc(cache, LAB_GFP_ATOMIC), *b, *c;
	struct lab_stats stats;

	cr_assert(a && a->magic == MAGIC && stats_of(cache).slabs == 0);
	b = lab_cache_alloc(cache, LAB_GFP_KERNEL);
	c = lab_cache_alloc(cache, LAB_GFP_ATOMIC);
	cr_assert(b && c && stats_of(cache).from_reserve == 1, "from the slab, once there is one");
	cr_assert_not(lab_cache_destroy(cache));
	lab_cache_free(cache, b);
	lab_cache_free(cache, c);
	cr_assert_not(lab_cache_destroy(cache), "an object in the reserve is in use");
	lab_stats_get(&stats);
	cr_assert(stats.reserve_used > 0);
	lab_cache_free(cache, a);
	lab_stats_get(&stats);
	cr_assert_eq(stats.reserve_used, 0);
	cr_assert(stats_of(cache).live == 0 && stats_of(cache).allocations == 3);
	cr_assert(lab_cache_destroy(cache));
}

/* An object without a byte has an address that is nobody else's. */
Test(cache, objects_of_no_size_in_the_reserve_are_distinct)
{
	enum { COUNT = 16 };
	struct lab_cache *cache = lab_cache_create("nothing", 0, 32, NULL);
	char *objects[COUNT], *blocks[COUNT];

	for (int i = 0; i < COUNT; i++) {
		objects[i] = lab_cache_alloc(cache, LAB_GFP_ATOMIC);
		blocks[i] = lab_alloc(64, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	}
	for (int i = 0; i < COUNT; i++) {
		cr_assert(objects[i] && lab_reserve_contains(objects[i]));
		for (int j = 0; j < COUNT; j++)
			cr_assert(blocks[j] == NULL || objects[i] < blocks[j] || objects[i] >= blocks[j] + 64);
		lab_cache_free(cache, objects[i]);
	}
	for (int i = 0; i < COUNT; i++)
		lab_free(blocks[i]);
	cr_assert(lab_cache_destroy(cache));
}

Test(cache, an_object_that_grows_in_place_is_cleared)
{
	struct lab_cache *cache = lab_cache_create("zeroed", 64, 0, NULL);
	unsigned char *p = lab_cache_alloc(cache, LAB_GFP_KERNEL);

	memset(p, 0xaa, 64);
	cr_assert_eq(lab_realloc(p, 10, LAB_GFP_KERNEL | LAB_GFP_ZERO), p);
	cr_assert_eq(lab_realloc(p, 40, LAB_GFP_KERNEL | LAB_GFP_ZERO), p);
	cr_assert(p[9] == 0xaa && p[10] == 0 && p[39] == 0 && p[63] == 0);
	lab_cache_free(cache, p);
	cr_assert(lab_cache_destroy(cache));
}

Test(cache, atomic_fails_at_once_and_silently)
{
	struct lab_cache *cache = new_cache();

	errno = EXDEV;
	while (lab_cache_alloc(cache, LAB_GFP_ATOMIC))
		;
	cr_assert_eq(errno, EXDEV);
	cr_assert_eq(stats_of(cache).failures, 1);
	cr_assert(lab_cache_alloc(cache, LAB_GFP_KERNEL), "not from the reserve");
	cr_assert_eq(stats_of(cache).slabs, 1);
}

/* A slab's block must not be of the reserve: a re-entrant call without memory gets one object there. */
Test(cache, reentrant_without_memory_takes_an_object_of_the_reserve)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	struct lab_cache *cache = lab_cache_create("reentrant", 100, 16, NULL);

	world_install();
	void *keep = lab_malloc(1);
	while (lab_malloc(4 << 20))
		world.maps_left = world.protects_left = 0;
	while (lab_malloc(16384) || lab_malloc(1024) || lab_aligned_alloc(2048, 2048))
		;
	errno = 0;
	cr_assert_null(lab_cache_alloc(cache, LAB_GFP_KERNEL));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(lab_enter(&guard));
	void *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);
	lab_leave(&guard);
	cr_assert(object && stats_of(cache).from_reserve == 1 && stats_of(cache).slabs == 0);
	lab_cache_free(cache, object);
	cr_assert_eq(stats_of(cache).live, 0);
	world_install();
	lab_free(keep);
	cr_assert(lab_cache_alloc(cache, LAB_GFP_KERNEL), "goes on when there is memory");
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

Test(cache, shrink_gives_back_what_is_unused)
{
	struct lab_cache *cache = new_cache();
	struct thing *things[2000];
	struct lab_stats before, after;

	cr_assert_eq(lab_cache_shrink(cache), 0);
	things[0] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
	lab_stats_get(&before);
	for (int i = 1; i < 2000; i++)
		things[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
	cr_assert_eq(lab_cache_shrink(cache), 0, "all are in use");
	for (int i = 1; i < 2000; i++)
		lab_cache_free(cache, things[i]);
	size_t slabs = stats_of(cache).slabs;
	cr_assert_eq(lab_cache_shrink(cache), (slabs - 1) * cache->slabs.slab_size);
	cr_assert(stats_of(cache).slabs == 1 && stats_of(cache).live == 1 && stats_of(cache).allocations == 2000);
	lab_stats_get(&after);
	cr_assert_leq(after.in_use, before.in_use + 65536 * 2);
	/* the same descriptors serve again */
	for (int i = 1; i < 2000; i++) {
		things[i] = lab_cache_alloc(cache, LAB_GFP_KERNEL);
		cr_assert_eq(things[i]->magic, MAGIC);
	}
	cr_assert(stats_of(cache).slabs == slabs && descriptors(cache) == slabs);
}

Test(cache, reclaim_finds_all_caches)
{
	struct lab_cache *a = new_cache(), *b = new_cache();

	lab_cache_free(a, lab_cache_alloc(a, LAB_GFP_KERNEL));
	lab_cache_free(b, lab_cache_alloc(b, LAB_GFP_KERNEL));
	cr_assert_eq(lab_caches_shrink(0), a->slabs.slab_size + b->slabs.slab_size);
	cr_assert_eq(lab_caches_shrink(0), 0);
}

/* Type-stable: the next cache gets the destroyed one's place, slabs and all, and none of its figures. */
Test(cache, destroyed_and_made_again)
{
	struct lab_cache *a = new_cache();

	for (int i = 0; i < 500; i++) {
		void *objects[] = {lab_cache_alloc(a, LAB_GFP_KERNEL), lab_cache_alloc(a, LAB_GFP_KERNEL)};
		lab_cache_free(a, objects[0]);
		lab_cache_free(a, objects[1]);
		cr_assert(lab_cache_destroy(a));
		struct lab_cache *b =
		        lab_cache_create("a name that is far too long for its place", (size_t)i * 3, 0, NULL);
		cr_assert_eq(b, a);
		struct lab_cache_stats stats = stats_of(b);
		cr_assert(stats.live == 0 && stats.slabs == 0 && stats.allocations == 0 && stats.size == (size_t)i * 3);
		cr_assert_str_eq(stats.name, "a name that is far too long for");
	}
	cr_assert_leq(descriptors(a), 2);
}

/* INV-SLAB-1: a closer that has not let go of the memory yet, perhaps for ever, keeps its slab from being opened. */
Test(cache, slab_whose_closer_is_stopped_is_left_alone)
{
	struct lab_cache *cache = new_cache();
	struct lab_guard guard = LAB_GUARD_HERE;

	lab_cache_free(cache, lab_cache_alloc(cache, LAB_GFP_KERNEL));
	struct lab_slab *slab = cache->slabs.list;
	struct lab_slab_head *memory = slab->memory;
	slab->word = LAB_SLAB_CLOSING;
	cache->slabs.closings++;
	cr_assert(lab_cache_alloc(cache, LAB_GFP_KERNEL));
	cr_assert(slab->memory == memory && slab->word == LAB_SLAB_CLOSING && descriptors(cache) == 2);
	cr_assert_eq(lab_slab_close(slab, LAB_SLAB_ALL_FREE, &guard) + lab_slab_close(slab, LAB_SLAB_OPENING, &guard),
	             0);
	/* it goes on */
	slab->memory = NULL;
	slab->word = 0;
	cache->slabs.closings++;
	lab_free(memory);
	while (!lab_slots_is_open(slab->word))
		cr_assert(lab_cache_alloc(cache, LAB_GFP_KERNEL));
	cr_assert_eq(descriptors(cache), 2);
}

static void (*jump_in_construct)(void);

static void
construct_or_jump(void *object)
{
	construct(object);
	if (jump_in_construct)
		jump_in_construct();
}

static jmp_buf out;

static void
jump_out(void)
{
	longjmp(out, 1);
}

/* A jump out of the constructor leaves one slab CHANGING; its memory waits for destroy. */
Test(cache, survives_jumps_out_of_the_constructor)
{
	struct lab_cache *cache = lab_cache_create("jump", 64, 0, construct_or_jump);
	struct lab_stats before, after;

	lab_stats_get(&before);
	for (volatile int i = 0; i < 100; i++) {
		jump_in_construct = jump_out;
		if (setjmp(out) == 0)
			(void)lab_cache_alloc(cache, LAB_GFP_KERNEL);
		jump_in_construct = NULL;
		void *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);
		cr_assert(object);
		lab_cache_free(cache, object);
		(void)lab_cache_shrink(cache);
	}
	cr_assert(stats_of(cache).live == 0 && stats_of(cache).slabs == 0);
	cr_assert(lab_cache_destroy(cache));
	lab_stats_get(&after);
	cr_assert_leq(after.in_use, before.in_use + 128 * sizeof(struct lab_slab) * 2, "%zu",
	              after.in_use - before.in_use);
}

/* ---- misuse and figures ---------------------------------------------------------------------------------------- */

Test(cache, double_free_is_reported, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();
	void *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);

	lab_cache_free(cache, object);
	lab_cache_free(cache, object);
}

Test(cache, double_free_in_the_reserve_is_reported, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();
	void *object = lab_cache_alloc(cache, LAB_GFP_ATOMIC);

	lab_cache_free(cache, object);
	lab_cache_free(cache, object);
}

Test(cache, foreign_object_is_reported, .signal = SIGABRT)
{
	struct lab_cache *a = new_cache(), *b = new_cache();

	lab_cache_free(b, lab_cache_alloc(a, LAB_GFP_KERNEL));
}

Test(cache, interior_pointer_is_reported, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();

	lab_cache_free(cache, (char *)lab_cache_alloc(cache, LAB_GFP_KERNEL) + 16);
}

Test(cache, malloc_block_is_reported, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();

	(void)lab_cache_alloc(cache, LAB_GFP_KERNEL);
	lab_cache_free(cache, lab_malloc(48));
}

/* A slot that had an object before has none now. */
Test(cache, slot_of_a_former_object_is_none, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();
	char *object = lab_cache_alloc(cache, LAB_GFP_ATOMIC);

	lab_cache_free(cache, object);
	char *slot = lab_alloc(cache->slabs.first + cache->slabs.size, LAB_GFP_ATOMIC);
	cr_assert_eq(slot, object - cache->slabs.first);
	lab_free(object);
}

/* A block of the program's that looks like a slab: what its head leads to does not lead back. */
Test(cache, forged_head_is_no_slab, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();
	struct lab_slab_head *head = lab_aligned_alloc(cache->slabs.slab_size, cache->slabs.slab_size);
	struct lab_slab *forged = lab_calloc(1, sizeof *forged);
	unsigned object;
	const char *why;

	*head = (struct lab_slab_head){&cache->slabs, (struct lab_slab *)(uintptr_t)0x123456789000};
	cr_assert_null(lab_slabs_find(&cache->slabs, (char *)head + cache->slabs.first, &object, &why));
	*head = (struct lab_slab_head){&cache->slabs, forged};
	forged->word = LAB_SLOTS_OPEN;
	forged->memory = head;
	lab_free((char *)head + cache->slabs.first);
}

Test(cache, wild_pointer_is_reported, .signal = SIGABRT)
{
	lab_cache_free(new_cache(), (void *)(uintptr_t)0x123456789000);
}

Test(cache, used_after_destroy_is_reported, .signal = SIGABRT)
{
	struct lab_cache *cache = new_cache();

	(void)lab_cache_destroy(cache);
	(void)lab_cache_destroy(cache);
}

static unsigned lines_with_thing;

static void
look_for_thing(void *context, const char *line)
{
	(void)context;
	lines_with_thing += strstr(line, "  thing") != NULL && strstr(line, " 48 ") != NULL;
}

Test(cache, is_in_the_printed_figures)
{
	struct lab_cache *cache = new_cache();

	lab_stats_print(look_for_thing, NULL);
	cr_assert_eq(lines_with_thing, 1);
	cr_assert(lab_cache_destroy(cache));
	lab_stats_print(look_for_thing, NULL);
	cr_assert_eq(lines_with_thing, 1);
}
