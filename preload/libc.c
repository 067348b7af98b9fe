/*
 * libc.c - the names by which a program knows malloc: ISO C, C23, POSIX, and the old BSD and SunOS ones.
 *
 * Called by everybody, from any context in which the lab_ function behind the name may be called (labyrinth.h says
 * which); valloc, pvalloc and memalign add only arithmetic to it. errno is set here or by the lab_ function, and on
 * failure only. malloc and free are the inline fast paths, as in lab_malloc and lab_free: nothing may be added to them.
 *
 * valgrind's memcheck puts functions of its own in the place of malloc, free, realloc, memalign and others, in every
 * library, but knows neither reallocarray nor pvalloc. Those call the replaced ones by their names, as glibc's do; else
 * a block of one heap met the other.
 *
 * Compile with -fno-builtin: a compiler that knows malloc by name would drop calls or turn pairs of them into others.
 *
 * Where glibc 2.36 and its own manual differ, the rule is: what glibc accepts by documented or by long-lived
 * undocumented behaviour stays accepted (memalign rounds its alignment up). The one exception is aligned_alloc with an
 * alignment that is not a power of two: the C standard and glibc's manual ask for EINVAL, and glibc does it since 2.38;
 * 2.36 rounded up.
 */
#include "alloc/fastpath.h"
#include "base/compiler.h"
#include "labyrinth/labyrinth.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

/* Names that the headers of glibc 2.36 do not declare. */
void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);

/* The greatest power of two in a size_t. */
#define ALIGNMENT_MAX (SIZE_MAX / 2 + 1)

/* What every block is aligned to. */
#define ALIGNMENT_OF_MALLOC ((size_t)16)

static inline size_t
page_size(void)
{
	return (size_t)getpagesize(); /* read from the auxiliary vector by the loader: valid before any constructor */
}

/* The least power of two that is not less than n; 1 < n <= ALIGNMENT_MAX. */
static inline size_t
round_up_to_power_of_two(size_t n)
{
	return (size_t)1 << (64 - __builtin_clzl(n - 1));
}

/* ---- ISO C ----------------------------------------------------------------------------------------------------- */

LAB_EXPORT void *
malloc(size_t size)
{
	return lab_malloc_fast(size);
}

LAB_EXPORT void
free(void *block)
{
	lab_free_fast(block);
}

LAB_EXPORT void *
calloc(size_t count, size_t size)
{
	return lab_calloc(count, size);
}

LAB_EXPORT LAB_NOINLINE void *
realloc(void *block, size_t size)
{
	return lab_realloc(block, size, LAB_GFP_KERNEL);
}

LAB_EXPORT void *
aligned_alloc(size_t alignment, size_t size)
{
	return lab_aligned_alloc(alignment, size);
}

LAB_EXPORT void
free_sized(void *block, size_t size)
{
	lab_free_sized(block, size);
}

LAB_EXPORT void
free_aligned_sized(void *block, size_t alignment, size_t size)
{
	lab_free_aligned_sized(block, alignment, size);
}

/* ---- POSIX and BSD --------------------------------------------------------------------------------------------- */

/* POSIX leaves errno unspecified; ours stays as it was, also on ENOMEM (glibc's does not). */
LAB_EXPORT int
posix_memalign(void **block, size_t alignment, size_t size)
{
	return lab_posix_memalign(block, alignment, size);
}

LAB_EXPORT void *
reallocarray(void *block, size_t count, size_t size)
{
	size_t bytes;

	if (lab_unlikely(__builtin_mul_overflow(count, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(block, bytes);
}

/* ---- SunOS and older ------------------------------------------------------------------------------------------- */

/* As glibc: an alignment of any value up to ALIGNMENT_MAX is taken, and rounded up to a power of two. */
LAB_EXPORT LAB_NOINLINE void *
memalign(size_t alignment, size_t size)
{
	if (alignment <= ALIGNMENT_OF_MALLOC)
		return lab_malloc(size);
	if (lab_unlikely(alignment > ALIGNMENT_MAX)) {
		errno = EINVAL;
		return NULL;
	}
	return lab_aligned_alloc(round_up_to_power_of_two(alignment), size);
}

LAB_EXPORT void *
valloc(size_t size)
{
	return lab_aligned_alloc(page_size(), size);
}

/* The size is rounded up to whole pages; 0 stays 0. */
LAB_EXPORT void *
pvalloc(size_t size)
{
	size_t page = page_size();

	if (lab_unlikely(size > LAB_SIZE_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign(page, (size + page - 1) & ~(page - 1));
}

LAB_EXPORT size_t
malloc_usable_size(void *block)
{
	return lab_usable_size(block);
}

/* Gone from glibc's headers since 2.26; old binaries still call it. */
LAB_EXPORT void
cfree(void *block)
{
	lab_free(block);
}
