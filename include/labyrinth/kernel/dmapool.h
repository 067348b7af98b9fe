/* dmapool.h - pools of small blocks that a device reads and writes: a cache. An address is the same on every bus. */
#ifndef LABYRINTH_KERNEL_DMAPOOL_H
#define LABYRINTH_KERNEL_DMAPOOL_H

#include <labyrinth/kernel/cache.h>

#ifndef dma_addr_t
typedef uint64_t dma_addr_t;
#endif

struct dma_pool; /* a struct lab_cache */
struct device;

/* boundary: what no block crosses, a power of two; 0: none. NULL for the arguments for which the kernel gives NULL. */
#ifndef dma_pool_create
static inline struct dma_pool *
dma_pool_create(const char *name, struct device *device, size_t size, size_t align, size_t boundary)
{
	char text[32]; /* other devices have pools of the same name */

	if (size == 0 || size > LAB_KERNEL_MAX || align & (align - 1))
		return NULL;
	if (boundary && (boundary & (boundary - 1) || boundary < size))
		return NULL;
	while (boundary && align < size) /* then it crosses no boundary */
		align = align ? align * 2 : 1;
	if (device && name)
		(void)snprintf(text, sizeof text, "%.18s@%zx", name, (size_t)(uintptr_t)device & 0xffffffffff);
	return (struct dma_pool *)lab_cache_create(device && name ? text : name, size, align, NULL);
}
#endif

LAB_KERNEL_CALL void *
lab_kernel_dma(struct dma_pool *pool, gfp_t gfp, dma_addr_t *handle)
{
	unsigned lab = lab_gfp(gfp);
	void *p = LAB_KERNEL_FAULT(1, lab) ? NULL : lab_cache_alloc((struct lab_cache *)pool, lab);

	*handle = (dma_addr_t)(uintptr_t)p;
	return p;
}

#ifndef dma_pool_alloc
#define dma_pool_alloc(pool, gfp, handle) lab_kernel_dma((pool), (gfp), (handle))
#endif
#ifndef dma_pool_zalloc
#define dma_pool_zalloc(pool, gfp, handle) lab_kernel_dma((pool), (gfp) | __GFP_ZERO, (handle))
#endif

#ifndef dma_pool_free
static inline void
dma_pool_free(struct dma_pool *pool, void *p, dma_addr_t handle)
{
	(void)handle;
	lab_cache_free((struct lab_cache *)pool, p);
}
#endif

#ifndef dma_pool_destroy
static inline void
dma_pool_destroy(struct dma_pool *pool)
{
	(void)lab_cache_destroy((struct lab_cache *)pool);
}
#endif

#endif
