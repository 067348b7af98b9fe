/*
 * handlers.c - threads under a storm of signals: they and the handlers that interrupt them at any instruction read
 * shared nodes, replace them, and give the old ones to lab_free_rcu, with and without a head. Freed memory is filled,
 * so that a reader who sees a node that was freed finds words that differ.
 *
 *     handlers [seconds]
 *
 * Built with each flavour. Handlers of qsbr read while the thread that they interrupt is online, and never pass a
 * quiescent state themselves.
 *
 * Clauses: G11.1, G11.2.
 */
#include "support.h"

enum { THREADS = 3, SLOTS = 16 };

static struct node *slots[SLOTS];
static _Atomic bool is_over;
static _Atomic unsigned long handlers_run, no_memory, replaced;
static pthread_t threads[THREADS];
static __thread unsigned long chance = 12345;
static __thread volatile sig_atomic_t is_reader; /* registered, and for qsbr online */

static unsigned
pick(void)
{
	chance = chance * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned)(chance >> 33);
}

static void
read_one(void)
{
	rcu_read_lock();
	struct node *node = rcu_dereference(slots[pick() % SLOTS]);
	if (node)
		check_node(node);
	rcu_read_unlock();
}

static void
replace_one(unsigned gfp)
{
	struct node *node = new_node(gfp, pick());

	if (!node) {
		atomic_fetch_add(&no_memory, 1);
		return;
	}
	struct node *old = rcu_xchg_pointer(&slots[pick() % SLOTS], node);
	atomic_fetch_add(&replaced, 1);
	if (!old)
		return;
	if (pick() % 2)
		kfree_rcu(old, rcu);
	else if (!lab_free_rcu(old))
		kfree_rcu(old, rcu);
}

static void
handle(int number)
{
	int saved = errno;

	(void)number;
	atomic_fetch_add(&handlers_run, 1);
	if (is_reader)
		read_one();
	replace_one(pick() % 2 ? LAB_GFP_ATOMIC : LAB_GFP_KERNEL);
	if (is_reader)
		read_one();
	errno = saved;
}

static void *
work(void *unused)
{
	(void)unused;
	rcu_register_thread();
	is_reader = 1;
	while (!atomic_load(&is_over)) {
		for (unsigned i = 0; i < 20; i++) {
			read_one();
			replace_one(LAB_GFP_KERNEL);
		}
		if (pick() % 64 == 0) {
			struct node *node = new_node(LAB_GFP_KERNEL, 1);
			is_reader = 0; /* offline for a moment, perhaps */
			kfree_rcu_mightsleep(node);
			is_reader = 1;
		}
		rcu_quiescent_state();
	}
	is_reader = 0;
	rcu_unregister_thread();
	return NULL;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3);

	REQUIRE(lab_set_param(LAB_PARAM_PERTURB, 0x5a));
	REQUIRE(lab_rcu_start(&rcu_flavor));
	REQUIRE(sigaction(SIGUSR2, &action, NULL) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, work, NULL) == 0);
	for (unsigned i = 0; time(NULL) < end; i++) {
		(void)pthread_kill(threads[i % THREADS], SIGUSR2);
		if (i % 64 == 0)
			sleep_ms(1);
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
	for (unsigned i = 0; i < SLOTS; i++)
		REQUIRE(lab_free_rcu(slots[i]));
	REQUIRE(lab_rcu_barrier());
	struct lab_rcu_stats stats = rcu_figures();
	printf("%lu handlers, %lu nodes replaced, %zu freed in %zu grace periods, %lu times no memory\n", handlers_run,
	       replaced, stats.freed, stats.grace_periods, no_memory);
	REQUIRE(stats.blocks == 0 && stats.bytes == 0);
	REQUIRE(handlers_run > 0 && stats.freed >= replaced); /* all of them: each was put in once and taken out once */
	return 0;
}
