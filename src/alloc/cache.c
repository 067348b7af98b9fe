/*
 * cache.c - objects of typed caches: see cache.h. lab_cache_alloc and lab_cache_free: any context, re-entrant at any instruction.
 *
 * An allocation looks at the slab that its thread used last, at the newest, and at up to 64 others from where the last such walk ended
 * (NOWAIT: at all); then KERNEL opens a slab, and ATOMIC goes to the reserve. A frame that is cut short loses at most the object in
 * its hand. Nothing of this needs a lock: an object changes hands by one read-modify-write of its slab's word.
 */
#include <errno.h>
#include <string.h>

#include "alloc/cache.h"
#include "base/check.h"
#include "page/map.h"
#include "reserve/reserve.h"

#define GFP_KIND  0x3u
#define GFP_KNOWN (GFP_KIND | LAB_GFP_HIGH | LAB_GFP_MEMALLOC | LAB_GFP_ZERO | LAB_GFP_NOWARN)

enum { WALK = 64 };

static bool
is_atomic(unsigned gfp)
{
	return gfp & LAB_GFP_ATOMIC & GFP_KIND;
}

static bool
is_kernel(unsigned gfp)
{
	return (gfp & GFP_KIND) == LAB_GFP_KERNEL;
}

static _Atomic size_t *
hint_of(struct lab_cache *cache)
{
	uint64_t hash = (uint64_t)lab_thread_pointer() * UINT64_C(0x9e3779b97f4a7c15);

	return &cache->hints[hash >> 61].slab;
}

static void
set_hint(_Atomic size_t *hint, size_t index)
{
	if (lab_load_rlx(hint) != index)
		lab_store_rlx(hint, index);
}

static void *
take_from(struct lab_cache *cache, size_t index)
{
	struct lab_slab *slab = index < lab_load_acq(&cache->slab_count) ? lab_cache_slab(cache, index) : NULL;
	int object = slab ? lab_slab_claim(&slab->word) : -1;

	if (object < 0)
		return NULL;
	lab_assert((size_t)object < cache->objects); /* INV-SLAB-1 */
	lab_add_rlx(&slab->allocations, 1);
	return lab_slab_block(lab_load_rlx(&slab->memory)) + cache->first + (size_t)object * cache->stride;
}

static void *
walk(struct lab_cache *cache, _Atomic size_t *hint, size_t steps)
{
	size_t count = lab_load_acq(&cache->slab_count), index = lab_load_rlx(&cache->cursor);

	for (size_t step = 0; step < steps && step < count; step++, index++) {
		if (index >= count)
			index = 0;
		void *object = take_from(cache, index);
		if (object) {
			lab_store_rlx(&cache->cursor, index);
			set_hint(hint, index);
			return object;
		}
	}
	lab_store_rlx(&cache->cursor, index);
	return NULL;
}

/* An object that is there. */
static void *
take(struct lab_cache *cache, unsigned gfp)
{
	_Atomic size_t *hint = hint_of(cache);
	void *object = take_from(cache, lab_load_rlx(hint));

	if (lab_likely(object != NULL))
		return object;
	object = take_from(cache, lab_load_rlx(&cache->newest));
	if (!object)
		object = walk(cache, hint, (gfp & GFP_KIND) == LAB_GFP_NOWAIT ? SIZE_MAX : WALK);
	return object;
}

/* An object in the reserve, as deep as the flags allow; also for a re-entrant KERNEL call for which the system has no memory. */
static void *
take_from_reserve(struct lab_cache *cache, unsigned gfp, bool reentrant)
{
	const unsigned as_atomic = LAB_GFP_ATOMIC | LAB_GFP_NOWARN | (gfp & LAB_GFP_MEMALLOC);
	void *object = NULL;

	if (is_atomic(gfp) || gfp & (LAB_GFP_HIGH | LAB_GFP_MEMALLOC))
		object = lab_alloc_aligned(cache->align, cache->size, as_atomic | (gfp & LAB_GFP_HIGH));
	else if (reentrant)
		object = lab_reserve_claim_sig(cache->size, cache->align, LAB_DEPTH_MIN);
	if (!object)
		return NULL;
	lab_add_rlx(&cache->reserve_live, 1);
	lab_add_rlx(&cache->from_reserve, 1);
	if (cache->construct)
		cache->construct(object);
	return object;
}

/* What is left when no object is there. */
static LAB_NOINLINE void *
take_slow(struct lab_cache *cache, unsigned gfp)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;
	void *object = is_kernel(gfp) ? lab_cache_open_slab(cache, &bracket) : NULL;

	if (object)
		set_hint(hint_of(cache), lab_load_rlx(&cache->newest));
	else
		object = take_from_reserve(cache, gfp, bracket.reentrant);
	if (!object) {
		lab_add_rlx(&cache->failures, 1);
		if (!is_atomic(gfp))
			errno = ENOMEM;
	}
	return object;
}

LAB_EXPORT void *
lab_cache_alloc(struct lab_cache *cache, unsigned gfp)
{
	if (lab_unlikely(gfp & ~GFP_KNOWN || (gfp & GFP_KIND) == GFP_KIND || (gfp & LAB_GFP_ZERO && cache->construct))) {
		if (!is_atomic(gfp))
			errno = EINVAL;
		return NULL;
	}
	void *object = take(cache, gfp);
	if (lab_unlikely(!object))
		object = take_slow(cache, gfp);
	if (object && gfp & LAB_GFP_ZERO)
		memset(object, 0, cache->size);
	return object;
}

/* An object that lies in no slab. */
static LAB_NOINLINE void
release_elsewhere(struct lab_cache *cache, void *object, const char *why)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	enum lab_place_kind kind = lab_map_find(object).kind;
	if ((kind != LAB_PLACE_SLOT && kind != LAB_PLACE_SHARE) || lab_block_size(object, "lab_cache_free") < cache->size)
		lab_report_misuse("lab_cache_free", object, why);
	lab_release(&bracket, object, "lab_cache_free");
	lab_add_rlx(&cache->reserve_live, -1);
}

LAB_EXPORT void
lab_cache_free(struct lab_cache *cache, void *object)
{
	if (!object)
		return;
	struct lab_cache_place place = lab_cache_find(cache, object);
	if (lab_unlikely(!place.slab)) {
		release_elsewhere(cache, object, place.why);
		return;
	}
	set_hint(hint_of(cache), place.index);
	uint64_t before = lab_slab_release(&place.slab->word, place.object);
	if (lab_likely(lab_slab_is_open(before) && !(before >> place.object & 1)))
		return;
	if (!lab_slab_is_open(before)) /* closed meanwhile, so that all were free: INV-SLAB-1 */
		lab_slab_take_back(&place.slab->word, place.object);
	lab_report_misuse("lab_cache_free", object, "double free");
}

static size_t
shrink(struct lab_cache *cache, struct lab_bracket *bracket)
{
	size_t bytes = 0;

	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count; i++) {
		size_t closed = lab_cache_close_slab(lab_cache_slab(cache, i), bracket);
		if (closed)
			lab_add_rlx(&cache->closed, 1);
		bytes += closed;
	}
	return bytes;
}

LAB_EXPORT size_t
lab_cache_shrink(struct lab_cache *cache)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	return shrink(cache, &bracket);
}
