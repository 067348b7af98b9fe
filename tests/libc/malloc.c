/* malloc.c - malloc and free: alignment, distinctness, contents, sizes from 0 to tens of MiB. Clauses: G1.2. */
#include "check.h"

/* Blocks live at once do not overlap: each keeps its pattern until it is freed, in a different order. */
static void
test_many_live_blocks(void)
{
	enum { N = 4000 };
	static unsigned char *blocks[N];
	static size_t sizes[N];

	for (unsigned i = 0; i < N; i++) {
		sizes[i] = (size_t)i * 7 % 1500 + (i % 97 == 0 ? 70000 : 0);
		blocks[i] = malloc(sizes[i]);
		CHECK(blocks[i] != NULL);
		CHECK(check_aligned(blocks[i], 16));
		check_fill(blocks[i], sizes[i], i);
	}
	for (unsigned i = 0; i < N; i++) {
		unsigned at = i * 1237 % N;

		CHECK(check_filled(blocks[at], sizes[at], at));
		free(blocks[at]);
	}
}

static void
test_each_small_size(void)
{
	for (size_t size = 0; size <= 4096; size++) {
		void *block = malloc(size);

		CHECK(block != NULL);
		CHECK(check_aligned(block, 16));
		check_fill(block, size, (unsigned)size);
		CHECK(check_filled(block, size, (unsigned)size));
		free(block);
	}
}

static void
test_large_sizes(void)
{
	for (size_t size = 4096; size <= (size_t)64 << 20; size *= 2)
		for (int off = -1; off <= 1; off++) {
			size_t n = size + (size_t)off;
			unsigned char *block = malloc(n);

			CHECK(block != NULL);
			CHECK(check_aligned(block, 16));
			block[0] = 1;
			block[n / 2] = 2;
			block[n - 1] = 3;
			CHECK(block[0] == 1 && block[n / 2] == 2 && block[n - 1] == 3);
			free(block);
		}
}

/* malloc(0) gives blocks that differ from each other and from all others. */
static void
test_zero_is_unique(void)
{
	enum { N = 1000 };
	static void *blocks[N];
	size_t equal = 0;

	for (size_t i = 0; i < N; i++)
		blocks[i] = malloc(i % 2 ? 1 : 0);
	for (size_t i = 0; i < N; i++) {
		CHECK(blocks[i] != NULL);
		for (size_t j = 0; j < i; j++)
			equal += blocks[i] == blocks[j];
	}
	CHECK(equal == 0);
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
}

static void
test_free_null(void)
{
	errno = ERRNO_KEPT;
	free(NULL);
	CHECK(errno == ERRNO_KEPT);
}

/* Freed memory is used again: the address space does not grow with the number of calls. */
static void
test_reuse(void)
{
	static const size_t sizes[] = {1, 100, 5000, 100000, 20 << 20};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		size_t before = address_space();

		for (int round = 0; round < 1000; round++) {
			void *block = malloc(sizes[i]);

			CHECK(block != NULL);
			free(block);
		}
		CHECK(address_space() < before + ((size_t)128 << 20));
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_each_small_size();
	test_large_sizes();
	test_many_live_blocks();
	test_zero_is_unique();
	test_free_null();
	test_reuse();
	return check_end();
}
