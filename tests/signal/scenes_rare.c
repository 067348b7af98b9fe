/* scenes_rare.c - what programs do seldom: see scenes.h. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "handler.h"
#include "scenes.h"

/* Pages wait, and small calls would all be fast ones: of blocks of one size so many are in use, and now and then one
 * more, that the scarce span runs out. A sweep goes on in the calls after the decay time. */
static void
small_calls_while_pages_wait(void)
{
	enum { BLOCKS = 24 };
	struct block blocks[BLOCKS], large = new_block(600 * KIB);

	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 4));
	free_block(&large);
	for (int n = 1; n < BLOCKS; n++) {
		for (int i = 0; i < n; i++)
			blocks[i] = n % 8 == 0 ? step_new(150) : new_block(150);
		for (int i = 0; i < n; i++)
			free_block(&blocks[i]);
		usleep(200);
	}
	large = step_new(600 * KIB);
	step_free(&large);
	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 1000));
}

/* Every free gives back what it frees; and more is free than may be. */
void
scene_purges(void)
{
	struct block blocks[6];

	small_calls_while_pages_wait();
	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 0));
	for (int i = 0; i < 6; i++)
		blocks[i] = new_block(i % 2 ? 900 * KIB : 300 * KIB);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
	blocks[0] = step_calloc(1, 800 * KIB);
	step_free(&blocks[0]);
	step_trim();
	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 1000));
}

/* Of several spans some blocks stay; the pages of the others go back, and are carved again. */
void
scene_sparse_spans(void)
{
	enum { BLOCKS = 900, SIZE = 900, ONE_IN = 50 };
	struct block blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = new_block(SIZE);
	for (int i = 0; i < BLOCKS; i++)
		if (i % ONE_IN != 0)
			free_block(&blocks[i]);
	step_trim();
	for (int i = 0; i < BLOCKS; i++)
		if (i % ONE_IN != 0)
			blocks[i] = i % 10 == 0 ? step_new(SIZE) : new_block(SIZE);
	/* nearly full ones come first, and wait behind the others */
	for (int i = 0; i < BLOCKS; i += i < BLOCKS / 2 ? 60 : 3)
		free_block(&blocks[i]);
	step_trim();
	for (int i = 0; i < BLOCKS; i++)
		if (!blocks[i].p)
			blocks[i] = i % 12 == 0 ? step_new(SIZE) : new_block(SIZE);
	for (int i = 0; i < BLOCKS; i++)
		free_block(&blocks[i]);
}

/* Blocks of every kind under a setting that takes the calls another way. */
static void
under(enum lab_param param, size_t value, size_t usual)
{
	static const size_t sizes[] = {70, 1500, 20 * KIB, 100 * KIB, 1200 * KIB, 5 * MIB};
	struct block blocks[6];

	if (!library_set)
		return;
	REQUIRE(library_set(param, value));
	for (int i = 0; i < 6; i++)
		blocks[i] = i % 2 ? step_calloc(1, sizes[i]) : step_new(sizes[i]);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
	REQUIRE(library_set(param, usual));
}

void
scene_settings(void)
{
	under(LAB_PARAM_PERTURB, 0x5a, 0);
	under(LAB_PARAM_TRIM_THRESHOLD, 0, SIZE_MAX);
	under(LAB_PARAM_HUGE_THRESHOLD, 1 * MIB, 0);
}

void
scene_failures(void)
{
	volatile size_t too_much = SIZE_MAX / 2 + 1;

	handler_is_calm = true;
	call_begin();
	call_on();
	void *p = malloc(too_much);
	void *q = calloc(too_much, 4);
	void *r = aligned_alloc(64, too_much - 1);
	call_off();
	REQUIRE(p == NULL && q == NULL && r == NULL && errno == ENOMEM);
	handler_is_calm = false;
}

/* ---- names that are not malloc's or free's --------------------------------------------------------------------- */

static void
check_aligned(void *p, size_t alignment)
{
	if (!p || (uintptr_t)p % alignment != 0)
		fail("not aligned: block, alignment", (uintptr_t)p, alignment);
}

static void
by_size(size_t size)
{
	void *p, *q = NULL;
	size_t usable;

	call_begin();
	call_on();
	p = valloc(size);
	call_off();
	check_aligned(p, 4096);
	call_begin();
	call_on();
	usable = malloc_usable_size(p);
	p = reallocarray(p, 2, size);
	call_off();
	REQUIRE(usable >= size);
	check_aligned(p, 16);
	call_begin();
	call_on();
	REQUIRE(posix_memalign(&q, 256, size) == 0);
	free(p);
	p = pvalloc(size);
	call_off();
	check_aligned(q, 256);
	check_aligned(p, 4096);
	call_begin();
	call_on();
	(void)malloc_usable_size(p);
	(void)malloc_usable_size(NULL);
	free(q);
	free(p);
	call_off();
}

void
scene_other_names(void)
{
	static const size_t sizes[] = {1, 200, 3000, 30 * KIB, 100 * KIB, 5 * MIB};
	void *p;

	for (int i = 0; i < 6; i++)
		by_size(sizes[i]);
	handler_is_calm = true;
	call_begin();
	call_on();
	int status = posix_memalign(&p, 24, 10);
	free(NULL);
	p = realloc(NULL, 40);
	p = realloc(p, 0);
	call_off();
	handler_is_calm = false;
	REQUIRE(status == EINVAL && p == NULL);
}

/* ---- fork ------------------------------------------------------------------------------------------------------ */

static void
go_on_in_child(struct block *mine)
{
	static const size_t sizes[] = {100, 20 * KIB, 90 * KIB, 5 * MIB};
	struct block blocks[4];

	alarm(200);
	step_free(mine);
	for (int i = 0; i < 4; i++)
		blocks[i] = step_new(sizes[i]);
	for (int i = 0; i < 4; i++)
		step_free(&blocks[i]);
	_exit(0);
}

/* The first calls of a child, of its only thread; of a parent with other threads' heaps about, which the child may not
 * use. */
void
scene_fork(void)
{
	for (int i = 0; i < (call_mode == UNSTEPPED ? 12 : 3); i++) {
		struct block mine = new_block(i % 2 ? 300 : 60 * KIB);
		int status;
		pid_t child = i % 3 == 2 ? _Fork() : fork();
		REQUIRE(child >= 0);
		if (child == 0)
			go_on_in_child(&mine);
		while (waitpid(child, &status, 0) < 0)
			REQUIRE(errno == EINTR);
		if (status != 0)
			fail("a child failed: status", (uintptr_t)status, 0);
		step_free(&mine);
	}
}
