/*
 * cache.c - see cache.h. lab_cache_alloc and lab_cache_free: any context, re-entrant at any instruction.
 *
 * An allocation looks for an object that is there (lab_slabs_take: 64 slabs; NOWAIT: all); then KERNEL and NOWAIT
 * open a slab, and ATOMIC goes to the reserve. A frame that is cut short loses at most the object in its hand.
 * Nothing of this needs a lock: an object changes hands by one read-modify-write of its slab's word.
 */
#include "objects/cache.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/format.h"
#include "os/os.h"
#include "page/map.h"
#include "reserve/share.h"

enum { WALK = 64 };

static _Atomic(struct lab_cache *) caches; /* newest first */

static struct lab_cache *
first_cache(void)
{
	return lab_load_acq(&caches); /* pairs with the CAS of claim_cache: its `next` is seen */
}

static bool
is_live(const struct lab_cache *cache)
{
	return lab_load_acq(&cache->state) ==
	       LAB_CACHE_LIVE; /* pairs with the rel of lab_cache_create: it is laid out */
}

/* An object in the reserve, as deep as the flags allow; also for a re-entrant KERNEL call for which the system has no
 * memory. */
static void *
take_from_reserve(struct lab_cache *cache, unsigned gfp, bool reentrant)
{
	struct lab_slabs *slabs = &cache->slabs;
	const unsigned as_atomic = LAB_GFP_ATOMIC | LAB_GFP_NOWARN | (gfp & LAB_GFP_MEMALLOC);
	size_t size = slabs->first + slabs->stride; /* one of size 0 has an address of its own, too */
	struct lab_slab_head *head = NULL;

	if (lab_gfp_is(gfp, LAB_GFP_ATOMIC) || gfp & (LAB_GFP_HIGH | LAB_GFP_MEMALLOC))
		head = lab_alloc_aligned(slabs->align, size, as_atomic);
	else if (reentrant)
		head = lab_reserve_claim(size, slabs->align, LAB_DEPTH_MIN);
	if (!head)
		return NULL;
	*head = (struct lab_slab_head){.slabs = slabs};
	lab_add_rlx(&cache->reserve_live, 1);
	lab_add_rlx(&cache->from_reserve, 1);
	void *object = (char *)head + slabs->first;
	if (slabs->construct)
		slabs->construct(object);
	return object;
}

/* What is left when no object is there. */
static LAB_NOINLINE void *
take_slow(struct lab_cache *cache, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	void *object = NULL;

	if (!lab_gfp_is(gfp, LAB_GFP_ATOMIC)) {
		gfp |= lab_thread.scope & LAB_GFP_MEMALLOC;
		object = lab_slabs_open(&cache->slabs, &guard, gfp);
	}
	if (!object)
		object = take_from_reserve(cache, gfp, guard.reentrant && lab_gfp_is(gfp, LAB_GFP_KERNEL));
	if (!object) {
		lab_add_rlx(&cache->failures, 1);
		if (!lab_gfp_is(gfp, LAB_GFP_ATOMIC))
			errno = ENOMEM;
	}
	return object;
}

LAB_EXPORT void *
lab_cache_alloc(struct lab_cache *cache, unsigned gfp)
{
	if (lab_unlikely(!lab_gfp_check_but(gfp, LAB_GFP_EXCLUSIVE)))
		return NULL;
	size_t walk = lab_gfp_is(gfp, LAB_GFP_NOWAIT) ? SIZE_MAX : WALK;
	void *object = lab_slabs_take(&cache->slabs, walk);
	if (lab_unlikely(!object))
		object = take_slow(cache, gfp);
	for (unsigned round = 0; lab_unlikely(!object) && lab_try_again((struct lab_request){.gfp = gfp}, round);
	     round++) {
		object = lab_slabs_take(&cache->slabs, walk);
		if (!object)
			object = take_slow(cache, gfp);
	}
	if (object && gfp & LAB_GFP_ZERO)
		memset(object, 0, cache->slabs.size);
	return object;
}

/* The slot of the reserve of which p is the object; NULL: none. */
static struct lab_slab_head *
find_in_reserve(const struct lab_cache *cache, void *p)
{
	struct lab_slab_head *head = (struct lab_slab_head *)((char *)p - cache->slabs.first);
	const struct lab_share *share = lab_share_find(head);
	size_t size = share ? lab_share_slot_size(share, head) : lab_reserve_slot_size(head);

	return size != 0 && lab_peek(&head->slabs) == &cache->slabs && !lab_peek(&head->slab) ? head : NULL;
}

