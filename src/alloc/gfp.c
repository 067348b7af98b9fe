/*
 * gfp.c - allocation by context: lab_alloc and what is built on it. The three kinds are three functions; a modifier is one bit that they
 * hand on. Any context. The names and their meaning are the Linux kernel's (Documentation/core-api/memory-allocation.rst).
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/fastpath.h"
#include "base/check.h"
#include "reserve/share.h"

#define GFP_KIND 0x3u

static enum lab_reserve_depth
depth_of(unsigned gfp)
{
	if (gfp & LAB_GFP_MEMALLOC)
		return LAB_DEPTH_ALL;
	return gfp & LAB_GFP_HIGH ? LAB_DEPTH_HIGH : LAB_DEPTH_MIN;
}

static void *
allocate_atomic(size_t size, size_t align, unsigned gfp)
{
	void *p = lab_share_claim_sig(size, align);

	if (!p)
		p = lab_reserve_claim_sig(size, align, depth_of(gfp));
	if (p && gfp & LAB_GFP_ZERO)
		memset(p, 0, size);
	return p;
}

LAB_EXPORT void *
lab_alloc_aligned(size_t alignment, size_t size, unsigned gfp)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if ((gfp & GFP_KIND) == (LAB_GFP_ATOMIC & GFP_KIND))
		return allocate_atomic(size, alignment, gfp);
	return lab_or_enomem(lab_allocate(&bracket, (struct lab_request){size, alignment, (gfp & LAB_GFP_ZERO) != 0}));
}

LAB_EXPORT void *
lab_alloc(size_t size, unsigned gfp)
{
	return lab_alloc_aligned(LAB_ALIGN_DEFAULT, size, gfp);
}
