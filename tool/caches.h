/* caches.h - the typed caches of a process (lab_cache_…, kmem_cache_…), read from outside as they are. */
#ifndef LAB_TOOL_CACHES_H
#define LAB_TOOL_CACHES_H

#include <jansson.h>

#include "objects/cache.h"
#include "target.h"

struct cache {
	char name[LAB_CACHE_NAME];
	uint64_t size;     /* bytes of an object */
	uint64_t live;     /* objects in use, those in the reserve included */
	uint64_t made;     /* objects that there is memory for, free ones included */
	uint64_t per_slab; /* objects of a slab */
	uint64_t slab_bytes, slabs;
	uint64_t allocations, from_reserve, failures; /* so far */
};

struct caches {
	struct cache *entries; /* the oldest first */
	size_t count;
};

/* Those that are there; what cannot be read is left out. */
void caches_take(struct caches *caches, const struct target *target);
void caches_free(struct caches *caches);

json_t *caches_json(const struct caches *caches);

#endif
