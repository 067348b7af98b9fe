/*
 * objects.c - the kernel's names: kfree_rcu in its forms, the order kfree_rcu, rcu_barrier, kmem_cache_destroy, and
 * SLAB_TYPESAFE_BY_RCU: what was an object of the cache stays one while a reader may look at it, in a slab that was
 * closed and in the reserve. Then what there is without memory, and over the mark.
 *
 *     objects PATTERN
 *
 * Clauses: G11.1, G11.5, G11.6.
 */
#include <labyrinth/gfp.h>

#include "support.h"

enum { COUNT = 500 };

struct object {
	unsigned long magic, number;
	struct rcu_head rcu;
	char more[40];
};
#define MAGIC 0x0b1ec7UL

static void
construct(void *p)
{
	((struct object *)p)->magic = MAGIC;
}

static struct lab_cache_stats
cache_figures(struct kmem_cache *cache)
{
	struct lab_cache_stats stats;

	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	return stats;
}

static void
forms(void)
{
	struct object *null = NULL, *p;
	const struct object *constant;

	kfree_rcu(null, rcu);
	kvfree_rcu(null);
	kfree_rcu_mightsleep(null);
	REQUIRE(lab_free_rcu(NULL));
	lab_free_rcu_head(NULL, NULL);
	kfree_rcu_mightsleep(kmalloc(0, GFP_KERNEL));
	REQUIRE(rcu_figures().blocks == 0);
	p = kmalloc(sizeof *p, GFP_ATOMIC); /* a slot of the reserve */
	kfree_rcu(p, rcu);
	p = kvmalloc((size_t)8 << 20, GFP_KERNEL); /* a mapping of its own */
	kvfree_rcu(p, rcu);
	constant = kmalloc(sizeof *p, GFP_KERNEL);
	kfree_rcu(constant);
	kfree_rcu_mightsleep(kmalloc(100, GFP_KERNEL));
	kvfree_rcu_mightsleep(kvmalloc(100, GFP_KERNEL));
	kfree_rcu(p++ ? (struct object *)kmalloc(sizeof *p, GFP_KERNEL) : NULL, rcu); /* evaluated once */
	rcu_barrier();
	REQUIRE(rcu_figures().blocks == 0 && rcu_figures().freed == 6);
}

static void
order(void)
{
	struct kmem_cache *cache = kmem_cache_create("order", sizeof(struct object), 0, 0, construct);

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			struct object *object = kmem_cache_alloc(cache, i % 3 ? GFP_KERNEL : GFP_ATOMIC);
			if (!object) /* of the reserve */
				continue;
			if (i % 2)
				kfree_rcu(object, rcu);
			else
				REQUIRE(lab_free_rcu(object));
		}
		if (round == 19) /* kmem_cache_destroy waits itself */
			break;
		kvfree_rcu_barrier();
		REQUIRE(cache_figures(cache).live == 0);
	}
	REQUIRE(cache_figures(cache).live != 0);
	kmem_cache_destroy(cache);
	struct kmem_cache *next = kmem_cache_create("next", 100, 0, 0, NULL);
	REQUIRE(next == cache); /* the place of one that was destroyed */
	kmem_cache_destroy(next);
}

/* All of the memory that was freed is wanted by others. */
static void
take_much(void **blocks, size_t count, size_t size, unsigned gfp)
{
	for (size_t i = 0; i < count; i++) {
		blocks[i] = lab_alloc(size, gfp);
		if (blocks[i])
			memset(blocks[i], 0xee, size);
	}
}

static void
free_much(void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		lab_free(blocks[i]);
}

