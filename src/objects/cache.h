/*
 * cache.h - typed caches (lab_cache_…, include/labyrinth/labyrinth.h): objects of slabs (slab.h) and, one by one, of
 * the reserve.
 *
 * All caches that ever were are in one list, to which new ones are pushed and from which none is taken: a destroyed
 * cache is kept, with its slab descriptors, for the next lab_cache_create. (64 bytes a slab, at the most there were.)
 *
 * No object begins where a block does, as a head lies before it: what free() and its like do not know they ask this
 * file about (struct lab_objects, alloc/objects.h). So an object may be freed by them, and is counted as free then.
 */
#ifndef LAB_OBJECTS_CACHE_H
#define LAB_OBJECTS_CACHE_H

#include "alloc/inspect.h"
#include "objects/slab.h"

enum { LAB_CACHE_NAME = 32 };

enum lab_cache_state {
	LAB_CACHE_UNUSED, /* nobody's: for the next lab_cache_create */
	LAB_CACHE_MAKING, /* one frame's */
	LAB_CACHE_LIVE,
};

struct lab_cache {
	struct lab_slabs slabs;
	char name[LAB_CACHE_NAME];
	struct lab_cache *next; /* of all; never changes once the cache is listed */
	_Atomic uint32_t state;
	_Atomic size_t reserve_live; /* objects in the reserve */
	_Atomic size_t from_reserve, failures;
};

/* What who reads them from outside has to be compiled with. */
#define LAB_CACHE_LAYOUT                                                                                               \
	LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_CACHE_SIZES_, lab_cache, slabs.list), lab_cache, failures),   \
	               lab_slab, allocations)
#define LAB_CACHE_SIZES_ LAB_MIX_SIZE_(LAB_MIX_SIZE_(LAB_CACHE_LIVE, lab_cache), lab_slab)

/* Gives the unused memory of all caches back; bytes. Any thread, at any time; for reclaim, of which
 * gfp is the stopped call's. */
size_t lab_caches_shrink(unsigned gfp);

#endif
