/* aligned.c - calloc on fresh and on used memory, every alignment up to a gibibyte and beyond, the sized frees. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "page/map.h"
#include "trace.h"
#include "world.h"

Test(aligned, calloc_clears_what_was_used_before)
{
	static const size_t sizes[] = {1,     16,    100,    1000,    1024,    1025,    5000,
	                               32768, 32769, 100000, 3000000, 5 << 20, 13 << 20};

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (int round = 0; round < 4; round++) {
			char *p = lab_malloc(sizes[i]), *q = lab_calloc(sizes[i], 1);
			cr_assert(trace_is_zero(q, sizes[i]));
			memset(p, 0xff, lab_usable_size(p));
			memset(q, 0xff, lab_usable_size(q));
			lab_free(p);
			lab_free(q);
			if (round == 2)
				(void)lab_trim(0);
		}
}

/* Zero over every mixture of fresh, used and purged pages. */
Test(aligned, calloc_on_a_long_trace)
{
	struct trace_random random = {3};
	struct trace_block blocks[60] = {{0}};

	world_install();
	for (int step = 0; step < 8000; step++) {
		struct trace_block *block = &blocks[trace_below(&random, 60)];
		if (block->p) {
			lab_free(block->p);
			block->p = NULL;
			continue;
		}
		block->size = trace_skewed(&random, 19);
		block->p = trace_below(&random, 2) ? lab_calloc(1, block->size) : NULL;
		if (block->p)
			REQUIRE(trace_is_zero(block->p, block->size));
		else
			block->p = lab_malloc(block->size);
		memset(block->p, 0xee, lab_usable_size(block->p));
		world.purge_fails = trace_below(&random, 2);
		if (trace_below(&random, 100) == 0)
			(void)lab_trim(0);
	}
}

Test(aligned, calloc_does_not_write_to_fresh_pages)
{
	size_t size = (size_t)1 << 30;
	char *p = lab_calloc(1, size);

	cr_assert(p);
	unsigned char resident[256];
	size_t count = 0;
	cr_assert_eq(mincore(p, 256 * LAB_PAGE_SIZE, resident), 0);
	for (int i = 0; i < 256; i++)
		count += resident[i] & 1;
	cr_assert_leq(count, 1);
	lab_free(p);
}

Test(aligned, every_alignment_with_every_kind_of_size)
{
	static const size_t sizes[] = {0, 1, 17, 100, 1000, 4096, 5000, 30000, 32768, 40000, 1000000, 5000000};

	world_install(); /* whatever this machine would allow */
	for (size_t align = 1; align <= (size_t)1 << 30; align *= 2)
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			unsigned char *p = lab_aligned_alloc(align, sizes[i]), *q = lab_aligned_alloc(align, sizes[i]);
			cr_assert(p && q && p != q);
			cr_assert_eq((uintptr_t)p % align, 0);
			cr_assert_eq((uintptr_t)q % align, 0);
			cr_assert_geq(lab_usable_size(p), sizes[i]);
			trace_fill(p, sizes[i], 1);
			trace_fill(q, sizes[i], 2);
			cr_assert(trace_reads_as(p, sizes[i], sizes[i], 1));
			unsigned char *moved = lab_realloc(p, sizes[i] + 100, LAB_GFP_KERNEL);
			cr_assert(trace_reads_as(moved, sizes[i], sizes[i], 1));
			lab_free(moved);
			lab_free_aligned_sized(q, align, sizes[i]);
		}
	void *p = lab_aligned_alloc((size_t)8 << 30, 1);
	cr_assert(p && (uintptr_t)p % ((size_t)8 << 30) == 0);
	lab_free(p);
}

Test(aligned, bad_alignments)
{
	void *p = &p, *same = p;

	for (size_t align = 0; align < 100; align++) {
		bool power = align && (align & (align - 1)) == 0;
		errno = 0;
		void *q = lab_aligned_alloc(align, 10);
		cr_assert_eq(q != NULL, power);
		cr_assert_eq(errno, power ? 0 : EINVAL);
		lab_free(q);
		p = same;
		errno = 0;
		int result = lab_posix_memalign(&p, align, 10);
		cr_assert_eq(result, power && align >= sizeof(void *) ? 0 : EINVAL);
		cr_assert_eq(errno, 0);
		cr_assert_eq(result == 0, p != same, "written on success only");
		if (result == 0)
			lab_free(p);
	}
	cr_assert_null(lab_aligned_alloc(SIZE_MAX / 2 + 1, 1));
	cr_assert_eq(errno, ENOMEM);
}

Test(aligned, sized_frees_of_what_was_asked_for)
{
	for (size_t size = 0; size < 10 << 20; size = size * 2 + 3) {
		lab_free_sized(lab_malloc(size), size);
		lab_free_aligned_sized(lab_aligned_alloc(256, size), 256, size);
	}
	lab_free_sized(NULL, 5);
	lab_free_aligned_sized(NULL, 16, 5);
}

Test(aligned, a_size_that_cannot_be_is_reported, .signal = SIGABRT)
{
	lab_free_sized(lab_malloc(100), 113);
}

Test(aligned, an_alignment_that_cannot_be_is_reported, .signal = SIGABRT)
{
	char *p = lab_malloc(100), *q = lab_malloc(100);

	lab_free_aligned_sized((uintptr_t)p % 256 ? p : q, 256, 100);
}
