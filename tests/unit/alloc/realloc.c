/* realloc.c - resizing: contents over every kind of move, what stays in place, moved pages, failures. */
#include <criterion/criterion.h>
#include <errno.h>

#include "heap/thread.h"
#include "heap_check.h"
#include "trace.h"
#include "world.h"

#define MIB ((size_t)1 << 20)

Test(realloc, contents_from_every_size_to_every_size)
{
	static const size_t sizes[] = {1,       15,      16,     17,     64,      65,      128,           129,
	                               1000,    1024,    1025,   4096,   8000,    32767,   32768,         32769,
	                               36864,   36865,   100000, 524288, 1000000, 4 << 20, (4 << 20) + 1, 5 << 20,
	                               9 << 20, 17 << 20};
	enum { N = sizeof sizes / sizeof *sizes };

	for (int from = 0; from < N; from++)
		for (int to = 0; to < N; to++) {
			size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
			char *p = lab_malloc(sizes[from]);
			trace_fill(p, sizes[from], 7);
			char *q = lab_realloc(p, sizes[to], LAB_GFP_KERNEL);
			cr_assert(q);
			cr_assert(trace_reads_as(q, kept, sizes[from], 7), "%zu to %zu", sizes[from], sizes[to]);
			cr_assert_geq(lab_usable_size(q), sizes[to]);
			trace_fill(q, sizes[to], 8);
			if (p != q && sizes[from] > LAB_SMALL_MAX)
				cr_assert(!lab_owns(p), "the old one was freed");
			lab_free(q);
		}
	(void)heap_check(lab_thread.heap);
	cr_assert_eq(heap_check(lab_thread.heap).used, 0);
}

Test(realloc, growing_by_a_byte_a_time_keeps_everything)
{
	char *p = NULL;

	for (size_t size = 1; size < 50000; size++) {
		p = lab_realloc(p, size, LAB_GFP_KERNEL);
		REQUIRE(p);
		p[size - 1] = (char)size;
		if (size % 997 == 0)
			for (size_t i = 0; i < size; i++)
				REQUIRE(p[i] == (char)(i + 1));
	}
	for (size_t size = 50000; size-- > 1;) {
		p = lab_realloc(p, size, LAB_GFP_KERNEL);
		REQUIRE(p && p[size - 1] == (char)size);
	}
	lab_free(p);
}

/* Vectors that grow beside each other: where they are moved to they have room, and so each is moved seldom. With room
 * for the next step only, each is moved at nearly every class: 2.9 times what is live. */
Test(realloc, vectors_that_grow_in_turn_are_seldom_copied)
{
	enum { VECTORS = 16, STEP = 30000, MOST = 3000000 };
	char *vectors[VECTORS];
	size_t copied = 0, size = 40000;

	for (int i = 0; i < VECTORS; i++)
		cr_assert(vectors[i] = lab_malloc(size));
	for (; size < MOST; size += STEP)
		for (int i = 0; i < VECTORS; i++) {
			char *moved = lab_realloc(vectors[i], size + STEP, 0);
			cr_assert(moved);
			copied += moved != vectors[i] ? size : 0;
			vectors[i] = moved;
		}
	cr_expect_lt(copied, VECTORS * size * 2, "%zu KiB copied, %zu live", copied >> 10, VECTORS * size >> 10);
	for (int i = 0; i < VECTORS; i++)
		lab_free(vectors[i]);
}

Test(realloc, null_and_nothing)
{
	char *p = lab_realloc(NULL, 100, LAB_GFP_KERNEL);

	cr_assert(p && lab_owns(p));
	errno = 7777;
	cr_assert_null(lab_realloc(p, 0, LAB_GFP_KERNEL));
	cr_assert_eq(errno, 7777);
	cr_assert_eq(heap_check(lab_thread.heap).used, 0, "size 0 frees");
	p = lab_realloc(NULL, 0, LAB_GFP_KERNEL);
	cr_assert(p);
	lab_free(p);
	cr_assert_null(lab_realloc(lab_malloc(5 * MIB), 0, LAB_GFP_KERNEL));
	p = lab_reallocarray(NULL, 10, 10);
	p = lab_reallocarray(p, 100, 100);
	cr_assert_geq(lab_usable_size(p), 10000);
	lab_free(p);
}

