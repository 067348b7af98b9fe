/* aligned.c - calloc, aligned allocation, and the sized frees. Any context. */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/fastpath.h"
#include "alloc/release.h"
#include "base/check.h"

LAB_EXPORT void *
lab_calloc(size_t count, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	size_t bytes;

	if (lab_unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return lab_or_enomem(NULL);
	void *p = lab_likely(bytes <= LAB_DIRECT_MAX) ? lab_malloc_try(bytes) : NULL;
	if (lab_unlikely(!p) && bytes <= LAB_DIRECT_MAX)
		p = lab_malloc_counted_try(bytes);
	if (lab_likely(p != NULL))
		return memset(p, 0, bytes);
	return lab_or_enomem(lab_allocate(&guard, (struct lab_request){bytes, LAB_ALIGN_DEFAULT, LAB_GFP_ZERO}));
}

LAB_EXPORT void *
lab_aligned_alloc(size_t alignment, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (lab_unlikely(!lab_is_power_of_two(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	return lab_or_enomem(lab_allocate(&guard, (struct lab_request){size, alignment, LAB_GFP_KERNEL}));
}

LAB_EXPORT int
lab_posix_memalign(void **block, size_t alignment, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (alignment % sizeof(void *) != 0 || !lab_is_power_of_two(alignment))
		return EINVAL;
	void *p = lab_allocate(&guard, (struct lab_request){size, alignment, LAB_GFP_KERNEL});
	if (!p)
		return ENOMEM;
	*block = p;
	return 0;
}

LAB_EXPORT void
lab_free_sized(void *block, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	size_t have;

	if (!block)
		return;
	struct lab_place place = lab_block_find(block, &have, "free_sized");
	if (lab_unlikely(size > have))
		lab_report_misuse("free_sized", block, "wrong size");
	lab_release_place(&guard, &place, block, "free_sized");
}

LAB_EXPORT void
lab_free_aligned_sized(void *block, size_t alignment, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	size_t have;

	if (!block)
		return;
	struct lab_place place = lab_block_find(block, &have, "free_aligned_sized");
	if (lab_unlikely(size > have))
		lab_report_misuse("free_aligned_sized", block, "wrong size");
	if (lab_unlikely(!lab_is_power_of_two(alignment) || (uintptr_t)block % alignment != 0))
		lab_report_misuse("free_aligned_sized", block, "wrong alignment");
	lab_release_place(&guard, &place, block, "free_aligned_sized");
}

LAB_EXPORT size_t
lab_usable_size(const void *block)
{
	return block ? lab_block_size(block, "malloc_usable_size") : 0;
}

LAB_EXPORT bool
lab_owns(const void *p)
{
	return p && lab_block_size(p, NULL) != 0;
}
