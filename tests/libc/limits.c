/*
 * limits.c - what every function that allocates does at the ends of its range: 0, 1, PTRDIFF_MAX, SIZE_MAX, products
 * that overflow, alignments that cannot be had. (operator new is in cxx.cpp.)
 *
 * Clauses: G1.2.
 */
#include "check.h"
#include "entries.h"

static void
test_smallest(void)
{
	for (int e = 0; e < ENTRIES; e++)
		for (size_t size = 0; size <= 1; size++) {
			void *one;
			void *two;

			errno = ERRNO_KEPT;
			one = entries[e].allocate(size);
			two = entries[e].allocate(size);
			CHECK_FOR(one != NULL && two != NULL && one != two, entries[e].name);
			CHECK_FOR(errno == ERRNO_KEPT, entries[e].name);
			CHECK_FOR(check_aligned(one, entries[e].alignment), entries[e].name);
			free(one);
			free(two);
		}
}

/* The address space of a process has 2^47 bytes at most (2^56 if asked for by address, which malloc does not). */
static void
test_too_large(void)
{
	static const size_t sizes[] = {
	        (size_t)1 << 47,
	        (size_t)1 << 62,
	        PTRDIFF_MAX - (size_t)65536,
	        (size_t)PTRDIFF_MAX - 4096,
	        (size_t)PTRDIFF_MAX - 1,
	        (size_t)PTRDIFF_MAX,
	        (size_t)PTRDIFF_MAX + 1,
	        (size_t)PTRDIFF_MAX + 4096,
	        SIZE_MAX / 4 * 3,
	        SIZE_MAX - ((size_t)4 << 20),
	        SIZE_MAX - ((size_t)2 << 20),
	        SIZE_MAX - 65536,
	        SIZE_MAX - 4097,
	        SIZE_MAX - 4096,
	        SIZE_MAX - 4095,
	        SIZE_MAX - 64,
	        SIZE_MAX - 63,
	        SIZE_MAX - 31,
	        SIZE_MAX - 16,
	        SIZE_MAX - 15,
	        SIZE_MAX - 7,
	        SIZE_MAX - 1,
	        SIZE_MAX,
	};

	for (int e = 0; e < ENTRIES; e++)
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			char detail[80];
			void *block;

			snprintf(detail, sizeof detail, "%s of %#zx", entries[e].name, sizes[i]);
			errno = 0;
			block = entries[e].allocate(sizes[i]);
			CHECK_FOR(block == NULL, detail);
			CHECK_FOR(errno == ENOMEM, detail);
		}
}

static void
test_products(void)
{
	static const size_t pairs[][2] = {
	        {SIZE_MAX, 2},
	        {2, SIZE_MAX},
	        {SIZE_MAX, SIZE_MAX},
	        {SIZE_MAX / 2 + 1, 2},
	        {2, SIZE_MAX / 2 + 1},
	        {(size_t)1 << 32, (size_t)1 << 32},
	        {((size_t)1 << 32) + 1, ((size_t)1 << 32) - 1},
	        {SIZE_MAX / 24 + 1, 24},
	        {(size_t)PTRDIFF_MAX / 2 + 1, 2},
	        {PTRDIFF_MAX, 1},
	        {1, PTRDIFF_MAX},
	};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		void *block = malloc(50);

		check_fill(block, 50, 9);
		errno = 0;
		CHECK(calloc(pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(__libc_calloc(pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(reallocarray(NULL, pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(reallocarray(check_opaque(block), pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		CHECK(check_filled(block, 50, 9));
		free(block);
	}
}

/* Powers of two that are valid alignments, but that no address space holds, and sums of size and alignment that
 * wrap. */
static void
test_large_alignments(void)
{
	static const size_t pairs[][2] = {
	        {(size_t)1 << 47, 1},
	        {(size_t)1 << 62, 1},
	        {SIZE_MAX / 2 + 1, 0},
	        {SIZE_MAX / 2 + 1, 1},
	        {SIZE_MAX / 2 + 1, SIZE_MAX},
	        {SIZE_MAX / 2 + 1, PTRDIFF_MAX},
	        {(size_t)1 << 62, PTRDIFF_MAX},
	        {(size_t)1 << 62, SIZE_MAX / 4 * 3},
	        {4096, SIZE_MAX - 4095},
	        {(size_t)1 << 30, SIZE_MAX - ((size_t)1 << 30) + 1},
	        {(size_t)1 << 30, (size_t)PTRDIFF_MAX - ((size_t)1 << 30)},
	};
	char untouched;

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		void *block = &untouched;

		errno = 0;
		CHECK(aligned_alloc(pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(memalign(pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(__libc_memalign(pairs[i][0], pairs[i][1]) == NULL && errno == ENOMEM);
		CHECK(posix_memalign(&block, pairs[i][0], pairs[i][1]) == ENOMEM);
		CHECK(block == (void *)&untouched);
	}
}

/* Above the greatest power of two there is nothing to round up to. */
static void
test_memalign_too_large(void)
{
	static const size_t alignments[] = {SIZE_MAX / 2 + 2, SIZE_MAX - 1, SIZE_MAX};

	for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
		errno = 0;
		CHECK(memalign(alignments[i], 1) == NULL && errno == EINVAL);
		errno = 0;
		CHECK(memalign(alignments[i], check_opaque_number(SIZE_MAX)) == NULL && errno == EINVAL);
		errno = 0;
		CHECK(__libc_memalign(alignments[i], 1) == NULL && errno == EINVAL);
		errno = 0;
		CHECK(aligned_alloc(alignments[i], 1) == NULL && errno == EINVAL);
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_smallest();
	test_too_large();
	test_products();
	test_large_alignments();
	test_memalign_too_large();
	test_smallest(); /* all those failures left the heap usable */
	return check_end();
}
