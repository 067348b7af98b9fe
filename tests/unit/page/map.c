/*
 * map.c - what a pointer is: every kind of wild pointer, every byte of blocks of every kind, memory that runs out.
 *
 * Clauses: G9.2.
 */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "heap/thread.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

static enum lab_place_kind
kind_of(const void *p)
{
	return lab_map_find(p).kind;
}

static void
check_foreign(const void *p)
{
	REQUIRE(kind_of(p) == LAB_PLACE_FOREIGN);
	REQUIRE(!lab_owns(p));
}

/* All that any process has besides our blocks. */
static void
check_wild_pointers(void)
{
	static char data;
	char local;
	void *libc = malloc(100), *mapped = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct trace_random random = {1};
	const uintptr_t fixed[] = {1,
	                           8,
	                           16,
	                           4096,
	                           0x10000,
	                           0x7fffffffffff,
	                           0x800000000000,
	                           0xffff800000000000,
	                           ~(uintptr_t)0,
	                           ~(uintptr_t)15};

	cr_assert(!lab_owns(NULL));
	check_foreign(&data);
	check_foreign(&local);
	check_foreign(libc);
	check_foreign(mapped);
	check_foreign((void *)(uintptr_t)check_foreign);
	for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
		check_foreign((void *)fixed[i]);
	for (int i = 0; i < 200000; i++) {
		uintptr_t wild = trace_next(&random) >> trace_below(&random, 64);
		if (!lab_space() || wild - lab_space()->base >= lab_space()->slot_count << LAB_SLOT_SHIFT)
			check_foreign((void *)wild);
	}
	munmap(mapped, 4096);
	free(libc);
}

Test(map, before_the_first_allocation_nothing_is_ours)
{
	check_wild_pointers();
	cr_assert_null(lab_space());
	lab_free(NULL);
	cr_assert_eq(lab_usable_size(NULL), 0);
}

Test(map, wild_pointers_and_the_heaps_own_memory)
{
	char *block = lab_malloc(100);
	const struct lab_space *space = lab_space();
	size_t window = space->slot_count << LAB_SLOT_SHIFT;
	char *base = (char *)space->base, *end = base + window;
	struct lab_segment *segment = lab_map_find(block).segment;

	check_wild_pointers();
	check_foreign(space);
	check_foreign(space->units);
	check_foreign(space->slots);
	check_foreign(space->heaps);
	check_foreign(lab_thread.heap);
	check_foreign(segment);
	check_foreign(base - 1);
	check_foreign(base);
	check_foreign(end);
	check_foreign(end - 16);
	for (char *p = segment->base + lab_segment_pages(segment) * LAB_PAGE_SIZE; p < end; p += LAB_SEGMENT_SIZE * 7)
		check_foreign(p);
	for (int i = -40; i <= 40; i++) /* what shares the block's descriptor */
		if (i != 0)
			check_foreign(block + (intptr_t)window * i);
	cr_assert(lab_owns(block));
}

Test(map, every_byte_of_a_span)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c += 3) {
		char *block = lab_malloc(lab_class_size(c));
		struct lab_place place = lab_map_find(block);
		cr_assert_eq(place.kind, LAB_PLACE_SPAN);
		cr_assert_eq(place.heap_id, lab_thread.heap->id);
		for (char *p = place.unit->base; p < place.unit->base + LAB_UNIT_SIZE; p++) {
			size_t n = (size_t)(p - place.unit->base);
			bool carved = n % lab_class_size(c) == 0 && n / lab_class_size(c) < place.unit->carved;
			REQUIRE(kind_of(p) == LAB_PLACE_SPAN);
			REQUIRE(lab_owns(p) == carved); /* not inside a block, not where none was made yet */
		}
		lab_free(block);
	}
}

Test(map, every_page_of_a_run_and_what_it_was)
{
	static const size_t pages[] = {9, 10, 16, 40, 128, 1024};

	for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) {
		size_t size = pages[i] * LAB_PAGE_SIZE;
		char *run = lab_malloc(size);
		struct lab_place place = lab_map_find(run);
		cr_assert_eq(place.kind, LAB_PLACE_RUN);
		cr_assert(lab_owns(run));
		cr_assert_eq(lab_load_rlx(&place.run->pages) * LAB_PAGE_SIZE, lab_usable_size(run));
		for (size_t n = 16; n < size; n += n < 2 * LAB_PAGE_SIZE ? 16 : 1040) {
			REQUIRE(kind_of(run + n) == LAB_PLACE_INTERIOR);
			REQUIRE(!lab_owns(run + n));
		}
		cr_assert_eq(kind_of(run + 1), LAB_PLACE_INTERIOR);
		lab_free(run);
		cr_assert_eq(kind_of(run), LAB_PLACE_FREED);
		cr_assert(!lab_owns(run));
		cr_assert(!lab_owns(run + LAB_PAGE_SIZE));
	}
}

