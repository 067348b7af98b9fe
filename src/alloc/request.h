/* request.h - what an allocation asks for, and what its flags say. Any context. */
#ifndef LAB_ALLOC_REQUEST_H
#define LAB_ALLOC_REQUEST_H

#include <labyrinth/labyrinth.h>

#include "reserve/reserve.h"

struct lab_request {
	size_t size;
	size_t align; /* a power of two; LAB_ALIGN_DEFAULT unless more is asked for */
	unsigned gfp; /* modifiers of LAB_GFP_KERNEL, or of NOWAIT for lab_allocate_nowait */
};

#define LAB_ALIGN_DEFAULT ((size_t)16)

static inline enum lab_reserve_depth
lab_depth_of(unsigned gfp)
{
	if (gfp & LAB_GFP_MEMALLOC)
		return LAB_DEPTH_ALL;
	return gfp & LAB_GFP_HIGH ? LAB_DEPTH_HIGH : LAB_DEPTH_MIN;
}

/* The kind, as two bits: 0 is KERNEL. */
#define LAB_GFP_KIND 0x3u

static inline bool
lab_gfp_is(unsigned gfp, unsigned kind)
{
	return (gfp & LAB_GFP_KIND) == (kind & LAB_GFP_KIND);
}

/* A modifier that only lab_allocate and lab_allocate_nowait know: not from the reserve, which is no place for what
 * stays. */
#define LAB_GFP_LASTING 0x20000u

/* And one for a block of pages that has grown by a small step: it is put where it can grow in place the next time. */
#define LAB_GFP_GROWS 0x40000u

/* Those that nobody outside knows. */
#define LAB_GFP_INTERNAL (LAB_GFP_LASTING | LAB_GFP_GROWS)

#endif
