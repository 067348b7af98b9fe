/*
 * gfp.h - the Linux kernel's names for Labyrinth: to write user-space drivers in the kernel's style, and to compile,
 * run and fuzz kernel code in user space. Static inline functions over labyrinth.h; C11 and C++11.
 *
 * Names, order of arguments and failures are those of the kernel's documentation
 * (Documentation/core-api/memory-allocation.rst and mm-api.rst). "Atomic context" is here a signal handler, on any
 * thread, at any instruction.
 *
 * What differs:
 *   - GFP_KERNEL does not sleep, but over a limit (LABYRINTH_LIMIT), and in mempool_alloc. It is safe in a handler too;
 *     what it is not there is bounded. In a handler that interrupted the only holder of a pool's elements,
 *     mempool_alloc(GFP_KERNEL) waits for ever, as in the kernel; in one that interrupted the allocator it gives NULL
 *     instead.
 *   - GFP_ATOMIC: at most 64 KiB (order 4). GFP_NOWAIT: what the thread's own heap holds, so that a thread's first one
 *     may fail.
 *   - struct page is opaque: a page has an address and nothing else. There are no page counts: get_page and put_page do
 *     not exist.
 *   - kmem_cache_destroy of a cache with objects in use says how many there are, and leaves the cache as it was.
 *   - GFP_KERNEL is 0, so that its parts (__GFP_DIRECT_RECLAIM, __GFP_IO, __GFP_FS) cannot be taken out of it; there
 *     are GFP_NOWAIT, and gfpflags_allow_blocking to ask.
 * Not defined, since they could not be kept: __GFP_NOFAIL, GFP_DMA, GFP_DMA32, __GFP_HIGHMEM, __GFP_THISNODE,
 * __GFP_NOMEMALLOC, SLAB_POISON, SLAB_RED_ZONE.
 */
#ifndef LABYRINTH_GFP_H
#define LABYRINTH_GFP_H

#include <errno.h>
#include <labyrinth/labyrinth.h>
#include <stdlib.h>
#include <string.h>

/* ---- flags ----------------------------------------------------------------------------------------------------- */

typedef unsigned int gfp_t;

#define GFP_KERNEL ((gfp_t)LAB_GFP_KERNEL)
#define GFP_ATOMIC ((gfp_t)LAB_GFP_ATOMIC)
#define GFP_NOWAIT ((gfp_t)(LAB_GFP_NOWAIT | LAB_GFP_NOWARN))

#define __GFP_ZERO     ((gfp_t)LAB_GFP_ZERO)
#define __GFP_HIGH     ((gfp_t)LAB_GFP_HIGH)
#define __GFP_MEMALLOC ((gfp_t)LAB_GFP_MEMALLOC)
#define __GFP_NOWARN   ((gfp_t)LAB_GFP_NOWARN)
#define __GFP_NORETRY  ((gfp_t)LAB_GFP_NORETRY) /* over a limit: one round of reclaim, no waiting */

/* What these ask for is so anyway: nothing is tried for ever, everything counts against the limit, reclaim calls
 * nobody's code back, pages of one allocation belong together. */
#define GFP_KERNEL_ACCOUNT  GFP_KERNEL
#define GFP_USER            GFP_KERNEL
#define GFP_NOIO            GFP_KERNEL
#define GFP_NOFS            GFP_KERNEL
#define __GFP_RETRY_MAYFAIL ((gfp_t)0)
#define __GFP_ACCOUNT       ((gfp_t)0)
#define __GFP_COMP          ((gfp_t)0)
#define __GFP_RECLAIMABLE   ((gfp_t)0)
#define __GFP_MOVABLE       ((gfp_t)0)