/* The bytes of the cache's object p, which is freed if there is a `call` to do so. 0: it is none, but *why. */
static size_t
visit(struct lab_cache *cache, void *p, const char *call, const char **why)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	unsigned object;
	struct lab_slab *slab = lab_slabs_find(&cache->slabs, p, &object, why);
	struct lab_slab_head *head = slab ? NULL : find_in_reserve(cache, p);

	if (slab && call && !lab_slab_release(slab, object))
		lab_report_misuse(call, p, "double free");
	if (head && call) {
		lab_poke(&head->slabs, NULL); /* the slot's next holder may have no object in it */
		lab_add_rlx(&cache->reserve_live, -1);
		lab_slabs_let_go(&cache->slabs, &guard, head, call);
	}
	return slab || head ? cache->slabs.stride : 0;
}

LAB_EXPORT void
lab_cache_free(struct lab_cache *cache, void *object)
{
	const char *why;

	if (object && lab_unlikely(!visit(cache, object, "lab_cache_free", &why)))
		lab_report_misuse("lab_cache_free", object, why);
}

/* The slabs that the head of p's block names. What is no object's head may name anything. */
static const struct lab_slabs *
slabs_around(const void *p)
{
	size_t size = 0;
	const struct lab_slab_head *head = (const struct lab_slab_head *)lab_map_block_around(p, &size);

	return head && size >= sizeof *head ? lab_peek(&head->slabs) : NULL;
}

static bool
is_in_reserve(const void *p)
{
	struct lab_place place = lab_map_find(p);

	return place.kind == LAB_PLACE_SLOT || place.kind == LAB_PLACE_SHARE;
}

/* See struct lab_objects: of whichever cache. */
static size_t
visit_any(void *p, const char *call)
{
	const char *why;
	const struct lab_slabs *slabs = slabs_around(p);
	struct lab_cache *cache = first_cache();
	size_t size = 0;

	while (cache && &cache->slabs != slabs)
		cache = cache->next;
	if (cache && is_live(cache))
		size = visit(cache, p, call, &why);
	if (size || !is_in_reserve(p))
		return size;
	/* where an object begins in its slot is each cache's own */
	for (cache = first_cache(); cache && !size; cache = cache->next)
		if (is_live(cache))
			size = visit(cache, p, call, &why);
	return size;
}

LAB_EXPORT size_t
lab_cache_shrink(struct lab_cache *cache)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	size_t bytes = 0;

	for (struct lab_slab *slab = lab_slabs_first(&cache->slabs); slab; slab = slab->next)
		bytes += lab_slab_close(slab, LAB_SLAB_ALL_FREE, &guard);
	return bytes;
}

size_t
lab_caches_shrink(unsigned gfp)
{
	size_t bytes = 0;

	(void)gfp;

	for (struct lab_cache *cache = first_cache(); cache; cache = cache->next)
		if (is_live(cache))
			bytes += lab_cache_shrink(cache);
	return bytes;
}

LAB_EXPORT void
lab_cache_stats_get(const struct lab_cache *cache, struct lab_cache_stats *stats)
{
	*stats = (struct lab_cache_stats){
	        .name = cache->name,
	        .size = lab_peek(&cache->slabs.size),
	        .live = lab_load_rlx(&cache->reserve_live),
	        .allocations = lab_load_rlx(&cache->from_reserve),
	        .from_reserve = lab_load_rlx(&cache->from_reserve),
	        .failures = lab_load_rlx(&cache->failures),
	};
	for (const struct lab_slab *slab = lab_slabs_first(&cache->slabs); slab; slab = slab->next) {
		stats->allocations += lab_load_rlx(&slab->allocations);
		stats->live += lab_slab_live(slab);
		stats->slabs += lab_slots_is_open(lab_load_rlx(&slab->word));
	}
	stats->bytes = stats->slabs * lab_peek(&cache->slabs.slab_size);
}

/* A copy of what may be written to meanwhile. */
static void
get_name(const struct lab_cache *cache, char *name)
{
	for (unsigned i = 0; i < LAB_CACHE_NAME; i++)
		name[i] = lab_peek(&cache->name[i]);
}

static void
print_caches(void (*write_line)(void *context, const char *line), void *context)
{
	static const char heading[] =
	        "  cache size        live       slabs       bytes allocations  of reserve    failures  name";
	struct lab_cache_stats s;
	char name[LAB_CACHE_NAME], buffer[128];

	write_line(context, heading);
	for (struct lab_cache *cache = first_cache(); cache; cache = cache->next) {
		struct lab_text text = lab_text_start(buffer, sizeof buffer);
		lab_cache_stats_get(cache, &s);
		const uint64_t row[] = {s.size, s.live, s.slabs, s.bytes, s.allocations, s.from_reserve, s.failures};
		for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
			lab_text_column(&text, row[i], 12);
		get_name(cache, name);
		lab_text_string(&text, "  ");
		lab_text_string(&text, name);
		if (is_live(cache))
			write_line(context, buffer);
	}
}

