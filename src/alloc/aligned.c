/* aligned.c - calloc, aligned allocation, and the sized frees. Any context. */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/checks.h"
#include "alloc/fastpath.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "base/check.h"
#include "insight/live.h"
#include "insight/profile.h"

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
	return lab_or_enomem(lab_allocate_block(&guard, (struct lab_request){bytes, LAB_ALIGN_DEFAULT, LAB_GFP_ZERO}));
}

static inline void *
allocate_aligned(struct lab_guard *guard, size_t alignment, size_t size)
{
	size_t room = lab_aligned_room(size, alignment);
	void *p = lab_likely(room <= LAB_SMALL_MAX) ? lab_malloc_try_small(room) : NULL;

	if (lab_likely(p != NULL))
		return p;
	return lab_allocate_block(guard, (struct lab_request){size, alignment, LAB_GFP_KERNEL});
}

LAB_EXPORT void *
lab_aligned_alloc(size_t alignment, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (lab_unlikely(!lab_is_power_of_two(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	return lab_or_enomem(allocate_aligned(&guard, alignment, size));
}

LAB_EXPORT int
lab_posix_memalign(void **block, size_t alignment, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (alignment % sizeof(void *) != 0 || !lab_is_power_of_two(alignment))
		return EINVAL;
	void *p = allocate_aligned(&guard, alignment, size);
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
	if (lab_unlikely(lab_debug_is_on()) &&
	    lab_checked_release(block, &(const struct lab_release_how){"free_sized", LAB_BY_MALLOC, true, size, 0}))
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

	/* 3, no power of two, so that 0, which means nothing there, is reported */
	const struct lab_release_how how = {"free_aligned_sized", LAB_BY_MALLOC, true, size, alignment ? alignment : 3};
	if (!block || (lab_unlikely(lab_debug_is_on()) && lab_checked_release(block, &how)))
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
	const struct lab_dress *dress =
	        lab_unlikely(lab_debug_is_on()) && block ? lab_checked_find(block, "malloc_usable_size") : NULL;

	if (lab_unlikely(dress != NULL))
		return dress->size;
	if (!block)
		return 0;
	size_t size = lab_block_size(block, "malloc_usable_size");
	size_t sampled = lab_unlikely(lab_profile_is_on()) ? lab_live_size(block) : 0;
	return sampled != 0 && sampled <= LAB_SMALL_MAX ? lab_class_size(lab_class_of(sampled)) : size;
}

LAB_EXPORT size_t
lab_good_size(size_t size)
{
	if (lab_unlikely(lab_debug_is_on())) /* nobody may use more than was asked for */
		return size;
	if (size <= LAB_SMALL_MAX)
		return lab_class_size(lab_class_of(size));
	size_t pages = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;
	if (size > LAB_SIZE_MAX)
		return size;
	bool is_run = pages <= LAB_SEGMENT_PAGES && size < lab_load_rlx(&lab_settings.huge_threshold);
	return (is_run ? lab_run_pages(pages) : pages) << LAB_PAGE_SHIFT;
}

LAB_EXPORT bool
lab_owns(const void *p)
{
	enum lab_dress_state state;

	if (lab_unlikely(lab_debug_is_on()) && p && !lab_reserve_contains(p)) {
		const struct lab_dress *dress = lab_dress_find(p, &state);
		if (dress && state != LAB_DRESS_GONE)
			return state == LAB_DRESS_LIVE && lab_dress_start(dress) == p;
	}
	return p && lab_block_size(p, NULL) != 0;
}
