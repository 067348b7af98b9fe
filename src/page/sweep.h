/*
 * sweep.h - gives back what is free, in slices: no call has more than a slice's work, and the next one goes on. Any
 * context, with a purge record in a heap that the caller is inside.
 *
 * A sweep is a walk over all huge blocks' entries and all segments. What was free and dirty at the sweep before, and
 * was not used since, goes back; what is free and dirty now is aged. Its place is one word {seq, place}: seq is odd
 * while a sweep is under way. Who visits an item has moved the word past it by CAS, so that each item is visited once
 * in a sweep; a visit that is cut short is missing from it.
 */
#ifndef LAB_PAGE_SWEEP_H
#define LAB_PAGE_SWEEP_H

#include "page/count.h"
#include "page/purge.h"

/* About half a millisecond's work, in most systems. A segment is not divided: up to LAB_SEGMENT_PAGES more. */
#define LAB_SLICE_PAGES ((size_t)512)

/* What a call of lab_sweep_go_on may do. */
struct lab_slice {
	size_t pages;  /* that it may give back. Each entry and segment that is looked at counts as a quarter of one. */
	bool in_whole; /* as in a plan */
	struct lab_count_delta *own; /* of the heap that the caller is inside */
};

extern _Atomic uint64_t lab_sweep_place;

static inline bool
lab_sweep_is_on(void)
{
	return lab_load_rlx(&lab_sweep_place) >> 32 & 1;
}

/* Begins a sweep, if none is under way. all: what is young goes as well. */
void lab_sweep_begin(bool all);

/* Something that no sweep sees is left for the next one: so lab_purge_pending stays set. */
void lab_sweep_leave_something(void);

/* Goes on with the sweep that is under way. */
void lab_sweep_go_on(struct lab_purge_record *record, struct lab_slice slice);

/* Gives back about `excess` pages, aged ones first, from where this was left off when it was done last, with the work
 * that giving back so many `pages` is. True: whether they have gone or not, there are no more, but for *refused that
 * the system did not take. */
bool lab_sweep_excess(struct lab_purge_record *record, size_t pages, size_t excess, size_t *refused);

#endif
