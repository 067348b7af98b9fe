/* usable_size.c - malloc_usable_size: at least what was asked for, all of it usable, stable; 0 for NULL. Clauses:
 * G1.2. */
#include "check.h"
#include "entries.h"

static void
test_every_entry(void)
{
	static const size_t sizes[] = {0,    1,    15,    16,    24,     25,      100,    1000,
	                               4096, 5000, 40000, 65536, 131072, 1000000, 7 << 20};

	for (int e = 0; e < ENTRIES; e++)
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			void *before = malloc(sizes[i]);
			void *block = entries[e].allocate(sizes[i]);
			void *after = malloc(sizes[i]);
			size_t usable = malloc_usable_size(block);

			CHECK_FOR(usable >= sizes[i], entries[e].name);
			check_fill(before, sizes[i], 1);
			check_fill(after, sizes[i], 2);
			memset(block, 0xa5, usable < sizes[i] + 65536 ? usable : sizes[i] + 65536);
			CHECK_FOR(check_filled(before, sizes[i], 1) && check_filled(after, sizes[i], 2),
			          entries[e].name);
			CHECK(malloc_usable_size(block) == usable);
			free(before);
			free(block);
			free(after);
		}
}

/* What a program may do with the whole usable size: fill it, and have realloc keep what it asks for. */
static void
test_realloc_within(void)
{
	for (size_t size = 1; size < 300000; size = size * 3 / 2 + 1) {
		void *block = malloc(size);
		size_t usable = malloc_usable_size(block);

		check_fill(block, usable, 3);
		block = realloc(block, usable);
		CHECK(check_filled(block, usable, 3));
		CHECK(malloc_usable_size(block) >= usable);
		free(block);
	}
}

/* Internal waste is bounded: at most an eighth above 128 bytes in blocks of a size class, less than a page in runs of
 * pages. */
static void
test_waste(void)
{
	if (check_glibc)
		return;
	for (size_t size = 129; size <= 1 << 20; size += size < 20000 ? 1 : 997) {
		void *block = malloc(size);
		size_t usable = malloc_usable_size(block);

		CHECK(usable - size <= (usable >> 3) || (size > 16384 && usable - size < 4096));
		free(block);
	}
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	errno = ERRNO_KEPT;
	CHECK(malloc_usable_size(NULL) == 0);
	CHECK(errno == ERRNO_KEPT);
	test_every_entry();
	test_realloc_within();
	test_waste();
	return check_end();
}
