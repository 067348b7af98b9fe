/* kernel_names.c - labyrinth/gfp.h: what the kernel's documentation says of each name. Clauses: G9.4. */
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "trace.h"

Test(gfp_h, zero_size)
{
	cr_assert_eq(kmalloc(0, GFP_KERNEL), ZERO_SIZE_PTR);
	cr_assert_eq(kzalloc(0, GFP_ATOMIC), ZERO_SIZE_PTR);
	cr_assert_eq(kcalloc(0, 100, GFP_KERNEL), ZERO_SIZE_PTR);
	cr_assert_eq(kvmalloc(0, GFP_KERNEL), ZERO_SIZE_PTR);
	cr_assert(ZERO_OR_NULL_PTR(NULL) && ZERO_OR_NULL_PTR(ZERO_SIZE_PTR) && !ZERO_OR_NULL_PTR((void *)17));
	cr_assert(ksize(ZERO_SIZE_PTR) == 0 && ksize(NULL) == 0);
	kfree(ZERO_SIZE_PTR);
	kfree_sensitive(ZERO_SIZE_PTR);
	kvfree(ZERO_SIZE_PTR);
	kfree(NULL);
	kfree_sensitive(NULL);
	cr_assert_eq(krealloc(kmalloc(10, GFP_KERNEL), 0, GFP_KERNEL), ZERO_SIZE_PTR);
	char *p = krealloc(ZERO_SIZE_PTR, 10, GFP_KERNEL), *q = krealloc(NULL, 10, GFP_KERNEL);
	cr_assert(p && q && ksize(p) >= 10 && ksize(q) >= 10);
}

Test(gfp_h, kmalloc_is_aligned_to_powers_of_two_and_bounded)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size *= 2) {
		char *p = kmalloc(size, GFP_KERNEL), *q = kmalloc(size, GFP_KERNEL);
		cr_assert(p && q && (uintptr_t)p % size == 0 && (uintptr_t)q % size == 0, "%zu", size);
		kfree(p);
		kfree(q);
	}
	cr_assert_null(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL));
	cr_assert_null(kmalloc(65537, GFP_ATOMIC));
	char *large = kvmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL);
	cr_assert(large);
	kvfree(large);
}

Test(gfp_h, products_do_not_overflow)
{
	char *p = kmalloc(100, GFP_KERNEL);

	cr_assert_null(kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL));
	cr_assert_null(kcalloc(SIZE_MAX / 2, 3, GFP_KERNEL));
	cr_assert_null(kvmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL));
	cr_assert_null(krealloc_array(p, SIZE_MAX / 2, 3, GFP_KERNEL));
	cr_assert_null(krealloc(p, KMALLOC_MAX_SIZE + 1, GFP_KERNEL));
	memset(p, 1, 100);
	p = krealloc_array(p, 50, 10, GFP_KERNEL);
	cr_assert(p && p[99] == 1 && ksize(p) >= 500);
	kfree(p);
}

Test(gfp_h, zeroed_memory)
{
	for (int i = 0; i < 50; i++) {
		char *p = kzalloc(1000, i % 2 ? GFP_KERNEL : GFP_ATOMIC), *q = kcalloc(10, 100, GFP_KERNEL);
		char *r = kvzalloc(100000, GFP_KERNEL), *s = kvcalloc(10, 100, GFP_KERNEL),
		     *t = (char *)get_zeroed_page(GFP_ATOMIC);
		cr_assert(trace_is_zero(p, 1000) && trace_is_zero(q, 1000) && trace_is_zero(r, 100000) &&
		          trace_is_zero(s, 1000));
		cr_assert(t && trace_is_zero(t, PAGE_SIZE));
		memset(p, 1, 1000);
		memset(q, 1, 1000);
		memset(r, 1, 100000);
		memset(s, 1, 1000);
		memset(t, 1, PAGE_SIZE);
		kfree(p);
		kfree(q);
		kvfree(r);
		kvfree(s);
		free_page((unsigned long)t);
	}
}

