/*
 * entries.h - every C function that allocates, brought to one form: size in, block or NULL with errno out.
 * For tests of what all of them must do alike.
 */
#ifndef LAB_TESTS_LIBC_ENTRIES_H
#define LAB_TESTS_LIBC_ENTRIES_H

#include "check.h"

#include <malloc.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
int __posix_memalign(void **block, size_t alignment, size_t size) __attribute__((weak)); /* not in glibc 2.36 */

struct entry {
	const char *name;
	void *(*allocate)(size_t size);
	size_t alignment; /* of what it returns */
};

static inline void *
entry_calloc_size(size_t size)
{
	return calloc(1, size);
}

static inline void *
entry_calloc_count(size_t size)
{
	return calloc(size, 1);
}

static inline void *
entry_realloc_null(size_t size)
{
	return realloc(NULL, size);
}

static inline void *
entry_reallocarray_size(size_t size)
{
	return reallocarray(NULL, 1, size);
}

static inline void *
entry_reallocarray_count(size_t size)
{
	return reallocarray(NULL, size, 1);
}

static inline void *
entry_aligned_alloc_16(size_t size)
{
	return aligned_alloc(16, size);
}

static inline void *
entry_aligned_alloc_64(size_t size)
{
	return aligned_alloc(64, size);
}

static inline void *
entry_aligned_alloc_2m(size_t size)
{
	return aligned_alloc((size_t)2 << 20, size);
}

static inline void *
entry_memalign_8(size_t size)
{
	return memalign(8, size);
}

static inline void *
entry_memalign_4096(size_t size)
{
	return memalign(4096, size);
}

static inline void *
entry_memalign_48(size_t size)
{
	return memalign(check_opaque_number(48), size);
}

/* Brings a posix_memalign to the common form. On failure the pointer must not have been written. */
static inline void *
entry_posix(int (*function)(void **, size_t, size_t), size_t alignment, size_t size)
{
	static char untouched;
	void *block = &untouched;
	int error = function(&block, alignment, size);

	if (error == 0)
		return block;
	CHECK(block == (void *)&untouched);
	errno = error;
	return NULL;
}

static inline void *
entry_posix_memalign_8(size_t size)
{
	return entry_posix(posix_memalign, 8, size);
}

static inline void *
entry_posix_memalign_8192(size_t size)
{
	return entry_posix(posix_memalign, 8192, size);
}

static inline void *
entry_posix_memalign_private(size_t size)
{
	return entry_posix(__posix_memalign ? __posix_memalign : posix_memalign, 256, size);
}

static inline void *
entry_libc_calloc(size_t size)
{
	return __libc_calloc(1, size);
}

static inline void *
entry_libc_realloc(size_t size)
{
	return __libc_realloc(NULL, size);
}

static inline void *
entry_libc_memalign(size_t size)
{
	return __libc_memalign(128, size);
}

static const struct entry entries[] = {
        {"malloc", malloc, 16},
        {"calloc(1, n)", entry_calloc_size, 16},
        {"calloc(n, 1)", entry_calloc_count, 16},
        {"realloc(NULL, n)", entry_realloc_null, 16},
        {"reallocarray(NULL, 1, n)", entry_reallocarray_size, 16},
        {"reallocarray(NULL, n, 1)", entry_reallocarray_count, 16},
        {"aligned_alloc(16, n)", entry_aligned_alloc_16, 16},
        {"aligned_alloc(64, n)", entry_aligned_alloc_64, 64},
        {"aligned_alloc(2 MiB, n)", entry_aligned_alloc_2m, (size_t)2 << 20},
        {"memalign(8, n)", entry_memalign_8, 16},
        {"memalign(4096, n)", entry_memalign_4096, 4096},
        {"memalign(48, n)", entry_memalign_48, 64},
        {"posix_memalign(8, n)", entry_posix_memalign_8, 16},
        {"posix_memalign(8192, n)", entry_posix_memalign_8192, 8192},
        {"__posix_memalign(256, n)", entry_posix_memalign_private, 256},
        {"valloc", valloc, 4096},
        {"pvalloc", pvalloc, 4096},
        {"__libc_malloc", __libc_malloc, 16},
        {"__libc_calloc(1, n)", entry_libc_calloc, 16},
        {"__libc_realloc(NULL, n)", entry_libc_realloc, 16},
        {"__libc_memalign(128, n)", entry_libc_memalign, 128},
        {"__libc_valloc", __libc_valloc, 4096},
        {"__libc_pvalloc", __libc_pvalloc, 4096},
};

enum { ENTRIES = sizeof entries / sizeof entries[0] };

#endif
