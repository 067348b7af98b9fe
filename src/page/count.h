/*
 * count.h - running counts of pages: those in use, those that are free and dirty, and those given back. Any context.
 *
 * The first two are estimates: nothing is decided by them but when pages go back, and how many. A heap publishes what
 * it has changed once that is LAB_COUNT_STEP pages, so that a thread that takes and gives the same pages writes no
 * shared word. A frame that is cut short forgets what it was changing; a sweep (sweep.h) that sees all at once sets
 * them right.
 */
#ifndef LAB_PAGE_COUNT_H
#define LAB_PAGE_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

enum { LAB_COUNT_STEP = 64 };

struct lab_counts {
	LAB_ALIGNED(64) _Atomic int64_t used; /* by spans, runs and huge blocks */
	_Atomic int64_t dirty;                /* and free */
	_Atomic int64_t given_back;           /* ever, of those that were dirty or in use */
};
extern struct lab_counts lab_counts;

/* What a heap has not published yet. Its holder's. */
struct lab_count_delta {
	int32_t used, dirty;
};

/* Adds to the counts: at once, or by the holder of the heap that `delta` is in. */
void lab_count(int64_t used, int64_t dirty);
void lab_count_owned(struct lab_count_delta *delta, int64_t used, int64_t dirty);

/* So many pages that were free and dirty went back to the system. */
void lab_count_given_back(size_t pages);

/* So many pages of spans did, which stay in use: heap/sparse.h. */
void lab_count_given_back_in_use(size_t pages);

/* The estimates. `delta`, unless it is NULL, is of the caller's own heap, in which a visitor may be counting. */
size_t lab_count_dirty(const struct lab_count_delta *delta);
size_t lab_count_used(void);

/* Sets them right. */
void lab_count_set(size_t used, size_t dirty);

#endif
