/* mempool.h - pools that always have some elements to give: mempool_create, mempool_init and their family. */
#ifndef LABYRINTH_KERNEL_MEMPOOL_H
#define LABYRINTH_KERNEL_MEMPOOL_H

#include <labyrinth/kernel/cache.h>
#include <labyrinth/kernel/page.h>

#ifndef LAB_KERNEL_OWN_MEMPOOL_TYPES
typedef void *(mempool_alloc_t)(gfp_t gfp, void *data);
typedef void(mempool_free_t)(void *element, void *data);

/* min_nr, pool_data, alloc and free may be read, as in the kernel. Zeroed: no pool yet. */
typedef struct mempool_s {
	struct lab_mempool *lab;
	int min_nr;
	void *pool_data;
	mempool_alloc_t *alloc;
	mempool_free_t *free;
} mempool_t;
#endif

/* ---- what the names stand for: `lab` knows the struct as its data ------------------------------------------------ */

static inline void *
lab_kernel_element(unsigned lab, void *data)
{
	mempool_t *pool = (mempool_t *)data;

	return pool->alloc(lab_gfp_to_kernel(lab), pool->pool_data);
}

static inline void
lab_kernel_element_free(void *element, void *data)
{
	mempool_t *pool = (mempool_t *)data;

	pool->free(element, pool->pool_data);
}

static inline int
lab_kernel_pool_start(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *release, void *data)
{
	pool->lab = NULL;
	pool->min_nr = min_nr;
	pool->pool_data = data;
	pool->alloc = alloc;
	pool->free = release;
	if (min_nr < 0 || !alloc || !release)
		return -EINVAL;
	/* one at least is kept */
	pool->lab = lab_mempool_create(min_nr ? (size_t)min_nr : 1, lab_kernel_element, lab_kernel_element_free, pool);
	return pool->lab ? 0 : -ENOMEM;
}

static inline mempool_t *
lab_kernel_pool(int min_nr, mempool_alloc_t *alloc, mempool_free_t *release, void *data)
{
	mempool_t *pool = (mempool_t *)lab_malloc(sizeof(mempool_t));
	int error = pool ? lab_kernel_pool_start(pool, min_nr, alloc, release, data) : -ENOMEM;

	if (error == 0)
		return pool;
	lab_free(pool);
	errno = -error;
	return NULL;
}

/* ---- sources of elements ----------------------------------------------------------------------------------------- */

#ifndef mempool_alloc_slab
LAB_KERNEL_CALL void *
mempool_alloc_slab(gfp_t gfp, void *cache)
{
	return lab_kernel_object((struct kmem_cache *)cache, gfp);
}
#endif

#ifndef mempool_free_slab
static inline void
mempool_free_slab(void *element, void *cache)
{
	lab_cache_free((struct lab_cache *)cache, element);
}
#endif