Test(gfp_h, sensitive_memory_is_cleared)
{
	char *neighbour = kmalloc(200, GFP_KERNEL), *p = kmalloc(200, GFP_KERNEL);

	memset(p, 0x55, ksize(p));
	kfree_sensitive(p);
	for (size_t i = 16; i < 200; i++) /* the first bytes link free blocks */
		cr_assert_eq(((volatile char *)p)[i], 0);
	kfree(neighbour);
}

Test(gfp_h, copies)
{
	char *a = kstrdup("driver", GFP_KERNEL), *b = kstrndup("driver", 3, GFP_KERNEL),
	     *c = kstrndup("dr", 30, GFP_ATOMIC);
	char *d = kmemdup("drive", 6, GFP_ATOMIC), *e = kmemdup_nul("driver", 5, GFP_KERNEL);

	cr_assert_str_eq(a, "driver");
	cr_assert_str_eq(b, "dri");
	cr_assert_str_eq(c, "dr");
	cr_assert_str_eq(d, "drive");
	cr_assert_str_eq(e, "drive");
	cr_assert_null(kstrdup(NULL, GFP_KERNEL));
	cr_assert_null(kstrndup(NULL, 3, GFP_KERNEL));
}

Test(gfp_h, pages)
{
	static const unsigned long sizes[] = {0, 1, 4096, 4097, 8192, 8193, 4194304};
	static const int orders[] = {0, 0, 0, 1, 1, 2, 10};

	for (int i = 0; i < 7; i++)
		cr_assert_eq(get_order(sizes[i]), orders[i]);
	for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);
		char *p = page_address(page);
		cr_assert(p && (uintptr_t)p % (PAGE_SIZE << order) == 0);
		cr_assert(virt_to_page(p) == page && virt_to_page(p + 4095) == page);
		memset(p, 1, PAGE_SIZE << order);
		__free_pages(page, order);
		unsigned long address = __get_free_pages(GFP_KERNEL, order);
		cr_assert(address);
		free_pages(address, order);
	}
	cr_assert_null(alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1));
	cr_assert_eq(__get_free_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1), 0);
	cr_assert_eq(__get_free_pages(GFP_ATOMIC, 5), 0);
	__free_page(alloc_page(GFP_ATOMIC));
	free_pages(0, 3);
	void *exact = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);
	cr_assert(exact && (uintptr_t)exact % PAGE_SIZE == 0);
	free_pages_exact(exact, 3 * PAGE_SIZE);
}

Test(gfp_h, flags)
{
	cr_assert(gfpflags_allow_blocking(GFP_KERNEL | __GFP_ZERO | __GFP_NORETRY));
	cr_assert(!gfpflags_allow_blocking(GFP_ATOMIC) && !gfpflags_allow_blocking(GFP_NOWAIT | __GFP_NOWARN));
	kfree(kmalloc(10, GFP_KERNEL));
	void *p = kmalloc(10, GFP_NOWAIT | __GFP_NOWARN), *q = kmalloc(10, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_HIGH);
	cr_assert(p && q);
}

struct aligned_thing {
	_Alignas(32) char bytes[40];
};

static void
construct(void *object)
{
	memset(object, 7, 48);
}

