/*
 * cache_list.c - typed caches as a whole: creation, destruction, figures, reclaim. See cache.h.
 *
 * All caches that ever were are in one list, to which new ones are pushed and from which none is taken: a destroyed cache is kept, with
 * its slab descriptors, for the next lab_cache_create. (64 bytes a slab, at the most there were.)
 */
#include <errno.h>
#include <string.h>

#include "alloc/cache.h"
#include "base/check.h"
#include "base/format.h"

static _Atomic(struct lab_cache *) caches;

static bool
change_state(struct lab_cache *cache, uint32_t from, uint32_t to)
{
	/* acq_rel: what was written while MAKING is seen by who sees LIVE. */
	return atomic_compare_exchange_strong_explicit(&cache->state, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

static void
push(struct lab_cache *cache)
{
	struct lab_cache *first = lab_load_rlx(&caches);

	do
		cache->next = first;
	while (!atomic_compare_exchange_weak_explicit(&caches, &first, cache, memory_order_release, memory_order_relaxed));
}

/* acq pairs with the rel of push. */
static struct lab_cache *
first_cache(void)
{
	return lab_load_acq(&caches);
}

/* A cache in state MAKING, used before or new. A frame that is cut short between here and LIVE loses it. */
static struct lab_cache *
claim_cache(struct lab_bracket *bracket)
{
	for (struct lab_cache *cache = first_cache(); cache; cache = cache->next)
		if (lab_load_rlx(&cache->state) == LAB_CACHE_UNUSED && change_state(cache, LAB_CACHE_UNUSED, LAB_CACHE_MAKING))
			return cache;
	struct lab_cache *cache = lab_allocate_zeroed(bracket, sizeof *cache);
	if (cache) {
		lab_store_rlx(&cache->state, LAB_CACHE_MAKING);
		push(cache);
	}
	return cache;
}

static void
start_figures(struct lab_cache *cache)
{
	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count; i++)
		lab_store_rlx(&lab_cache_slab(cache, i)->allocations, 0);
	lab_store_rlx(&cache->closed, lab_load_rlx(&cache->slab_count));
	lab_store_rlx(&cache->reserve_live, 0);
	lab_store_rlx(&cache->from_reserve, 0);
	lab_store_rlx(&cache->failures, 0);
}

static void
set_name(struct lab_cache *cache, const char *name)
{
	size_t length = 0;

	for (; name && name[length] && length < LAB_CACHE_NAME - 1; length++)
		lab_poke(&cache->name[length], name[length]);
	for (; length < LAB_CACHE_NAME; length++)
		lab_poke(&cache->name[length], 0);
}

static struct lab_cache *
create(struct lab_bracket *bracket, const struct lab_cache *form, const char *name)
{
	struct lab_cache *cache = claim_cache(bracket);

	if (!cache)
		return NULL;
	if (!lab_cache_lay_out(cache, form->size, form->align)) {
		(void)change_state(cache, LAB_CACHE_MAKING, LAB_CACHE_UNUSED);
		return NULL;
	}
	set_name(cache, name);
	cache->construct = form->construct;
	start_figures(cache);
	(void)change_state(cache, LAB_CACHE_MAKING, LAB_CACHE_LIVE);
	return cache;
}

LAB_EXPORT struct lab_cache *
lab_cache_create(const char *name, size_t size, size_t align, void (*construct)(void *object))
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;
	const struct lab_cache form = {.size = size, .align = align ? align : LAB_ALIGN_DEFAULT, .construct = construct};

	if (!lab_is_power_of_two(form.align)) {
		errno = EINVAL;
		return NULL;
	}
	return lab_or_enomem(create(&bracket, &form, name));
}

static uint32_t
live_in(const struct lab_slab *slab)
{
	uint64_t word = lab_load_acq(&slab->word);
	uint32_t objects = (uint32_t)(lab_load_rlx(&slab->memory) & LAB_SLAB_MEMORY_LOW) + 1;
	uint32_t free = (uint32_t)__builtin_popcount(lab_slab_free_bits(word));

	return lab_slab_is_open(word) && free < objects ? objects - free : 0;
}

