/* realloc.c - realloc and reallocarray: contents, NULL, 0, failure, aligned blocks, blocks of other threads. Clauses:
 * G1.2. */
#include "check.h"

#include <malloc.h>
#include <pthread.h>

static void
test_grow_and_shrink(void)
{
	static const size_t steps[] = {1,       17,     16,      100,      4096,    100, 70000,  65536,
	                               1 << 20, 300000, 9 << 20, 30 << 20, 5 << 20, 40,  0x10001};
	size_t old = 1;
	unsigned char *block = malloc(old);

	check_fill(block, old, 1);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		size_t kept = steps[i] < old ? steps[i] : old;

		block = realloc(block, steps[i]);
		CHECK(block != NULL);
		CHECK(check_aligned(block, 16));
		CHECK(check_filled(block, kept, 1));
		check_fill(block, steps[i], 1);
		old = steps[i];
	}
	free(block);
}

/* Every pair of sizes around the borders of classes, with a neighbour on either side that must stay whole. */
static void
test_pairs(void)
{
	static const size_t sizes[] = {1,    15,   16,   17,    64,    128,   129,    1000,
	                               1024, 4095, 4097, 32768, 65535, 65537, 200000, 1500000};
	enum { N = sizeof sizes / sizeof sizes[0] };

	for (int from = 0; from < N; from++)
		for (int to = 0; to < N; to++) {
			size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
			void *before = malloc(sizes[from]);
			void *block = malloc(sizes[from]);
			void *after = malloc(sizes[from]);

			check_fill(before, sizes[from], 1);
			check_fill(block, sizes[from], 2);
			check_fill(after, sizes[from], 3);
			block = realloc(block, sizes[to]);
			CHECK(block != NULL && check_filled(block, kept, 2));
			memset(block, 0xff, sizes[to]);
			CHECK(check_filled(before, sizes[from], 1));
			CHECK(check_filled(after, sizes[from], 3));
			free(before);
			free(block);
			free(after);
		}
}

/* A vector that grows by a few bytes at a time: contents stay, and it takes less than minutes. */
static void
test_growth(void)
{
	unsigned char *block = NULL;
	size_t size = 0;

	while (size < 3 << 20) {
		size_t bigger = size + 64 + size / 64;

		block = realloc(block, bigger);
		CHECK(block != NULL);
		memset(block + size, (int)(size & 0xff), bigger - size);
		size = bigger;
	}
	for (size_t at = 0; at < size; at += 64 + at / 64)
		CHECK(block[at] == (unsigned char)(at & 0xff));
	free(block);
}

static void
test_zero(void)
{
	void *block = malloc(100);

	errno = ERRNO_KEPT;
	CHECK(realloc(block, 0) == NULL); /* freed */
	CHECK(errno == ERRNO_KEPT);
	block = malloc(500000);
	CHECK(reallocarray(block, 0, 8) == NULL);
	block = malloc(5);
	CHECK(reallocarray(block, 8, 0) == NULL);
	CHECK(errno == ERRNO_KEPT);

	block = realloc(NULL, 0); /* as malloc(0) */
	CHECK(block != NULL);
	free(block);
	block = reallocarray(NULL, 0, 0);
	CHECK(block != NULL);
	free(block);
}

static void
test_failure_keeps_the_block(size_t size)
{
	static const size_t too_much[] = {SIZE_MAX, SIZE_MAX - 4095, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX,
	                                  (size_t)1 << 47};
	void *block = malloc(size);

	check_fill(block, size, 5);
	for (size_t i = 0; i < sizeof too_much / sizeof too_much[0]; i++) {
		errno = 0;
		CHECK(realloc(check_opaque(block), too_much[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(reallocarray(check_opaque(block), too_much[i], 3) == NULL && errno == ENOMEM);
		CHECK(check_filled(block, size, 5));
	}
	free(block);
}

static void
test_aligned(void)
{
	for (size_t alignment = 32; alignment <= (size_t)8 << 20; alignment *= 4)
		for (size_t size = 10; size < 3000000; size *= 30) {
			size_t bigger = size * 3 + 1;
			void *block = memalign(alignment, size);

			check_fill(block, size, 6);
			block = realloc(block, bigger);
			CHECK(block != NULL && check_filled(block, size, 6));
			check_fill(block, bigger, 7);
			block = realloc(block, size);
			CHECK(block != NULL && check_filled(block, size, 7));
			free(block);
		}
}

static void *
grow_in_thread(void *block)
{
	return realloc(block, 3000);
}

/* A thread grows the block of another; a third party frees it after that thread's death. */
static void
test_foreign(void)
{
	for (int i = 0; i < 50; i++) {
		pthread_t thread;
		void *block = malloc(300);
		void *grown = NULL;

		check_fill(block, 300, 8);
		CHECK(pthread_create(&thread, NULL, grow_in_thread, block) == 0);
		CHECK(pthread_join(thread, &grown) == 0);
		CHECK(grown != NULL && check_filled(grown, 300, 8));
		free(grown);
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_grow_and_shrink();
	test_pairs();
	test_growth();
	test_zero();
	test_failure_keeps_the_block(1);
	test_failure_keeps_the_block(3000);
	test_failure_keeps_the_block(200000);
	test_failure_keeps_the_block(6 << 20);
	test_aligned();
	test_foreign();
	return check_end();
}
