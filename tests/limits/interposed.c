/*
 * interposed.c - a program that interposes munmap, madvise and mremap, as caches of memory that is registered with a
 * device do: with LABYRINTH_OS_CALLS=libc it hears of every page of a freed or moved block before that is gone, may
 * allocate as it hears, and spoils no errno; with `direct`, the default, it hears nothing.
 *
 * Clauses: G8.10.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support.h"

#define MIB ((size_t)1 << 20)

enum { RANGES = 1 << 16 };

/* volatile: compilers know that free and its like call nothing here. */
static volatile struct {
	uintptr_t start, end;
} heard[RANGES];
static volatile size_t count, unmaps, advises, moves;

static void
hear(const void *start, size_t size, volatile size_t *calls)
{
	void *volatile p = malloc(100); /* the library is inside its heap */

	free(p);
	REQUIRE(count < RANGES);
	heard[count].start = (uintptr_t)start;
	heard[count].end = (uintptr_t)start + size;
	count = count + 1;
	*calls = *calls + 1;
}

static long
spoil_errno(long result)
{
	errno = 99;
	return result;
}

int
munmap(void *start, size_t size)
{
	hear(start, size, &unmaps);
	return (int)spoil_errno(syscall(SYS_munmap, start, size));
}

int
madvise(void *start, size_t size, int advice)
{
	if (advice == MADV_DONTNEED)
		hear(start, size, &advises);
	return (int)spoil_errno(syscall(SYS_madvise, start, size, advice));
}

void *
mremap(void *start, size_t old_size, size_t size, int flags, ...)
{
	va_list more;

	va_start(more, flags);
	void *to = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
	va_end(more);
	hear(start, old_size, &moves);
	return (void *)spoil_errno(syscall(SYS_mremap, start, old_size, size, flags, to));
}

static bool
was_heard(uintptr_t page)
{
	for (size_t i = 0; i < count; i++)
		if (heard[i].start <= page && page < heard[i].end)
			return true;
	return false;
}

static size_t
heard_pages(uintptr_t start, size_t size)
{
	size_t pages = 0;

	for (uintptr_t page = (start + 4095) & ~(uintptr_t)4095; page + 4096 <= start + size; page += 4096)
		pages += was_heard(page);
	return pages;
}

/* Blocks of a size, of which all go back, or all but one. */
static void
give_back(size_t size, bool keep_one)
{
	enum { BLOCKS = 40 };
	char *blocks[BLOCKS];
	uintptr_t starts[BLOCKS];
	size_t pages = 0;

	for (int i = 0; i < BLOCKS; i++) {
		REQUIRE((blocks[i] = malloc(size)) != NULL);
		memset(blocks[i], 1, size);
		starts[i] = (uintptr_t)blocks[i];
	}
	count = 0;
	errno = 5;
	for (int i = keep_one; i < BLOCKS; i++)
		free(blocks[i]);
	(void)malloc_trim(0);
	REQUIRE(errno == 5);
	for (int i = keep_one; i < BLOCKS; i++)
		pages += heard_pages(starts[i], size);
	printf("%zu bytes%s: %zu pages heard\n", size, keep_one ? ", one kept" : "", pages);
	if (getenv("LABYRINTH_OS_CALLS")[0] == 'l')
		REQUIRE(pages >= (BLOCKS - 1) * (size / 4096 - 1));
	else
		REQUIRE(count == 0);
	if (keep_one)
		free(blocks[0]);
}

int
main(int argc, char **argv)
{
	bool libc = argc > 1 && strcmp(argv[1], "libc") == 0;
	char *p = malloc(8 * MIB);

	REQUIRE(p != NULL && getenv("LABYRINTH_OS_CALLS") != NULL);
	memset(p, 1, 8 * MIB);
	errno = 5;
	for (size_t size = 16; size <= 64; size *= 2)
		REQUIRE((p = realloc(p, size * MIB)) != NULL);
	REQUIRE(errno == 5);
	free(p);
	give_back(64 << 10, false);
	give_back(64 << 10, true);
	give_back(1 * MIB, true);
	give_back(6 * MIB, false);
	printf("%zu munmap, %zu madvise, %zu mremap\n", unmaps, advises, moves);
	REQUIRE(libc ? unmaps > 0 && advises > 0 && moves > 0 : unmaps + advises + moves == 0);
	return 0;
}
