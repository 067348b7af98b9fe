/*
 * exclusive.c - blocks that are one thread's and share no page: LAB_GFP_EXCLUSIVE and what implies it, lab_owner, lab_transfer. Any context.
 * The rules stand in heap/exclusive.h. Every block is a run of whole pages; marking and unmarking them takes system calls.
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/map.h"

static const char foreign[] = "exclusive block of another thread";

enum { FIRST_MARK = 9 }; /* of the LAB_GFP_ bits */
_Static_assert((LAB_GFP_LOCKED & ~LAB_GFP_EXCLUSIVE) >> FIRST_MARK == LAB_MARK_LOCKED, "flags, marks: one order");
_Static_assert((LAB_GFP_NOFORK & ~LAB_GFP_EXCLUSIVE) >> FIRST_MARK == LAB_MARK_NOFORK, "the same");
_Static_assert((LAB_GFP_NOMERGE & ~LAB_GFP_EXCLUSIVE) >> FIRST_MARK == LAB_MARK_NOMERGE, "the same");

static uint64_t
marks_of_gfp(unsigned gfp)
{
	return (uint64_t)gfp << (LAB_EXCLUSIVE_MARK_SHIFT - FIRST_MARK) & LAB_EXCLUSIVE_MARKS;
}

static unsigned
gfp_of_marks(uint64_t marks)
{
	return (unsigned)((marks & LAB_EXCLUSIVE_MARKS) >> (LAB_EXCLUSIVE_MARK_SHIFT - FIRST_MARK)) | LAB_GFP_EXCLUSIVE;
}

static size_t
bytes_of(const struct lab_run *run)
{
	return lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT;
}

/* In a child of fork the first bracket makes the leader the owner of what was the forking thread's. */
static void
settle_fork(struct lab_bracket *bracket)
{
	struct lab_bracket inner = {.sp = bracket->sp};

	if (lab_unlikely(lab_registry_is_forked()) && lab_enter(&inner))
		lab_leave(&inner);
}

void *
lab_exclusive_allocate(struct lab_bracket *bracket, struct lab_request request)
{
	uint64_t marks = marks_of_gfp(request.gfp);
	void *p = lab_allocate(bracket, request);

	if (!p)
		return NULL;
	struct lab_run *run = lab_map_find(p).run;
	lab_exclusive_begin(run, marks, lab_thread_tid()); /* first: INV-EXCL-2 */
	if (marks && !lab_os.mark(p, bytes_of(run), (unsigned)(marks >> LAB_EXCLUSIVE_MARK_SHIFT))) {
		lab_release(bracket, p, "alloc");
		return NULL;
	}
	return p;
}

static void
refuse(const char *call, const void *p)
{
	if (!lab_load_rlx(&lab_settings.log_exclusive))
		lab_report_misuse(call, p, foreign);
	lab_report_refusal(call, p, foreign);
}

/* There is no advice that undoes MADV_NOHUGEPAGE: new pages in the place of the old undo all of it, and leave nothing of the contents. */
bool
lab_exclusive_begin_release(struct lab_bracket *bracket, const struct lab_place *place, void *p, const char *call)
{
	uint64_t state;

	settle_fork(bracket);
	switch (lab_exclusive_begin_free(place->run, lab_thread_tid(), &state)) {
	case LAB_EXCLUSIVE_FREEING:
		return !(state & LAB_EXCLUSIVE_MARKS) || lab_space_renew_pages(p, bytes_of(place->run));
	case LAB_EXCLUSIVE_REFUSED:
		refuse(call, p);
		return false;
	case LAB_EXCLUSIVE_NOT:
		break;
	}
	lab_report_misuse(call, p, "double free");
}

/* The run of the exclusive block p; NULL if it is none. */
static struct lab_run *
find_run(const void *p)
{
	if (!lab_exclusive_is_used() || (uintptr_t)p % LAB_PAGE_SIZE != 0)
		return NULL;
	struct lab_place place = lab_map_find(p);
	if (place.kind != LAB_PLACE_RUN && place.kind != LAB_PLACE_HUGE)
		return NULL;
	return lab_state_is_exclusive(lab_load_acq(&place.run->state)) ? place.run : NULL;
}

bool
lab_exclusive_concerns(const void *p, unsigned gfp)
{
	return gfp & LAB_GFP_EXCLUSIVE || find_run(p);
}

/* Whether a run of so many pages is what a new block of that size would get. */
static bool
fits(size_t pages, size_t size)
{
	size_t need = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	return need == pages || lab_run_pages(need) == pages;
}

static void *
move(struct lab_bracket *bracket, void *p, size_t old, struct lab_request request)
{
	struct lab_bracket inner = {.sp = bracket->sp};
	void *moved = lab_allocate_any(&inner, request);

	if (moved) {
		memcpy(moved, p, old < request.size ? old : request.size);
		lab_release(bracket, p, "realloc");
	}
	return moved;
}

void *
lab_exclusive_resize(struct lab_bracket *bracket, void *p, size_t old, struct lab_request request)
{
	const struct lab_run *run = find_run(p);
	uint64_t state = run ? lab_load_acq(&run->state) : 0;

	settle_fork(bracket);
	if (run && !lab_exclusive_permits(state = lab_load_acq(&run->state), lab_thread_tid())) {
		refuse("realloc", p);
		return request.gfp & LAB_GFP_ATOMIC & LAB_GFP_KIND ? NULL : lab_or_enomem(NULL);
	}
	bool marked = run && (marks_of_gfp(request.gfp) & ~state) == 0;
	if (request.gfp & LAB_GFP_KIND) {
		(void)(request.size <= old || lab_gfp_check(request.gfp | LAB_GFP_EXCLUSIVE)); /* sets errno: a contradiction */
		return request.size <= old ? p : NULL;
	}
	if (marked && fits(old >> LAB_PAGE_SHIFT, request.size))
		return p;
	request.gfp |= gfp_of_marks(state);
	int saved = errno;
	void *moved = move(bracket, p, old, request);
	if (moved || !marked || request.size > old)
		return moved;
	errno = saved; /* it stays, which is no failure */
	return p;
}

static int
thread_of(uint32_t heap_id)
{
	uint32_t tid = lab_hold_is_owned(lab_registry_hold(heap_id)) ? lab_registry_tid(heap_id) : 0;

	return tid == LAB_OS_TID_UNKNOWN ? 0 : (int)tid;
}

static int
owner_of(const void *block)
{
	if (lab_block_size(block, NULL) == 0)
		return -1;
	struct lab_place place = lab_map_find(block);
	if (place.kind == LAB_PLACE_SPAN)
		return thread_of(lab_unit_heap(place.unit)->id);
	if (place.kind != LAB_PLACE_RUN && place.kind != LAB_PLACE_HUGE)
		return 0; /* the reserve */
	uint64_t state = lab_load_acq(&place.run->state);
	if (lab_state_is_exclusive(state))
		return (int)lab_lease_tid(state);
	return place.kind == LAB_PLACE_RUN ? thread_of(place.heap_id) : 0;
}

LAB_EXPORT int
lab_owner(const void *block)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (!block)
		return -1;
	settle_fork(&bracket);
	return owner_of(block);
}

LAB_EXPORT bool
lab_transfer(void *block, int tid)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;
	struct lab_run *run = find_run(block);

	if (!run || tid <= 0 || !lab_os_has_thread((uint32_t)tid))
		return false;
	settle_fork(&bracket);
	return lab_exclusive_give(run, lab_thread_tid(), (uint32_t)tid);
}
