/* stopped_work.c - see stopped.h: the threads that must get on whatever happens to the victim. */
#include "stopped.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 2, LIVE = 32, CHANGED = 12, KEPT = 24, LEFT = 4, SLOTS = 4 };

static struct worker {
	sem_t go, done;
	void (*job)(void);
	struct block live[LIVE];
	unsigned turn;
} workers[WORKERS];

static _Thread_local struct worker *self;

static struct block kept[KEPT];
static void *(*atomic_alloc)(size_t size, unsigned gfp);
static void (*atomic_free)(void *block);

void
await(sem_t *semaphore, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_SECONDS;
	while (sem_timedwait(semaphore, &until) != 0)
		if (errno != EINTR)
			fail(what, DEADLINE_SECONDS, 0);
}

static void *
serve(void *argument)
{
	self = argument;
	for (;;) {
		while (sem_wait(&self->go) != 0)
			;
		self->job();
		sem_post(&self->done);
	}
	return NULL;
}

void
workers_start(void)
{
	pthread_t thread;

	*(void **)&atomic_alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	*(void **)&atomic_free = dlsym(RTLD_DEFAULT, "lab_free");
	for (unsigned i = 0; i < WORKERS; i++) {
		REQUIRE(sem_init(&workers[i].go, 0, 0) == 0 && sem_init(&workers[i].done, 0, 0) == 0);
		REQUIRE(pthread_create(&thread, NULL, serve, &workers[i]) == 0);
		REQUIRE(pthread_detach(thread) == 0);
	}
}

void
worker_order(unsigned worker, void (*job)(void))
{
	workers[worker].job = job;
	sem_post(&workers[worker].go);
}

void
worker_await(unsigned worker)
{
	await(&workers[worker].done, "another thread is blocked: seconds");
}

/* ---- the victim's blocks --------------------------------------------------------------------------------------- */

static const size_t kept_sizes[] = {16, 48, 208, 1000, 3000, 5000, 30000, 40000};

void
kept_fill(void)
{
	for (size_t i = 0; i < KEPT; i++)
		if (!kept[i].p)
			kept[i] = new_block(kept_sizes[i % (sizeof kept_sizes / sizeof *kept_sizes)]);
}

static void
kept_check(void)
{
	for (size_t i = 0; i < KEPT; i++)
		if (kept[i].p)
			check_block(&kept[i]);
}

void
kept_free(void)
{
	for (size_t i = 0; i < KEPT; i++)
		free_block(&kept[i]);
}

/* ---- a round's work -------------------------------------------------------------------------------------------- */

static size_t
size_in_turn(unsigned turn)
{
	static const size_t sizes[] = {16, 48, 64, 208, 1000, 3000, 3000, 36000, 12000, 60000, 40000};

	return sizes[turn % (sizeof sizes / sizeof *sizes)];
}

static void
check_live(void)
{
	for (size_t i = 0; i < LIVE; i++)
		if (self->live[i].p)
			check_block(&self->live[i]);
}

static void
change_live(void)
{
	check_live();
	for (unsigned i = 0; i < CHANGED; i++) {
		struct block *block = &self->live[self->turn++ % LIVE];
		free_block(block);
		*block = new_block(size_in_turn(self->turn * 7));
	}
}

static void
use_atomic(void)
{
	struct block slots[SLOTS];

	if (!atomic_alloc || !atomic_free)
		return;
	for (size_t i = 0; i < SLOTS; i++) { /* slots die with victims: NULL is an answer, to wait would not be one */
		void *p = atomic_alloc(200, LAB_GFP_ATOMIC);
		slots[i] = p ? block_of(p, 200) : (struct block){0};
	}
	for (size_t i = 0; i < SLOTS; i++) {
		if (slots[i].p) {
			check_block(&slots[i]);
			atomic_free(slots[i].p);
		}
	}
}

static void
first_job(void)
{
	change_live();
	kept_check();
	for (size_t i = self->turn % 2; i < KEPT; i += 2)
		free_block(&kept[i]);
	use_atomic();
	change_live();
}

static void *
be_born_and_die(void *argument)
{
	struct block *left = argument, block;

	for (unsigned i = 0; i < 2 * LEFT; i++) {
		block = new_block(size_in_turn(i));
		if (i % 2)
			free_block(&block);
		else
			left[i / 2] = block;
	}
	return NULL;
}

static void
see_a_thread_die(void)
{
	struct block left[LEFT];
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, be_born_and_die, left) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
	for (size_t i = 0; i < LEFT; i++)
		free_block(&left[i]);
}

static void
use_huge(void)
{
	struct block block = new_block(5 * MIB);

	reallocated(&block, realloc(block.p, 9 * MIB), 9 * MIB);
	reallocated(&block, realloc(block.p, 5 * MIB), 5 * MIB);
	free_block(&block);
}

static void
second_job(void)
{
	change_live();
	see_a_thread_die();
	if (self->turn / CHANGED % 16 == 1)
		use_huge();
	if (self->turn / CHANGED % 16 == 9)
		malloc_trim(0);
	change_live();
}

void
workers_work(void)
{
	worker_order(0, first_job);
	worker_order(1, second_job);
	worker_await(0);
	worker_await(1);
}

void
workers_check(void)
{
	for (unsigned i = 0; i < WORKERS; i++)
		worker_order(i, check_live);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_await(i);
}

/* ---- life goes on ---------------------------------------------------------------------------------------------- */

void
go_on(void)
{
	static const size_t sizes[] = {48, 3000, 64, 208, 100 * KIB, 48};
	struct block blocks[sizeof sizes / sizeof *sizes];

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		blocks[i] = new_block(sizes[i]);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		free_block(&blocks[i]);
}

void
live_in_child(void)
{
	alarm(DEADLINE_SECONDS);
	operations_untrap();
	go_on();
	kept_check();
	kept_free();
	for (unsigned w = 0; w < WORKERS; w++) /* in a child all these are frozen heaps' */
		for (size_t i = 0; i < LIVE; i++)
			free_block(&workers[w].live[i]);
	go_on();
	_exit(0);
}

void
wait_for_child(pid_t child)
{
	int status = -1;

	REQUIRE(child > 0);
	while (waitpid(child, &status, 0) != child && errno == EINTR)
		;
	if (status != 0)
		fail("the child of fork has failed: status", (uintptr_t)status, 0);
}
