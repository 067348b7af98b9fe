/*
 * queue.c - what a child of fork finds that is made at any instruction of the worker's take: it frees every block, and
 * each once. And a report is no place at which a thread can be cancelled. With the library's own sources, whose
 * functions are not exported.
 *
 * Clauses: G11.1, G11.4.
 */
#include "../../rcu/queue.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../rcu/report.h"
#include "../unit/require.h"

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

/* What a worker does first, and then each time: lab_worker_run. How many blocks there were. */
static size_t
free_all(void)
{
	size_t before = lab_queue_freed();

	lab_queue_settle_batch();
	lab_queue_free_batch();
	while (lab_queue_take())
		lab_queue_free_batch();
	REQUIRE(lab_queue_is_empty() && !lab_queue_has_batch() && lab_queue_bytes() == 0);
	return lab_queue_freed() - before;
}

static long steps;

/* After each instruction; a double free would end the child. */
static void
fork_here(int number)
{
	int status;
	pid_t child = fork();

	(void)number;
	if (child == 0) {
		push(3); /* what the child has given before it has a worker */
		_exit(free_all() == BLOCKS + 3 ? 0 : 2);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	steps++;
}

#ifdef __x86_64__
#define STEP "leaq -128(%%rsp), %%rsp\n pushfq\n " /* below the red zone */
static void
step(bool on)
{
	if (on)
		__asm__ volatile(STEP "orq $0x100, (%%rsp)\n popfq\n leaq 128(%%rsp), %%rsp" ::: "cc", "memory");
	else
		__asm__ volatile(STEP "andq $~0x100, (%%rsp)\n popfq\n leaq 128(%%rsp), %%rsp" ::: "cc", "memory");
}
#else
static void
step(bool on)
{
	(void)on;
}
#endif

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

	REQUIRE(signal(SIGTRAP, fork_here) != SIG_ERR);
	push(BLOCKS);
	step(true);
	bool taken = lab_queue_take();
	step(false);
	REQUIRE(taken);
	push(BLOCKS);
	REQUIRE(free_all() == 2 * BLOCKS);
#ifdef __x86_64__
	REQUIRE(steps > 20);
#endif
	REQUIRE(pthread_create(&thread, NULL, report_cancelled, NULL) == 0 && pthread_join(thread, &result) == 0);
	REQUIRE(atomic_load(&reached) == 1 && result == PTHREAD_CANCELED);
	return 0;
}
