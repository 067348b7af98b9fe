/* sized_free.c - C23's free_sized and free_aligned_sized (newer than glibc 2.36), and cfree. Wrong sizes are in
 * misuse.c. Clauses: G1.2. */
#include "check.h"

#include <malloc.h>

void free_sized(void *block, size_t size) __attribute__((weak));
void free_aligned_sized(void *block, size_t alignment, size_t size) __attribute__((weak));

static void
test_free_sized(void)
{
	errno = ERRNO_KEPT;
	free_sized(NULL, 0);
	free_sized(NULL, 123);
	for (size_t size = 0; size < 40 << 20; size = size * 5 / 4 + 1) {
		free_sized(malloc(size), size);
		free_sized(calloc(1, size), size);
		free_sized(realloc(malloc(size / 3), size + 1), size + 1);
	}
	CHECK(errno == ERRNO_KEPT);
}

/* C23 lets free_sized take the size that was asked for, not the usable one; the latter is as good here. */
static void
test_free_sized_usable(void)
{
	for (size_t size = 1; size < 1 << 20; size = size * 2 + 7) {
		void *block = malloc(size);

		free_sized(block, malloc_usable_size(block));
	}
	CHECK(true);
}

static void
test_free_aligned_sized(void)
{
	errno = ERRNO_KEPT;
	free_aligned_sized(NULL, 16, 0);
	free_aligned_sized(NULL, 64, 100);
	for (size_t alignment = 1; alignment <= 4 << 20; alignment *= 2)
		for (size_t size = 1; size < 8 << 20; size *= 9) {
			void *block = aligned_alloc(alignment, size);

			CHECK(block != NULL);
			free_aligned_sized(block, alignment, size);
		}
	CHECK(errno == ERRNO_KEPT);
}

static void
test_cfree(void)
{
	void (*cfree_function)(void *) = (void (*)(void *))(uintptr_t)dlsym(RTLD_DEFAULT, "cfree");

	if (!cfree_function && check_glibc)
		return; /* a compat symbol there */
	if (!CHECK(cfree_function != NULL))
		return;
	cfree_function(NULL);
	for (size_t size = 1; size < 1 << 20; size *= 7)
		cfree_function(malloc(size));
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	CHECK(check_glibc || (free_sized && free_aligned_sized));
	if (free_sized) {
		test_free_sized();
		test_free_sized_usable();
	}
	if (free_aligned_sized)
		test_free_aligned_sized();
	test_cfree();
	return check_end();
}