/* A line on stderr, of the caller's own cache. */
static void
warn(const struct lab_cache *cache, size_t number, const char *what)
{
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: cache ");
	lab_text_string(&text, cache->name);
	lab_text_string(&text, ": ");
	if (number)
		lab_text_number(&text, number);
	lab_text_string(&text, what);
	lab_os_write(buffer, text.length);
}

static bool
begin_to_make(struct lab_cache *cache, uint32_t from)
{
	/* pairs with the rel by which the state became `from` */
	return atomic_compare_exchange_strong_explicit(&cache->state, &from, LAB_CACHE_MAKING, memory_order_acq_rel,
	                                               memory_order_relaxed);
}

/* A cache in state MAKING, used before or new. A frame that is cut short between here and LIVE loses it. */
static struct lab_cache *
claim_cache(struct lab_guard *guard)
{
	static const struct lab_objects objects = {visit_any, print_caches, &caches, LAB_CACHE_LAYOUT};
	struct lab_cache *first = first_cache();

	for (struct lab_cache *cache = first; cache; cache = cache->next)
		if (lab_load_rlx(&cache->state) == LAB_CACHE_UNUSED && begin_to_make(cache, LAB_CACHE_UNUSED))
			return cache;
	const struct lab_request request = {sizeof(struct lab_cache), 64, LAB_GFP_LASTING | LAB_GFP_ZERO};
	struct lab_cache *cache = lab_allocate(guard, request);
	if (!cache)
		return NULL;
	lab_store_rel(&lab_objects, &objects); /* pairs with the acq of alloc/ */
	(void)lab_limit_on_reclaim(lab_caches_shrink);
	lab_store_rlx(&cache->state, LAB_CACHE_MAKING);
	do
		cache->next = first;
	while (!atomic_compare_exchange_weak(&caches, &first, cache)); /* pairs with the acq of first_cache */
	return cache;
}

static void
set_name(struct lab_cache *cache, const char *name)
{
	for (size_t i = 0; i < LAB_CACHE_NAME; i++)
		lab_poke(&cache->name[i], name && *name && i < LAB_CACHE_NAME - 1 ? *name++ : 0);
}

static bool
has_namesake(const struct lab_cache *cache)
{
	char name[LAB_CACHE_NAME] = "";
	bool found = false;

	for (struct lab_cache *other = first_cache(); other && !found; other = other->next) {
		get_name(other, name);
		found = *name && other != cache && is_live(other) && strcmp(cache->name, name) == 0;
	}
	return found;
}

LAB_EXPORT struct lab_cache *
lab_cache_create(const char *name, size_t size, size_t align, void (*construct)(void *object))
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (align && !lab_is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	struct lab_cache *cache = claim_cache(&guard);
	bool fits = cache && lab_slabs_lay_out(&cache->slabs, size, align ? align : LAB_ALIGN_DEFAULT);
	if (cache && !fits)
		lab_store_rel(&cache->state, LAB_CACHE_UNUSED); /* pairs with the CAS of begin_to_make */
	if (!fits)
		return lab_or_enomem(NULL);
	set_name(cache, name);
	cache->slabs.construct = construct;
	lab_store_rlx(&cache->slabs.release, NULL);
	if (has_namesake(cache))
		warn(cache, 0, "another one has this name\n");
	lab_store_rel(&cache->state, LAB_CACHE_LIVE); /* pairs with the acq of is_live */
	return cache;
}

LAB_EXPORT void
lab_cache_release_by(struct lab_cache *cache, void (*release)(void *block, struct lab_rcu_head *room))
{
	lab_store_rlx(&cache->slabs.release, release);
}

/* Reclaim may be at the same slabs: a slab has one closer. */
LAB_EXPORT bool
lab_cache_destroy(struct lab_cache *cache)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	struct lab_cache_stats stats;

	if (!cache)
		return true;
	lab_cache_stats_get(cache, &stats);
	if (stats.live != 0) {
		warn(cache, stats.live, " objects are in use, and it is not destroyed\n");
		return false;
	}
	if (!begin_to_make(cache, LAB_CACHE_LIVE))
		lab_report_misuse("lab_cache_destroy", cache, "not a cache, or destroyed before");
	for (struct lab_slab *slab = lab_slabs_first(&cache->slabs); slab; slab = slab->next) {
		(void)lab_slab_close(slab, LAB_SLAB_ALL_FREE, &guard);
		(void)lab_slab_close(slab, LAB_SLAB_OPENING, &guard);
		lab_store_rlx(&slab->allocations, 0);
	}
	lab_store_rlx(&cache->from_reserve, 0);
	lab_store_rlx(&cache->failures, 0);
	lab_store_rel(&cache->state, LAB_CACHE_UNUSED); /* pairs with the CAS of begin_to_make */
	return true;
}
