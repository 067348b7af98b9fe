/*
 * rcu.c - a lock-free hash table of liburcu whose nodes are freed by call_rcu's thread, after a grace period.
 *
 * What RCU does to a malloc: every node is freed by a thread that allocates nothing, long after it was made, in bursts.
 * Writers replace nodes; readers look them up without a lock. Nodes are checked when they are read and when they go.
 */
#define _LGPL_SOURCE
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <urcu/urcu-memb.h>

#include <urcu/rculfhash.h>

static uint64_t ops = 600000;
static uint64_t writers = 2;
static uint64_t keys = 20000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 20000, 1, BENCH_MAX_OPS, "nodes that each writer puts in"},
        {"writers", &writers, 2, 1, 64, "threads that write"},
        {"keys", &keys, 1000, 1, BENCH_MAX_BLOCK, "keys of each writer"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

struct entry {
	struct cds_lfht_node node;
	struct rcu_head head;
	uint64_t key, check; /* check: ~key */
	uint64_t value[4];
};

struct writer {
	pthread_t thread;
	uint64_t number, sum;
};

static struct cds_lfht *table;
static atomic_uint_fast64_t freed;

static int
is_of_key(struct cds_lfht_node *node, const void *key)
{
	return caa_container_of(node, struct entry, node)->key == *(const uint64_t *)key;
}

static unsigned long
hash_of(uint64_t key)
{
	return (unsigned long)(key * UINT64_C(0x9e3779b97f4a7c15) >> 7);
}

static void
free_entry(struct rcu_head *head)
{
	struct entry *entry = caa_container_of(head, struct entry, head);
	if (entry->check != ~entry->key)
		bench_fail("corrupted entry: %p", (void *)entry);
	atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
	free(entry);
}

static struct entry *
make_entry(uint64_t key)
{
	struct entry *entry = bench_malloc(sizeof(*entry));
	cds_lfht_node_init(&entry->node);
	entry->key = key;
	entry->check = ~key;
	return entry;
}

/* Looks another key up, of any writer: it is there and whole, or not there. */
static void
look_up(uint64_t key)
{
	struct cds_lfht_iter iter;
	cds_lfht_lookup(table, hash_of(key), is_of_key, &key, &iter);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
	if (node && caa_container_of(node, struct entry, node)->check != ~key)
		bench_fail("corrupted entry: %p", (void *)node);
}

static void *
write_entries(void *argument)
{
	struct writer *writer = argument;
	uint64_t state = seed + writer->number * UINT64_C(0x100000001);
	urcu_memb_register_thread();
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		uint64_t key = writer->number * keys + bench_scale_high(random, keys);
		struct entry *entry = make_entry(key);
		urcu_memb_read_lock();
		struct cds_lfht_node *old = cds_lfht_add_replace(table, hash_of(key), is_of_key, &key, &entry->node);
		if (old)
			urcu_memb_call_rcu(&caa_container_of(old, struct entry, node)->head, free_entry);
		look_up(bench_scale((uint32_t)random, writers * keys));
		urcu_memb_read_unlock();
		writer->sum += key;
	}
	urcu_memb_unregister_thread();
	return NULL;
}

static void
empty_table(void)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	urcu_memb_read_lock();
	for (cds_lfht_first(table, &iter); (node = cds_lfht_iter_get_node(&iter)) != NULL;
	     cds_lfht_next(table, &iter)) {
		if (cds_lfht_del(table, node) == 0)
			urcu_memb_call_rcu(&caa_container_of(node, struct entry, node)->head, free_entry);
	}
	urcu_memb_read_unlock();
	urcu_memb_barrier();
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a lock-free hash table and call_rcu", options, BENCH_COUNT(options));
	double start = bench_seconds();
	static struct writer all[64];
	uint64_t sum = 0;
	urcu_memb_register_thread();
	table = cds_lfht_new_flavor(1024, 1024, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, &urcu_memb_flavor, NULL);
	if (!table)
		bench_fail("no table");
	for (uint64_t i = 0; i < writers; i++) {
		all[i].number = i;
		if (pthread_create(&all[i].thread, NULL, write_entries, &all[i]) != 0)
			bench_fail("cannot start writer %" PRIu64, i);
	}
	for (uint64_t i = 0; i < writers; i++) {
		pthread_join(all[i].thread, NULL);
		sum += all[i].sum;
	}
	empty_table();
	if (atomic_load(&freed) != writers * ops)
		bench_fail("%" PRIu64 " of %" PRIu64 " entries were freed", (uint64_t)atomic_load(&freed),
		           writers * ops);
	if (cds_lfht_destroy(table, NULL) != 0)
		bench_fail("the table is not empty");
	urcu_memb_unregister_thread();
	bench_report(writers * ops, start, sum);
	return 0;
}
