/* scenes_exclusive.c - exclusive blocks: marked, resized, transferred, inherited from the dead and over a fork: see
 * scenes_kinds.h. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "calls.h"
#include "scenes_kinds.h"

static const unsigned marks[] = {LAB_GFP_EXCLUSIVE, LAB_GFP_LOCKED, LAB_GFP_NOFORK, LAB_GFP_NOMERGE,
                                 LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE};
enum { MARKS = sizeof marks / sizeof *marks };

/* The system may refuse to lock: then there is none. */
static struct block
new_exclusive(size_t size, unsigned gfp)
{
	void *p = tier.alloc(size, gfp);

	if (!p) {
		REQUIRE(errno == ENOMEM && gfp & LAB_GFP_LOCKED);
		return (struct block){.p = NULL};
	}
	REQUIRE((uintptr_t)p % 4096 == 0 && tier.usable_size(p) >= size && tier.owner(p) == gettid());
	return block_of(p, size);
}

static void
resize(struct block *block, size_t size, unsigned gfp)
{
	void *p = block->p ? tier.realloc(block->p, size, gfp) : NULL;

	if (p)
		reallocated(block, p, size);
}

void
scene_exclusive_blocks(void)
{
	static const size_t sizes[] = {1, 5000, 60 * KIB, 1 * MIB, 5 * MIB, 9 * MIB};

	for (int m = 0; m < MARKS; m++)
		for (int i = 0; i < 6; i++) {
			size_t size = marks[m] & (LAB_GFP_LOCKED & ~LAB_GFP_EXCLUSIVE) && sizes[i] > MIB ? 70 * KIB
			                                                                                 : sizes[i];
			struct block block = new_exclusive(size, marks[m]);
			resize(&block, size + 100, LAB_GFP_KERNEL);
			resize(&block, size * 2 + 9000, LAB_GFP_KERNEL);
			resize(&block, size / 2 + 1, LAB_GFP_NOMERGE);
			resize(&block, size / 3 + 1, LAB_GFP_NOWAIT);
			resize(&block, size * 3, LAB_GFP_NOWAIT); /* refused */
			free_block(&block);
		}
	REQUIRE(tier.alloc(100, LAB_GFP_EXCLUSIVE | LAB_GFP_NOWAIT) == NULL && errno == EINVAL);
}

/* ---- of other threads ------------------------------------------------------------------------------------------ */

static struct block given[4];
static pid_t giver;
static _Atomic int taker;
static _Atomic bool is_given;

static void *
take_given(void *unused)
{
	taker = gettid();
	while (!is_given)
		usleep(100);
	for (int i = 0; i < 4; i++) {
		if (!given[i].p)
			continue;
		REQUIRE(tier.owner(given[i].p) == gettid());
		if (i == 0)
			REQUIRE(tier.transfer(given[i].p, giver));
		else if (i == 1)
			free_block(&given[i]);
	}
	return unused;
}

/* One comes back, one is freed there, the others are left to whoever wants to free a dead thread's. */
void
scene_exclusive_blocks_of_others(void)
{
	struct block ordinary = new_block(5000);
	pthread_t thread;

	giver = gettid();
	taker = 0;
	is_given = false;
	for (int i = 0; i < 4; i++)
		given[i] = new_exclusive(i % 2 ? 6 * MIB : 9000, i < 3 ? LAB_GFP_NOFORK : LAB_GFP_EXCLUSIVE);
	REQUIRE(pthread_create(&thread, NULL, take_given, NULL) == 0);
	while (taker == 0)
		usleep(100);
	for (int i = 0; i < 4; i++)
		REQUIRE(tier.transfer(given[i].p, taker));
	REQUIRE(!tier.transfer(given[0].p, taker) && !tier.transfer(ordinary.p, taker));
	is_given = true;
	REQUIRE(pthread_join(thread, NULL) == 0);
	REQUIRE(tier.owner(given[0].p) == giver);
	while (syscall(SYS_tkill, taker, 0) == 0) /* a joined thread may live a little longer */
		usleep(100);
	for (int i = 0; i < 4; i++)
		free_block(&given[i]);
	free_block(&ordinary);
}

/* ---- over a fork ----------------------------------------------------------------------------------------------- */

/* They are the child's. */
static void
go_on_in_child(struct block *mine, struct block *empty)
{
	alarm(200);
	REQUIRE(tier.owner(mine->p) == gettid());
	resize(mine, 3 * MIB, LAB_GFP_KERNEL);
	free_block(mine);
	tier.release(empty->p); /* its contents stayed behind */
	_exit(0);
}

void
scene_exclusive_blocks_and_fork(void)
{
	for (int i = 0; i < 24; i++) {
		struct block mine = new_exclusive(50 * KIB, LAB_GFP_NOMERGE),
		             empty = new_exclusive(5 * MIB, LAB_GFP_NOFORK);
		struct block slot = {.p = tier.alloc(100, LAB_GFP_ATOMIC | LAB_GFP_NOWARN)};
		int status;
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0)
			go_on_in_child(&mine, &empty);
		while (waitpid(child, &status, 0) < 0)
			REQUIRE(errno == EINTR);
		if (status != 0)
			fail("a child failed: status", (uintptr_t)status, 0);
		tier.release(slot.p);
		free_block(&mine);
		free_block(&empty);
	}
}
