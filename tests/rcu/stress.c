/*
 * stress.c - threads that read, replace and free, in ordinary contexts, without and under ThreadSanitizer.
 *
 * TSan sees this library's and the heap's atomics, and none of liburcu's, which are in a library that is not compiled
 * for it. So the flavour that the worker is given says to TSan what liburcu promises: a counter that each reader adds
 * to at the end of its section, with release, is read with acquire after synchronize_rcu.
 *
 * Clauses: G11.1.
 */
#include "support.h"

enum { THREADS = 4, SLOTS = 8, ROUNDS = 20000 };

static struct node *_Atomic slots[SLOTS];
static atomic_ulong sections, given;

static void
synchronize_visibly(void)
{
	synchronize_rcu();
	(void)atomic_load_explicit(&sections, memory_order_acquire);
}

static void
read_one(unsigned slot)
{
	rcu_read_lock();
	struct node *node = atomic_load_explicit(&slots[slot], memory_order_acquire);
	if (node)
		check_node(node);
	atomic_fetch_add_explicit(&sections, 1, memory_order_release);
	rcu_read_unlock();
}

static void
replace_one(unsigned slot, unsigned form)
{
	struct node *node = new_node(form == 2 ? LAB_GFP_ATOMIC : LAB_GFP_KERNEL, slot + form);

	if (!node)
		return;
	node = atomic_exchange_explicit(&slots[slot], node, memory_order_acq_rel);
	if (!node)
		return;
	atomic_fetch_add(&given, 1);
	if (form == 0)
		kfree_rcu(node, rcu);
	else if (form == 1)
		kfree_rcu_mightsleep(node);
	else
		REQUIRE(lab_free_rcu(node));
}

static void *
work(void *number)
{
	unsigned chance = (unsigned)(uintptr_t)number * 7919;

	rcu_register_thread();
	for (unsigned i = 0; i < ROUNDS; i++) {
		chance = chance * 1664525u + 1013904223u;
		read_one(chance >> 16 & (SLOTS - 1));
		if (i % 4 == 0)
			replace_one(chance >> 20 & (SLOTS - 1), i / 4 % 3);
		if (i % 5000 == 0)
			REQUIRE(lab_rcu_barrier());
	}
	rcu_unregister_thread();
	return NULL;
}

int
main(void)
{
	struct rcu_flavor_struct flavour = rcu_flavor;
	pthread_t threads[THREADS];

	flavour.update_synchronize_rcu = synchronize_visibly;
	REQUIRE(lab_rcu_start(&flavour));
	lab_rcu_set_mark(50000);
	for (uintptr_t i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
	REQUIRE(lab_rcu_barrier());
	struct lab_rcu_stats stats = rcu_figures();
	printf("%zu freed in %zu grace periods, %zu waits\n", stats.freed, stats.grace_periods, stats.waits);
	REQUIRE(stats.blocks == 0 && stats.bytes == 0 && stats.freed == given);
	return 0;
}
