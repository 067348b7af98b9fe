/*
 * arguments.c - sizes, alignments, orders, counts and flags at and beyond their bounds, of every function of
 * labyrinth.h that takes such: each call returns, with a block that is what was asked for or with NULL and an errno,
 * and takes little memory for it. gfp.h: kernel_arguments.c. Clauses: G9.7.
 */
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>

#include "arguments.h"

enum { MANY = 64 };

/* The result of a call after begin(). */
static void
judge(const void *p, size_t size, size_t align, unsigned gfp)
{
	bool tells = !(gfp & LAB_GFP_ATOMIC & 3);

	if (p) {
		cr_assert_eq(errno, EXDEV);
		cr_assert(is_sound(gfp), "flags %#x", gfp);
		cr_assert_leq(size, LAB_SIZE_MAX);
		cr_assert_geq(lab_usable_size(p), size);
		cr_assert_eq((uintptr_t)p % align, 0);
		return;
	}
	if (!is_sound(gfp))
		cr_assert_eq(errno, tells ? EINVAL : EXDEV, "flags %#x: errno %d", gfp, errno);
	else if (size <= 4096 && align <= 4096 && (gfp & 3) == LAB_GFP_KERNEL)
		cr_assert_fail("nothing for size %zu, alignment %zu, flags %#x", size, align, gfp);
	else
		cr_assert_eq(errno,
		             !tells                          ? EXDEV
		             : align & (align - 1) || !align ? EINVAL
		                                             : ENOMEM,
		             "errno %d", errno);
}

Test(arguments, of_blocks, .timeout = SECONDS)
{
	for
		EACH(sizes, s)
		{
		for
			EACH(flags, f)
			{
				size_t before = faulted();
				begin();
				void *p = lab_alloc(sizes[s], flags[f]);
				judge(p, sizes[s], 16, flags[f]);
				begin();
				void *q = lab_realloc(p, 100, is_sound(flags[f]) ? flags[f] : LAB_GFP_KERNEL);
				lab_free(q ? q : p);
				p = lab_alloc(100, LAB_GFP_KERNEL);
				begin();
				q = lab_realloc(p, sizes[s], flags[f]);
				if (q || sizes[s] || !is_sound(flags[f]))
					judge(q, sizes[s], 16,
					      q && sizes[s] <= lab_usable_size(q) && is_sound(flags[f]) ? LAB_GFP_KERNEL
						                                                        : flags[f]);
				if (q || sizes[s] || !is_sound(flags[f]))
					lab_free(q ? q : p);
				begin();
				p = lab_alloc_pages_exact(sizes[s], flags[f]);
				judge(p, sizes[s], p ? 4096 : 16, flags[f]);
				lab_free_pages_exact(p, sizes[s]);
				cr_assert_leq(faulted() - before, 64 * MIB, "size %zu, flags %#x", sizes[s], flags[f]);
			}
		}
}

Test(arguments, of_aligned_blocks, .timeout = SECONDS)
{
	static const size_t small[] = {0, 1, 100, 5000, MIB, SIZE_MAX / 2, SIZE_MAX};

	for
		EACH(sizes, a)
		{
			size_t align = sizes[a];
		for
			EACH(small, s)
			{
				size_t before = faulted();
			for
				EACH(flags, f)
				{
					begin();
					void *p = lab_alloc_aligned(align, small[s], flags[f]);
					if (align && !(align & (align - 1)))
						judge(p, small[s], align, flags[f]);
					else
						cr_assert(!p && (errno == EINVAL || errno == EXDEV));
					lab_free(p);
				}
			begin();
			void *p = lab_aligned_alloc(align, small[s]), *q = NULL;
			cr_assert(p ? errno == EXDEV : errno == (align && !(align & (align - 1)) ? ENOMEM : EINVAL));
			int error = lab_posix_memalign(&q, align, small[s]);
			cr_assert(error == 0 ? q != NULL : !q && (error == EINVAL || error == ENOMEM));
			lab_free(p);
			lab_free(q);
			cr_assert_leq(faulted() - before, 64 * MIB, "size %zu, alignment %zu", small[s], align);
			}
		}
}

