/* checks.c - see checks.h. Any context. */
#include "alloc/checks.h"

static _Atomic(const struct lab_checks *) checks;

void
lab_checks_set(const struct lab_checks *set)
{
	lab_store_rel(&checks, set); /* pairs with the acq of get */
}

static const struct lab_checks *
get(void)
{
	return lab_load_acq(&checks); /* pairs with lab_checks_set */
}

void *
lab_checked_allocate(struct lab_guard *guard, size_t size, size_t align, unsigned gfp, enum lab_maker maker)
{
	const struct lab_checks *set = get();

	if (lab_likely(set != NULL))
		return set->allocate(guard, size, align, gfp, maker);
	const struct lab_request request = {size, align, gfp};
	return (request.gfp & LAB_GFP_KIND) ? lab_allocate_nowait(guard, request) : lab_allocate_sure(guard, request);
}

bool
lab_checked_release(void *p, const struct lab_release_how *how)
{
	const struct lab_checks *set = get();

	return set && set->release(p, how);
}

const struct lab_dress *
lab_checked_find(const void *p, const char *call)
{
	const struct lab_checks *set = get();

	return set ? set->find(p, call) : NULL;
}

/* There is no dressed block before. */
void *
lab_checked_realloc(struct lab_guard *guard, const struct lab_dress *dress, struct lab_request request)
{
	return get()->resize(guard, dress, request);
}
