/* support.h - what the tests of liblabyrinth_rcu share. Which flavour of liburcu: see linux/rcupdate.h. */
#ifndef LAB_TESTS_RCU_SUPPORT_H
#define LAB_TESTS_RCU_SUPPORT_H

#include <errno.h>
#include <linux/rcupdate.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#ifdef RCU_QSBR
enum { IS_QSBR = 1 };
#else
enum { IS_QSBR = 0 };
#endif

/* A qsbr reader is one while it is online, any other from lock to unlock. */
static inline void
begin_reading(void)
{
	if (IS_QSBR)
		rcu_thread_online();
	rcu_read_lock();
}

static inline void
end_reading(void)
{
	rcu_read_unlock();
	if (IS_QSBR)
		rcu_thread_offline();
}

static inline struct lab_rcu_stats
rcu_figures(void)
{
	struct lab_rcu_stats stats;

	lab_rcu_stats_get(&stats);
	return stats;
}

static inline void
sleep_ms(unsigned ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&time, &time) != 0)
		;
}

/* ---- nodes: of each word the same number, so that a reader sees one that was freed ------------------------------- */

enum { NODE_WORDS = 12 };

struct node {
	struct rcu_head rcu;
	unsigned long words[NODE_WORDS];
};

static inline struct node *
new_node(unsigned gfp, unsigned long number)
{
	struct node *node = lab_alloc(sizeof *node, gfp);

	for (unsigned i = 0; node && i < NODE_WORDS; i++)
		node->words[i] = number;
	return node;
}

static inline void
check_node(const struct node *node)
{
	for (unsigned i = 1; i < NODE_WORDS; i++)
		REQUIRE(node->words[i] == node->words[0]);
}

#endif
