/* allocate.h - allocation of ordinary blocks, of the kinds KERNEL and NOWAIT: what the fast path of malloc leaves. */
#ifndef LAB_ALLOC_ALLOCATE_H
#define LAB_ALLOC_ALLOCATE_H

#include "alloc/request.h"
#include "heap/thread.h"

/* Any size, any alignment, any context. NULL: no memory, or size above LAB_SIZE_MAX. errno is the caller's business.
 * The guard is the API function's own: LAB_GUARD_HERE. */
void *lab_allocate(struct lab_guard *guard, struct lab_request request);

/* The same; with LAB_GFP_NOFAIL it tries until there is memory. */
void *lab_allocate_sure(struct lab_guard *guard, struct lab_request request);

/* Whether a call with LAB_GFP_NOFAIL that has failed for the `round`th time is to try again: after a pause. */
bool lab_try_again(struct lab_request request, unsigned round);

/* From what the thread's own heap holds: no system call, no waiting. NULL also if that heap may be in use
 * (LAB_GFP_NOWAIT). */
void *lab_allocate_nowait(struct lab_guard *guard, struct lab_request request);

/* What is left when the heap has none: the reserve, as deep as the modifiers reach, or to `min` for a handler's call.
 * NULL for others. */
void *lab_allocate_from_reserve(struct lab_request request, bool reentrant);

/* Clears a new block, or fills it as M_PERTURB wants, as the request says. */
void lab_fill_new(void *p, struct lab_request request, bool fresh);

/* Sets errno = ENOMEM if p is NULL; returns p. */
void *lab_or_enomem(void *p);

#endif