static void
typesafe(void)
{
	enum { BLOCKS = 2000 };
	static struct object *objects[COUNT];
	static void *blocks[BLOCKS];
	struct kmem_cache *cache =
	        kmem_cache_create("typesafe", sizeof(struct object), 0, SLAB_TYPESAFE_BY_RCU, construct);
	struct lab_reserve_info before, after;

	REQUIRE(cache);
	lab_reserve_info(&before);
	rcu_register_thread();
	begin_reading();
	for (unsigned i = 0; i < COUNT; i++)
		objects[i] = kmem_cache_alloc(cache, i < COUNT / 2 ? GFP_KERNEL : GFP_ATOMIC);
	REQUIRE(cache_figures(cache).from_reserve > 0);
	for (unsigned i = 0; i < COUNT; i++)
		kmem_cache_free(cache, objects[i]);
	REQUIRE(cache_figures(cache).live == 0);
	(void)kmem_cache_shrink(cache);
	REQUIRE(cache_figures(cache).slabs == 0);
	take_much(blocks, BLOCKS / 2, sizeof(struct object) * 32, LAB_GFP_KERNEL);
	take_much(blocks + BLOCKS / 2, BLOCKS / 2, 100, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC);
	for (unsigned i = 0; i < COUNT; i++)
		REQUIRE(!objects[i] || objects[i]->magic == MAGIC);
	free_much(blocks, BLOCKS);
	REQUIRE(rcu_figures().freed == 0 && rcu_figures().blocks > 0);
	kmem_cache_destroy(cache);
	struct kmem_cache *next = KMEM_CACHE(object, 0); /* that one's memory goes at once */
	kfree(kmem_cache_alloc(next, GFP_KERNEL));
	size_t waiting = rcu_figures().blocks;
	(void)kmem_cache_shrink(next);
	REQUIRE(rcu_figures().blocks == waiting);
	kmem_cache_destroy(next);
	end_reading();
	rcu_barrier();
	lab_reserve_info(&after);
	REQUIRE(rcu_figures().blocks == 0 && rcu_figures().freed == waiting && after.used == before.used);
	rcu_unregister_thread();
}

/* A program's memory is at its limit, and the reserve is used up. */
static void
no_memory(void)
{
	enum { MOST = 1 << 22 };
	static void *small[MOST], *slots[20000];
	struct lab_stats stats;
	size_t count = 0, used = 0, given = 0;
	void *block = lab_malloc(1000);

	lab_stats_get(&stats);
	REQUIRE(lab_set_param(LAB_PARAM_WAIT_MS, 0) && lab_set_param(LAB_PARAM_LIMIT, stats.committed + (16 << 20)));
	while (count < MOST && (small[count] = lab_malloc(16)) != NULL)
		count++;
	REQUIRE(count > 0 && count < MOST);
	for (size_t size = 16; size <= 65536; size *= 2)
		while (used < 20000 && (slots[used] = lab_alloc(size, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC)) != NULL)
			used++;
	REQUIRE(used > 0 && used < 20000);
	rcu_register_thread();
	begin_reading(); /* nothing is freed meanwhile */
	errno = 0;
	while (given < count && lab_free_rcu(small[given])) /* the reserve may have grown once more */
		given++;
	REQUIRE(given < count && errno == 0 && rcu_figures().blocks == given);
	memset(small[given], 1, 16);                   /* it is as it was */
	lab_free_rcu_head(small[given], small[given]); /* needs none */
	end_reading();
	REQUIRE(lab_rcu_barrier() && rcu_figures().freed == ++given);
	lab_free_rcu_wait(block);
	rcu_unregister_thread();
	free_much(small + given, count - given);
	free_much(slots, used);
}

/* Threads that give more than the worker frees, the reader making it slow, wait. */
static void
over_mark(void)
{
	lab_rcu_set_mark(100000);
	for (unsigned long i = 0; rcu_figures().waits < 20; i++)
		lab_free_rcu_wait(lab_malloc(1000));
	rcu_barrier();
	REQUIRE(rcu_figures().bytes == 0 && rcu_figures().stalls == 0);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} patterns[] = {
	        {"forms", forms},         {"order", order},         {"typesafe", typesafe},
	        {"no_memory", no_memory}, {"over_mark", over_mark},
	};

	REQUIRE(lab_set_param(LAB_PARAM_PERTURB, 0x5a));
	REQUIRE(!lab_rcu_barrier() && errno == EINVAL);
	REQUIRE(!lab_rcu_start(NULL) && errno == EINVAL);
	REQUIRE(lab_rcu_start(&rcu_flavor) && lab_rcu_start(&rcu_flavor));
	static struct rcu_flavor_struct other;
	REQUIRE(!lab_rcu_start(&other) && errno == EBUSY);
	for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++)
		if (argc > 1 && strcmp(argv[1], patterns[i].name) == 0) {
			patterns[i].run();
			return 0;
		}
	REQUIRE(!"a pattern");
}
