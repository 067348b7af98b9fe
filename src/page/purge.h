/*
 * purge.h - gives free pages back to the system. Any thread may do it to any segment: it takes the pages first, as an allocation
 * would, so that it excludes whoever wants them (INV-PAGE-1, -2). Never waits: a segment that somebody else is purging is left.
 */
#ifndef LAB_PAGE_PURGE_H
#define LAB_PAGE_PURGE_H

#include "page/arena.h"

/* What a purger is doing, kept where it is found if the purger is cut short. segment == NULL: nothing. */
struct lab_purge_record {
	struct lab_segment *segment;
	struct lab_arena *arena;
	uint64_t claim; /* {epoch, tid}, the value of the purge word; not 0. Epoch 0 is the scan's (heap/rebuild.c) */
};

/* Purges what is free and dirty in one segment; returns the pages given back. */
size_t lab_purge_segment(struct lab_arena *arena, size_t index, struct lab_purge_record *record);

/* The same for all segments whose newest dirty page is at least `age` old at `now` (milliseconds), until `enough` pages
 * are given back. Returns the pages. */
size_t lab_purge_all(struct lab_purge_record *record, uint64_t now, uint64_t age, size_t enough);

/* Lets go of the purge word of a purger that was cut short. The pages that it had taken are the segment's holder's to find: the
 * segment is marked for that. */
void lab_purge_recover(struct lab_purge_record *record);

/*
 * In fork's child: who else was purging does not exist here. His purge words are let go, and the segments are marked. The forking thread
 * may have been purging itself, if it forked in a handler: its words get its new id. Repeatable.
 */
void lab_purge_after_fork(uint32_t old_tid, uint32_t new_tid);

/* Pages that are free and dirty, everywhere; and those given back so far. Figures. */
size_t lab_purge_dirty_pages(void);
size_t lab_purge_total_pages(void);

#endif
