/* cache.h - caches of objects: kmem_cache_create and its family. */
#ifndef LABYRINTH_KERNEL_CACHE_H
#define LABYRINTH_KERNEL_CACHE_H

#include <labyrinth/kernel/block.h>

#ifndef LAB_KERNEL_OWN_CACHE_TYPES
struct kmem_cache;
typedef unsigned int slab_flags_t;

struct kmem_cache_args {
	unsigned int align;
	unsigned int useroffset, usersize; /* whatever they are: nothing is copied to and from user space */
	unsigned int freeptr_offset;       /* no object holds a link of the cache's */
	bool use_freeptr_offset;
	void (*ctor)(void *object);
	unsigned int sheaf_capacity;
};
#endif

/* What is not explained is so anyway, or debugs the kernel's allocator, and is accepted as by a kernel without. */
#ifndef SLAB_CONSISTENCY_CHECKS
#define SLAB_CONSISTENCY_CHECKS ((slab_flags_t)0x100u)
#endif
#ifndef SLAB_RED_ZONE
#define SLAB_RED_ZONE ((slab_flags_t)0x400u)
#endif
#ifndef SLAB_POISON
#define SLAB_POISON ((slab_flags_t)0x800u)
#endif
#ifndef SLAB_HWCACHE_ALIGN
#define SLAB_HWCACHE_ALIGN ((slab_flags_t)0x2000u) /* objects do not straddle cache lines without need */
#endif
#ifndef SLAB_CACHE_DMA
#define SLAB_CACHE_DMA ((slab_flags_t)0x4000u)
#endif
#ifndef SLAB_CACHE_DMA32
#define SLAB_CACHE_DMA32 ((slab_flags_t)0x8000u)
#endif
#ifndef SLAB_STORE_USER
#define SLAB_STORE_USER ((slab_flags_t)0x10000u)
#endif
#ifndef SLAB_RECLAIM_ACCOUNT
#define SLAB_RECLAIM_ACCOUNT ((slab_flags_t)0x20000u)
#endif
#ifndef SLAB_TEMPORARY
#define SLAB_TEMPORARY SLAB_RECLAIM_ACCOUNT
#endif
#ifndef SLAB_PANIC
#define SLAB_PANIC ((slab_flags_t)0x40000u) /* abort if the cache cannot be made */
#endif
#ifndef SLAB_TYPESAFE_BY_RCU
#define SLAB_TYPESAFE_BY_RCU ((slab_flags_t)0x80000u) /* needs liblabyrinth_rcu (labyrinth/rcu.h), else NULL, EINVAL */
#endif
#ifndef SLAB_TRACE
#define SLAB_TRACE ((slab_flags_t)0x200000u)
#endif
#ifndef SLAB_NOLEAKTRACE
#define SLAB_NOLEAKTRACE ((slab_flags_t)0x800000u)
#endif
#ifndef SLAB_NO_MERGE
#define SLAB_NO_MERGE ((slab_flags_t)0x1000000u)
#endif
#ifndef SLAB_ACCOUNT
#define SLAB_ACCOUNT ((slab_flags_t)0x4000000u)
#endif
#ifndef SLAB_NO_USER_FLAGS
#define SLAB_NO_USER_FLAGS ((slab_flags_t)0x10000000u)
#endif
#define LAB_KERNEL_SLAB_FLAGS                                                                                          \
	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_HWCACHE_ALIGN | SLAB_CACHE_DMA |                 \
	 SLAB_CACHE_DMA32 | SLAB_STORE_USER | SLAB_RECLAIM_ACCOUNT | SLAB_PANIC | SLAB_TRACE | SLAB_NOLEAKTRACE |      \
	 SLAB_TYPESAFE_BY_RCU | SLAB_NO_MERGE | SLAB_ACCOUNT | SLAB_NO_USER_FLAGS)

/* Both NULL in a program that is not linked with liblabyrinth_rcu. */
#ifdef __cplusplus
extern "C"
#endif
        void
        lab_free_rcu_head(void *block, struct lab_rcu_head *head) __attribute__((weak));
#ifdef __cplusplus
extern "C"
#endif
        bool
        lab_rcu_barrier(void) __attribute__((weak));

/* The alignment of objects that are to lie in as few cache lines as their size allows. */
static inline unsigned int
lab_kernel_line_align(unsigned int size)
{
	return size <= 16 ? 16 : size <= 32 ? 32 : 64;
}

static inline struct kmem_cache *
lab_kernel_cache(const char *name, unsigned int size, unsigned int align, slab_flags_t flags, void (*ctor)(void *))
{
	struct lab_cache *cache = NULL;
	bool typesafe = (flags & SLAB_TYPESAFE_BY_RCU) != 0;

	if (flags & ~LAB_KERNEL_SLAB_FLAGS || align & (align - 1) || (typesafe && !lab_free_rcu_head)) {
		errno = EINVAL;
	} else if (size > LAB_KERNEL_MAX || align > LAB_KERNEL_MAX) {
		errno = ENOMEM;
	} else {
		if (flags & SLAB_HWCACHE_ALIGN && align < lab_kernel_line_align(size))
			align = lab_kernel_line_align(size);
		cache = lab_cache_create(name, size, align, ctor);
		if (cache && typesafe)
			lab_cache_release_by(cache, lab_free_rcu_head);
	}
	if (!cache && flags & SLAB_PANIC)
		abort();
	return (struct kmem_cache *)cache;
}