static inline bool
gfpflags_allow_blocking(gfp_t gfp)
{
	return (gfp & 3u) == LAB_GFP_KERNEL;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#ifndef PAGE_SIZE
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#endif
#ifndef PAGE_MASK
#define PAGE_MASK (~(PAGE_SIZE - 1))
#endif
#ifndef PAGE_ALIGN
#define PAGE_ALIGN(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)
#endif
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER LAB_ORDER_MAX_ALLOC
#endif

struct page;

static inline void *
page_address(const struct page *page)
{
	return (void *)(uintptr_t)page;
}

static inline struct page *
virt_to_page(const void *address)
{
	return (struct page *)((uintptr_t)address & PAGE_MASK);
}

/* The least order of which a block holds `size` bytes. */
static inline int
get_order(unsigned long size)
{
	int order = 0;

	for (size = size ? (size - 1) >> PAGE_SHIFT : 0; size; size >>= 1)
		order++;
	return order;
}

static inline struct page *
alloc_pages(gfp_t gfp, unsigned int order)
{
	return (struct page *)lab_alloc_pages(gfp, order);
}

static inline void
__free_pages(struct page *page, unsigned int order)
{
	lab_free_pages(page_address(page), order);
}

#define alloc_page(gfp)   alloc_pages((gfp), 0)
#define __free_page(page) __free_pages((page), 0)

static inline unsigned long
__get_free_pages(gfp_t gfp, unsigned int order)
{
	return (unsigned long)lab_alloc_pages(gfp, order);
}

static inline unsigned long
get_zeroed_page(gfp_t gfp)
{
	return __get_free_pages(gfp | __GFP_ZERO, 0);
}

static inline void
free_pages(unsigned long address, unsigned int order)
{
	lab_free_pages((void *)address, order);
}

#define __get_free_page(gfp) __get_free_pages((gfp), 0)
#define free_page(address)   free_pages((address), 0)

static inline void *
alloc_pages_exact(size_t size, gfp_t gfp)
{
	return lab_alloc_pages_exact(size, gfp);
}

static inline void
free_pages_exact(void *address, size_t size)
{
	lab_free_pages_exact(address, size);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

#define KMALLOC_MAX_SIZE ((size_t)(PAGE_SIZE << MAX_PAGE_ORDER))

/* What kmalloc(0) gives: no memory, but no failure. kfree, ksize and krealloc take it. */
#define ZERO_SIZE_PTR       ((void *)16)
#define ZERO_OR_NULL_PTR(p) ((uintptr_t)(p) <= (uintptr_t)ZERO_SIZE_PTR)

/* Without a bound on the size: kvmalloc. A block whose size is a power of two is aligned to it, up to a page at
 * least. */
static inline void *
kvmalloc(size_t size, gfp_t gfp)
{
	if (size == 0)
		return ZERO_SIZE_PTR;
	if (size > 16 && size <= KMALLOC_MAX_SIZE && (size & (size - 1)) == 0)
		return lab_alloc_aligned(size, size, gfp);
	return lab_alloc(size, gfp);
}

static inline void *
kmalloc(size_t size, gfp_t gfp)
{
	return size <= KMALLOC_MAX_SIZE ? kvmalloc(size, gfp) : NULL;
}

static inline void *
kzalloc(size_t size, gfp_t gfp)
{
	return kmalloc(size, gfp | __GFP_ZERO);
}

static inline void *
kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : kmalloc(bytes, gfp);
}

static inline void *
kcalloc(size_t n, size_t size, gfp_t gfp)
{
	return kmalloc_array(n, size, gfp | __GFP_ZERO);
}

/* Any block, and an object of any cache. */
static inline void
kfree(const void *p)
{
	if (!ZERO_OR_NULL_PTR(p))
		lab_free((void *)(uintptr_t)p);
}

/* The bytes that may be used. */
static inline size_t
ksize(const void *p)
{
	return ZERO_OR_NULL_PTR(p) ? 0 : lab_usable_size(p);
}

/* Size 0 frees p and gives ZERO_SIZE_PTR; on failure p stays as it was. */
static inline void *
krealloc(const void *p, size_t size, gfp_t gfp)
{
	if (size == 0) {
		kfree(p);
		return ZERO_SIZE_PTR;
	}
	if (ZERO_OR_NULL_PTR(p))
		return kmalloc(size, gfp);
	return size <= KMALLOC_MAX_SIZE ? lab_realloc((void *)(uintptr_t)p, size, gfp) : NULL;
}

static inline void *
krealloc_array(void *p, size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : krealloc(p, bytes, gfp);
}

/* Cleared before it is freed. */
static inline void
kfree_sensitive(const void *p)
{
	if (!ZERO_OR_NULL_PTR(p)) {
		memset((void *)(uintptr_t)p, 0, ksize(p));
		__asm__ volatile("" : : "r"(p) : "memory"); /* the memset is not dead */
		kfree(p);
	}
}

static inline void *
kvzalloc(size_t size, gfp_t gfp)
{
	return kvmalloc(size, gfp | __GFP_ZERO);
}

static inline void *
kvmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : kvmalloc(bytes, gfp);
}