static bool
is_in_use(const struct lab_cache *cache)
{
	bool in_use = lab_load_rlx(&cache->reserve_live) != 0;

	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count && !in_use; i++)
		in_use = live_in(lab_cache_slab(cache, i)) != 0;
	return in_use;
}

/* A slab that was left CHANGING by a frame that did not come back. */
static void
close_torn(struct lab_slab *slab, struct lab_bracket *bracket)
{
	uint64_t word = lab_load_acq(&slab->word);
	char *block = lab_slab_block(lab_load_rlx(&slab->memory));

	if (!(word & LAB_SLAB_CHANGING))
		return;
	lab_store_rlx(&slab->memory, 0);
	lab_store_rel(&slab->word, lab_slab_closed(word));
	if (block)
		lab_release(bracket, block, "lab_cache_destroy");
}

/* Reclaim may be at the same slabs: a slab has one closer. */
LAB_EXPORT bool
lab_cache_destroy(struct lab_cache *cache)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (!cache)
		return true;
	if (is_in_use(cache))
		return false;
	if (!change_state(cache, LAB_CACHE_LIVE, LAB_CACHE_MAKING))
		lab_report_misuse("lab_cache_destroy", cache, "not a cache, or destroyed before");
	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count; i++) {
		(void)lab_cache_close_slab(lab_cache_slab(cache, i), &bracket);
		close_torn(lab_cache_slab(cache, i), &bracket);
	}
	(void)change_state(cache, LAB_CACHE_MAKING, LAB_CACHE_UNUSED);
	return true;
}

LAB_EXPORT void
lab_cache_stats_get(const struct lab_cache *cache, struct lab_cache_stats *stats)
{
	*stats = (struct lab_cache_stats){
	        .name = cache->name,
	        .size = lab_peek(&cache->size),
	        .live = lab_load_rlx(&cache->reserve_live),
	        .allocations = lab_load_rlx(&cache->from_reserve),
	        .from_reserve = lab_load_rlx(&cache->from_reserve),
	        .failures = lab_load_rlx(&cache->failures),
	};
	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count; i++) {
		const struct lab_slab *slab = lab_cache_slab(cache, i);
		stats->allocations += lab_load_rlx(&slab->allocations);
		stats->live += live_in(slab);
		stats->slabs += lab_slab_is_open(lab_load_rlx(&slab->word));
	}
	stats->bytes = stats->slabs * lab_peek(&cache->slab_size);
}

size_t
lab_caches_shrink(void)
{
	size_t bytes = 0;

	for (struct lab_cache *cache = first_cache(); cache; cache = cache->next)
		if (lab_load_acq(&cache->state) == LAB_CACHE_LIVE)
			bytes += lab_cache_shrink(cache);
	return bytes;
}

static void
print_cache(const struct lab_cache *cache, void (*write_line)(void *context, const char *line), void *context)
{
	struct lab_cache_stats s;

	lab_cache_stats_get(cache, &s);
	const uint64_t columns[] = {s.size, s.live, s.slabs, s.bytes, s.allocations, s.from_reserve, s.failures};
	char name[LAB_CACHE_NAME] = "", buffer[128];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	for (unsigned i = 0; i < LAB_CACHE_NAME - 1; i++)
		name[i] = lab_peek(&cache->name[i]);
	for (unsigned i = 0; i < sizeof columns / sizeof *columns; i++)
		lab_text_column(&text, columns[i], 12);
	lab_text_string(&text, "  ");
	lab_text_string(&text, name);
	write_line(context, buffer);
}

void
lab_caches_print(void (*write_line)(void *context, const char *line), void *context)
{
	bool is_first = true;

	for (struct lab_cache *cache = first_cache(); cache; cache = cache->next) {
		if (lab_load_acq(&cache->state) != LAB_CACHE_LIVE)
			continue;
		if (is_first)
			write_line(context,
			           "  cache size        live       slabs       bytes allocations  of reserve    failures  name");
		is_first = false;
		print_cache(cache, write_line, context);
	}
}
