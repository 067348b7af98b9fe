/*
 * checks.h - allocation and frees where blocks are dressed (debug/dress.h): what the functions behind libc's names and
 * lab_alloc do then. Any context, as without. checked.c does it.
 */
#ifndef LAB_ALLOC_CHECKS_H
#define LAB_ALLOC_CHECKS_H

#include "alloc/allocate.h"
#include "alloc/request.h"
#include "debug/dress.h"
#include "heap/thread.h"

/* How a block is freed, which has to be as it was made. */
struct lab_release_how {
	const char *call; /* of which a misuse is reported */
	enum lab_maker maker;
	bool is_sized;
	size_t size;  /* if it is_sized: what is said to have been asked for */
	size_t align; /* 0, or what is said to have been asked for */
};

/* A dressed block; NULL as from lab_allocate and lab_allocate_nowait. What comes from the reserve is not dressed. The
 * request in words of its own: as a struct it would be copied by each function on the way, and read before it is
 * written as a whole, which costs as much as all that is done. */
void *lab_checked_allocate(struct lab_guard *guard, size_t size, size_t align, unsigned gfp, enum lab_maker maker);

/* What a function that hands out blocks allocates. */
static inline void *
lab_allocate_block(struct lab_guard *guard, struct lab_request request)
{
	if (lab_unlikely(lab_debug_is_on()))
		return lab_checked_allocate(guard, request.size, request.align, request.gfp, LAB_BY_MALLOC);
	return lab_allocate(guard, request);
}

/* Frees p if it is a dressed block, or reports what is wrong. False: it is none, and nothing was done. */
bool lab_checked_release(void *p, const struct lab_release_how *how);

static inline bool
lab_release_if_dressed(void *p, const char *call)
{
	return lab_unlikely(lab_debug_is_on()) && lab_checked_release(p, &(const struct lab_release_how){.call = call});
}

/* The live dressed block that p starts, its canaries looked at if there is a `call`; NULL: none. A block that is not
 * live, and damage, is a misuse of `call`. */
const struct lab_dress *lab_checked_find(const void *p, const char *call);

/* lab_realloc of a dressed block: to another one, but where it is to be no longer and none can be had. */
void *lab_checked_realloc(struct lab_guard *guard, const struct lab_dress *dress, struct lab_request request);

/* What does all this, once it can: a layer in front of frees and of realloc, which call it. Until then blocks are not
 * dressed. By the first thread. */
struct lab_checks {
	void *(*allocate)(struct lab_guard *guard, size_t size, size_t align, unsigned gfp, enum lab_maker maker);
	bool (*release)(void *p, const struct lab_release_how *how);
	const struct lab_dress *(*find)(const void *p, const char *call);
	void *(*resize)(struct lab_guard *guard, const struct lab_dress *dress, struct lab_request request);
};
void lab_checks_set(const struct lab_checks *checks);

#endif
