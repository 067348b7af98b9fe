/*
 * queue.c - the blocks that wait, as fork's child finds them: copied at any place of a take; and that what is reported
 * is no place at which a thread can be cancelled. The library's own source, as its functions are not exported.
 *
 * Clauses: G11.1, G11.4.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../rcu/queue.c"
#include "../../rcu/report.h"

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf("queue.c:%d: failed: %s\n", __LINE__, #condition);                                      \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

enum { BLOCKS = 50 };

struct node {
	struct lab_rcu_head head;
	char rest[100];
};

static void
push(int count)
{
	for (int i = 0; i < count; i++) {
		struct node *node = lab_malloc(sizeof *node);
		lab_queue_push(node, &node->head, false);
	}
}

/* What the child's worker does first, and then each time. */
static size_t
free_all(void)
{
	size_t before = lab_queue_freed();

	lab_queue_settle_batch();
	lab_queue_free_batch();
	while (lab_queue_take())
		lab_queue_free_batch();
	REQUIRE(lab_queue_is_empty() && !lab_queue_has_batch() && lab_queue_blocks() == 0 && lab_queue_bytes() == 0);
	return lab_queue_freed() - before;
}

/* Before the exchange, after pushes that came in between or none; after it; with part of the batch freed. */
static void
check_copies(void)
{
	push(BLOCKS);
	lab_store_rlx(&batch.first, lab_load_rlx(&waiting.top));
	REQUIRE(free_all() == BLOCKS);

	push(BLOCKS);
	lab_store_rlx(&batch.first, lab_load_rlx(&waiting.top));
	push(BLOCKS);
	REQUIRE(free_all() == 2 * BLOCKS);

	push(BLOCKS);
	REQUIRE(lab_queue_take());
	push(BLOCKS);
	REQUIRE(free_all() == 2 * BLOCKS);

	push(BLOCKS);
	REQUIRE(lab_queue_take());
	struct lab_rcu_head *head = head_of(lab_load_rlx(&batch.first));
	lab_store_rlx(&batch.first, (uintptr_t)head->room[0]);
	lab_free(head->room[1]);
	push(1); /* perhaps in the same place */
	REQUIRE(free_all() == BLOCKS);
}

static _Atomic int reached;

static void *
report_cancelled(void *unused)
{
	pthread_cancel(pthread_self());
	lab_rcu_report(1, 1, "to be cancelled", 0);
	atomic_store(&reached, 1);
	pthread_testcancel();
	return unused;
}

int
main(void)
{
	pthread_t thread;
	void *result;

	check_copies();
	REQUIRE(pthread_create(&thread, NULL, report_cancelled, NULL) == 0 && pthread_join(thread, &result) == 0);
	REQUIRE(atomic_load(&reached) == 1 && result == PTHREAD_CANCELED);
	return 0;
}
