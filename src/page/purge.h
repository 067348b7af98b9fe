/*
 * purge.h - gives free pages back to the system. Any thread may do it to any segment: it takes the pages first, as an allocation
 * would, so that it excludes whoever wants them (INV-PAGE-1, -2). Never waits: a segment that somebody else is purging is left.
 */
#ifndef LAB_PAGE_PURGE_H
#define LAB_PAGE_PURGE_H

#include "page/arena.h"

/* Purges what is free and dirty in one segment; returns the pages given back. `claim`: {tid, epoch} of the caller, not 0. */
size_t lab_purge_segment(struct lab_arena *arena, size_t index, uint64_t claim);

/* The same for all segments whose newest dirty page is at least `age` old at `now` (milliseconds), until `enough` pages
 * are given back. Returns the pages. */
size_t lab_purge_all(uint64_t claim, uint64_t now, uint64_t age, size_t enough);

/* Pages that are free and dirty, everywhere; and those given back so far. Figures. */
size_t lab_purge_dirty_pages(void);
size_t lab_purge_total_pages(void);

#endif
