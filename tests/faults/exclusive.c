/*
 * exclusive.c - exclusive blocks: marked, resized, handed on, freed. The one place where a refused call may lose memory
 * for good: what is there after pages could not be renewed is unknown (INV-EXCL-2), so that the block is never used
 * again.
 */
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "faults.h"

enum { MANY = 12 };

static struct kept blocks[MANY];

static bool
may_lock(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= (size_t)1 << 20;
}

static unsigned
marks_of(int i)
{
	static const unsigned marks[] = {LAB_GFP_EXCLUSIVE,
	                                 LAB_GFP_NOFORK,
	                                 LAB_GFP_NOMERGE,
	                                 LAB_GFP_LOCKED,
	                                 LAB_GFP_NOFORK | LAB_GFP_NOMERGE,
	                                 LAB_GFP_EXCLUSIVE | LAB_GFP_ZERO};
	unsigned gfp = marks[i % 6];

	return gfp == LAB_GFP_LOCKED && !may_lock() ? LAB_GFP_NOMERGE : gfp;
}

static void
free_all(void)
{
	for (int i = 0; i < MANY; i++)
		kept_free(&blocks[i]);
}

static void
marked(void)
{
	for (int i = 0; i < MANY; i++)
		kept_gfp(&blocks[i], (size_t)1 << (2 * i % 17), marks_of(i));
	for (int i = 0; i < MANY; i++)
		kept_check(&blocks[i]);
	free_all();
}

static void
zeroed(void)
{
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++)
			kept_gfp(&blocks[i], (size_t)(i + 1) * 9000, marks_of(i) | LAB_GFP_ZERO);
		free_all();
		for (int i = 0; i < MANY; i++)
			kept_calloc(&blocks[i], (size_t)(MANY - i) * 9000);
		free_all();
	}
}

static void
resized(void)
{
	for (int i = 0; i < MANY; i++)
		kept_gfp(&blocks[i], 5000, marks_of(i));
	for (int i = 0; i < MANY; i++)
		kept_realloc(&blocks[i], i % 2 ? 50000 : 100, LAB_GFP_KERNEL);
	for (int i = 0; i < MANY; i += 3)
		kept_realloc(&blocks[i], 20000, LAB_GFP_NOFORK | LAB_GFP_ZERO);
	kept_realloc(&blocks[1], (size_t)5 << 20, LAB_GFP_KERNEL);
	free_all();
}

/* ---- from thread to thread ------------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static int receiver;

static void *
receive(void *unused)
{
	receiver = gettid();
	(void)pthread_barrier_wait(&barrier);
	(void)pthread_barrier_wait(&barrier); /* they are ours, or not */
	for (int i = 0; i < MANY; i++)
		if (blocks[i].p && lab_owner(blocks[i].p) == receiver)
			kept_free(&blocks[i]);
	return unused;
}

static void
transferred(void)
{
	pthread_t thread;

	for (int i = 0; i < MANY; i++)
		kept_gfp(&blocks[i], 10000, marks_of(i));
	REQUIRE(pthread_barrier_init(&barrier, NULL, 2) == 0);
	REQUIRE(pthread_create(&thread, NULL, receive, NULL) == 0);
	(void)pthread_barrier_wait(&barrier);
	for (int i = 0; i < MANY; i++)
		if (blocks[i].p) {
			bool given = lab_transfer(blocks[i].p, receiver);
			kept_judge_done(given || lab_load_rlx(&fault_run->of_kind[FAULT_HAS_THREAD]) == 0);
			REQUIRE_EQUAL(lab_owner(blocks[i].p), given ? receiver : gettid());
		}
	(void)pthread_barrier_wait(&barrier);
	REQUIRE(pthread_join(thread, NULL) == 0);
	free_all();
}

static const struct fault_workload workloads[] = {
        {"marked", NULL, marked, false, true},
        {"zeroed", NULL, zeroed, false, true},
        {"resized", NULL, resized, false, true},
        {"transferred", NULL, transferred, false, true},
};

const struct fault_group fault_exclusive = FAULT_GROUP("exclusive", workloads);
