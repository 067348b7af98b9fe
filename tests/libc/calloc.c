/* calloc.c - calloc zeroes, also memory that was used before, and sees overflow. Clauses: G1.2. */
#include "check.h"

static const size_t sizes[] = {1,     16,    40,    100,    1000,    4000,    4096,
                               10000, 65536, 70000, 300000, 1 << 20, 5 << 20, 21 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* Dirty memory of the same size goes back right before: a calloc that skips clearing "fresh" pages must know these. */
static void
test_zero_after_use(size_t size)
{
	enum { N = 8 };
	void *blocks[N];
	int n = size > (1 << 20) ? 2 : N;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < n; i++) {
			blocks[i] = malloc(size);
			CHECK(blocks[i] != NULL);
			memset(blocks[i], 0xee, size);
		}
		for (int i = 0; i < n; i++)
			free(blocks[i]);
		for (int i = 0; i < n; i++) {
			blocks[i] = i % 2 ? calloc(1, size) : calloc(size, 1);
			CHECK(blocks[i] != NULL);
			CHECK(check_aligned(blocks[i], 16));
			CHECK(check_zero(blocks[i], size));
			memset(blocks[i], 0x55, size);
		}
		for (int i = 0; i < n; i++)
			free(blocks[i]);
	}
}

/* Large memory that was dirtied in small pieces, and small memory that was dirtied as a large block. */
static void
test_zero_after_other_sizes(void)
{
	enum { N = 20000 };
	static void *blocks[N];
	void *block;

	for (int i = 0; i < N; i++) {
		blocks[i] = malloc(200);
		memset(blocks[i], 0xab, 200);
	}
	for (int i = 0; i < N; i++)
		free(blocks[i]);
	block = calloc(1, 2 << 20);
	CHECK(check_zero(block, 2 << 20));
	memset(block, 0xcd, 2 << 20);
	free(block);
	for (int i = 0; i < N; i++) {
		blocks[i] = calloc(5, 40);
		CHECK(check_zero(blocks[i], 200));
	}
	for (int i = 0; i < N; i++)
		free(blocks[i]);
}

static void
test_product(void)
{
	unsigned char *block = calloc(1000, 37);

	CHECK(check_zero(block, 37000));
	memset(block, 1, 37000);
	free(block);
}

static void
test_nothing(void)
{
	static const size_t pairs[][2] = {{0, 0}, {0, 10}, {10, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		void *one = calloc(pairs[i][0], pairs[i][1]);
		void *two = calloc(pairs[i][0], pairs[i][1]);

		CHECK(one != NULL && two != NULL && one != two);
		free(one);
		free(two);
	}
}

static void
test_overflow(void)
{
	static const size_t pairs[][2] = {
	        {SIZE_MAX, 2},
	        {2, SIZE_MAX},
	        {SIZE_MAX, SIZE_MAX},
	        {SIZE_MAX / 2 + 1, 2},
	        {(size_t)1 << 32, (size_t)1 << 32},
	        {SIZE_MAX / 16 + 2, 16},
	        {(size_t)PTRDIFF_MAX / 2 + 1, 2},
	        {PTRDIFF_MAX, 1},
	        {1, SIZE_MAX},
	};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		errno = 0;
		CHECK(calloc(pairs[i][0], pairs[i][1]) == NULL);
		CHECK(errno == ENOMEM);
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	for (int i = 0; i < SIZES; i++)
		test_zero_after_use(sizes[i]);
	test_zero_after_other_sizes();
	test_product();
	test_nothing();
	test_overflow();
	return check_end();
}
