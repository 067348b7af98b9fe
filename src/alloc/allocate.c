/*
 * allocate.c - what the fast paths of malloc leave: every size and alignment, re-entrant calls, LAB_GFP_NOWAIT. Any
 * context.
 */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/decay.h"
#include "alloc/dump.h"
#include "alloc/failure.h"
#include "alloc/limit.h"
#include "alloc/owned.h"
#include "alloc/settings.h"
#include "backing/backing.h"
#include "insight/profile.h"
#include "os/os.h"
#include "page/map.h"

enum { NOFAIL_PAUSE_MS = 10, NOFAIL_ROUNDS_TOLD = 100 };
enum { CALLS_PER_LOOK = 8 }; /* a look at the clock in each would be felt where blocks go from thread to thread */

/* Bytes: faults for all of it cost about what clearing it does. No block of a segment is so large. */
#define PURGED_FROM ((size_t)16 << 20)

void *
lab_or_enomem(void *p)
{
	if (lab_unlikely(!p))
		errno = ENOMEM;
	return p;
}

/* A huge block that was used before is given back to the system, which costs by what was touched of it; it is used
 * sparsely, perhaps. */
static void
clear(void *p, size_t size)
{
	if (size < PURGED_FROM || !lab_os.purge(p, size))
		memset(p, 0, size);
}

/* All that may be used is cleared, not only what was asked for: so lab_realloc with ZERO is exact. */
void
lab_fill_new(void *p, struct lab_request request, bool fresh)
{
	uint8_t perturb = lab_load_rlx(&lab_settings.perturb);
	bool zero = request.gfp & LAB_GFP_ZERO;

	if (zero && !fresh) {
		struct lab_place place = lab_map_find_block(p);
		clear(p, lab_place_size(&place, p));
	} else if (!zero && lab_unlikely(perturb))
		memset(p, perturb ^ 0xff, request.size);
}

void *
lab_allocate_from_reserve(struct lab_request request, bool reentrant)
{
	if (request.gfp & (LAB_GFP_EXCLUSIVE | LAB_GFP_LASTING) ||
	    !(reentrant || request.gfp & (LAB_GFP_HIGH | LAB_GFP_MEMALLOC)))
		return NULL;
	return lab_reserve_claim(request.size, request.align, lab_depth_of(request.gfp));
}

void *
lab_allocate(struct lab_guard *guard, struct lab_request request)
{
	bool fresh = false, over_limit = false, sampled = false;
	void *p = NULL;

	lab_config_poll();
	if (request.size > LAB_SIZE_MAX)
		return NULL;
	request.gfp |= lab_thread.scope & (unsigned)~LAB_SCOPE_OWN;
	if (lab_enter(guard)) {
		size_t freed = guard->heap->freed_pages;
		p = lab_allocate_owned(guard->heap, request, &fresh);
		over_limit = guard->heap->over_limit;
		sampled = guard->heap->sampler.took;
		freed = guard->heap->freed_pages - freed; /* by others, before */
		bool look = ++guard->heap->slow_calls % CALLS_PER_LOOK == 0;
		lab_leave(guard);
		if (!guard->reentrant) {
			lab_backing_tick(guard->sp);
			if (freed != 0)
				lab_decay_tick(guard, freed);
			else if (look || lab_sweep_is_on() || lab_sparse_is_on(lab_thread.heap))
				lab_decay_poll(guard);
			if (look)
				lab_dump_poll();
		}
	}
	if (lab_unlikely(!p && over_limit) && !guard->reentrant &&
	    !(request.gfp & LAB_GFP_NORECLAIM & ~LAB_GFP_NORETRY))
		p = lab_limit_allocate(guard, request, &fresh, &sampled);
	if (!p)
		p = lab_allocate_from_reserve(request, guard->reentrant);
	if (p)
		lab_fill_new(p, request, fresh);
	if (lab_unlikely(sampled))
		lab_profile_add(p, request.size, guard->sp, guard->reentrant ? LAB_STACK_FRAMES : LAB_STACK_UNWIND);
	if (lab_unlikely(lab_load_rlx(&lab_reserve.first_failure) - 1 < SIZE_MAX - 1) && !guard->reentrant)
		lab_tell_atomic_failure();
	return p;
}

bool
lab_try_again(struct lab_request request, unsigned round)
{
	static const char text[] =
	        "labyrinth: a call that may not fail (LAB_GFP_NOFAIL) has found no memory for a second\n";

	if (!(request.gfp & LAB_GFP_NOFAIL) || !lab_gfp_is(request.gfp, LAB_GFP_KERNEL) || request.size > LAB_SIZE_MAX)
		return false;
	if (round == NOFAIL_ROUNDS_TOLD)
		lab_os_write(text, sizeof text - 1);
	lab_os_sleep_ms(NOFAIL_PAUSE_MS);
	return true;
}

void *
lab_allocate_sure(struct lab_guard *guard, struct lab_request request)
{
	void *p = lab_allocate(guard, request);

	for (unsigned round = 0; lab_unlikely(!p) && lab_try_again(request, round); round++) {
		struct lab_guard inner = {.sp = guard->sp};
		p = lab_allocate(&inner, request);
	}
	return p;
}

void *
lab_allocate_nowait(struct lab_guard *guard, struct lab_request request)
{
	bool fresh = false, sampled = false;
	void *p = NULL;

	if (request.size > LAB_SIZE_MAX)
		return NULL;
	request.gfp |= lab_thread.scope & (unsigned)~LAB_SCOPE_OWN;
	if (lab_enter_nowait(guard)) {
		p = lab_allocate_owned(guard->heap, request, &fresh);
		sampled = guard->heap->sampler.took;
		lab_leave(guard);
	}
	if (!p)
		p = lab_allocate_from_reserve(request, false);
	if (p)
		lab_fill_new(p, request, fresh);
	if (lab_unlikely(sampled))
		lab_profile_add(p, request.size, guard->sp, LAB_STACK_CALLER);
	return p;
}