Test(arguments, of_products_and_pages, .timeout = SECONDS)
{
	static const unsigned orders[] = {0, 1, 4, 5, 10, 11, 12, 31, 32, 51, 52, 63, 64, INT_MAX, UINT_MAX};

	for
		EACH(sizes, a)
		{
		for
			EACH(sizes, b)
			{
				size_t bytes;
				bool overflow = __builtin_mul_overflow(sizes[a], sizes[b], &bytes);
				if (!overflow && bytes > 64 * MIB && bytes <= LAB_SIZE_MAX)
					continue;
				void *p = lab_calloc(sizes[a], sizes[b]),
				     *q = lab_reallocarray(lab_malloc(1), sizes[a], sizes[b]);
				if (overflow || bytes > LAB_SIZE_MAX)
					cr_assert(!p && !q);
				else
					cr_assert(p && (q || bytes == 0));
				lab_free(p);
				lab_free(q);
				cr_assert_eq(kmalloc_array(sizes[a], sizes[b], GFP_KERNEL) == NULL,
					     overflow || bytes > KMALLOC_MAX_SIZE);
				cr_assert_eq(kcalloc(sizes[a], sizes[b], GFP_KERNEL) == NULL,
					     overflow || bytes > KMALLOC_MAX_SIZE);
			}
		}
	for
		EACH(orders, o)
		{
		for
			EACH(flags, f)
			{
				begin();
				void *p = lab_alloc_pages(flags[f], orders[o]);
				size_t size = orders[o] <= LAB_ORDER_MAX_ALLOC ? (size_t)4096 << orders[o] : SIZE_MAX;
				judge(p, size, p ? size : 16, flags[f]);
				lab_free_pages(p, orders[o]);
			}
		struct page *page = alloc_pages(GFP_KERNEL, orders[o]);
		cr_assert_eq(page != NULL, orders[o] <= MAX_PAGE_ORDER);
		__free_pages(page, orders[o]);
		}
	for
		EACH(sizes, s)
	cr_assert(get_order(sizes[s]) <= 52 && (sizes[s] <= 4096) == (get_order(sizes[s]) == 0));
}

static void
construct(void *object)
{
	*(char *)object = 1;
}

/* A cache that there is gives an object that is what was asked for, and goes again. */
static void
use_cache(struct lab_cache *cache, size_t size, size_t align)
{
	for (int i = 0; i < 2; i++) {
		char *object = lab_cache_alloc(cache, LAB_GFP_KERNEL);
		if (!object)
			continue;
		cr_assert_eq((uintptr_t)object % (align ? align : 16), 0);
		memset(object, 2, size);
		lab_cache_free(cache, object);
	}
	for
		EACH(flags, f)
		{
			begin();
			void *object = lab_cache_alloc(cache, flags[f]);
			if (object)
				cr_assert(is_sound(flags[f]) && !(flags[f] & LAB_GFP_EXCLUSIVE) && errno == EXDEV);
			else
				cr_assert(errno == EXDEV || errno == EINVAL || errno == ENOMEM);
			lab_cache_free(cache, object);
		}
	cr_assert(lab_cache_destroy(cache));
}

Test(arguments, of_caches, .timeout = SECONDS)
{
	for
		EACH(sizes, s)
		{
		for
			EACH(sizes, a)
			{
				size_t before = faulted(), size = sizes[s], align = sizes[a];
				begin();
				struct lab_cache *cache = lab_cache_create(s % 2 ? NULL : "x", size, align,
					                                   a % 2 && size ? construct : NULL);
				if (cache)
					cr_assert(!(align & (align - 1)) && size <= 16 * MIB && align <= 16 * MIB);
				else
					cr_assert_eq(errno, align & (align - 1) ? EINVAL : ENOMEM);
				if (cache)
					use_cache(cache, size, align);
				(void)lab_trim(0);
				cr_assert_leq(faulted() - before, 512 * MIB, "size %zu, alignment %zu", size, align);
			}
		}
	cr_assert(lab_cache_destroy(NULL));
}

static void *
no_element(unsigned gfp, void *data)
{
	(void)gfp;
	(void)data;
	return NULL;
}

Test(arguments, of_pools, .timeout = SECONDS)
{
	static const size_t counts[] = {
	        0, 1, 2, LAB_MEMPOOL_MAX + 1, INT_MAX, (size_t)1 << 40, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};
	size_t before = faulted();

	for
		EACH(counts, c)
		{
		for
			EACH(sizes, s)
			{
				size_t count = counts[c], size = sizes[s];
				begin();
				struct lab_mempool *pool = lab_mempool_create_sized(count, size);
				bool may_be = count <= LAB_MEMPOOL_MAX;
				if (!pool)
					cr_assert_eq(errno, ENOMEM);
				if (count == 0 || size <= 16 * MIB + 1)
					cr_assert_eq(pool != NULL, may_be, "%zu of %zu", count, size);
				for (size_t f = 0; pool && f < sizeof flags / sizeof *flags; f++) {
					begin();
					void *p = lab_mempool_alloc(pool, flags[f]);
					if (p)
						cr_assert(is_sound(flags[f]) && lab_usable_size(p) >= size &&
							  errno == EXDEV);
					else
						cr_assert(errno == EINVAL || errno == ENOMEM || errno == EXDEV);
					lab_mempool_free(pool, p);
				}
				for (size_t other = 3; pool && other < sizeof counts / sizeof *counts; other++) {
					cr_assert_not(lab_mempool_resize(pool, counts[other]));
					cr_assert_eq(lab_mempool_available(pool), count);
				}
				lab_mempool_destroy(pool);
			}
		if (counts[c] > 0)
			cr_assert_null(lab_mempool_create(counts[c], no_element, mempool_kfree, NULL));
		}
	begin();
	cr_assert_null(lab_mempool_create(1, NULL, mempool_kfree, NULL));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(lab_mempool_create(1, mempool_kmalloc, NULL, NULL));
	cr_assert_null(lab_mempool_create_sized(MANY, SIZE_MAX / MANY + 1));
	lab_mempool_destroy(NULL);
	cr_assert_leq(faulted() - before, 256 * MIB);
}

