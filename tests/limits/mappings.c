/*
 * mappings.c - the number of mappings (vm.max_map_count). A program that has nearly as many as it may: the library,
 * too, is refused what splits one. And a long run of what splits mappings in the library, huge blocks that move, marks
 * on exclusive blocks: their number has a bound.
 *
 * Clauses: G9.2, G10.4.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"
#include "process.h"

#define MIB  ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define MANY ((size_t)200000)

/* ---- nearly as many as there may be ---------------------------------------------------------------------------- */

static size_t
most_mappings(void)
{
	size_t most = 0;
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");

	REQUIRE(file && fscanf(file, "%zu", &most) == 1);
	fclose(file);
	return most;
}

/* Every second page of it gets a protection of its own, until the kernel refuses. Returns how many have. */
static size_t
split(char *region, size_t pages)
{
	size_t done = 0;

	while (2 * done + 1 < pages && mprotect(region + (2 * done + 1) * PAGE, PAGE, PROT_READ) == 0)
		done++;
	return done;
}

/* One or two mappings fewer. */
static void
join(char *region, size_t page)
{
	REQUIRE(mprotect(region + (2 * page + 1) * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void
live_below_the_limit(void *free_mappings)
{
	size_t pages = most_mappings() + 1000, freed = (size_t)(uintptr_t)free_mappings;
	char *region =
	        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(region != MAP_FAILED);
	load_all();
	size_t done = split(region, pages);
	REQUIRE(2 * done + 1 < pages);
	for (size_t i = 0; i < freed / 2; i++)
		join(region, --done);
	load_all();
	REQUIRE(munmap(region, pages * PAGE) == 0);
	load_must_work();
}

static void
below_the_limit(void)
{
	if (most_mappings() > MANY) {
		fprintf(stderr, "not run: vm.max_map_count is %zu, more than can be made in a short time\n",
		        most_mappings());
		return;
	}
	for (size_t n = 0; n <= 50; n += scale > 1 || n < 3 ? 1 : n)
		(void)process_in_child(live_below_the_limit, (void *)(uintptr_t)n);
}

/* ---- how many the library makes -------------------------------------------------------------------------------- */

enum { BLOCKS = 16, MOVES = 1500, HUGE_MOST = 24 };

static uint32_t random_state = 9;

/* Blocks of up to HUGE_MOST MiB grow, shrink and move. */
static size_t
move_blocks(size_t moves)
{
	struct block blocks[BLOCKS] = {{0}};
	size_t most = 0;

	for (size_t i = 0; i < moves; i++) {
		struct block *block = &blocks[next_random(&random_state) % BLOCKS];
		size_t size = 4 * MIB + 1 + next_random(&random_state) % ((HUGE_MOST - 4) * MIB);
		if (block->p)
			reallocated(block, realloc(block->p, size), size);
		else
			*block = new_block(size);
		if (i % (moves / 30) == 0 && process_mappings() > most)
			most = process_mappings();
	}
	for (int i = 0; i < BLOCKS; i++)
		free_block(&blocks[i]);
	return most;
}

/* Exclusive blocks with all kinds of marks, small ones and huge ones. */
static size_t
mark_blocks(size_t times)
{
	static const unsigned kinds[] = {LAB_GFP_EXCLUSIVE, LAB_GFP_LOCKED, LAB_GFP_NOFORK, LAB_GFP_NOMERGE,
	                                 LAB_GFP_LOCKED | LAB_GFP_NOMERGE};
	void *(*alloc)(size_t size, unsigned gfp) = NULL;
	struct block blocks[BLOCKS] = {{0}};
	size_t most = 0;

	*(void **)&alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	REQUIRE(alloc);
	for (size_t i = 0; i < times; i++) {
		struct block *block = &blocks[next_random(&random_state) % BLOCKS];
		size_t size = 100 + next_random(&random_state) % (i % 20 ? 100000u : 9 * MIB);
		free_block(block);
		unsigned char *p = alloc(size, kinds[next_random(&random_state) % (sizeof kinds / sizeof *kinds)]);
		if (p)
			*block = block_of(p, size);
		if (i % (times / 30) == 0 && process_mappings() > most)
			most = process_mappings();
	}
	for (int i = 0; i < BLOCKS; i++)
		free_block(&blocks[i]);
	return most;
}

/* Each huge block, and each segment, may be a mapping of its own. A marked block splits one in three, and when it is
 * freed two may stay: where both sides were first written to while it was between them. */
static void
their_number_has_a_bound(void *unused)
{
	enum { SEGMENTS = BLOCKS * (HUGE_MOST / 4) + 32, SPLITS = 4 * BLOCKS };
	size_t before, moved, marked, freed, moves = (size_t)MOVES * scale;

	(void)unused;
	load_all();
	(void)malloc_trim(0);
	before = process_mappings();
	moved = move_blocks(moves);
	marked = mark_blocks(moves);
	(void)malloc_trim(0);
	freed = process_mappings();
	printf("mappings: %zu before, %zu when blocks had moved %zu times, %zu with marks, %zu when all was freed\n",
	       before, moved, moves, marked, freed);
	if (moved > before + SEGMENTS || marked > before + SEGMENTS + SPLITS)
		fail("mappings, before and most", before, marked > moved ? marked : moved);
	struct lab_stats stats;
	library_stats(&stats);
	/* Where a marked block lay its pages are new, but Linux joins mappings only if the pages of both were first
	 * written to as one: the two sides may stay apart until the segment is unmapped. Their number does not grow
	 * with time (--scale 5), as the same places are used again. */
	if (freed > before + 2 * SPLITS + stats.segments)
		fail("mappings, before and when all was freed", before, freed);
}

int
main(int argc, char **argv)
{
	load_start(argc, argv, 600);
	current_scenario = "below the limit";
	if (strstr(current_scenario, only))
		below_the_limit();
	current_scenario = "their number";
	if (strstr(current_scenario, only))
		(void)process_in_child(their_number_has_a_bound, NULL);
	return end_test();
}
