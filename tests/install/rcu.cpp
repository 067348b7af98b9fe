// rcu.cpp - rcu.c as C++: the headers and the kernel's names.
#include <labyrinth/gfp.h>
#include <linux/rcupdate.h>

struct thing {
	unsigned long number;
	struct rcu_head rcu;
};

int
main(int argc, char **argv)
{
	bool one_heap = argc > 1 && strcmp(argv[1], "one-heap") == 0;
	void *by_malloc = malloc(100);
	kmem_cache *cache = KMEM_CACHE(thing, SLAB_TYPESAFE_BY_RCU);
	lab_rcu_stats stats;

	if (!cache || !lab_rcu_start(&rcu_flavor) || lab_owns(by_malloc) != one_heap)
		return 1;
	if (one_heap ? !lab_free_rcu(by_malloc) : !lab_free_rcu(lab_malloc(100)))
		return 2;
	thing *first = static_cast<thing *>(kmem_cache_alloc(cache, GFP_KERNEL));
	kfree_rcu(first, rcu);
	kfree_rcu(kmalloc(64, GFP_KERNEL));
	kvfree_rcu_mightsleep(kvmalloc(10000000, GFP_KERNEL));
	rcu_barrier();
	lab_rcu_stats_get(&stats);
	kmem_cache_destroy(cache);
	return stats.blocks != 0 || stats.freed != 4;
}
