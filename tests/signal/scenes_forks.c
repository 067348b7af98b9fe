/* scenes_forks.c - blocks of threads that a child of fork has not; handlers that fork: see scenes_kinds.h. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "calls.h"
#include "handler.h"
#include "scenes_kinds.h"

unsigned handlers_fork_every;

static void
wait_for(pid_t child)
{
	int status;

	REQUIRE(child > 0);
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child failed: status", (uintptr_t)status, 0);
}

/* ---- blocks of threads that live at the fork ------------------------------------------------------------------- */

enum { BLOCKS = 24 };

static struct block of_thread[BLOCKS];
static sem_t is_filled, may_end;

static void *
fill_and_stay(void *unused)
{
	static const size_t sizes[] = {48, 3000, 20 * KIB, 40 * KIB, 300 * KIB, 2 * MIB, 5 * MIB, 3 * MIB};

	for (int i = 0; i < BLOCKS; i++)
		of_thread[i] = new_block(sizes[i % 8]);
	sem_post(&is_filled);
	while (sem_wait(&may_end) != 0)
		;
	return unused;
}

/* The thread is not here, its blocks are. */
static _Noreturn void
free_what_the_thread_had(void)
{
	alarm(200);
	for (int i = 0; i < BLOCKS; i++) {
		if (i % 3 == 0)
			step_realloc(&of_thread[i], of_thread[i].size * 2);
		REQUIRE(malloc_usable_size(of_thread[i].p) >= of_thread[i].size);
		step_free(&of_thread[i]);
	}
	(void)malloc_trim(0);
	_exit(0);
}

void
scene_blocks_of_threads_left_by_fork(void)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++) {
		REQUIRE(sem_init(&is_filled, 0, 0) == 0 && sem_init(&may_end, 0, 0) == 0);
		REQUIRE(pthread_create(&thread, NULL, fill_and_stay, NULL) == 0);
		while (sem_wait(&is_filled) != 0)
			;
		pid_t child = i % 2 ? _Fork() : fork();
		if (child == 0)
			free_what_the_thread_had();
		wait_for(child);
		sem_post(&may_end);
		REQUIRE(pthread_join(thread, NULL) == 0);
		for (int k = 0; k < BLOCKS; k++)
			free_block(&of_thread[k]);
	}
}

/* ---- handlers that fork ---------------------------------------------------------------------------------------- */

/* The child lives on in the handler: first calls of malloc's family, each kind, then it ends there. */
void
fork_in_handler(void)
{
	static unsigned turns;
	unsigned n = turns++;
	pid_t child = n % 2 ? _Fork() : fork();

	if (child == 0) {
		handlers_fork_every = 0;
		alarm(200);
		if (n % 3 == 0)
			handler_atomic();
		for (int i = 0; i < 6; i++)
			handler_program();
		struct block large = new_block(900 * KIB), huge = new_block(6 * MIB);
		free_block(&large);
		free_block(&huge);
		(void)malloc_trim(0);
		_exit(0);
	}
	wait_for(child);
}

void
scene_handlers_fork(void)
{
	handlers_fork_every = 60;
	scene_purges();
	scene_huge_blocks();
	scene_exclusive_blocks();
	scene_shares();
	handlers_fork_every = 0;
}
