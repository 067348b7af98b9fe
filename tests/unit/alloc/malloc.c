/* malloc.c - the whole heap from one thread: random traces of every kind of call with content patterns, limits, edges,
 * errno. */
#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>

#include "heap/thread.h"
#include "heap_check.h"
#include "trace.h"

enum { SLOTS = 2000, KEPT = 7777 };

static struct trace_block blocks[SLOTS];

static void
run_trace(struct trace trace, size_t steps)
{
	for (int round = 0; round < 5; round++) {
		trace_run(&trace, steps / 5);
		trace_check_all(&trace);
		(void)heap_check(lab_thread.heap);
	}
	trace_free_all(&trace);
	struct heap_census census = heap_check(lab_thread.heap);
	cr_assert_eq(census.used, 0);
	cr_assert_eq(census.runs, 0);
}

Test(malloc, small_blocks)
{
	run_trace((struct trace){{1}, blocks, SLOTS, 10, 0, 0, false}, 400000);
}

Test(malloc, every_size_up_to_pages)
{
	run_trace((struct trace){{2}, blocks, SLOTS, 16, 0, 0, false}, 150000);
}

Test(malloc, everything_up_to_16_mib)
{
	run_trace((struct trace){{3}, blocks, 300, 12, 24, 20, false}, 60000);
}

Test(malloc, no_two_blocks_overlap)
{
	run_trace((struct trace){{4}, blocks, 300, 12, 22, 16, true}, 50000);
}

Test(malloc, the_same_with_every_call_on_the_slow_path)
{
	lab_store_rlx(&lab_word_tag, LAB_WORD_SLOW);
	run_trace((struct trace){{5}, blocks, SLOTS, 13, 22, 30, false}, 60000);
}

/* Last in first out, first in first out, every other one: the shapes of real programs. */
Test(malloc, shapes)
{
	enum { N = 20000 };
	static void *p[N];

	for (size_t size = 1; size < 4000; size = size * 3 + 1)
		for (int shape = 0; shape < 3; shape++) {
			for (size_t i = 0; i < N; i++)
				REQUIRE((p[i] = lab_malloc(size)) != NULL);
			for (size_t i = 0; i < N; i++)
				lab_free(p[shape == 0 ? i : shape == 1 ? N - 1 - i : i * 2 % N + (i >= N / 2)]);
		}
	cr_assert_eq(heap_check(lab_thread.heap).used, 0);
}

Test(malloc, nothing_is_unique_too)
{
	void *p[1000];

	for (int i = 0; i < 1000; i++) {
		p[i] = lab_malloc(0);
		cr_assert(p[i] && lab_owns(p[i]));
		cr_assert_geq(lab_usable_size(p[i]), 1);
		if (i > 0)
			cr_assert_neq(p[i], p[i - 1]);
	}
	for (int i = 0; i < 1000; i++)
		lab_free(p[i]);
}

Test(malloc, what_is_too_large_is_refused_by_every_entry_point)
{
	static const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX, SIZE_MAX,
	                               SIZE_MAX - 16,           SIZE_MAX / 2 - 4095, (size_t)1 << 50};
	void *kept = lab_malloc(100), *untouched = &kept;

	memset(kept, 3, 100);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		void *(*const calls[])(size_t, size_t) = {lab_calloc, lab_aligned_alloc};
		for (int call = 0; call < 2; call++) {
			errno = 0;
			cr_assert_null(calls[call](call ? 64 : 1, sizes[i]));
			cr_assert_eq(errno, ENOMEM);
		}
		errno = 0;
		cr_assert_null(lab_malloc(sizes[i]));
		cr_assert_eq(errno, ENOMEM);
		errno = 0;
		cr_assert_null(lab_realloc(kept, sizes[i], LAB_GFP_KERNEL));
		cr_assert_eq(errno, ENOMEM);
		errno = KEPT;
		cr_assert_eq(lab_posix_memalign(&untouched, 64, sizes[i]), ENOMEM);
		cr_assert_eq(errno, KEPT);
		cr_assert_eq(untouched, &kept);
	}
	errno = 0;
	cr_assert_null(lab_calloc(SIZE_MAX / 2, 3));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(lab_reallocarray(kept, SIZE_MAX / 2, 3));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(((char *)kept)[99], 3, "a realloc that fails leaves the block");
	lab_free(kept);
}

Test(malloc, success_and_free_leave_errno)
{
	errno = KEPT;
	for (size_t size = 1; size < (size_t)100 << 20; size *= 3) {
		void *p = lab_malloc(size), *q = lab_calloc(1, size);
		p = lab_realloc(p, size * 2, LAB_GFP_KERNEL);
		lab_free(p);
		lab_free(q);
		lab_free(lab_aligned_alloc(4096, size));
	}
	lab_free(NULL);
	cr_assert_eq(errno, KEPT);
}

Test(malloc, the_version_is_that_of_the_header)
{
	char expected[32];

	snprintf(expected, sizeof expected, "%d.%d.%d", LAB_VERSION_MAJOR, LAB_VERSION_MINOR, LAB_VERSION_PATCH);
	cr_assert_str_eq(lab_version(), expected);
}
