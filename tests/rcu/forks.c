/*
 * forks.c - what waits at a fork is freed in the child by a worker of its own: forks before there is a worker, beside
 * one that sleeps, beside one that waits for a reader who ends, beside a reader, in a reader, and by _Fork.
 *
 *     forks PATTERN
 *
 * Clauses: G11.4.
 */
#include "support.h"

enum { COUNT = 1000 };

static void
give(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct node *node = new_node(LAB_GFP_KERNEL, i);
		if (i % 2)
			kfree_rcu(node, rcu);
		else
			REQUIRE(lab_free_rcu(node));
	}
}

static void
end_child(pid_t child)
{
	int status;

	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* All that waited at the fork but one block, which the worker may have had in its hand. */
static void
require_all_freed(size_t count)
{
	struct lab_rcu_stats stats = rcu_figures();

	REQUIRE(stats.blocks == 0 && stats.bytes == 0);
	REQUIRE(stats.freed == count || stats.freed == count - 1);
}

static void
before_start(void)
{
	give(COUNT);
	pid_t child = fork();
	REQUIRE(child >= 0);
	REQUIRE(lab_rcu_start(&rcu_flavor) && lab_rcu_barrier());
	REQUIRE(rcu_figures().freed == COUNT);
	if (child == 0)
		_exit(0);
	end_child(child);
}

/* The worker may be anywhere. */
static void
beside_worker(pid_t (*do_fork)(void))
{
	REQUIRE(lab_rcu_start(&rcu_flavor));
	for (unsigned round = 1; round <= 50; round++) {
		if (do_fork == _Fork)
			REQUIRE(lab_rcu_barrier()); /* _Fork does not wait */
		else
			give(COUNT);
		pid_t child = do_fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			give(COUNT);
			REQUIRE(lab_rcu_barrier());
			require_all_freed(do_fork == _Fork ? COUNT * 2 * round - COUNT : COUNT * (2 * round));
			pid_t second = fork();
			if (second == 0) {
				give(COUNT);
				REQUIRE(lab_rcu_start(&rcu_flavor) && lab_rcu_barrier() && rcu_figures().blocks == 0);
				_exit(0);
			}
			end_child(second);
			_exit(0);
		}
		end_child(child);
		give(do_fork == _Fork ? 2 * COUNT : COUNT);
		REQUIRE(lab_rcu_barrier() && rcu_figures().freed == 2 * COUNT * round);
	}
}

static _Atomic bool is_reading, is_waited_for, is_forked;

/* The flavour, but one sees that the worker waits. */
static void
note_and_synchronize(void)
{
	atomic_store(&is_waited_for, true);
	synchronize_rcu();
}

static void *
read_until(void *event)
{
	rcu_register_thread();
	begin_reading();
	atomic_store(&is_reading, true);
	while (!atomic_load((_Atomic bool *)event))
		sleep_ms(1);
	sleep_ms(100);
	end_reading();
	while (!atomic_load(&is_forked)) /* a fork beside rcu_unregister_thread is liburcu's own limit */
		sleep_ms(1);
	rcu_unregister_thread();
	return NULL;
}

/* The fork waits for the worker, which waits for the reader. */
static void
beside_reader(void)
{
	struct rcu_flavor_struct flavour = rcu_flavor;
	pthread_t reader;

	flavour.update_synchronize_rcu = note_and_synchronize;
	REQUIRE(lab_rcu_start(&flavour));
	REQUIRE(pthread_create(&reader, NULL, read_until, &is_waited_for) == 0);
	while (!atomic_load(&is_reading))
		sleep_ms(1);
	give(COUNT);
	while (!atomic_load(&is_waited_for))
		sleep_ms(1);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		REQUIRE(lab_rcu_barrier());
		require_all_freed(COUNT);
		_exit(0);
	}
	atomic_store(&is_forked, true);
	end_child(child);
	REQUIRE(pthread_join(reader, NULL) == 0);
	REQUIRE(lab_rcu_barrier() && rcu_figures().freed == COUNT);
}

/* The fork has nothing to wait for. For liburcu the reader is in the child, and never ends there: what waits stays,
 * callers go on, and it is said. */
static void
dead_reader(void)
{
	pthread_t reader;

	REQUIRE(lab_rcu_start(&rcu_flavor));
	REQUIRE(pthread_create(&reader, NULL, read_until, &is_forked) == 0);
	while (!atomic_load(&is_reading))
		sleep_ms(1);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		give(COUNT);
		REQUIRE(lab_rcu_start(&rcu_flavor));
		lab_rcu_set_mark(1);
		for (unsigned calls = 0; rcu_figures().stalls == 0; calls++)
			lab_free_rcu_wait(lab_malloc(100));
		REQUIRE(rcu_figures().freed == 0);
		_exit(0);
	}
	atomic_store(&is_forked, true);
	end_child(child);
	give(COUNT);
	REQUIRE(lab_rcu_barrier() && rcu_figures().freed == COUNT);
	REQUIRE(pthread_join(reader, NULL) == 0);
}

/* The fork may not wait. The worker waits for the forking thread, with liburcu's locks in its hand: no worker can be in
 * the child, which says so, and goes on. */
static void
in_reader(void)
{
	rcu_register_thread();
	REQUIRE(lab_rcu_start(&rcu_flavor));
	begin_reading();
	give(COUNT);
	sleep_ms(200);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		REQUIRE(!lab_rcu_start(&rcu_flavor) && errno == ENOTRECOVERABLE);
		errno = 0;
		REQUIRE(!lab_rcu_barrier() && errno == ENOTRECOVERABLE);
		give(COUNT);
		lab_rcu_set_mark(1);
		lab_free_rcu_wait(lab_malloc(100));
		REQUIRE(rcu_figures().blocks == 2 * COUNT + 1 && rcu_figures().freed == 0);
		pid_t second = fork();
		if (second == 0)
			_exit(lab_rcu_start(&rcu_flavor) || errno != ENOTRECOVERABLE);
		end_child(second);
		_exit(0);
	}
	end_child(child);
	end_reading();
	REQUIRE(lab_rcu_barrier() && rcu_figures().freed == COUNT);
	rcu_unregister_thread();
}

int
main(int argc, char **argv)
{
	const char *pattern = argc > 1 ? argv[1] : "";

	REQUIRE(lab_set_param(LAB_PARAM_PERTURB, 0x5a));
	if (strcmp(pattern, "before_start") == 0)
		before_start();
	else if (strcmp(pattern, "beside_worker") == 0)
		beside_worker(fork);
	else if (strcmp(pattern, "raw") == 0)
		beside_worker(_Fork);
	else if (strcmp(pattern, "beside_reader") == 0)
		beside_reader();
	else if (strcmp(pattern, "dead_reader") == 0)
		dead_reader();
	else if (strcmp(pattern, "in_reader") == 0)
		in_reader();
	else
		REQUIRE(!"a pattern");
	return 0;
}
