/*
 * forks.c - forks while all others allocate, free and are interrupted. The child checks and frees what its parent had,
 * other threads' blocks included, allocates, begins a thread or forks again, and ends. The shelf is nothing for it: it
 * was copied while others wrote it.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soak.h"

enum { FORKS = 4, OWN = 300, CHILD_SECONDS = 120 };

_Atomic size_t forks;

static struct block own[OWN];

static void
use(uint32_t *random, int count)
{
	static struct block blocks[OWN];

	for (int i = 0; i < count; i++) {
		struct block *block = &blocks[next_random(random) % OWN];
		if (block->p)
			drop(block);
		else
			*block = allocate(random, size_of(MIXED, random));
	}
	for (int i = 0; i < OWN; i++)
		drop(&blocks[i]);
}

static void *
use_elsewhere(void *random)
{
	use(random, 500);
	return NULL;
}

static void
begin_a_thread(uint32_t *random)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, use_elsewhere, random) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

static void
wait_for(pid_t child)
{
	int status;

	REQUIRE(child > 0);
	REQUIRE(waitpid(child, &status, 0) == child);
	if (status != 0)
		fail("a child ended with status", (uintptr_t)status, 0);
}

static _Noreturn void be_child(uint32_t random, int generation);

static void
bear(uint32_t random, int generation)
{
	pid_t child = fork();

	if (child == 0)
		be_child(random, generation);
	forks++;
	wait_for(child);
}

static void
be_child(uint32_t random, int generation)
{
	alarm(CHILD_SECONDS); /* no alarm is inherited */
	for (int i = generation % 2; i < OWN; i += 2)
		drop(&own[i]);
	use(&random, 2000);
	climb(&random);
	if (random % 3 == 0)
		begin_a_thread(&random);
	if (generation < 3 && random % 2 == 0)
		bear(random, generation + 1);
	for (int i = 0; i < OWN; i++)
		drop(&own[i]);
	_exit(0);
}

void
play_forks(struct player *player, enum phase phase)
{
	if (phase == LEAVE)
		for (int i = 0; i < OWN; i++)
			drop(&own[i]);
	if (phase != GROW && phase != CHURN)
		return;
	for (int i = 0; i < FORKS; i++) {
		for (int j = 0; j < OWN; j++)
			if (!own[j].p)
				own[j] = j % 3 ? allocate(&player->random,
				                          size_of(j % 10 ? SMALL : MIXED, &player->random))
				               : take_from_shelf(&player->random);
		bear(next_random(&player->random), 1);
		for (int j = i % 3; j < OWN; j += 3)
			drop(&own[j]);
	}
}