Test(gfp_h, caches)
{
	struct kmem_cache *cache = KMEM_CACHE(aligned_thing, SLAB_ACCOUNT),
	                  *line = kmem_cache_create("line", 48, 0, SLAB_HWCACHE_ALIGN, construct);
	struct kmem_cache *half = kmem_cache_create("half", 20, 0, SLAB_HWCACHE_ALIGN | SLAB_PANIC, NULL);
	void *objects[100];

	cr_assert_eq(kmem_cache_size(cache), sizeof(struct aligned_thing));
	for (int i = 0; i < 100; i++) {
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		cr_assert((uintptr_t)objects[i] % 32 == 0);
		char *constructed = kmem_cache_alloc(line, GFP_KERNEL);
		cr_assert((uintptr_t)constructed % 64 == 0 && constructed[47] == 7);
		cr_assert((uintptr_t)kmem_cache_alloc(half, GFP_KERNEL) % 32 == 0);
	}
	kmem_cache_free_bulk(cache, 100, objects);
	cr_assert_eq(kmem_cache_shrink(cache), 0);
	cr_assert_neq(kmem_cache_shrink(line), 0);
	cr_assert_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 100, objects), 100);
	void *zeroed = kmem_cache_zalloc(cache, GFP_KERNEL);
	cr_assert(trace_is_zero(zeroed, sizeof(struct aligned_thing)));
	kmem_cache_free(cache, zeroed);
	kmem_cache_free_bulk(cache, 100, objects);
	kmem_cache_destroy(cache);
	kmem_cache_destroy(NULL);
	cr_assert_null(kmem_cache_create("odd", 10, 24, 0, NULL));
	objects[0] = kmalloc(10, GFP_KERNEL);
	kmem_cache_free_bulk(NULL, 1, objects);
}

static struct lab_cache_stats
stats_of(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return stats;
}

static size_t
reserve_used(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats.reserve_used;
}

/* "Use kfree() or kvfree() for objects of kmem_cache_alloc(), too" (memory-allocation.rst), wherever they lie. */
Test(gfp_h, objects_may_be_freed_as_blocks)
{
	static const unsigned sizes[] = {1, 20, 48, 200, 3000, 4096, 20000, 70000, 1 << 20, 1 << 22};
	static const unsigned aligns[] = {0, 64, 4096};

	for (int i = 0; i < 30; i++) {
		unsigned size = sizes[i / 3];
		struct kmem_cache *cache = kmem_cache_create("freed", size, aligns[i % 3], 0,
		                                             size >= 48 ? construct : NULL),
		                  *other = kmem_cache_create("other", size, aligns[i % 3], 0, NULL);
		char *objects[40], *kept = kmem_cache_alloc(other, GFP_KERNEL);
		int count = size > 100000 ? 6 : 40;
		cr_assert(cache && other && kept);
		for (int round = 0; round < 2; round++) {
			for (int j = 0; j < count; j++) {
				bool is_atomic = j % 3 == 2 && size <= 3000 && round == 0;
				objects[j] = kmem_cache_alloc(cache, is_atomic ? GFP_ATOMIC : GFP_KERNEL);
				cr_assert(objects[j] && ksize(objects[j]) >= size, "%u: %zu", size, ksize(objects[j]));
				cr_assert(size < 48 || (objects[j][0] == 7 && objects[j][47] == 7));
				memset(objects[j] + 48 % size, 1, size - 48 % size);
				objects[j][size - 1] = size == 48 ? 7 : 1;
			}
			cr_assert_eq(stats_of(cache).live, (size_t)count);
			for (int j = 0; j < count; j++)
				j % 2 ? kvfree(objects[j]) : kfree(objects[j]);
			cr_assert_eq(stats_of(cache).live, 0);
			if (round == 0)
				cr_assert_eq(kmem_cache_shrink(cache), 0);
		}
		cr_assert(stats_of(other).live == 1 && reserve_used() == 0);
		kfree_sensitive(kept);
		cr_assert_eq(stats_of(other).live, 0);
		kmem_cache_destroy(cache);
		kmem_cache_destroy(other);
	}
}

