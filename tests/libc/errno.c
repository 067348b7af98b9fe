/* errno.c - success leaves errno as it was; free always does; failure sets it. Clauses: G1.3. */
#include "check.h"
#include "entries.h"

static const size_t sizes[] = {0, 1, 100, 3000, 20000, 65536, 200000, 3 << 20, 40 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* First allocations of a size map memory, frees of large blocks unmap it: their system calls must not show. */
static void
test_success(void)
{
	for (int e = 0; e < ENTRIES; e++)
		for (int i = 0; i < SIZES; i++) {
			void *block;

			errno = ERRNO_KEPT;
			block = entries[e].allocate(sizes[i]);
			CHECK_FOR(block != NULL && errno == ERRNO_KEPT, entries[e].name);
			free(block);
			CHECK_FOR(errno == ERRNO_KEPT, entries[e].name);
			errno = 0;
			block = entries[e].allocate(sizes[i]);
			free(block);
			CHECK_FOR(errno == 0, entries[e].name);
		}
}

static void
test_realloc(void)
{
	void *block = NULL;

	errno = ERRNO_KEPT;
	for (int i = 1; i < SIZES; i++)
		block = realloc(block, sizes[i]);
	for (int i = SIZES - 1; i > 0; i--)
		block = reallocarray(block, sizes[i], 1);
	CHECK(errno == ERRNO_KEPT);
	CHECK(realloc(block, 0) == NULL && errno == ERRNO_KEPT);
}

static void
test_others(void)
{
	void *block = malloc(10);

	errno = ERRNO_KEPT;
	(void)malloc_usable_size(block);
	free(NULL);
	__libc_free(NULL);
	__libc_free(block);
	CHECK(errno == ERRNO_KEPT);
	(void)malloc_trim(0);
	(void)mallinfo2();
	CHECK(errno == ERRNO_KEPT);
}

/* posix_memalign reports by its value. (glibc sets errno as well when memory is short; POSIX allows it.) */
static void
test_posix_memalign(void)
{
	void *block;

	errno = ERRNO_KEPT;
	CHECK(posix_memalign(&block, 3, 1) == EINVAL && errno == ERRNO_KEPT);
	CHECK(posix_memalign(&block, 64, SIZE_MAX) == ENOMEM && (check_glibc || errno == ERRNO_KEPT));
	errno = ERRNO_KEPT;
	CHECK(posix_memalign(&block, 64, PTRDIFF_MAX) == ENOMEM && (check_glibc || errno == ERRNO_KEPT));
}

static void
test_many_frees(void)
{
	enum { N = 3000 };
	static void *blocks[N];
	bool kept = true;

	for (int i = 0; i < N; i++)
		blocks[i] = malloc((size_t)i * 131 % 60000);
	for (int i = 0; i < N; i++) {
		errno = i;
		free(blocks[i]);
		kept &= errno == i;
	}
	CHECK(kept);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_success();
	test_realloc();
	test_others();
	test_posix_memalign();
	test_many_frees();
	return check_end();
}
