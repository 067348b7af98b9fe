/*
 * space.h - segments come and go in the window (window.h), of which only what is used is mapped.
 *
 * A segment is 2^n slots, aligned to its size, mapped as a whole by the thread that claims it. Two words say what a
 * slot is: `used`, a bit in the word of 64 slots, decides which thread may map or unmap there. `owner`, {seq, heap, n,
 * state} of the segment's first slot, says whose the segment is. seq grows with each claim: no value of an owner word
 * occurs twice. Metadata (segment.h) belongs to a segment's first slot for ever.
 *
 * | from, to | by which thread, how | if its frame is cut short here |
 * |---|---|---|
 * | FREE → MAPPING | the one that set the used bits of the slots, all at once by CAS | lost |
 * | MAPPING → OWNED | the same, after mmap: the other slots are PART before | the heap's scan finds it |
 * | MAPPING → REFUSED, FREE | the same: others are at that address; the system has refused | lost, but for its bits |
 * | OWNED → EMPTY | the holder, of a segment of which no page is in use | the next purger or claimer finds it |
 * | EMPTY → OWNED | any, by CAS | the heap's scan finds it |
 * | EMPTY → UNMAPPING | any, by CAS | lost |
 * | UNMAPPING → EMPTY | the same: a purge word is held, or the system has refused | lost |
 * | UNMAPPING → FREE | the same, after munmap; then it clears the used bits | lost |
 * | REFUSED → FREE | one that finds no other slot that is free | lost |
 *
 * "Lost" are addresses, and the memory that is mapped there: no thread can tell whether it is, and whose. A jump out of
 * a handler cannot leave one, as signals are held back in there (but where a filter forbids that). A fork in another
 * thread can, in the child.
 *
 * INV-SPACE-1  Only the thread that has set a slot's used bit maps or unmaps it, or writes MAPPING, PART, REFUSED,
 *              FREE: once each.
 * INV-SPACE-2  A segment is unmapped from EMPTY, by the thread that has made it UNMAPPING and then read its purge word
 *              to be 0. A purger reads owner word and metadata after it has the purge word (all sc). So one of the two
 *              threads sees the other, and no pages are purged that are not there.
 * INV-SPACE-3  Every OWNED segment is in the lists of its heap, or is found by the heap's scan.
 */
#ifndef LAB_PAGE_SPACE_H
#define LAB_PAGE_SPACE_H

#include "page/segment.h"
#include "page/window.h"

/* The owner word of a segment. */
static inline _Atomic uint64_t *
lab_segment_owner(const struct lab_segment *segment)
{
	return &segment->slot->owner;
}

/* Whether the segment is mapped, by its owner word, and this is still its metadata: a longer segment that
 * begins at the same slot may have got new metadata. */
static inline bool
lab_segment_is_mapped(const struct lab_segment *segment, uint64_t owner)
{
	return (lab_owner_state(owner) == LAB_SLOT_OWNED || lab_owner_state(owner) == LAB_SLOT_EMPTY) &&
	       atomic_load(&segment->slot->segment) == segment; /* sc: INV-SPACE-2; pairs with find_metadata */
}

/*
 * A segment of at least 2^least slots; 2^slots_log if it has to be mapped and there is memory for that. EMPTY ones come
 * first, then the lowest addresses. Its pages are free, but for what a purger holds in one that was EMPTY. NULL: no
 * memory. A frame that is cut short leaves a segment that the scan of the heap finds. Any context.
 */
struct lab_segment *lab_space_claim(uint32_t heap_id, unsigned slots_log, unsigned least);

/* OWNED → EMPTY, if the owner word still is `owner`. No page of the segment is in use. */
bool lab_space_release(struct lab_segment *segment, uint64_t owner);

/* Unmaps a segment whose owner word is `owner`, of state EMPTY. False: it was claimed, is purged, or the system
 * refuses. */
bool lab_space_unmap(struct lab_segment *segment, uint64_t owner);

/* What became of a segment that is EMPTY, perhaps. */
enum lab_emptied {
	LAB_EMPTIED_STAYS, /* it is none, or the system refuses, or there are too many holes: each is a mapping more */
	LAB_EMPTIED_WAITS, /* it is young, or another thread was faster */
	LAB_EMPTIED_UNMAPPED,
};

/*
 * Unmaps a segment whose owner word was just `owner`, if it is EMPTY, and was so when it was asked for last, or
 * `young` is set. Adds to *dirty the dirty pages in it. The second unmaps all, and returns the bytes.
 */
enum lab_emptied lab_space_unmap_emptied(struct lab_segment *segment, uint64_t owner, bool young, size_t *dirty);
size_t lab_space_unmap_empty(void);

/* The first mapped segment from slot *index on; NULL at the end. *index is then behind it, *owner its owner word. */
struct lab_segment *lab_space_next(size_t *index, uint64_t *owner);

/* The metadata that p's slot belongs to, *owner the segment's owner word; NULL if there was none. Any pointer:
 * nothing faults. What is said of a pointer to a block of the caller's is true; of others it was true at some time. */
struct lab_segment *lab_space_find(const void *p, uint64_t *owner);

/* Bytes of the table and of segments that are mapped. Figures. */
size_t lab_space_table_size(void);
size_t lab_space_mapped(void);

/* Whether pages are to be huge ones: of the segments that are there, and of all that is mapped from now on. */
void lab_space_set_huge_pages(enum lab_huge_pages when);

/* The same of one of the bits of lab_space_hold; what was held stays held. By one thread at a time. */
void lab_space_hold_pages(enum lab_hold what, bool on);

/* Gives back what fork has copied while others wrote to it, or takes it for dirty: INV-PAGE-3. No block is in the
 * segment. */
void lab_space_renew(struct lab_segment *segment);

#endif
