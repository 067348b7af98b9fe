/* caches.c - see caches.h. Lists may be anything at all: they are followed so far, and no further. */
#include "caches.h"
#include "tool.h"

#include <stdlib.h>

enum { CACHES_MOST = 4096, SLABS_MOST = 1 << 20 };

/* The slabs of a cache. */
static void
count_slabs(struct cache *cache, const struct target *target, const struct lab_slabs *slabs, size_t *slabs_left)
{
	struct lab_slab slab;

	for (const struct lab_slab *at = lab_load_rlx(&slabs->list); at && *slabs_left > 0; at = slab.next) {
		--*slabs_left;
		if (!target_read(target, (uintptr_t)at, &slab, sizeof slab))
			return;
		cache->allocations += lab_load_rlx(&slab.allocations);
		if (!lab_slots_is_open(lab_load_rlx(&slab.word)))
			continue;
		cache->live += lab_slab_live(&slab);
		cache->made += slabs->objects;
		cache->slabs++;
	}
}

static struct cache
read_cache(const struct target *target, const struct lab_cache *copy, size_t *slabs_left)
{
	struct cache cache = {
	        .size = copy->slabs.size,
	        .live = lab_load_rlx(&copy->reserve_live),
	        .made = lab_load_rlx(&copy->reserve_live),
	        .per_slab = copy->slabs.objects,
	        .slab_bytes = copy->slabs.slab_size,
	        .allocations = lab_load_rlx(&copy->from_reserve),
	        .from_reserve = lab_load_rlx(&copy->from_reserve),
	        .failures = lab_load_rlx(&copy->failures),
	};

	for (unsigned i = 0; i + 1 < LAB_CACHE_NAME && copy->name[i]; i++)
		cache.name[i] = copy->name[i] > ' ' && copy->name[i] < 127 ? copy->name[i] : '_';
	count_slabs(&cache, target, &copy->slabs, slabs_left);
	return cache;
}

/* The list is newest first. */
static void
turn_round(struct caches *caches)
{
	for (size_t i = 0; i < caches->count / 2; i++) {
		struct cache other = caches->entries[i];
		caches->entries[i] = caches->entries[caches->count - 1 - i];
		caches->entries[caches->count - 1 - i] = other;
	}
}

void
caches_take(struct caches *caches, const struct target *target)
{
	size_t slabs_left = SLABS_MOST;
	const struct lab_objects *address;
	struct lab_objects objects;
	struct lab_cache copy, *at;

	*caches = (struct caches){0};
	if (!target_read(target, (uintptr_t)target->block.objects, &address, sizeof address) || !address ||
	    !target_read(target, (uintptr_t)address, &objects, sizeof objects) || objects.layout != LAB_CACHE_LAYOUT ||
	    !target_read(target, (uintptr_t)objects.caches, &at, sizeof at))
		return;
	for (size_t i = 0; i < CACHES_MOST && at && target_read(target, (uintptr_t)at, &copy, sizeof copy); i++) {
		if (lab_load_rlx(&copy.state) == LAB_CACHE_LIVE)
			*APPEND(caches->entries, caches->count) = read_cache(target, &copy, &slabs_left);
		at = copy.next;
	}
	turn_round(caches);
}

void
caches_free(struct caches *caches)
{
	free(caches->entries);
}

json_t *
caches_json(const struct caches *caches)
{
	json_t *array = json_array();

	for (size_t i = 0; i < caches->count; i++) {
		const struct cache *cache = &caches->entries[i];
		json_array_append_new(
		        array, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", cache->name,
		                         "size", (json_int_t)cache->size, "live", (json_int_t)cache->live, "made",
		                         (json_int_t)cache->made, "objects_per_slab", (json_int_t)cache->per_slab,
		                         "slab_bytes", (json_int_t)cache->slab_bytes, "slabs", (json_int_t)cache->slabs,
		                         "allocations", (json_int_t)cache->allocations, "from_reserve",
		                         (json_int_t)cache->from_reserve, "failures", (json_int_t)cache->failures));
	}
	return array;
}
