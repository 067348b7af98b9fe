/* kernel_names.c - labyrinth/gfp.h: what the kernel's documentation says of each name. */
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>
#include <signal.h>

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
		cr_assert(trace_is_zero(p, 1000) && trace_is_zero(q, 1000) && trace_is_zero(r, 100000) && trace_is_zero(s, 1000));
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
	char *a = kstrdup("driver", GFP_KERNEL), *b = kstrndup("driver", 3, GFP_KERNEL), *c = kstrndup("dr", 30, GFP_ATOMIC);
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
		cr_assert_eq(lab_mempool_available((struct lab_mempool *)pools[i]), 9);
		mempool_free(NULL, pools[i]);
		mempool_destroy(pools[i]);
	}
	mempool_destroy(NULL);
	cr_assert_eq(kmem_cache_shrink(cache), 0);
	cr_assert_null(mempool_create_kmalloc_pool(1, KMALLOC_MAX_SIZE + 1));
}
