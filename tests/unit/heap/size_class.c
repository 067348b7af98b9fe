/* size_class.c - the size classes, exhaustively. */
#include <criterion/criterion.h>

#include "heap/bin.h"
#include "heap/heap.h"
#include "heap/span.h"
#include "trace.h"

Test(size_class, every_size_has_the_least_class_that_holds_it)
{
	for (size_t n = 0; n <= LAB_SMALL_MAX; n++) {
		unsigned expected = 0;
		while (lab_class_size(expected) < n)
			expected++;
		REQUIRE_EQUAL(lab_class_of(n), expected);
	}
}

Test(size_class, classes_grow_and_keep_their_grain)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		cr_assert_eq(size % 16, 0);
		cr_assert_eq(lab_class_of(size), c);
		cr_assert_geq(LAB_UNIT_SIZE / size, 2, "two blocks a span at least");
		cr_assert_lt(LAB_UNIT_SIZE / size, 0xffff);
		if (c > 0)
			cr_assert_gt(size, lab_class_size(c - 1));
	}
	cr_assert_eq(lab_class_size(LAB_CLASS_COUNT - 1), LAB_SMALL_MAX);
}

/* A span begins at a multiple of LAB_UNIT_SIZE, so what divides the size of its blocks divides their addresses. */
Test(size_class, the_class_of_the_room_is_the_least_that_is_aligned)
{
	for (size_t align = 1; align <= LAB_SMALL_MAX; align *= 2) {
		unsigned expected = 0;
		for (size_t n = 0; n <= LAB_SMALL_MAX; n++) {
			while (lab_class_size(expected) < n || lab_class_size(expected) % align != 0)
				expected++; /* ends: the largest is a power of two */
			REQUIRE_EQUAL(lab_class_of(lab_aligned_room(n, align)), expected);
		}
	}
}

Test(size_class, waste_above_128_bytes_is_at_most_an_eighth)
{
	for (size_t n = 129; n <= LAB_SMALL_MAX; n++) {
		size_t waste = lab_class_size(lab_class_of(n)) - n;
		REQUIRE(waste * 8 <= n);
	}
	for (size_t n = LAB_SMALL_MAX + 1; n <= LAB_SEGMENT_SIZE; n += n < LAB_SMALL_MAX * 8 ? 1 : 509) {
		size_t pages = (n + LAB_PAGE_SIZE - 1) / LAB_PAGE_SIZE;
		REQUIRE((lab_run_pages(pages) * LAB_PAGE_SIZE - n) * 8 <= n);
	}
}

Test(size_class, runs_have_eight_lengths_a_doubling)
{
	size_t length = 1; /* the least length that is not below `pages` */

	for (size_t pages = 1; pages <= 1 << 14; pages++) {
		if (pages > length)
			length += length < 16 ? 1 : (size_t)1 << (lab_log2(length) - 3);
		REQUIRE_EQUAL(lab_run_pages(pages), length);
		REQUIRE_EQUAL(lab_run_pages(length), length);
	}
	unsigned bin = 0; /* the greatest length that is not above `pages` */
	for (size_t pages = 1; pages <= LAB_SEGMENT_PAGES; pages++) {
		bin += lab_run_pages(pages) == pages;
		REQUIRE_EQUAL(lab_run_bin(pages), bin);
	}
	cr_assert_eq(lab_run_bin(0), 0);
	cr_assert_eq(bin + 1, LAB_RUN_BINS);
	cr_assert_eq(lab_run_pages(LAB_SEGMENT_PAGES), LAB_SEGMENT_PAGES);
}

Test(size_class, usable_size_agrees)
{
	for (size_t n = 0; n <= LAB_SMALL_MAX * 8; n += n < 2048 ? 1 : 97) {
		void *p = lab_malloc(n);
		size_t usable = lab_usable_size(p), pages = (n + LAB_PAGE_SIZE - 1) / LAB_PAGE_SIZE;
		if (n <= LAB_SMALL_MAX)
			REQUIRE_EQUAL(usable, lab_class_size(lab_class_of(n)));
		else
			REQUIRE(usable >= n && usable <= lab_run_pages(pages) * LAB_PAGE_SIZE);
		lab_free(p);
	}
}

/* malloc finds the span by (n + 15) / 16 alone: it must be the one of the class. */
Test(size_class, the_direct_table_leads_to_the_class)
{
	static struct lab_heap heap;
	static struct lab_unit units[LAB_CLASS_COUNT];

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		lab_bin_set_current(&heap, c, &units[c]);
	for (size_t n = 0; n <= LAB_DIRECT_MAX; n++) {
		REQUIRE(heap.direct[(n + 15) / 16] == &units[lab_class_of(n)]);
		REQUIRE(heap.bins[lab_class_of(n)].current == &units[lab_class_of(n)]);
	}
	lab_bin_set_current(&heap, 8, &lab_no_span); /* one class does not reach into its neighbours */
	for (size_t n = 0; n <= LAB_DIRECT_MAX; n++)
		REQUIRE((heap.direct[(n + 15) / 16] == &lab_no_span) == (lab_class_of(n) == 8));
}