/* An object of the reserve is counted as free once it is; and so it is if a thread's share has it. */
Test(gfp_h, objects_of_the_reserve_may_be_freed_as_blocks)
{
	for (int i = 0; i < 2; i++) {
		struct kmem_cache *cache = kmem_cache_create("atomic", 100, 0, 0, NULL);
		void *p = kmem_cache_alloc(cache, GFP_ATOMIC), *q = kmem_cache_alloc(cache, GFP_ATOMIC);
		cr_assert(p && q && ksize(p) >= 100 && stats_of(cache).slabs == 0 && stats_of(cache).live == 2);
		kfree(p);
		cr_assert_eq(stats_of(cache).live, 1);
		kmem_cache_free(cache, q);
		cr_assert(stats_of(cache).live == 0 && reserve_used() == 0);
		kmem_cache_destroy(cache);
		cr_assert(lab_reserve_thread(128, 10));
	}
}

Test(gfp_h, objects_may_be_resized_as_blocks)
{
	struct kmem_cache *cache = kmem_cache_create("resized", 100, 0, 0, NULL);
	char *p = kmem_cache_alloc(cache, GFP_KERNEL), *q = kmem_cache_alloc(cache, GFP_KERNEL);

	memset(p, 5, 100);
	memset(q, 6, 100);
	p = krealloc(p, 1000, GFP_KERNEL);
	q = krealloc(q, 1000, GFP_NOWAIT);
	cr_assert(p && p[0] == 5 && p[99] == 5 && (!q || (q[0] == 6 && q[99] == 6)));
	cr_assert_eq(stats_of(cache).live, q ? 0 : 1);
	kfree(p);
}

Test(gfp_h, object_freed_twice_as_a_block, .signal = SIGABRT)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 100, 0, 0, NULL);
	void *p = kmem_cache_alloc(cache, GFP_KERNEL);

	kfree(p);
	kfree(p);
}

Test(gfp_h, object_of_the_reserve_freed_twice_as_a_block, .signal = SIGABRT)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 100, 0, 0, NULL);
	void *p = kmem_cache_alloc(cache, GFP_ATOMIC);

	kfree(p);
	kfree(p);
}

Test(gfp_h, object_freed_as_a_block_and_as_an_object, .signal = SIGABRT)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 100, 0, 0, NULL);
	void *p = kmem_cache_alloc(cache, GFP_KERNEL);

	kfree(p);
	kmem_cache_free(cache, p);
}

Test(gfp_h, pointer_into_an_object_is_none, .signal = SIGABRT)
{
	struct kmem_cache *cache = kmem_cache_create("inside", 100, 0, 0, NULL);

	kfree((char *)kmem_cache_alloc(cache, GFP_KERNEL) + 16);
}

/* ---- warnings -------------------------------------------------------------------------------------------------- */

static char said[400];

