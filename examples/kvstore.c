/*
 * kvstore.c - a key-value store whose writers are signal handlers: liburcu's rculfhash, entries from lab_alloc(ATOMIC),
 * and lab_free_rcu for those that were replaced or deleted.
 *
 *     kvstore [writes]
 *
 * Two real-time timers interrupt the main thread, each other's handlers and the store's own functions at any
 * instruction; their handlers set and delete keys. The main thread does the same in ordinary context. Other threads look
 * keys up all the while and check every byte. No lock is taken anywhere, and no reader ever waits. Once there were so
 * many writes, everything is deleted; then nothing may be in use.
 *
 * The table has one size: with CDS_LFHT_AUTO_RESIZE or CDS_LFHT_ACCOUNTING rculfhash uses call_rcu, which is not for
 * handlers.
 */
#include <urcu.h>

#include <labyrinth/rcu.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu/rculfhash.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "kvstore.c:%d: failed: %s\n", __LINE__, #condition);                           \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

enum { BUCKETS = 1024, KEYS = 3000, READERS = 2, TIMERS = 2, PERIOD_NS = 70000, VALUE_WORDS = 6 };

/* ---- the store --------------------------------------------------------------------------------------------------- */

struct entry {
	struct cds_lfht_node node;
	struct lab_rcu_head rcu;
	unsigned long key;
	unsigned long value[VALUE_WORDS];
};

static struct cds_lfht *table;

static int
has_key(struct cds_lfht_node *node, const void *key)
{
	return caa_container_of(node, struct entry, node)->key == *(const unsigned long *)key;
}

static unsigned long
hash_of(unsigned long key)
{
	return key * 0x9e3779b97f4a7c15UL >> 32;
}

/* Any context. Puts the value in the place of the one that the key has; false: there is no memory, and it keeps that. */
static bool
store_set(unsigned long key, const unsigned long *value, unsigned gfp)
{
	struct entry *entry = lab_alloc(sizeof *entry, gfp);
	struct cds_lfht_node *old;

	if (!entry)
		return false;
	cds_lfht_node_init(&entry->node);
	entry->key = key;
	memcpy(entry->value, value, sizeof entry->value);
	rcu_read_lock();
	old = cds_lfht_add_replace(table, hash_of(key), has_key, &key, &entry->node);
	rcu_read_unlock();
	if (old) {
		struct entry *replaced = caa_container_of(old, struct entry, node);
		lab_free_rcu_head(replaced, &replaced->rcu);
	}
	return true;
}

/* Any context. False: there is no such key. */
static bool
store_get(unsigned long key, unsigned long *value)
{
	struct cds_lfht_iter found;

	rcu_read_lock();
	cds_lfht_lookup(table, hash_of(key), has_key, &key, &found);
	struct cds_lfht_node *node = cds_lfht_iter_get_node(&found);
	if (node)
		memcpy(value, caa_container_of(node, struct entry, node)->value, sizeof(unsigned long) * VALUE_WORDS);
	rcu_read_unlock();
	return node != NULL;
}

/* Any context. False: there is no such key, or another deleted it first. */
static bool
store_delete(unsigned long key)
{
	struct cds_lfht_iter found;
	struct cds_lfht_node *node;

	rcu_read_lock();
	cds_lfht_lookup(table, hash_of(key), has_key, &key, &found);
	node = cds_lfht_iter_get_node(&found);
	bool deleted = node && cds_lfht_del(table, node) == 0;
	rcu_read_unlock();
	if (deleted) {
		struct entry *entry = caa_container_of(node, struct entry, node);
		lab_free_rcu_head(entry, &entry->rcu);
	}
	return deleted;
}

/* ---- who uses it ------------------------------------------------------------------------------------------------- */

static atomic_ulong by_handlers, by_main, lookups, hits, deletes, no_memory;
static atomic_bool is_over;

/* Each word of a value follows from the key and the first word. */
static void
make_value(unsigned long key, unsigned long number, unsigned long *value)
{
	value[0] = number;
	for (unsigned i = 1; i < VALUE_WORDS; i++)
		value[i] = (value[i - 1] ^ key) * 0x2545f4914f6cdd1dUL;
}