static inline void *
kvcalloc(size_t n, size_t size, gfp_t gfp)
{
	return kvmalloc_array(n, size, gfp | __GFP_ZERO);
}

static inline void
kvfree(const void *p)
{
	kfree(p);
}

static inline void *
kmemdup(const void *source, size_t size, gfp_t gfp)
{
	void *p = kmalloc(size, gfp);

	return p ? memcpy(p, source, size) : NULL;
}

/* At most `size` bytes, and a NUL. */
static inline char *
kmemdup_nul(const char *source, size_t size, gfp_t gfp)
{
	char *p = source && size < KMALLOC_MAX_SIZE ? (char *)kmalloc(size + 1, gfp) : NULL;

	if (p) {
		memcpy(p, source, size);
		p[size] = 0;
	}
	return p;
}

/* NULL for NULL. */
static inline char *
kstrdup(const char *source, gfp_t gfp)
{
	return source ? kmemdup_nul(source, strlen(source), gfp) : NULL;
}

static inline char *
kstrndup(const char *source, size_t most, gfp_t gfp)
{
	size_t length = 0; /* strnlen is not in C11 */

	while (source && length < most && source[length])
		length++;
	return kmemdup_nul(source, length, gfp);
}

/* ---- caches of objects ------------------------------------------------------------------------------------------- */

struct kmem_cache;
typedef unsigned int slab_flags_t;

#define SLAB_HWCACHE_ALIGN   ((slab_flags_t)1) /* objects do not straddle cache lines without need */
#define SLAB_PANIC           ((slab_flags_t)2) /* abort if the cache cannot be made */
#define SLAB_TYPESAFE_BY_RCU ((slab_flags_t)4) /* needs liblabyrinth_rcu (labyrinth/rcu.h), else NULL, EINVAL */
#define SLAB_ACCOUNT         ((slab_flags_t)0) /* so anyway, as is all that follows */
#define SLAB_RECLAIM_ACCOUNT ((slab_flags_t)0)
#define SLAB_TEMPORARY       ((slab_flags_t)0)
#define SLAB_NO_MERGE        ((slab_flags_t)0)

/* NULL in a program that is not linked with liblabyrinth_rcu. */
#ifdef __cplusplus
extern "C"
#endif
        void
        lab_free_rcu_head(void *block, struct lab_rcu_head *head) __attribute__((weak));

/* The alignment of objects that are to lie in as few cache lines as their size allows. */
static inline unsigned int
kmem_cache_line_align(unsigned int size)
{
	return size <= 16 ? 16 : size <= 32 ? 32 : 64;
}

/* A name that another cache has is worth a line on stderr. `align` 0: 16. NULL also (errno EINVAL) if it is not a power
 * of two, for flags that are not among those above, and (errno ENOMEM) for a size or an alignment above
 * KMALLOC_MAX_SIZE. Objects of size 0 are distinct. */
static inline struct kmem_cache *
kmem_cache_create(const char *name, unsigned int size, unsigned int align, slab_flags_t flags, void (*ctor)(void *))
{
	struct lab_cache *cache = NULL;

	bool typesafe = (flags & SLAB_TYPESAFE_BY_RCU) != 0;

	if (flags & ~(SLAB_HWCACHE_ALIGN | SLAB_PANIC | SLAB_TYPESAFE_BY_RCU) || align & (align - 1) ||
	    (typesafe && !lab_free_rcu_head)) {
		errno = EINVAL;
	} else if (size > KMALLOC_MAX_SIZE || align > KMALLOC_MAX_SIZE) {
		errno = ENOMEM;
	} else {
		if (flags & SLAB_HWCACHE_ALIGN && align < kmem_cache_line_align(size))
			align = kmem_cache_line_align(size);
		cache = lab_cache_create(name, size, align, ctor);
		if (cache && typesafe)
			lab_cache_release_by(cache, lab_free_rcu_head);
	}
	if (!cache && flags & SLAB_PANIC)
		abort();
	return (struct kmem_cache *)cache;
}

#define KMEM_CACHE(type, flags) kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), (flags), NULL)

static inline void
kmem_cache_destroy(struct kmem_cache *cache)
{
	(void)lab_cache_destroy((struct lab_cache *)cache);
}

static inline void *
kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return lab_cache_alloc((struct lab_cache *)cache, gfp);
}

