/*
 * tiers.c - what only this library has: typed caches, pools, a share of the reserve, claims from it, exclusive blocks,
 * pages. One player makes things and hands half of them to the other, who checks them and frees them.
 */
#include <string.h>

#include "soak.h"

enum { ROUNDS = 400, DESK = 64, IN_POOL = 16, SLOT = 256, SLOTS = 8, CONSTRUCTED = 0x51 };

struct player *tier_players[2];

struct object {
	struct object *own;
	unsigned char constructed[120], used;
};

enum thing { OBJECT, ELEMENT, EXCLUSIVE, THINGS };

static struct lab_cache *cache;
static struct lab_mempool *pool;
static _Atomic(void *) desk[THINGS][DESK];

/* ---- things ---------------------------------------------------------------------------------------------------- */

static void
construct(void *p)
{
	struct object *object = p;

	object->own = object;
	memset(object->constructed, CONSTRUCTED, sizeof object->constructed);
}

static void *
make_object(uint32_t *random)
{
	struct object *object =
	        lab_cache_alloc(cache, next_random(random) % 8 ? LAB_GFP_KERNEL : LAB_GFP_ATOMIC | LAB_GFP_NOWARN);

	if (object)
		object->used = (unsigned char)next_random(random);
	return object;
}

static void
free_object(void *p)
{
	struct object *object = p;

	REQUIRE(object->own == object);
	for (size_t i = 0; i < sizeof object->constructed; i++)
		if (object->constructed[i] != CONSTRUCTED)
			fail("an object's contents", (uintptr_t)object, i);
	lab_cache_free(cache, object);
}

static void *
make_element(uint32_t *random)
{
	struct object *element =
	        lab_mempool_alloc(pool, next_random(random) % 4 ? LAB_GFP_KERNEL : LAB_GFP_ATOMIC | LAB_GFP_NOWARN);

	if (element)
		construct(element);
	return element;
}

static void
free_element(void *p)
{
	REQUIRE(((struct object *)p)->own == p);
	lab_mempool_free(pool, p);
}

/* It is the other player's from the transfer on. */
static void *
make_exclusive(uint32_t *random)
{
	static const unsigned kinds[] = {LAB_GFP_EXCLUSIVE, LAB_GFP_NOFORK, LAB_GFP_NOMERGE};
	struct object *block = lab_alloc(sizeof *block + next_random(random) % 20000, kinds[next_random(random) % 3]);

	if (!block)
		return NULL;
	construct(block);
	REQUIRE(lab_owner(block) == tier_players[0]->tid);
	REQUIRE(lab_transfer(block, tier_players[1]->tid));
	return block;
}

static void
free_exclusive(void *p)
{
	REQUIRE(((struct object *)p)->own == p);
	REQUIRE(lab_owner(p) == tier_players[1]->tid);
	lab_free(p);
}

static void *(*const makers[THINGS])(uint32_t *) = {make_object, make_element, make_exclusive};
static void (*const takers[THINGS])(void *) = {free_object, free_element, free_exclusive};

/* ---- both sides ------------------------------------------------------------------------------------------------ */

static void
take_from_desk(uint32_t place)
{
	for (int thing = 0; thing < THINGS; thing++) {
		void *p = atomic_exchange(&desk[thing][place % DESK], NULL);
		if (p)
			takers[thing](p);
	}
}

static void
put_on_desk(uint32_t *random)
{
	uint32_t place = next_random(random) % DESK;

	for (int thing = 0; thing < THINGS; thing++)
		if (!atomic_load(&desk[thing][place]))
			atomic_store(&desk[thing][place], makers[thing](random));
}

static void
use_the_share(void)
{
	void *slots[SLOTS];

	for (int i = 0; i < SLOTS; i++) {
		slots[i] = lab_alloc(SLOT, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
		if (!slots[i])
			fail("a thread's share has no slot", (uintptr_t)i, cycle);
		memset(slots[i], i, SLOT);
	}
	for (int i = 0; i < SLOTS; i++) {
		REQUIRE(((unsigned char *)slots[i])[SLOT - 1] == i);
		lab_free(slots[i]);
	}
}

static void
use_pages(uint32_t *random)
{
	unsigned order = next_random(random) % 6;
	void *pages = lab_alloc_pages(LAB_GFP_KERNEL | LAB_GFP_ZERO, order);

	REQUIRE(pages != NULL);
	check_zero(pages, (size_t)4096 << order);
	lab_free_pages(pages, order);
}

static void
make_all(struct player *player)
{
	bool has_share = lab_reserve_thread(SLOT, SLOTS);

	for (int i = 0; i < ROUNDS; i++) {
		put_on_desk(&player->random);
		if (has_share && i % 20 == 0)
			use_the_share();
		if (i % 10 == 0)
			use_pages(&player->random);
	}
	REQUIRE(lab_reserve_thread(SLOT, 0));
	(void)lab_reserve_balance();
}

static void
take_all(struct player *player)
{
	for (int i = 0; i < ROUNDS; i++)
		take_from_desk(next_random(&player->random));
}

static void
clear_up(enum phase phase)
{
	for (uint32_t place = 0; place < DESK; place++)
		take_from_desk(place);
	(void)lab_cache_shrink(cache);
	if (phase == LEAVE || cycle % 8 == 7) {
		lab_mempool_destroy(pool);
		pool = NULL;
		REQUIRE(lab_cache_destroy(cache));
		cache = NULL;
	}
}

void
play_tiers(struct player *player, enum phase phase)
{
	if (player->number == 0 && phase == GROW) {
		if (!cache)
			REQUIRE((cache = lab_cache_create("soak", sizeof(struct object), 64, construct)) != NULL);
		if (!pool)
			REQUIRE((pool = lab_mempool_create_sized(IN_POOL, sizeof(struct object))) != NULL);
	}
	if (phase == CHURN && player->number == 0)
		make_all(player);
	else if (phase == CHURN)
		take_all(player);
	else if (player->number == 1 && (phase == SHRINK || (phase == LEAVE && cache)))
		clear_up(phase);
}
