/* reserve.c - the emergency reserve: its start, growth, shrinking, threads' shares, fork, and what a handler has of it
 * without memory. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "backing/backing.h"
#include "backing/settings.h"
#include "faults.h"

enum { MANY = 400, SHARE = 50 };

#define DEEP (LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN)

static char *slots[MANY];
static size_t sizes[MANY];

/* A slot, or NULL, and errno as it was. */
static void
claim(int i, size_t size)
{
	errno = 7;
	slots[i] = lab_alloc(size, DEEP);
	REQUIRE_EQUAL(errno, 7);
	sizes[i] = size;
	if (slots[i])
		memset(slots[i], i, size);
}

static void
release(int i)
{
	if (!slots[i])
		return;
	REQUIRE(slots[i][0] == (char)i && slots[i][sizes[i] - 1] == (char)i);
	lab_free(slots[i]);
	slots[i] = NULL;
}

static void
release_all(void)
{
	for (int i = 0; i < MANY; i++)
		release(i);
}

static struct lab_reserve_info
info(void)
{
	struct lab_reserve_info now;

	lab_reserve_info(&now);
	REQUIRE(now.mode == LAB_RESERVE_STRICT || *now.why);
	return now;
}

/* ---- the start ------------------------------------------------------------------------------------------------- */

static void
start(void)
{
	lab_backing_set_size((size_t)300 << 10);
	lab_backing_settings.plan.limit = (size_t)2 << 20;
	lab_backing_start();
}

/* There is a reserve with all of its slots, or none, which is said. */
static void
started(void)
{
	start();
	kept_judge_done(info().mode != LAB_RESERVE_NONE);
	for (int i = 0; i < 30; i++) {
		claim(i, (size_t)32 << i % 8);
		REQUIRE((slots[i] != NULL) == (info().mode != LAB_RESERVE_NONE));
	}
	release_all();
}

/* ---- growth ------------------------------------------------------------------------------------------------------ */

/* What the first slots are grows with each round that is not refused; what was had before is had again when nothing has
 * grown. */
static void
grow(size_t size, int count)
{
	for (int i = 0; i < count; i++) {
		claim(i, size);
		if (i % 10 == 0)
			(void)lab_reserve_balance();
	}
	kept_judge_done(info().grown > 0); /* of the round before, perhaps: what could not be given back */
	for (int i = 0; i < count; i += 2)
		release(i);
	(void)lab_trim(0);
	(void)lab_reserve_balance();
	for (int i = 1; i < count; i += 2)
		release(i);
	while (lab_reserve_balance() || lab_trim(0))
		;
	kept_judge_done(info().grown == 0);
}

static void
grows(void)
{
	grow(100, MANY);
	grow(4000, 60);
	grow(60000, 8);
}

/* ---- shares ------------------------------------------------------------------------------------------------------ */

static void *
draw(void *tid)
{
	bool done = lab_reserve_thread(200, SHARE), more = lab_reserve_thread(4000, 5);

	kept_judge_done(done);
	kept_judge_done(more);
	for (int i = 0; i < SHARE; i++) {
		claim(i, 200);
		REQUIRE(!done || slots[i]); /* as promised */
	}
	for (int i = 0; i < 5; i++) {
		claim(SHARE + i, 4000);
		REQUIRE(!more || slots[SHARE + i]);
	}
	for (int i = 0; i < 20; i++)
		release(i);
	REQUIRE(lab_reserve_thread(200, 0));
	*(pid_t *)tid = gettid();
	return NULL;
}

/* Of a thread that dies with its slots in use. */
static void
shares(void)
{
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		pid_t tid = 0;
		REQUIRE(pthread_create(&thread, NULL, draw, &tid) == 0 && pthread_join(thread, NULL) == 0);
		while (syscall(SYS_tkill, tid, 0) == 0)
			(void)sched_yield();
		release_all();
		(void)lab_trim(0);
	}
}

/* ---- fork ------------------------------------------------------------------------------------------------------ */

static void
be_child(void)
{
	for (int i = 0; i < 50; i++)
		REQUIRE(slots[i] && slots[i][0] == (char)i);
	for (int i = 50; i < 60; i++)
		claim(i, 100);
	lab_free(lab_malloc((size_t)5 << 20)); /* makes its copies */
	for (int i = 50; i < 60; i++)
		REQUIRE(slots[i]);
	release_all();
	(void)lab_reserve_balance();
}

static void
forks(void)
{
	int status;

	for (int i = 0; i < 50; i++)
		claim(i, 100);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		be_child();
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE_EQUAL(status, 0);
	for (int i = 0; i < 50; i++)
		REQUIRE(slots[i]);
	release_all();
}

/* ---- without memory -------------------------------------------------------------------------------------------- */

/* In the middle of a call to the kernel, as a handler: what the system has not, the reserve has. */
static void
allocate_within(void)
{
	struct kept within[3] = {{0}};

	for (int i = 0; i < 3; i++) {
		kept_malloc(&within[i], 40 << 4 * i);
		REQUIRE(within[i].p);
	}
	for (int i = 0; i < 3; i++)
		kept_free(&within[i]);
}

static void
resorts(void)
{
	struct kept blocks[10] = {{0}};

	fault_interrupt = allocate_within;
	for (int i = 0; i < 10; i++)
		kept_malloc(&blocks[i], (size_t)1 << 2 * i);
	fault_interrupt = NULL;
	kept_free(&blocks[0]);
	kept_gfp(&blocks[0], 300, LAB_GFP_HIGH | LAB_GFP_NOWARN);
	for (int i = 0; i < 10; i++)
		kept_free(&blocks[i]);
}

static const struct fault_workload workloads[] = {
        {"started", NULL, started, false, false},  {"grows", start, grows, false, false},
        {"shares", start, shares, false, false},   {"forks", start, forks, false, false},
        {"resorts", start, resorts, false, false},
};

const struct fault_group fault_reserve = FAULT_GROUP("reserve", workloads);
