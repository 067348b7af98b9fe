/*
 * cache.h - what the files of the typed caches share: cache.c (objects), cache_slab.c (slabs), cache_list.c (creation, figures).
 *
 * A cache is a directory of slabs. A slab has at most 32 objects, in one block of the normal tier of a power of two bytes, aligned to
 * its size: the block's head names the cache and the slab, so that an object leads to its slab by a mask. Slab descriptors, and
 * caches themselves, are type-stable: never freed and never of another type, so that whoever walks them (figures, reclaim) needs no
 * protection, and stale values make a CAS fail (INV-SLAB-2).
 *
 * INV-CACHE-1  slab->memory is written by the frame whose CAS made the slab CHANGING, before it opens it, and by the frame whose CAS
 *              closed it, once, to 0. While the slab is open it does not change. A slab is made CHANGING only when it is 0.
 * INV-CACHE-2  An object that is free, in an open slab, is in its constructed state.
 */
#ifndef LAB_ALLOC_CACHE_H
#define LAB_ALLOC_CACHE_H

#include "alloc/directory.h"
#include "alloc/slab.h"

enum { LAB_CACHE_HINTS = 8, LAB_CACHE_NAME = 32 };

/* A cache line: threads in different slabs do not disturb each other. */
struct lab_slab {
	LAB_ALIGNED(64) _Atomic uint64_t word;
	_Atomic uintptr_t memory;     /* the block | number of objects - 1; 0: none */
	_Atomic uint64_t allocations; /* so far */
};
_Static_assert(sizeof(struct lab_slab) == 64, "a line");

/* At the start of a slab's block. */
struct lab_slab_head {
	struct lab_cache *cache;
	size_t index;
};

enum lab_cache_state {
	LAB_CACHE_UNUSED, /* nobody's: for the next lab_cache_create */
	LAB_CACHE_MAKING, /* one frame's */
	LAB_CACHE_LIVE,
};

struct lab_cache {
	/* Written while MAKING. */
	char name[LAB_CACHE_NAME];
	size_t size, align;
	size_t stride;    /* from object to object */
	size_t first;     /* offset of object 0 in a slab's block */
	size_t slab_size; /* a power of two, at least 512 */
	uint32_t objects; /* in a slab */
	void (*construct)(void *object);

	struct lab_cache *next; /* of all; never changes once the cache is listed */
	_Atomic uint32_t state;
	struct lab_directory slabs;
	_Atomic size_t slab_count;   /* descriptors that were ever used */
	_Atomic size_t newest;       /* slab opened last */
	_Atomic size_t cursor;       /* where the last walk ended */
	_Atomic size_t closed;       /* about how many slabs are closed */
	_Atomic size_t reserve_live; /* objects in the reserve */
	_Atomic size_t from_reserve, failures;
	struct {
		LAB_ALIGNED(64) _Atomic size_t slab; /* in which threads of this hash allocated or freed last */
	} hints[LAB_CACHE_HINTS];
};

#define LAB_SLAB_MEMORY_LOW ((uintptr_t)LAB_SLAB_OBJECTS - 1)

static inline struct lab_slab *
lab_cache_slab(const struct lab_cache *cache, size_t index)
{
	return lab_directory_at(&cache->slabs, index, sizeof(struct lab_slab));
}

static inline char *
lab_slab_block(uintptr_t memory)
{
	return (char *)(memory & ~LAB_SLAB_MEMORY_LOW);
}

/* ---- cache_slab.c ---- */

/* Opens a slab, and takes its first object for the caller. NULL: no memory. Any context that may allocate. A frame that is cut short
 * leaves one slab CHANGING, whose memory waits for lab_cache_destroy. */
void *lab_cache_open_slab(struct lab_cache *cache, struct lab_bracket *bracket);

/* Gives the memory of a slab back if all of its objects are free; bytes. Any thread, any time. A frame that is cut short after its CAS
 * loses at most that block. */
size_t lab_cache_close_slab(struct lab_slab *slab, struct lab_bracket *bracket);

struct lab_cache_place {
	struct lab_slab *slab; /* NULL: no object of this cache's slabs */
	size_t index;          /* of the slab */
	unsigned object;       /* its number there */
	const char *why;       /* what it is instead */
};
/* Where p is. Any pointer value. */
struct lab_cache_place lab_cache_find(struct lab_cache *cache, const void *p);

/* The layout for objects of this size and alignment; false: too large. */
bool lab_cache_lay_out(struct lab_cache *cache, size_t size, size_t align);

/* ---- cache_list.c ---- */

/* A line for each cache. Any context. */
void lab_caches_print(void (*write_line)(void *context, const char *line), void *context);

#endif