/* Zeroed, whatever the constructor made of it. */
static inline void *
kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	return kmem_cache_alloc(cache, gfp | __GFP_ZERO);
}

static inline void
kmem_cache_free(struct kmem_cache *cache, void *object)
{
	lab_cache_free((struct lab_cache *)cache, object);
}

static inline unsigned int
kmem_cache_size(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return (unsigned int)stats.size;
}

/* 0: no slab is left. */
static inline int
kmem_cache_shrink(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	(void)lab_cache_shrink((struct lab_cache *)cache);
	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return stats.slabs != 0;
}

/* Without a cache: blocks of kmalloc. */
static inline void
kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **objects)
{
	for (size_t i = 0; i < n; i++)
		if (cache)
			kmem_cache_free(cache, objects[i]);
		else
			kfree(objects[i]);
}

/* All n, or none: n or 0. */
static inline int
kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **objects)
{
	for (size_t i = 0; i < n; i++) {
		objects[i] = kmem_cache_alloc(cache, gfp);
		if (!objects[i]) {
			kmem_cache_free_bulk(cache, i, objects);
			return 0;
		}
	}
	return (int)n;
}

/* ---- pools ------------------------------------------------------------------------------------------------------- */

typedef struct mempool_s mempool_t;
typedef void *(mempool_alloc_t)(gfp_t gfp, void *data);
typedef void(mempool_free_t)(void *element, void *data);

/* A pool keeps one element at least. NULL also for less than no element, or more than LAB_MEMPOOL_MAX. */
static inline mempool_t *
mempool_create(int min_nr, mempool_alloc_t *alloc, mempool_free_t *release, void *data)
{
	if (min_nr < 0) {
		errno = EINVAL;
		return NULL;
	}
	return (mempool_t *)lab_mempool_create(min_nr ? (size_t)min_nr : 1, alloc, release, data);
}

static inline void
mempool_destroy(mempool_t *pool)
{
	lab_mempool_destroy((struct lab_mempool *)pool);
}

/* From what is free; then from the pool; then GFP_KERNEL reclaims, and waits for an element. __GFP_ZERO is not for
 * pools. */
static inline void *
mempool_alloc(mempool_t *pool, gfp_t gfp)
{
	return lab_mempool_alloc((struct lab_mempool *)pool, gfp);
}

static inline void
mempool_free(void *element, mempool_t *pool)
{
	if (pool)
		lab_mempool_free((struct lab_mempool *)pool, element);
}

/* 0: elements that there is no memory for now come by later frees. -ENOMEM: no memory for the pool itself, or more than
 * LAB_MEMPOOL_MAX. -EINVAL: less than no element. */
static inline int
mempool_resize(mempool_t *pool, int min_nr)
{
	if (min_nr < 0)
		return -EINVAL;
	return lab_mempool_resize((struct lab_mempool *)pool, min_nr ? (size_t)min_nr : 1) ? 0 : -ENOMEM;
}

static inline void *
mempool_alloc_slab(gfp_t gfp, void *cache)
{
	return kmem_cache_alloc((struct kmem_cache *)cache, gfp);
}

static inline void
mempool_free_slab(void *element, void *cache)
{
	kmem_cache_free((struct kmem_cache *)cache, element);
}

static inline void *
mempool_kmalloc(gfp_t gfp, void *size)
{
	return kmalloc((size_t)size, gfp);
}

static inline void
mempool_kfree(void *element, void *size)
{
	(void)size;
	kfree(element);
}

static inline void *
mempool_alloc_pages(gfp_t gfp, void *order)
{
	return alloc_pages(gfp, (unsigned int)(size_t)order);
}

static inline void
mempool_free_pages(void *element, void *order)
{
	__free_pages((struct page *)element, (unsigned int)(size_t)order);
}

static inline mempool_t *
mempool_create_slab_pool(int min_nr, struct kmem_cache *cache)
{
	return mempool_create(min_nr, mempool_alloc_slab, mempool_free_slab, cache);
}

static inline mempool_t *
mempool_create_kmalloc_pool(int min_nr, size_t size)
{
	return mempool_create(min_nr, mempool_kmalloc, mempool_kfree, (void *)size);
}

static inline mempool_t *
mempool_create_page_pool(int min_nr, int order)
{
	return mempool_create(min_nr, mempool_alloc_pages, mempool_free_pages, (void *)(size_t)order);
}

#endif