#ifndef mempool_kmalloc
LAB_KERNEL_CALL void *
mempool_kmalloc(gfp_t gfp, void *size)
{
	return lab_kernel_alloc((size_t)size, LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef mempool_kfree
static inline void
mempool_kfree(void *element, void *size)
{
	(void)size;
	lab_kernel_free(element);
}
#endif

#ifndef mempool_kvmalloc
LAB_KERNEL_CALL void *
mempool_kvmalloc(gfp_t gfp, void *size)
{
	return lab_kernel_alloc((size_t)size, LAB_SIZE_MAX, gfp);
}
#endif

#ifndef mempool_kvfree
#define mempool_kvfree mempool_kfree
#endif

#ifndef mempool_alloc_pages
LAB_KERNEL_CALL void *
mempool_alloc_pages(gfp_t gfp, void *order)
{
	return lab_kernel_pages(gfp, (unsigned int)(size_t)order);
}
#endif

#ifndef mempool_free_pages
static inline void
mempool_free_pages(void *element, void *order)
{
	(void)lab_page_put_order(element, (unsigned int)(size_t)order);
}
#endif

/* ---- pools ------------------------------------------------------------------------------------------------------- */

/* A pool keeps one element at least. NULL also for less than no element, or more than LAB_MEMPOOL_MAX. */
#ifndef mempool_create
static inline mempool_t *
mempool_create(int min_nr, mempool_alloc_t *alloc, mempool_free_t *release, void *data)
{
	return lab_kernel_pool(min_nr, alloc, release, data);
}
#endif

#ifndef mempool_create_node
#define mempool_create_node(min_nr, alloc, release, data, gfp, node)                                                   \
	((void)(gfp), (void)(node), lab_kernel_pool((min_nr), (alloc), (release), (data)))
#endif
#ifndef mempool_create_slab_pool
#define mempool_create_slab_pool(min_nr, cache)                                                                        \
	lab_kernel_pool((min_nr), mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#endif
#ifndef mempool_create_kmalloc_pool
#define mempool_create_kmalloc_pool(min_nr, size)                                                                      \
	lab_kernel_pool((min_nr), mempool_kmalloc, mempool_kfree, (void *)(size_t)(size))
#endif
#ifndef mempool_create_kvmalloc_pool
#define mempool_create_kvmalloc_pool(min_nr, size)                                                                     \
	lab_kernel_pool((min_nr), mempool_kvmalloc, mempool_kvfree, (void *)(size_t)(size))
#endif
#ifndef mempool_create_page_pool
#define mempool_create_page_pool(min_nr, order)                                                                        \
	lab_kernel_pool((min_nr), mempool_alloc_pages, mempool_free_pages, (void *)(size_t)(order))
#endif

/* 0, -EINVAL or -ENOMEM. The struct stays where it is until mempool_exit. */
#ifndef mempool_init
static inline int
mempool_init(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *release, void *data)
{
	return lab_kernel_pool_start(pool, min_nr, alloc, release, data);
}
#endif

#ifndef mempool_init_node
#define mempool_init_node(pool, min_nr, alloc, release, data, gfp, node)                                               \
	((void)(gfp), (void)(node), lab_kernel_pool_start((pool), (min_nr), (alloc), (release), (data)))
#endif
#ifndef mempool_init_slab_pool
#define mempool_init_slab_pool(pool, min_nr, cache)                                                                    \
	lab_kernel_pool_start((pool), (min_nr), mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#endif
#ifndef mempool_init_kmalloc_pool
#define mempool_init_kmalloc_pool(pool, min_nr, size)                                                                  \
	lab_kernel_pool_start((pool), (min_nr), mempool_kmalloc, mempool_kfree, (void *)(size_t)(size))
#endif
#ifndef mempool_init_kvmalloc_pool
#define mempool_init_kvmalloc_pool(pool, min_nr, size)                                                                 \
	lab_kernel_pool_start((pool), (min_nr), mempool_kvmalloc, mempool_kvfree, (void *)(size_t)(size))
#endif
#ifndef mempool_init_page_pool
#define mempool_init_page_pool(pool, min_nr, order)                                                                    \
	lab_kernel_pool_start((pool), (min_nr), mempool_alloc_pages, mempool_free_pages, (void *)(size_t)(order))
#endif

#ifndef mempool_initialized
#define mempool_initialized(pool) ((pool)->lab != NULL)
#endif

/* Also of a struct that is zero. */
#ifndef mempool_exit
static inline void
mempool_exit(mempool_t *pool)
{
	lab_mempool_destroy(pool->lab);
	pool->lab = NULL;
}
#endif

#ifndef mempool_destroy
static inline void
mempool_destroy(mempool_t *pool)
{
	if (pool) {
		lab_mempool_destroy(pool->lab);
		lab_free(pool);
	}
}
#endif

/* From what is free; then from the pool; then GFP_KERNEL reclaims, and waits for an element. __GFP_ZERO is not for
 * pools, and is left out. */
#ifndef mempool_alloc
LAB_KERNEL_CALL void *
mempool_alloc(mempool_t *pool, gfp_t gfp)
{
	return lab_mempool_alloc(pool->lab, lab_gfp(gfp & ~(gfp_t)__GFP_ZERO));
}
#endif

/* One of the pool's, without asking its source; NULL: it has none. */
#ifndef mempool_alloc_preallocated
static inline void *
mempool_alloc_preallocated(mempool_t *pool)
{
	return lab_mempool_take(pool->lab);
}
#endif

#ifndef mempool_free
static inline void
mempool_free(void *element, mempool_t *pool)
{
	if (pool)
		lab_mempool_free(pool->lab, element);
}
#endif

#ifndef mempool_is_saturated
#define mempool_is_saturated(pool) (lab_mempool_available((pool)->lab) >= ((pool)->min_nr ? (size_t)(pool)->min_nr : 1))
#endif

/* 0: elements that there is no memory for now come by later frees. -ENOMEM: no memory for the pool itself, or more than
 * LAB_MEMPOOL_MAX. -EINVAL: less than no element. */
#ifndef mempool_resize
static inline int
mempool_resize(mempool_t *pool, int min_nr)
{
	if (min_nr < 0)
		return -EINVAL;
	if (!lab_mempool_resize(pool->lab, min_nr ? (size_t)min_nr : 1))
		return -ENOMEM;
	pool->min_nr = min_nr;
	return 0;
}
#endif

#endif
