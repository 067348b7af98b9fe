/*
 * exclusive_handover.c - exclusive blocks between threads: handed on by lab_transfer and freed by the new owner; left
 * behind by threads that die, and freed by others (INV-EXCL-1). For TSan.
 *
 * Clauses: G7.2.
 */
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "many_threads.h"

enum { THREADS = 4, ROUNDS = 1500, LEFT = 200 };

static _Atomic(char *) mailbox[THREADS];
static _Atomic int tids[THREADS];
static _Atomic unsigned ready;

static void
check_and_free(char *p, size_t size)
{
	REQUIRE(lab_owner(p) == gettid());
	for (size_t at = 0; at < size; at += 512)
		REQUIRE(p[at] == (char)size);
	lab_free(p);
}

/* Each gives its blocks to the next one and frees what it is given. */
static void
pass(size_t number)
{
	size_t next = (number + 1) % THREADS, given = 0, got = 0;

	tids[number] = gettid();
	ready++;
	while (ready < THREADS)
		sched_yield();
	while (given < ROUNDS || got < ROUNDS) {
		if (given < ROUNDS && !mailbox[next]) {
			size_t size = 512 * (1 + given % 40);
			char *p = lab_alloc(size, given % 3 ? LAB_GFP_EXCLUSIVE : LAB_GFP_NOMERGE);
			REQUIRE(p);
			for (size_t at = 0; at < size; at += 512)
				p[at] = (char)size;
			REQUIRE(lab_transfer(p, tids[next]));
			REQUIRE(!lab_transfer(p, tids[number]));
			mailbox[next] = p;
			given++;
		}
		char *p = atomic_exchange(&mailbox[number], NULL);
		if (p)
			check_and_free(p, 512 * (1 + got++ % 40));
		else
			sched_yield();
	}
	ready--;
	while (ready > 0) /* a thread that has ended can be given nothing */
		sched_yield();
}

static void
passing(void)
{
	threads_run(pass, THREADS);
}

static _Atomic(char *) left[LEFT];

static void
leave(size_t number)
{
	for (size_t i = number; i < LEFT; i += THREADS)
		left[i] = lab_alloc(5000, LAB_GFP_EXCLUSIVE);
}

/* Each block is freed by whoever finds it first, which is not its owner. */
static void
inherit(size_t number)
{
	(void)number;
	for (size_t i = 0; i < LEFT; i++) {
		char *p = atomic_exchange(&left[i], NULL);
		if (p)
			lab_free(p);
	}
}

static void
inheriting(void)
{
	struct lab_stats stats;

	for (int round = 0; round < 10; round++) {
		threads_run(leave, THREADS);
		usleep(50000); /* the kernel may call a joined thread alive a little longer */
		threads_run(inherit, THREADS);
	}
	(void)lab_trim(0);
	lab_stats_get(&stats);
	REQUIRE_EQUAL(stats.blocks, 0);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {{"passing", passing}, {"inheriting", inheriting}};

	return threads_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
