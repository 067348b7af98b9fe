/*
 * cache_slab.c - slabs of the typed caches: their layout, how they get their memory and give it back. See cache.h. After Bonwick's slab
 * allocator (USENIX 1994), with a bitmap word in the place of the free list.
 */
#include "alloc/cache.h"
#include "base/check.h"

#define SLAB_SIZE_MIN ((size_t)512) /* leaves the low bits of its address free: INV-CACHE-1 */
#define SLAB_SIZE_MAX ((size_t)64 << 10)
#define OBJECT_MAX    ((size_t)16 << 20) /* all pages of a slab are written to when it opens */

enum { LARGE_OBJECTS = 4 }; /* at least so many fit in a slab of large objects */

bool
lab_cache_lay_out(struct lab_cache *cache, size_t size, size_t align)
{
	if (size > OBJECT_MAX || align > OBJECT_MAX)
		return false;
	size_t stride = lab_round_up(size ? size : 1, align);
	size_t first = lab_round_up(sizeof(struct lab_slab_head), align);
	/* the greatest power of two that 32 objects and the head still fill */
	size_t slab_size = (size_t)1 << lab_log2(first + LAB_SLAB_OBJECTS * stride);
	if (slab_size < SLAB_SIZE_MIN)
		slab_size = SLAB_SIZE_MIN;
	if (slab_size > SLAB_SIZE_MAX)
		slab_size = SLAB_SIZE_MAX;
	if (first + LARGE_OBJECTS * stride > slab_size)
		slab_size = (size_t)1 << lab_log2_up(first + LARGE_OBJECTS * stride);
	size_t objects = (slab_size - first) / stride;
	lab_poke(&cache->size, size);
	lab_poke(&cache->align, align);
	lab_poke(&cache->stride, stride);
	lab_poke(&cache->first, first);
	lab_poke(&cache->slab_size, slab_size);
	lab_poke(&cache->objects, (uint32_t)(objects < LAB_SLAB_OBJECTS ? objects : LAB_SLAB_OBJECTS));
	return true;
}

static bool
begin_change(struct lab_slab *slab)
{
	uint64_t word = lab_load_acq(&slab->word);

	/* A closed slab whose memory is still named: who closed it is, or was, about to let go of it. */
	return lab_slab_is_closed(word) && lab_load_rlx(&slab->memory) == 0 &&
	       lab_cas64(&slab->word, word, lab_slab_changing(word));
}

/* Of the slabs there are. */
static struct lab_slab *
claim_closed(struct lab_cache *cache, size_t *index)
{
	if (lab_load_rlx(&cache->closed) == 0)
		return NULL;
	for (size_t i = 0, count = lab_load_acq(&cache->slab_count); i < count; i++) {
		struct lab_slab *slab = lab_cache_slab(cache, i);
		if (begin_change(slab)) {
			size_t closed = lab_load_rlx(&cache->closed);
			if (closed > 0)
				lab_store_rlx(&cache->closed, closed - 1); /* a hint: it may miss others' changes */
			*index = i;
			return slab;
		}
	}
	lab_store_rlx(&cache->closed, 0);
	return NULL;
}

/* One more. Who claims a slab before it is counted has it counted by the next, if need be. */
static struct lab_slab *
claim_new(struct lab_cache *cache, struct lab_bracket *bracket, size_t *index)
{
	for (size_t i = lab_load_acq(&cache->slab_count);; i++) {
		if (!lab_directory_extend(&cache->slabs, bracket, i, sizeof(struct lab_slab)))
			return NULL;
		struct lab_slab *slab = lab_cache_slab(cache, i);
		bool mine = lab_load_rlx(&slab->word) == 0 && begin_change(slab);
		size_t count = i;
		/* acq_rel pairs with the acq of those who walk: the chunk is there. Lost: it is higher already. */
		(void)atomic_compare_exchange_strong_explicit(&cache->slab_count, &count, i + 1, memory_order_acq_rel,
		                                              memory_order_relaxed);
		if (mine) {
			*index = i;
			return slab;
		}
	}
}

/* All objects are made; every page has been written to. */
static void
construct_all(const struct lab_cache *cache, char *block)
{
	for (size_t page = 0; page < cache->slab_size; page += LAB_PAGE_SIZE)
		((volatile char *)block)[page] = block[page];
	for (uint32_t i = 0; cache->construct && i < cache->objects; i++)
		cache->construct(block + cache->first + i * cache->stride);
}

void *
lab_cache_open_slab(struct lab_cache *cache, struct lab_bracket *bracket)
{
	size_t index = 0;
	struct lab_slab *slab = claim_closed(cache, &index);

	if (!slab)
		slab = claim_new(cache, bracket, &index);
	if (!slab)
		return NULL;
	uint64_t word = lab_load_rlx(&slab->word);
	char *block = lab_allocate_lasting(bracket, cache->slab_size, cache->slab_size);
	if (!block) {
		lab_store_rel(&slab->word, lab_slab_closed(word)); /* nobody else writes a CHANGING word */
		lab_add_rlx(&cache->closed, 1);
		return NULL;
	}
	lab_assert(((uintptr_t)block & LAB_SLAB_MEMORY_LOW) == 0);
	lab_store_rlx(&slab->memory, (uintptr_t)block | (cache->objects - 1));
	*(struct lab_slab_head *)block = (struct lab_slab_head){cache, index};
	construct_all(cache, block);
	lab_add_rlx(&slab->allocations, 1);
	/* rel: INV-CACHE-2; pairs with the acq of claims and of lab_cache_close_slab. */
	lab_store_rel(&slab->word, lab_slab_opened(word, (uint32_t)lab_mask(cache->objects) & ~1u));
	lab_store_rlx(&cache->newest, index);
	return block + cache->first;
}

size_t
lab_cache_close_slab(struct lab_slab *slab, struct lab_bracket *bracket)
{
	uint64_t word = lab_load_acq(&slab->word);
	uintptr_t memory = lab_load_rlx(&slab->memory); /* of this word, if the CAS succeeds: INV-SLAB-2 */
	char *block = lab_slab_block(memory);

	if (!lab_slab_is_open(word) || lab_slab_free_bits(word) != lab_mask((memory & LAB_SLAB_MEMORY_LOW) + 1) ||
	    !lab_cas64(&slab->word, word, lab_slab_closed(word)))
		return 0;
	lab_assert(block != NULL); /* INV-CACHE-1 */
	lab_store_rel(&slab->memory, 0);
	size_t size = lab_block_size(block, NULL);
	lab_release(bracket, block, "lab_cache_shrink");
	return size;
}

struct lab_cache_place
lab_cache_find(struct lab_cache *cache, const void *p)
{
	struct lab_slab_head *head = (struct lab_slab_head *)((uintptr_t)p & ~(cache->slab_size - 1));
	struct lab_cache_place place = {.why = "not an object of this cache"};

	if (lab_block_size(head, NULL) == 0 /* else it may not be there */ || lab_peek(&head->cache) != cache)
		return place;
	place.index = lab_peek(&head->index);
	if (place.index >= lab_load_acq(&cache->slab_count))
		return place;
	struct lab_slab *slab = lab_cache_slab(cache, place.index);
	if (lab_slab_block(lab_load_rlx(&slab->memory)) != (char *)head)
		return place;
	place.why = "not the start of an object";
	/* what lies before the first object gives a huge number */
	size_t offset = (size_t)((const char *)p - (const char *)head) - cache->first, number = offset / cache->stride;
	if (offset % cache->stride != 0 || number >= cache->objects)
		return place;
	place.object = (unsigned)number;
	place.slab = slab;
	return place;
}