static inline struct kmem_cache *
lab_kernel_cache_by(const char *name, unsigned int size, const struct kmem_cache_args *args, slab_flags_t flags)
{
	return args ? lab_kernel_cache(name, size, args->align, flags, args->ctor)
	            : lab_kernel_cache(name, size, 0, flags, NULL);
}

/*
 * kmem_cache_create(name, size, align, flags, ctor), or (name, size, args, flags). A name that another cache has is
 * worth a line on stderr. `align` 0: 16. NULL also (errno EINVAL) if it is not a power of two, for flags that are not
 * among those above, and (errno ENOMEM) for a size or an alignment above KMALLOC_MAX_SIZE. Objects of size 0 are
 * distinct.
 */
#ifndef kmem_cache_create
#ifdef __cplusplus
extern "C++" {
static inline kmem_cache *
kmem_cache_create(const char *name, unsigned int size, unsigned int align, slab_flags_t flags, void (*ctor)(void *))
{
	return lab_kernel_cache(name, size, align, flags, ctor);
}

static inline kmem_cache *
kmem_cache_create(const char *name, unsigned int size, const kmem_cache_args *args, slab_flags_t flags)
{
	return lab_kernel_cache_by(name, size, args, flags);
}
}
#else
#define kmem_cache_create(name, size, align_or_args, ...)                                                              \
	_Generic((align_or_args),                                                                                      \
	        struct kmem_cache_args *: lab_kernel_cache_by,                                                         \
	        const struct kmem_cache_args *: lab_kernel_cache_by,                                                   \
	        void *: lab_kernel_cache_by,                                                                           \
	        default: lab_kernel_cache)((name), (size), (align_or_args), __VA_ARGS__)
#endif
#endif

#ifndef kmem_cache_create_usercopy
#define kmem_cache_create_usercopy(name, size, align, flags, useroffset, usersize, ctor)                               \
	((void)(useroffset), (void)(usersize), lab_kernel_cache((name), (size), (align), (flags), (ctor)))
#endif
#ifndef KMEM_CACHE
#define KMEM_CACHE(type, flags) lab_kernel_cache(#type, sizeof(struct type), __alignof__(struct type), (flags), NULL)
#endif
#ifndef KMEM_CACHE_USERCOPY
#define KMEM_CACHE_USERCOPY(type, flags, field) KMEM_CACHE(type, flags)
#endif

/* Objects that wait for a grace period (kfree_rcu) are waited for, if there are objects in use. */
#ifndef kmem_cache_destroy
static inline void
kmem_cache_destroy(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	stats.live = 0;
	if (cache)
		lab_cache_stats_get((struct lab_cache *)cache, &stats);
	if (stats.live != 0 && lab_rcu_barrier)
		(void)lab_rcu_barrier();
	(void)lab_cache_destroy((struct lab_cache *)cache);
}
#endif

LAB_KERNEL_CALL void *
lab_kernel_object(struct kmem_cache *cache, gfp_t gfp)
{
	unsigned lab = lab_gfp(gfp);

	return LAB_KERNEL_FAULT(1, lab) ? NULL : lab_cache_alloc((struct lab_cache *)cache, lab);
}

#ifndef kmem_cache_alloc
LAB_KERNEL_CALL void *
kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return lab_kernel_object(cache, gfp);
}
#endif

/* Zeroed, whatever the constructor made of it. */
#ifndef kmem_cache_zalloc
LAB_KERNEL_CALL void *
kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	return lab_kernel_object(cache, gfp | __GFP_ZERO);
}
#endif

#ifndef kmem_cache_alloc_node
#define kmem_cache_alloc_node(cache, gfp, node) ((void)(node), lab_kernel_object((cache), (gfp)))
#endif
#ifndef kmem_cache_alloc_lru
#define kmem_cache_alloc_lru(cache, lru, gfp) ((void)(lru), lab_kernel_object((cache), (gfp)))
#endif

#ifndef kmem_cache_free
static inline void
kmem_cache_free(struct kmem_cache *cache, void *object)
{
	lab_cache_free((struct lab_cache *)cache, object);
}
#endif

#ifndef kmem_cache_size
static inline unsigned int
kmem_cache_size(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return (unsigned int)stats.size;
}
#endif

/* 0: no slab is left. */
#ifndef kmem_cache_shrink
static inline int
kmem_cache_shrink(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	(void)lab_cache_shrink((struct lab_cache *)cache);
	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return stats.slabs != 0;
}
#endif

static inline void
lab_kernel_free_bulk(struct kmem_cache *cache, size_t n, void **objects)
{
	for (size_t i = 0; i < n; i++)
		if (cache)
			lab_cache_free((struct lab_cache *)cache, objects[i]);
		else
			lab_kernel_free(objects[i]);
}

/* Without a cache: blocks of kmalloc. */
#ifndef kmem_cache_free_bulk
#define kmem_cache_free_bulk(cache, n, objects) lab_kernel_free_bulk((cache), (n), (objects))
#endif
#ifndef kfree_bulk
#define kfree_bulk(n, objects) lab_kernel_free_bulk(NULL, (n), (objects))
#endif

/* All n, or none: n or 0. */
#ifndef kmem_cache_alloc_bulk
LAB_KERNEL_CALL int
kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **objects)
{
	for (size_t i = 0; i < n; i++) {
		objects[i] = lab_kernel_object(cache, gfp);
		if (!objects[i]) {
			lab_kernel_free_bulk(cache, i, objects);
			return 0;
		}
	}
	return (int)n;
}
#endif

#endif
