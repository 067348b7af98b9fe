/*
 * purge.h - gives free pages back to the system. Any thread may do it to any segment: it takes the pages first, as an
 * allocation would, so that it excludes whoever wants them (INV-PAGE-1, -2). Never waits: a segment that somebody else
 * is purging is left.
 */
#ifndef LAB_PAGE_PURGE_H
#define LAB_PAGE_PURGE_H

#include "page/huge.h"
#include "page/segment.h"

/* What a purger is doing, kept where it is found if the purger is cut short. segment == NULL: nothing. */
struct lab_purge_record {
	struct lab_segment *segment;
	uint64_t claim; /* the lease that the purge word is to be: its epoch is no other purger's */
};

enum {
	LAB_PURGE_REST_MAX = 64, /* looks, half a decay time apart */
	/* ranges of a segment that are refused, and none taken, until the others are not asked for */
	LAB_PURGE_TRIES = 8,
};

/* Tags of a purge word. */
enum {
	LAB_PURGE_GIVES_BACK = 0,
	LAB_PURGE_SCANS = 1, /* by the segment's holder, for what others have left (heap/rebuild.c) */
};

/* Which free and dirty pages go, and how. */
struct lab_purge_plan {
	bool young;    /* also those that are not aged */
	bool in_whole; /* where 2 MiB, aligned, are free only: a huge page is not split */
	bool insist;   /* also in segments of which the system has just refused to take pages */
};
extern const struct lab_purge_plan lab_purge_everything;

/* Purges what the plan wants of one segment; returns the pages given back. */
size_t lab_purge_segment(struct lab_segment *segment, struct lab_purge_record *record,
                         const struct lab_purge_plan *plan);

/* All of it, of all segments, and what is CACHED of huge blocks; EMPTY segments are unmapped. */
void lab_purge_all(struct lab_purge_record *record);

/* Lets go of the purge word of a purger that was cut short. The pages that it had taken are the segment's holder's to
 * find: the segment is marked for that. */
void lab_purge_recover(struct lab_purge_record *record);

/* Whether a living thread other than `tid` has pages in hand to give them back, or a huge block. O(segments, huge
 * blocks). */
bool lab_purge_is_under_way(uint32_t tid);

/* In fork's child, a lab_lease_kind: of other purgers' pages the segment's holder is told. */
void lab_purge_settle(const struct lab_lease_fork *fork);

/* Pages that are free and dirty, everywhere; and those given back so far. Figures. */
size_t lab_purge_dirty_pages(void);
size_t lab_purge_total_pages(void);

#endif
