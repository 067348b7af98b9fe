/*
 * exclusive.c - blocks that are one thread's and share no page: who may free them, lab_owner, lab_transfer. Any
 * context. The rules stand in heap/exclusive.h. Every block is a run of whole pages; marking and unmarking them takes
 * system calls.
 */
#include "alloc/exclusive.h"
#include "alloc/checks.h"
#include "alloc/settings.h"
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/leases.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/map.h"

static const char foreign[] = "exclusive block of another thread";

void
lab_exclusive_refuse(const char *call, const void *p)
{
	if (!lab_load_rlx(&lab_settings.log_exclusive))
		lab_report_misuse(call, p, foreign);
	lab_report_refusal(call, p, foreign);
}

/* There is no advice that undoes MADV_NOHUGEPAGE: new pages in the place of the old undo all of it, and leave nothing
 * of the contents. */
bool
lab_exclusive_begin_release(const struct lab_place *place, void *p, const char *call)
{
	uint64_t state;

	lab_thread_settle_fork(false);
	switch (lab_exclusive_begin_free(place->run, lab_thread_tid(), &state)) {
	case LAB_EXCLUSIVE_FREEING:
		return !(state & LAB_EXCLUSIVE_MARKS) ||
		       lab_space_renew_pages(p, lab_load_rlx(&place->run->pages) << LAB_PAGE_SHIFT);
	case LAB_EXCLUSIVE_REFUSED:
		lab_exclusive_refuse(call, p);
		return false;
	case LAB_EXCLUSIVE_NOT:
		break;
	}
	lab_report_misuse(call, p, "double free");
}

struct lab_run *
lab_exclusive_run(const struct lab_place *place)
{
	if (!lab_exclusive_is_used() || (place->kind != LAB_PLACE_RUN && place->kind != LAB_PLACE_HUGE))
		return NULL;
	/* pairs with the CAS of who made or gave the run */
	return lab_state_is_exclusive(lab_load_acq(&place->run->state)) ? place->run : NULL;
}

static int
thread_of(uint32_t heap_id)
{
	uint32_t tid = lab_heap_state_is_owned(lab_registry_state(heap_id)) ? lab_registry_tid(heap_id) : 0;

	return tid == LAB_OS_TID_UNKNOWN ? 0 : (int)tid;
}

static int
owner_of(const void *block)
{
	const void *raw = lab_unlikely(lab_debug_is_on()) ? lab_checked_find(block, NULL) : NULL;

	if (raw) /* a dressed block */
		block = raw;
	struct lab_place place = lab_map_find_block(block);
	if (lab_place_size(&place, block) == 0)
		return -1;
	if (place.kind == LAB_PLACE_SPAN)
		return thread_of(lab_unit_heap(place.unit)->id);
	if (place.kind != LAB_PLACE_RUN && place.kind != LAB_PLACE_HUGE)
		return 0;                                 /* the reserve */
	uint64_t state = lab_load_acq(&place.run->state); /* pairs with the CAS of who made or gave the run */
	if (lab_state_is_exclusive(state))
		return (int)lab_lease_tid(state);
	return place.kind == LAB_PLACE_RUN ? thread_of(lab_place_heap(&place)) : 0;
}

LAB_EXPORT int
lab_owner(const void *block)
{
	if (!block)
		return -1;
	lab_thread_settle_fork(false);
	return owner_of(block);
}

LAB_EXPORT bool
lab_transfer(void *block, int tid)
{
	struct lab_place place = lab_map_find_block(block);
	struct lab_run *run = lab_exclusive_run(&place);

	if (!run || tid <= 0 || !lab_os.has_thread((uint32_t)tid))
		return false;
	lab_thread_settle_fork(false);
	return lab_exclusive_give(run, lab_thread_tid(), (uint32_t)tid);
}