static void
check_value(unsigned long key, const unsigned long *value)
{
	unsigned long expected[VALUE_WORDS];

	make_value(key, value[0], expected);
	REQUIRE(memcmp(expected, value, sizeof expected) == 0);
}

static void
write_one(unsigned long number, unsigned gfp, atomic_ulong *writes)
{
	unsigned long key = hash_of(number) % KEYS, value[VALUE_WORDS];

	if (number % 5 == 0) {
		atomic_fetch_add(&deletes, store_delete(key));
	} else {
		make_value(key, number, value);
		if (!store_set(key, value, gfp))
			atomic_fetch_add(&no_memory, 1);
	}
	atomic_fetch_add(writes, 1);
}

static void
interrupt(int number)
{
	(void)number;
	for (unsigned i = 0; i < 4; i++)
		write_one(atomic_load(&by_handlers) * 3 + 1, LAB_GFP_ATOMIC, &by_handlers);
}

static void *
read_all(void *unused)
{
	unsigned long value[VALUE_WORDS];

	rcu_register_thread();
	for (unsigned long number = 0; !atomic_load(&is_over); number++) {
		unsigned long key = number % KEYS;
		if (store_get(key, value)) {
			check_value(key, value);
			atomic_fetch_add(&hits, 1);
		}
		atomic_fetch_add(&lookups, 1);
	}
	rcu_unregister_thread();
	return unused;
}

static void
start_timers(timer_t *timers)
{
	const struct itimerspec period = {{0, PERIOD_NS}, {0, PERIOD_NS}};

	for (int i = 0; i < TIMERS; i++) {
		/* not blocked in each other's handler */
		struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
		struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + i};
		REQUIRE(sigaction(SIGRTMIN + i, &action, NULL) == 0);
		REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
		REQUIRE(timer_settime(timers[i], 0, &period, NULL) == 0);
	}
}

/* With the timers' signals blocked: they are the main thread's. */
static void
start_readers(pthread_t *readers)
{
	sigset_t all, before;

	sigfillset(&all);
	REQUIRE(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	for (int i = 0; i < READERS; i++)
		REQUIRE(pthread_create(&readers[i], NULL, read_all, NULL) == 0);
	REQUIRE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

int
main(int argc, char **argv)
{
	unsigned long most = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
	struct lab_reserve_info before, after;
	struct lab_rcu_stats stats;
	pthread_t readers[READERS];
	timer_t timers[TIMERS];

	lab_reserve_info(&before);
	rcu_register_thread();
	table = cds_lfht_new(BUCKETS, BUCKETS, BUCKETS, 0, NULL);
	REQUIRE(table && lab_rcu_start(&rcu_flavor));
	start_readers(readers);
	start_timers(timers);
	while (atomic_load(&by_main) + atomic_load(&by_handlers) < most || atomic_load(&by_handlers) < 1000)
		write_one(atomic_load(&by_main) * 7, LAB_GFP_KERNEL, &by_main);
	for (int i = 0; i < TIMERS; i++)
		REQUIRE(timer_delete(timers[i]) == 0);
	atomic_store(&is_over, true);
	for (int i = 0; i < READERS; i++)
		REQUIRE(pthread_join(readers[i], NULL) == 0);

	for (unsigned long key = 0; key < KEYS; key++)
		(void)store_delete(key);
	REQUIRE(lab_rcu_barrier());
	lab_rcu_stats_get(&stats);
	lab_reserve_info(&after);
	printf("%lu writes by handlers, %lu by the main program, %lu keys deleted; %lu lookups, %lu found, all values "
	       "right\n",
	       by_handlers, by_main, deletes, lookups, hits);
	printf("%zu entries freed in %zu grace periods; the reserve had none for %lu writes\n", stats.freed,
	       stats.grace_periods, no_memory);
	REQUIRE(stats.blocks == 0 && after.used == before.used && by_handlers - no_memory > 0);
	REQUIRE(cds_lfht_destroy(table, NULL) == 0);
	rcu_unregister_thread();
	return 0;
}