/* What `act` writes on stderr. */
static void
listen_to(void (*act)(struct kmem_cache *cache), struct kmem_cache *cache)
{
	int ends[2], kept = dup(2);

	cr_assert(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
	act(cache);
	cr_assert_eq(dup2(kept, 2), 2);
	close(ends[1]);
	ssize_t length = read(ends[0], said, sizeof said - 1);
	said[length > 0 ? length : 0] = 0;
	close(ends[0]);
	close(kept);
}

static void
make_another(struct kmem_cache *cache)
{
	(void)cache;
	struct kmem_cache *another = kmem_cache_create("twin", 10, 0, 0, NULL),
	                  *other = kmem_cache_create("twin 2", 10, 0, 0, NULL);
	cr_assert(another && other && kmem_cache_create(NULL, 10, 0, 0, NULL) && kmem_cache_create("", 10, 0, 0, NULL));
}

Test(gfp_h, destroying_a_cache_in_use_is_worth_a_line)
{
	struct kmem_cache *cache = kmem_cache_create("in use", 100, 0, 0, NULL);
	void *objects[3] = {kmem_cache_alloc(cache, GFP_ATOMIC), kmem_cache_alloc(cache, GFP_KERNEL),
	                    kmem_cache_alloc(cache, GFP_KERNEL)};

	listen_to(kmem_cache_destroy, cache);
	cr_assert_str_eq(said, "labyrinth: cache in use: 3 objects are in use, and it is not destroyed\n");
	kmem_cache_free_bulk(cache, 3, objects);
	listen_to(kmem_cache_destroy, cache);
	cr_assert_str_eq(said, "");
}

Test(gfp_h, name_that_another_cache_has_is_worth_a_line)
{
	struct kmem_cache *cache = kmem_cache_create("twin", 100, 0, 0, NULL);

	listen_to(make_another, NULL);
	cr_assert_str_eq(said, "labyrinth: cache twin: another one has this name\n");
	kmem_cache_destroy(cache);
}

static void
make_gone(struct kmem_cache *cache)
{
	(void)cache;
	cr_assert(kmem_cache_create("gone", 100, 0, 0, NULL));
}

Test(gfp_h, name_of_a_cache_that_is_gone_may_be_used_again)
{
	struct kmem_cache *gone = kmem_cache_create("gone", 100, 0, 0, NULL),
	                  *other = kmem_cache_create("other", 100, 0, 0, NULL);

	kmem_cache_destroy(gone);
	kmem_cache_destroy(other);
	listen_to(make_gone, NULL);
	cr_assert_str_eq(said, "");
}

/* All or none. */
Test(gfp_h, bulk_of_what_is_not_there)
{
	static void *objects[100000];
	struct kmem_cache *cache = kmem_cache_create("bulk", 1000, 0, 0, NULL);
	struct lab_cache_stats stats;

	cr_assert_eq(kmem_cache_alloc_bulk(cache, GFP_ATOMIC, 100000, objects), 0);
	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	cr_assert(stats.live == 0 && stats.allocations > 1);
}

/* A slab that is not there is made of what the thread's heap has. */
Test(gfp_h, nowait_makes_objects)
{
	struct kmem_cache *cache = kmem_cache_create("nowait", 100, 0, 0, construct);

	kfree(kmalloc(500000, GFP_KERNEL));
	char *p = kmem_cache_alloc(cache, GFP_NOWAIT);
	cr_assert(p && p[0] == 7 && stats_of(cache).slabs == 1);
}

/* The kernel zeroes such an object, and warns where it can see that. */
Test(gfp_h, zeroed_object_of_a_cache_with_a_constructor)
{
	struct kmem_cache *cache = kmem_cache_create("zeroed", 100, 0, 0, construct);

	for (int i = 0; i < 50; i++) {
		void *p = kmem_cache_zalloc(cache, i % 2 ? GFP_KERNEL : GFP_ATOMIC),
		     *q = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_ZERO);
		cr_assert(p && q && trace_is_zero(p, 100) && trace_is_zero(q, 100));
	}
}

Test(gfp_h, panic, .signal = SIGABRT)
{
	(void)kmem_cache_create("odd", 10, 24, SLAB_PANIC, NULL);
}

Test(gfp_h, pools)
{
	struct kmem_cache *cache = kmem_cache_create("pooled", 80, 0, 0, NULL);
	mempool_t *pools[] = {mempool_create_slab_pool(5, cache), mempool_create_kmalloc_pool(5, 3000),
	                      mempool_create_page_pool(5, 1)};

	for (int i = 0; i < 3; i++) {
		void *elements[12];
		for (int j = 0; j < 12; j++) {
			elements[j] = mempool_alloc(pools[i], GFP_KERNEL);
			cr_assert(elements[j]);
			memset(i == 2 ? page_address(elements[j]) : elements[j], j, i == 0 ? 80 : i == 1 ? 3000 : 8192);
		}
		cr_assert_eq(mempool_resize(pools[i], 9), 0);
		for (int j = 0; j < 12; j++)
			mempool_free(elements[j], pools[i]);
		cr_assert_eq(lab_mempool_available(pools[i]->lab), 9);
		mempool_free(NULL, pools[i]);
		mempool_destroy(pools[i]);
	}
	mempool_destroy(NULL);
	cr_assert_eq(kmem_cache_shrink(cache), 0);
	cr_assert_null(mempool_create_kmalloc_pool(1, KMALLOC_MAX_SIZE + 1));
}