Test(realloc, what_stays_in_place)
{
	char *p = lab_malloc(1000);
	cr_assert_eq(lab_realloc(p, 900, LAB_GFP_KERNEL), p);
	cr_assert_eq(lab_realloc(p, lab_usable_size(p), LAB_GFP_KERNEL), p);
	cr_assert_neq(p = lab_realloc(p, 100, LAB_GFP_KERNEL), NULL);
	cr_assert_lt(lab_usable_size(p), 1000, "a block that would be less than half used moves");
	lab_free(p);

	p = lab_malloc(36000); /* a run, which stays one across the border to blocks of spans */
	for (int i = 0; i < 4; i++)
		cr_assert_eq(lab_realloc(p, i % 2 ? 36000 : 20000, LAB_GFP_KERNEL), p);
	cr_assert_neq(p = lab_realloc(p, 16000, LAB_GFP_KERNEL), NULL);
	cr_assert_lt(lab_usable_size(p), 20000);
	lab_free(p);

	p = lab_malloc(3 * MIB);
	cr_assert_eq(lab_realloc(p, 50000, LAB_GFP_KERNEL), p); /* a run, alone in its segment: it grows where it is */
	for (size_t size = 60000; size < 3 * MIB; size += 100000)
		cr_assert_eq(lab_realloc(p, size, LAB_GFP_KERNEL), p);
	for (size_t size = 3 * MIB; size > 140000; size -= 100000)
		cr_assert_eq(lab_realloc(p, size, LAB_GFP_KERNEL), p);
	char *next = lab_malloc(200000);
	cr_assert_lt((size_t)(next - p), 2 * MIB, "what it gave back is used again");
	lab_free(next);
	lab_free(p);
	(void)heap_check(lab_thread.heap);
}

Test(realloc, pages_of_huge_blocks_are_moved_and_copied_only_if_the_system_refuses)
{
	world_install();
	for (int fails = 0; fails < 2; fails++) {
		char *p = lab_malloc(8 * MIB);
		world.extends = 0;
		world.extend_moves = true;
		world.extend_fails = fails;
		trace_fill(p, 8 * MIB, 5);
		char *q = lab_realloc(p, 33 * MIB + 123, LAB_GFP_KERNEL);
		cr_assert_neq(q, p);
		cr_assert_eq(world.extends, 1);
		cr_assert(trace_reads_as(q, 8 * MIB, 8 * MIB, 5));
		cr_assert(!lab_owns(p));
		cr_assert_eq(lab_usable_size(q), 33 * MIB + LAB_PAGE_SIZE);
		trace_fill(q, 33 * MIB + 123, 6);
		char *zero = lab_calloc(1, 8 * MIB); /* where the pages were, perhaps */
		cr_assert(trace_is_zero(zero, 8 * MIB));
		lab_free(zero);
		lab_free(q);
	}
}

/* Whether it is moved, or grows where it lies, into what it had before, or is copied. */
Test(realloc, with_zero_a_huge_block_grows_into_zeroes)
{
	world_install();
	for (int how = 0; how < 4; how++) {
		char *p = lab_realloc(lab_malloc(8 * MIB), 8 * MIB, LAB_GFP_ZERO);
		world.extend_moves = how == 1;
		world.extend_fails = how == 2;
		memset(p, 1, 8 * MIB);
		p = lab_realloc(p, 7 * MIB + 5, LAB_GFP_KERNEL | (how == 3 ? 0 : LAB_GFP_ZERO));
		size_t kept = how == 3 ? lab_usable_size(p) : 7 * MIB + 5;
		p = lab_realloc(p, 8 * MIB - 5, LAB_GFP_ZERO);
		cr_assert(trace_is_zero(p + kept, lab_usable_size(p) - kept));
		memset(p, 1, 8 * MIB);
		p = lab_realloc(p, 12 * MIB, LAB_GFP_ZERO);
		cr_assert_eq(p[8 * MIB - 1], 1);
		cr_assert(trace_is_zero(p + 8 * MIB, 4 * MIB));
		lab_free(p);
	}
}

Test(realloc, failure_leaves_the_block)
{
	static const size_t sizes[] = {100, 5000, 50000, 5 << 20};

	world_install();
	world.map_limit = 80 * MIB;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = lab_malloc(sizes[i]);
		trace_fill(p, sizes[i], 3);
		world.maps_left = 0;
		world.extend_fails = true;
		errno = 0;
		cr_assert_null(lab_realloc(p, 900 * MIB, LAB_GFP_KERNEL));
		cr_assert_eq(errno, ENOMEM);
		cr_assert(trace_reads_as(p, sizes[i], sizes[i], 3));
		cr_assert_geq(lab_usable_size(p), sizes[i]);
		world.maps_left = SIZE_MAX;
		world.extend_fails = false;
		lab_free(p);
	}
}

Test(realloc, shrinking_never_fails)
{
	world_install();
	char *p = lab_malloc(9 * MIB);
	trace_fill(p, 9 * MIB, 2);
	world.maps_left = world.protects_left = 0;
	for (size_t size = 8 * MIB; size > 0; size /= 3) {
		char *q = lab_realloc(p, size, LAB_GFP_KERNEL);
		cr_assert(q);
		cr_assert(trace_reads_as(q, size, 9 * MIB, 2));
		p = q;
	}
	lab_free(p);
}
