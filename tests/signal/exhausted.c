/*
 * exhausted.c - when the address space is used up (RLIMIT_AS), malloc in a handler that interrupted malloc still
 * succeeds, from the emergency reserve, until that is empty; then it is NULL with ENOMEM. The main program's own calls
 * never get memory of the reserve, at whichever instruction they are interrupted.
 *
 * The program runs itself again under the limit, since address space is reserved at the first allocation.
 *
 * Clauses: G2.6, G6.2.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stepper.h"
#include "support.h"

#define LIMIT ((rlim_t)400 << 20)

enum { TAKEN_MAX = 4096 };

static size_t
reserve_used(void)
{
	struct lab_stats stats;

	library_stats(&stats);
	return stats.reserve_used;
}

/* Takes all that ordinary calls can get. A list through the blocks themselves. */
static void **hoard;

static void
exhaust(void)
{
	for (size_t size = (size_t)64 << 20; size >= sizeof(void *); size /= 2) {
		void **p;
		errno = 0;
		while ((p = malloc(size)) != NULL) {
			*p = hoard;
			hoard = p;
		}
		REQUIRE(errno == ENOMEM);
	}
	REQUIRE(hoard != NULL && reserve_used() == 0);
}

static void
give_back_hoard(void)
{
	while (hoard) {
		void **next = *hoard;
		free(hoard);
		hoard = next;
	}
}

/* ---- in the handler -------------------------------------------------------------------------------------------- */

static struct block taken[TAKEN_MAX];
static size_t taken_count, got[8], deeper[8], deepest[8], tried_empty;
static const size_t sizes[] = {64, 256, 1024, 4096, 16384, 65536};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ATOMIC calls reach deeper than malloc: what is left of a class is theirs, and then there is nothing. */
static void *(*lab_alloc_there)(size_t size, unsigned gfp);

static void
take_deeper(int i)
{
	void *p;

	while (taken_count < TAKEN_MAX && (p = lab_alloc_there(sizes[i], LAB_GFP_ATOMIC)) != NULL) {
		taken[taken_count++] = block_of(p, sizes[i]);
		deeper[i]++;
	}
	while (taken_count < TAKEN_MAX && (p = lab_alloc_there(sizes[i], LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC)) != NULL) {
		taken[taken_count++] = block_of(p, sizes[i]);
		deepest[i]++;
	}
}

/* All that a handler can get, largest first; then there is nothing, and it says so. */
static void
take_all(void)
{
	for (int i = SIZES; i-- > 0;) {
		void *p;
		errno = 0;
		while (taken_count < TAKEN_MAX && (p = malloc(sizes[i])) != NULL) {
			taken[taken_count++] = block_of(p, sizes[i]);
			got[i]++;
		}
		if (errno != ENOMEM)
			fail("NULL without ENOMEM: errno, size", (uintptr_t)errno, sizes[i]);
		take_deeper(i);
		if (errno != ENOMEM)
			fail("an ATOMIC call changed errno: errno, size", (uintptr_t)errno, sizes[i]);
	}
}

static void
give_all(void)
{
	while (taken_count > 0)
		free_block(&taken[--taken_count]);
}

static size_t instructions, succeeded, failed;
static size_t take_all_at;

/* At one instruction everything is taken and given back; at the others, a block of each size. */
static bool
hook(void)
{
	instructions++;
	if (take_all_at) {
		if (instructions != take_all_at)
			return false;
		take_all();
		tried_empty++;
		give_all();
		return true;
	}
	struct block block = {.p = NULL};
	void *p = malloc(sizes[instructions % SIZES]);
	if (p) {
		block = block_of(p, sizes[instructions % SIZES]);
		succeeded++;
	} else {
		REQUIRE(errno == ENOMEM);
		failed++;
	}
	free_block(&block);
	return true;
}

/* ---- the main program ------------------------------------------------------------------------------------------ */

/* An ordinary call: nothing of the reserve is in use after it. */
static void
step_ordinary(size_t size)
{
	instructions = 0;
	errno = 0;
	step_on();
	void *p = malloc(size);
	step_off();
	if (reserve_used() != 0)
		fail("an ordinary call got memory of the reserve: block, size", (uintptr_t)p, size);
	if (p) { /* what a handler gave back: it is used up as well */
		*(void **)p = hoard;
		hoard = p;
	} else {
		REQUIRE(errno == ENOMEM);
	}
}

static void
each_instruction(void)
{
	static const size_t ordinary[] = {8, 64, 1000, 3000, 20000, 100000, 5 << 20};

	current_scenario = "a block at each instruction";
	for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++)
		step_ordinary(ordinary[i]);
	printf("%zu of %zu allocations in the handler succeeded\n", succeeded, succeeded + failed);
	REQUIRE(succeeded > 0);
}

static void
to_the_end(void)
{
	size_t length;

	current_scenario = "all of the reserve";
	take_all_at = SIZE_MAX;
	step_ordinary(20000);
	length = instructions;
	memset(got, 0, sizeof got);
	memset(deeper, 0, sizeof deeper);
	memset(deepest, 0, sizeof deepest);
	for (take_all_at = 20; take_all_at < length; take_all_at += 40)
		step_ordinary(20000);
	for (int i = 0; i < SIZES; i++)
		printf("%zu blocks of %zu, %zu by ATOMIC, %zu by MEMALLOC, in %zu handlers\n", got[i], sizes[i],
		       deeper[i], deepest[i], tried_empty);
	for (int i = 0; i < SIZES; i++)
		if (got[i] == 0)
			fail("a handler got no block from the reserve: size", sizes[i], 0);
	for (int i = 0; i < 4; i++) /* of the larger classes there are too few slots to have marks */
		if (deeper[i] == 0 || deepest[i] == 0)
			fail("no block below the mark of malloc: size", sizes[i], deeper[i]);
}

/* Ordinary life again. */
static void
afterwards(void)
{
	current_scenario = "afterwards";
	give_back_hoard();
	for (size_t size = 8; size < (size_t)32 << 20; size *= 2) {
		struct block block = new_block(size);
		free_block(&block);
	}
	REQUIRE(reserve_used() == 0);
}

int
main(int argc, char **argv)
{
	run_again_limited(LIMIT, argv);
	start_test(argc, argv, 600);
	if (!library_stats) {
		printf("not Labyrinth: there is no reserve to test\n");
		return 1;
	}
	*(void **)&lab_alloc_there = dlsym(RTLD_DEFAULT, "lab_alloc");
	REQUIRE(lab_alloc_there != NULL);
	printf("start\n"); /* the buffer of stdout is allocated now */
	step_start(hook, 0);
	exhaust();
	each_instruction();
	to_the_end();
	afterwards();
	step_write_coverage();
	return end_test();
}
