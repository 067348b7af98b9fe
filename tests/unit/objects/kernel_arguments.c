/* kernel_arguments.c - the same as arguments.c, of labyrinth/gfp.h. Clauses: G9.7. */
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>
#include <signal.h>

#include "arguments.h"

Test(kernel_arguments, of_blocks, .timeout = SECONDS)
{
	for
		EACH(sizes, s)
		{
			void *p = kmalloc(sizes[s], GFP_KERNEL),
			     *q = krealloc(kmalloc(10, GFP_KERNEL), sizes[s], GFP_KERNEL);
			cr_assert_eq(p != NULL, sizes[s] <= KMALLOC_MAX_SIZE);
			cr_assert_eq(q != NULL, sizes[s] <= KMALLOC_MAX_SIZE);
			kfree(p);
			kfree(q);
			if (sizes[s] > KMALLOC_MAX_SIZE) {
				cr_assert_null(kmemdup("", sizes[s], GFP_KERNEL));
				cr_assert_null(kmemdup_nul("", sizes[s], GFP_KERNEL));
			}
			volatile size_t most = sizes[s]; /* the compiler knows how long the text is */
			char *text = kstrndup("abc", most, GFP_KERNEL);
			cr_assert(text && strlen(text) == (sizes[s] < 3 ? sizes[s] : 3));
			kfree(text);
		}
	cr_assert(!kstrdup(NULL, GFP_KERNEL) && !kstrndup(NULL, 5, GFP_KERNEL) && !kmemdup_nul(NULL, 5, GFP_KERNEL));
}

Test(kernel_arguments, of_caches, .timeout = SECONDS)
{
	static const unsigned numbers[] = {
	        0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 4096, 1u << 22, (1u << 22) + 1, 1u << 31, UINT_MAX};
	static const slab_flags_t slab_flags[] = {0, SLAB_HWCACHE_ALIGN, SLAB_ACCOUNT | SLAB_NO_MERGE,
	                                          4, 0x80000000,         UINT_MAX & ~SLAB_PANIC};

	for
		EACH(numbers, s)
		{
		for
			EACH(numbers, a)
			{
			for
				EACH(slab_flags, f)
				{
					unsigned size = numbers[s], align = numbers[a];
					begin();
					struct kmem_cache *cache =
						kmem_cache_create("x", size, align, slab_flags[f], NULL);
					bool is_wrong = align & (align - 1) || slab_flags[f] & ~LAB_KERNEL_SLAB_FLAGS;
					bool is_large = size > KMALLOC_MAX_SIZE || align > KMALLOC_MAX_SIZE;
					cr_assert_eq(cache != NULL, !is_wrong && !is_large,
						     "size %u, alignment %u, flags %#x", size, align, slab_flags[f]);
					if (!cache)
						cr_assert_eq(errno, is_wrong ? EINVAL : ENOMEM);
					if (cache && size <= 4096 && align <= 4096) {
						char *p = kmem_cache_alloc(cache, GFP_KERNEL),
						     *q = kmem_cache_alloc(cache, GFP_KERNEL);
						size_t line = slab_flags[f] & SLAB_HWCACHE_ALIGN ? size > 32   ? 64
								                                   : size > 16 ? 32
								                                               : 16
								                                 : 1;
						cr_assert(p && q && p != q && (uintptr_t)q % line == 0 &&
							  (uintptr_t)q % (align ? align : 1) == 0);
						kmem_cache_free(cache, p);
						kmem_cache_free(cache, q);
					}
					kmem_cache_destroy(cache);
				}
			}
		}
	void *none[1];
	struct kmem_cache *cache = kmem_cache_create(NULL, 10, 0, 0, NULL);
	cr_assert(cache && kmem_cache_alloc_bulk(cache, GFP_KERNEL, 0, none) == 0);
	kmem_cache_destroy(cache);
	kmem_cache_destroy(NULL);
}

Test(kernel_arguments, a_cache_that_cannot_be_is_a_panic_where_one_is_asked_for, .signal = SIGABRT)
{
	(void)kmem_cache_create("x", 10, 3, SLAB_PANIC, NULL);
}

Test(kernel_arguments, of_pools, .timeout = SECONDS)
{
	static const int counts[] = {INT_MIN, -1, INT_MAX, INT_MAX - 1, (int)LAB_MEMPOOL_MAX + 1};
	size_t before = faulted();
	struct kmem_cache *cache = kmem_cache_create("x", 100, 0, 0, NULL);
	mempool_t *pool = mempool_create_slab_pool(2, cache);

	for
		EACH(counts, c)
		{
			cr_assert_null(mempool_create_slab_pool(counts[c], cache));
			cr_assert_null(mempool_create_kmalloc_pool(counts[c], 100));
			cr_assert_null(mempool_create_page_pool(counts[c], 0));
			cr_assert_eq(mempool_resize(pool, counts[c]), counts[c] < 0 ? -EINVAL : -ENOMEM);
		}
	cr_assert_null(mempool_create_page_pool(1, -1));
	cr_assert_null(mempool_create_page_pool(1, 11));
	cr_assert_null(mempool_create_kmalloc_pool(1, SIZE_MAX));
	mempool_t *nothing = mempool_create_kmalloc_pool(1, 0);
	cr_assert(nothing && mempool_alloc(nothing, GFP_KERNEL) == ZERO_SIZE_PTR);
	mempool_free(ZERO_SIZE_PTR, nothing);
	mempool_destroy(nothing);
	mempool_destroy(pool);
	mempool_destroy(NULL);
	cr_assert_leq(faulted() - before, 64 * MIB);
}