/* A pool of nothing to give has to say no to what it does not know: with KERNEL it would wait for ever. */
static void *
element(unsigned gfp, void *size)
{
	return lab_alloc((size_t)size, gfp);
}

static void
free_element(void *p, void *size)
{
	(void)size;
	lab_free(p);
}

Test(arguments, of_an_empty_pool, .timeout = SECONDS)
{
	struct lab_mempool *pool = lab_mempool_create(1, element, free_element, (void *)100);
	void *p = lab_mempool_alloc(pool, LAB_GFP_KERNEL);

	for
		EACH(flags, f)
		{
			begin();
			if (!is_sound(flags[f]) || flags[f] & (LAB_GFP_EXCLUSIVE | LAB_GFP_ZERO))
				cr_assert(!lab_mempool_alloc(pool, flags[f]) && errno != ENOMEM);
		}
	lab_mempool_free(pool, p);
	lab_mempool_destroy(pool);
}

Test(arguments, of_shares_and_owners, .timeout = SECONDS)
{
	static const int tids[] = {INT_MIN, -1, 0, INT_MAX};
	size_t before = faulted();

	for
		EACH(sizes, s)
		{
			cr_assert_not(lab_reserve_thread(sizes[s], SIZE_MAX));
			cr_assert_not(lab_reserve_thread(sizes[s], SIZE_MAX / 2));
			cr_assert_not(lab_reserve_thread(sizes[s], (size_t)1 << 31));
			cr_assert_eq(lab_reserve_thread(sizes[s], 1), sizes[s] <= 65536);
			cr_assert_eq(lab_reserve_thread(sizes[s], 0), sizes[s] <= 65536);
		}
	cr_assert_not(lab_reserve_thread(65536, UINT32_MAX / 2));  /* 128 TiB */
	cr_assert_not(lab_reserve_thread(65536, (size_t)1 << 28)); /* 16 TiB */
	cr_assert_leq(faulted() - before, 64 * MIB);
	void *block = lab_alloc(10, LAB_GFP_EXCLUSIVE);
	for
		EACH(tids, t)
	cr_assert(!lab_transfer(block, tids[t]) && !lab_transfer(NULL, tids[t]));
	cr_assert_eq(lab_owner(NULL), -1);
	lab_free(block);
}

Test(arguments, of_settings_and_figures, .timeout = SECONDS)
{
	struct lab_reserve_class reserve;
	struct lab_class_stats classes[LAB_CLASSES_MAX];

	cr_assert(!lab_set_param((enum lab_param)99, 0) && !lab_set_param((enum lab_param) - 1, SIZE_MAX));
	cr_assert(!lab_set_param((enum lab_param) - 1, 1) && !lab_set_param(LAB_PARAM_THP, SIZE_MAX));
	cr_assert(!lab_reserve_class_get(SIZE_MAX, &reserve) && !lab_reserve_class_get(1000, &reserve));
	size_t count = lab_class_stats_get(NULL, 0, NULL);
	cr_assert(count > 10 && count < LAB_CLASSES_MAX);
	cr_assert_eq(lab_class_stats_get(classes, LAB_CLASSES_MAX, NULL), count);
	for
		EACH(sizes, s)
		{
			(void)lab_trim(sizes[s]);
			cr_assert_not(lab_set_param(LAB_PARAM_THP, sizes[s] + 3 > sizes[s] ? sizes[s] + 3 : 3));
			cr_assert_eq(lab_set_param(LAB_PARAM_PERTURB, sizes[s]), sizes[s] <= 255);
			cr_assert_eq(lab_set_param(LAB_PARAM_WAIT_MS, sizes[s]), sizes[s] <= 86400000);
			cr_assert(lab_set_param(LAB_PARAM_HUGE_THRESHOLD, sizes[s]));
			void *p = lab_malloc(100);
			cr_assert(p);
			lab_free(p);
		}
}
