/*
 * rcu.c - liblabyrinth_rcu in a program that pkg-config's flags build: `rcu one-heap` if malloc and the library are to
 * have the same heap, `rcu two-heaps` if not. Also rcu.cpp.
 */
#include <labyrinth/gfp.h>
#include <linux/rcupdate.h>

struct thing {
	unsigned long number;
	struct rcu_head rcu;
};

static int
check(bool one_heap)
{
	struct kmem_cache *cache = KMEM_CACHE(thing, SLAB_TYPESAFE_BY_RCU);
	void *by_malloc = malloc(100);
	struct lab_rcu_stats stats;

	if (!cache || !lab_rcu_start(&rcu_flavor))
		return 1;
	if (lab_owns(by_malloc) != one_heap)
		return 2;
	if (one_heap ? !lab_free_rcu(by_malloc) : !lab_free_rcu(lab_malloc(100)))
		return 3;
	struct thing *thing = (struct thing *)kmem_cache_alloc(cache, GFP_KERNEL);
	struct thing *atomic = (struct thing *)kmalloc(sizeof *atomic, GFP_ATOMIC);
	if (!thing || !atomic)
		return 4;
	kfree_rcu(thing, rcu);
	kfree_rcu(atomic, rcu);
	kfree_rcu_mightsleep(kmalloc(64, GFP_KERNEL));
	kvfree_rcu(kvmalloc(10000000, GFP_KERNEL));
	rcu_barrier();
	kvfree_rcu_barrier();
	lab_rcu_stats_get(&stats);
	kmem_cache_destroy(cache);
	return stats.blocks != 0 || stats.freed != 5;
}

int
main(int argc, char **argv)
{
	return check(argc > 1 && strcmp(argv[1], "one-heap") == 0);
}