/* mempool_alloc takes from the pool before it waits for memory. */
Test(gfp_h, pool_has_elements_where_the_limit_leaves_nothing, .timeout = 200)
{
	mempool_t *pool = mempool_create_kmalloc_pool(8, 100000);
	struct lab_stats before, after;
	void *elements[8];

	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 2000) && lab_set_param(LAB_PARAM_LIMIT, 8 << 20));
	while (kmalloc(100000, GFP_KERNEL | __GFP_NORETRY))
		;
	lab_stats_get(&before);
	for (int i = 0; i < 8; i++) {
		elements[i] = mempool_alloc(pool, GFP_KERNEL);
		cr_assert(elements[i]);
	}
	cr_assert_eq(lab_mempool_available(pool->lab), 0);
	lab_stats_get(&after);
	cr_assert_eq(after.waits, before.waits, "neither NORETRY nor the pool has waited");
	for (int i = 0; i < 8; i++)
		mempool_free(elements[i], pool);
}

static _Atomic unsigned asked[3];
static _Atomic int asks;

static void *
never(gfp_t gfp, void *data)
{
	(void)data;
	if (asks < 3)
		asked[asks] = gfp;
	asks++;
	return NULL;
}

static void
nobody(void *element, void *data)
{
	(void)data;
	(void)element;
}

static void *
seldom(gfp_t gfp, void *data)
{
	return *(int *)data > 0 ? --*(int *)data, malloc(100) : never(gfp, NULL);
}

static void *
free_when_asked(void *pool_and_element)
{
	void **pair = pool_and_element;

	while (asks < 3)
		usleep(1000);
	mempool_free(pair[1], pair[0]);
	return NULL;
}

/* First without reclaim, then the pool, then with reclaim; it waits in the pool, where a free ends it. */
Test(gfp_h, pool_tries_without_reclaim_first, .timeout = 200)
{
	int left = 1;
	mempool_t *pool = mempool_create(1, seldom, nobody, &left);
	void *pair[] = {pool, NULL};
	pthread_t thread;

	pair[1] = mempool_alloc(pool, GFP_KERNEL | __GFP_ZERO); /* never NULL; the flag means nothing to a pool */
	cr_assert(pair[1] && asks == 1);
	cr_assert(!gfpflags_allow_blocking(asked[0]) && asked[0] & __GFP_NORETRY && asked[0] & __GFP_NOMEMALLOC);
	asks = 0;
	pthread_create(&thread, NULL, free_when_asked, pair);
	cr_assert_eq(mempool_alloc(pool, GFP_KERNEL), pair[1]);
	pthread_join(thread, NULL);
	cr_assert(!gfpflags_allow_blocking(asked[0]) && asked[0] & __GFP_NORETRY && asked[0] & __GFP_NOWARN);
	cr_assert_eq(asked[1], GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
}

/* "It cannot be guaranteed that the pool will be grown to the new size immediately, but new mempool_free() calls will
 * refill it" (mempool_resize). */
Test(gfp_h, pool_of_none_keeps_one_and_grows_by_frees)
{
	int left = 3;
	mempool_t *pool = mempool_create(0, seldom, nobody, &left);

	cr_assert(pool && lab_mempool_available(pool->lab) == 1);
	cr_assert_eq(mempool_resize(pool, 5), 0);
	cr_assert_eq(lab_mempool_available(pool->lab), 3);
	for (int i = 0; i < 3; i++)
		mempool_free(malloc(100), pool);
	cr_assert_eq(lab_mempool_available(pool->lab), 5);
	cr_assert(mempool_resize(pool, 0) == 0 && lab_mempool_available(pool->lab) == 1);
	cr_assert_null(mempool_create(0, never, nobody, NULL), "the one that there is none of");
}
