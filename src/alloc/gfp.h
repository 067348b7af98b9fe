/* gfp.h - allocation by flags: what lab_alloc does. Any context. */
#ifndef LAB_ALLOC_GFP_H
#define LAB_ALLOC_GFP_H

#include "alloc/request.h"
#include "heap/thread.h"

/* Whether an API function's gfp has a meaning, and none of `refused`; sets errno = EINVAL if not and the kind is not
 * ATOMIC. */
bool lab_gfp_check_but(unsigned gfp, unsigned refused);

static inline bool
lab_gfp_check(unsigned gfp)
{
	return lab_gfp_check_but(gfp, 0);
}

/* What lab_alloc does, whatever gfp is: any kind, any modifiers, and errno. */
void *lab_allocate_any(struct lab_guard *guard, struct lab_request request);

#endif
