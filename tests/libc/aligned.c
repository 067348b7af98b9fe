/* aligned.c - aligned_alloc, memalign, posix_memalign, valloc, pvalloc: what they accept, and what they give for it.
 * Clauses: G1.2. */
#include "check.h"

#include <malloc.h>
#include <unistd.h>

typedef void *(*aligned_function)(size_t alignment, size_t size);

static void *
by_posix_memalign(size_t alignment, size_t size)
{
	void *block = NULL;

	CHECK(posix_memalign(&block, alignment, size) == 0);
	return block;
}

static const aligned_function functions[] = {aligned_alloc, memalign, by_posix_memalign};

/* All alignments up to 1 GiB, for sizes below, at and above the alignment (of large blocks only the ends are
 * written). */
static void
test_each_alignment(void)
{
	for (int f = 0; f < 3; f++)
		for (size_t alignment = f == 2 ? sizeof(void *) : 1; alignment <= (size_t)1 << 30; alignment *= 2) {
			size_t sizes[] = {
			        0, 1, 24, alignment - 1, alignment, alignment + 1, 3 * (alignment & 0xffffff), 100000};

			for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
				unsigned char *block = functions[f](alignment, sizes[i]);

				if (!CHECK(block != NULL))
					continue;
				CHECK(check_aligned(block, alignment));
				if (sizes[i] >= 16)
					CHECK(check_aligned(block, 16));
				CHECK(malloc_usable_size(block) >= sizes[i]);
				if (sizes[i] != 0)
					block[0] = block[sizes[i] - 1] = 1;
				free(block);
			}
		}
}

/* Many at once do not overlap, and mix with plain blocks. */
static void
test_many(void)
{
	enum { N = 600 };
	static void *blocks[N];
	static size_t sizes[N];

	for (unsigned i = 0; i < N; i++) {
		size_t alignment = (size_t)8 << (i % 12);

		sizes[i] = i * 37 % 3000 + 1;
		blocks[i] = i % 4 == 3 ? malloc(sizes[i]) : functions[i % 3](alignment, sizes[i]);
		CHECK(blocks[i] != NULL);
		CHECK(i % 4 == 3 || check_aligned(blocks[i], alignment));
		check_fill(blocks[i], sizes[i], i);
	}
	for (unsigned i = 0; i < N; i++) {
		CHECK(check_filled(blocks[i], sizes[i], i));
		free(blocks[i]);
	}
}

/* memalign rounds an alignment up to a power of two; small ones, 0 included, are malloc's. */
static void
test_memalign_rounds_up(void)
{
	static const size_t pairs[][2] = {{0, 16},  {1, 16},  {3, 16},    {15, 16},     {17, 32},
	                                  {24, 32}, {33, 64}, {100, 128}, {4097, 8192}, {0x180000, 0x200000}};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		for (int round = 0; round < 20; round++) {
			void *block = memalign(pairs[i][0], 40);

			CHECK(block != NULL && check_aligned(block, pairs[i][1]));
			free(block);
		}
}

/* C23 and glibc >= 2.38: EINVAL. glibc 2.36 rounds up, against its manual. */
static void
test_aligned_alloc_bad_alignment(void)
{
	static const size_t bad[] = {0, 3, 24, 100, 4097, SIZE_MAX, SIZE_MAX / 2 + 2, SIZE_MAX / 2};

	if (check_glibc)
		return;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		errno = 0;
		CHECK(aligned_alloc(bad[i], 64) == NULL);
		CHECK(errno == EINVAL);
	}
}

static void
test_posix_memalign_bad_alignment(void)
{
	static const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 40, 100, 4095, SIZE_MAX, SIZE_MAX / 2 + 2, SIZE_MAX - 7};
	char untouched;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		void *block = &untouched;

		errno = ERRNO_KEPT;
		CHECK(posix_memalign(&block, bad[i], 64) == EINVAL);
		CHECK(errno == ERRNO_KEPT);
		CHECK(block == (void *)&untouched);
	}
}

static void
test_pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t size = 0; size < 5 * page; size += 777) {
		size_t whole = (size + page - 1) & ~(page - 1);
		void *one = valloc(size);
		void *two = pvalloc(size);

		CHECK(one != NULL && check_aligned(one, page));
		CHECK(two != NULL && check_aligned(two, page));
		CHECK(malloc_usable_size(one) >= size);
		CHECK(malloc_usable_size(two) >= whole);
		check_fill(one, size, 1);
		check_fill(two, whole, 2);
		CHECK(check_filled(one, size, 1) && check_filled(two, whole, 2));
		free(one);
		free(two);
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_each_alignment();
	test_many();
	test_memalign_rounds_up();
	test_aligned_alloc_bad_alignment();
	test_posix_memalign_bad_alignment();
	test_pages();
	return check_end();
}
