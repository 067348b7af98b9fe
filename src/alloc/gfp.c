/*
 * gfp.c - allocation by context: lab_alloc and what is built on it. The three kinds are three functions; a modifier is
 * one bit that they hand on. Any context. The names and their meaning are the Linux kernel's
 * (Documentation/core-api/memory-allocation.rst).
 */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/checks.h"
#include "alloc/exclusive.h"
#include "alloc/failure.h"
#include "alloc/fastpath.h"
#include "alloc/gfp.h"
#include "alloc/release.h"
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/leases.h"
#include "os/os.h"
#include "reserve/reserve.h"

#define KIND_ATOMIC (LAB_GFP_ATOMIC & LAB_GFP_KIND)
#define EXCLUSIVES  (LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE)
#define MODIFIERS                                                                                                      \
	(LAB_GFP_HIGH | LAB_GFP_MEMALLOC | LAB_GFP_ZERO | LAB_GFP_NOWARN | LAB_GFP_NORECLAIM | LAB_GFP_NOFAIL |        \
	 LAB_GFP_NOIO)
#define KNOWN (LAB_GFP_KIND | MODIFIERS | EXCLUSIVES)
/* Of a KERNEL or NOWAIT call: a block that the heap has at hand is had in the same way by all of these. */
#define AT_HAND (LAB_GFP_NOWAIT | MODIFIERS)

enum { SMALL_ORDER = 3 };
_Static_assert(LAB_PAGE_SIZE << SMALL_ORDER == LAB_SMALL_MAX, "pages of a span");

/* What shares no page can come from no reserve, and needs the system: KERNEL, and neither HIGH nor MEMALLOC. */
static bool
is_meaningful(unsigned gfp)
{
	if (gfp & ~KNOWN || (gfp & LAB_GFP_KIND) == LAB_GFP_KIND)
		return false;
	if (gfp & EXCLUSIVES)
		return gfp & LAB_GFP_EXCLUSIVE && !(gfp & (LAB_GFP_KIND | LAB_GFP_HIGH | LAB_GFP_MEMALLOC));
	return true;
}

bool
lab_gfp_check_but(unsigned gfp, unsigned refused)
{
	if (lab_likely(is_meaningful(gfp) && !(gfp & refused)))
		return true;
	if (!(gfp & KIND_ATOMIC))
		errno = EINVAL;
	return false;
}

/* Slots are aligned to their size, so that sizes that are powers of two are. */
static inline void *
claim_atomic(size_t size, size_t align, unsigned gfp)
{
	void *p = lab_share_claim(lab_load_rlx(&lab_thread.share), size, align);

	lab_reserve_note_use();
	if (lab_likely(!p))
		p = lab_reserve_claim(size, align, lab_depth_of(gfp));
	if (lab_unlikely(!p))
		lab_note_atomic_failure(size, gfp);
	return p;
}

static void *
allocate_atomic(struct lab_request request)
{
	void *p = claim_atomic(request.size, request.align, request.gfp);

	if (p && request.gfp & LAB_GFP_ZERO)
		lab_fill_new(p, request, false);
	return p;
}

/* An exclusive block. */
static void *
allocate_exclusive(struct lab_guard *guard, struct lab_request request)
{
	uint64_t marks = lab_exclusive_marks(request.gfp);
	void *p = lab_allocate(guard, request);

	if (!p)
		return NULL;
	struct lab_run *run = lab_map_find(p).run;
	lab_exclusive_begin(run, marks, lab_thread_tid()); /* first: INV-EXCL-2 */
	if (marks && !lab_os.mark(p, lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT,
	                          (unsigned)(marks >> LAB_EXCLUSIVE_MARK_SHIFT))) {
		lab_release(guard, p, "alloc");
		return NULL;
	}
	return p;
}

void *
lab_allocate_any(struct lab_guard *guard, struct lab_request request)
{
	if (lab_unlikely(!lab_gfp_check(request.gfp)))
		return NULL;
	if (lab_gfp_is(request.gfp, LAB_GFP_ATOMIC))
		return allocate_atomic(request);
	if (request.gfp & LAB_GFP_EXCLUSIVE)
		return lab_or_enomem(allocate_exclusive(guard, request));
	if (lab_unlikely(lab_debug_is_on()))
		return lab_or_enomem(
		        lab_checked_allocate(guard, request.size, request.align, request.gfp, LAB_BY_MALLOC));
	return lab_or_enomem(
	        (lab_gfp_is(request.gfp, LAB_GFP_NOWAIT) ? lab_allocate_nowait : lab_allocate_sure)(guard, request));
}

static LAB_NOINLINE void *
alloc_other(size_t size, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	return lab_allocate_any(&guard, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});
}