Test(map, every_page_of_a_huge_block)
{
	size_t size = 5 * LAB_SEGMENT_SIZE + 3 * LAB_PAGE_SIZE;
	char *block = lab_malloc(size);

	cr_assert_eq(kind_of(block), LAB_PLACE_HUGE);
	cr_assert(lab_owns(block));
	for (size_t n = 16; n < size; n += LAB_PAGE_SIZE * 3 + 16) {
		REQUIRE(kind_of(block + n) == LAB_PLACE_FOREIGN && lab_huge_around(block + n));
		REQUIRE(!lab_owns(block + n));
	}
	REQUIRE(lab_huge_around(block + size - 1) && !lab_huge_around(block + size) && !lab_huge_around(block - 1));
	lab_free(block);
	REQUIRE(!lab_huge_around(block + 16));
	cr_assert(!lab_owns(block));
	cr_assert_eq(kind_of(block), LAB_PLACE_FREED);
	for (size_t n = 0; n < size; n += LAB_PAGE_SIZE)
		REQUIRE(!lab_owns(block + n));
}

Test(map, the_blocks_of_a_span_that_was_retired_are_freed)
{
	enum { BLOCKS = 500 };
	void *blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = lab_malloc(1000);
	for (int i = 0; i < BLOCKS; i++)
		lab_free(blocks[i]);
	/* all but the current span are empty, and so are no spans any more */
	size_t freed = 0;
	for (int i = 0; i < BLOCKS; i++) {
		enum lab_place_kind kind = kind_of(blocks[i]);
		cr_assert(kind == LAB_PLACE_FREED || kind == LAB_PLACE_SPAN);
		freed += kind == LAB_PLACE_FREED;
		if (kind == LAB_PLACE_FREED)
			cr_assert(!lab_owns(blocks[i]));
	}
	cr_assert_geq(freed, BLOCKS - 128);
}

/* Any address of the window that was used, and lab_owns knows exactly the live blocks (freed ones of a span may still
 * be carved). */
Test(map, random_addresses_among_live_blocks)
{
	static struct trace_block blocks[300];
	struct trace trace = {{7}, blocks, 300, 14, 23, 6, false};
	uint64_t answers = 0;

	trace_run(&trace, 3000);
	size_t used = lab_load_rlx(&lab_space()->high_water) * LAB_SLOT_SIZE;
	for (int i = 0; i < 300000; i++) {
		char *p = (char *)lab_space()->base + trace_below(&trace.random, used);
		struct lab_place place = lab_map_find(p);
		bool owned = lab_owns(p);
		answers += owned;
		REQUIRE(!owned || place.kind == LAB_PLACE_SPAN || place.kind == LAB_PLACE_RUN ||
		        place.kind == LAB_PLACE_HUGE);
	}
	for (size_t i = 0; i < trace.slots; i++)
		for (size_t n = 1; blocks[i].p && n < blocks[i].size; n = n * 2 + 1)
			REQUIRE(!lab_owns(blocks[i].p + n)); /* interior */
	trace_check_all(&trace);
	trace_free_all(&trace);
	cr_assert_lt(answers, 300000);
}

/* ---- memory that runs out ---- */

Test(map, memory_that_runs_out_gives_null_and_comes_back)
{
	enum { BLOCKS = 4096 };
	static void *blocks[BLOCKS];
	size_t n = 0;

	world_install();
	world.maps_left = 14; /* the table, the fork mark, a heap, metadata, and some segments */
	while (n < BLOCKS && (blocks[n] = lab_malloc(100 * 1000)) != NULL)
		memset(blocks[n++], 1, 100 * 1000);
	cr_assert_gt(n, 100);
	cr_assert_lt(n, 400);
	cr_assert_null(lab_malloc(30 * MIB));
	for (size_t i = 0; i < n; i++)
		lab_free(blocks[i]);
	for (size_t i = 0; i < n; i++)
		cr_assert(blocks[i] = lab_malloc(100 * 1000));
	cr_assert_null(lab_malloc(8 * MIB));
	for (size_t i = 0; i < n; i++)
		lab_free(blocks[i]);
}

Test(map, no_memory_at_all_is_null_and_the_next_call_may_succeed)
{
	world_install();
	for (size_t left = 0; left < 24; left++) { /* each system call of the birth fails once */
		world.maps_left = left / 4;
		world.protects_left = left % 4;
		(void)lab_malloc(10);
	}
	world.maps_left = world.protects_left = SIZE_MAX;
	void *p = lab_malloc(10);
	cr_assert(p);
	lab_free(p);
}