/* Apart, so that it saves no registers for the other kinds. */
static LAB_NOINLINE void *
alloc_atomic(size_t size, unsigned gfp)
{
	return claim_atomic(size, LAB_ALIGN_DEFAULT, gfp);
}

LAB_EXPORT void *
lab_alloc(size_t size, unsigned gfp)
{
	if (lab_likely(gfp == LAB_GFP_KERNEL))
		return lab_malloc_fast(size);
	if ((gfp & ~(LAB_GFP_MEMALLOC | LAB_GFP_NOWARN)) == LAB_GFP_ATOMIC)
		return alloc_atomic(size, gfp);
	void *p = (gfp & ~AT_HAND) == 0 && size <= LAB_DIRECT_MAX ? lab_malloc_try(size) : NULL;
	if (lab_unlikely(!p))
		return alloc_other(size, gfp);
	/* all that may be used: see lab_fill_new */
	return gfp & LAB_GFP_ZERO ? memset(p, 0, lab_class_size(lab_class_of(size))) : p;
}

LAB_EXPORT void *
lab_alloc_aligned(size_t alignment, size_t size, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (lab_likely(gfp == LAB_GFP_KERNEL))
		return lab_aligned_alloc(alignment, size);
	if (lab_unlikely(!lab_is_power_of_two(alignment))) {
		if (!(gfp & KIND_ATOMIC))
			errno = EINVAL;
		return NULL;
	}
	return lab_allocate_any(&guard, (struct lab_request){size, alignment, gfp});
}

/* Whether the pages were a dressed block, which is free now. */
static bool
release_checked(void *pages, size_t size, const char *call)
{
	return lab_checked_release(pages, &(const struct lab_release_how){call, LAB_BY_MALLOC, true, size, 0});
}

LAB_EXPORT void *
lab_alloc_pages(unsigned gfp, unsigned order)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	/* blocks of spans are aligned to their size, but where they are dressed */
	if (lab_likely(gfp == LAB_GFP_KERNEL && !lab_debug_is_on()) && order <= SMALL_ORDER)
		return lab_malloc_fast(LAB_PAGE_SIZE << order);
	/* beyond the greatest order: a size that no kind has */
	size_t size = order <= LAB_ORDER_MAX_ALLOC ? LAB_PAGE_SIZE << order : LAB_SIZE_MAX + 1;
	size_t align = order <= LAB_ORDER_MAX_ALLOC ? size : LAB_PAGE_SIZE;

	return lab_allocate_any(&guard, (struct lab_request){size, align, gfp});
}

/* A slot of the reserve may be one of a larger class; any other block of so many pages has exactly that size. */
LAB_EXPORT void
lab_free_pages(void *pages, unsigned order)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!pages)
		return;
	struct lab_unit *span = lab_map_unit(pages);
	if (lab_likely(!lab_debug_is_on() && order <= SMALL_ORDER && lab_unit_is_block(span, pages) &&
	               span->size == LAB_PAGE_SIZE << order)) {
		lab_free_fast(pages);
		return;
	}
	size_t have, size = order <= LAB_ORDER_MAX_ALLOC ? LAB_PAGE_SIZE << order : SIZE_MAX;
	if (lab_unlikely(lab_debug_is_on()) && release_checked(pages, size, "free_pages"))
		return;
	struct lab_place place = lab_block_find(pages, &have, "free_pages");
	bool is_slot = place.kind == LAB_PLACE_SLOT || place.kind == LAB_PLACE_SHARE;
	if (lab_unlikely(is_slot ? have < size : have != size))
		lab_report_misuse("free_pages", pages, "wrong order");
	lab_release_place(&guard, &place, pages, "free_pages");
}

LAB_EXPORT void *
lab_alloc_pages_exact(size_t size, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (size <= LAB_SIZE_MAX - LAB_PAGE_SIZE)
		size = lab_round_up(size ? size : 1, LAB_PAGE_SIZE);
	return lab_allocate_any(&guard, (struct lab_request){size, LAB_PAGE_SIZE, gfp});
}

LAB_EXPORT void
lab_free_pages_exact(void *pages, size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	size_t have, whole = lab_round_up(size ? size : 1, LAB_PAGE_SIZE);
	if (!pages || (lab_unlikely(lab_debug_is_on()) && release_checked(pages, whole, "free_pages_exact")))
		return;
	struct lab_place place = lab_block_find(pages, &have, "free_pages_exact");
	if (lab_unlikely((uintptr_t)pages % LAB_PAGE_SIZE != 0 || size > have))
		lab_report_misuse("free_pages_exact", pages, "wrong size");
	lab_release_place(&guard, &place, pages, "free_pages_exact");
}
