/*
 * space.h - address space: a window of which only what is used is mapped, in segments that come and go.
 *
 * The window is a range of addresses, a power of two of bytes, chosen when the first heap is made. Nothing of it is
 * reserved: others may map there. Its slots of 128 KiB have one table, which is readable from the start and is never
 * unmapped or of another type: anything can be looked up, whatever becomes of the memory.
 *
 *     table   [struct lab_space, bits][slots: 16 B for 128 KiB][units: 64 B for 64 KiB]    64 MiB + 8 MiB for 64 GiB
 *     window  [guard][segment][segment      ][   ][segment]  …                      [guard]
 *     heaps   [heap, 60 KiB of nothing][heap, …                       below the window, mapped as they are needed
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
 * INV-SPACE-4  The window is as long as the table of units has entries: no two addresses of it share one. The heaps'
 *              addresses are less than that apart (INV-UNIT-1).
 */
#ifndef LAB_PAGE_SPACE_H
#define LAB_PAGE_SPACE_H

#include "os/os.h"
#include "page/segment.h"
#include "page/unit.h"

enum lab_slot_state {
	LAB_SLOT_FREE = 0, /* not mapped by us */
	LAB_SLOT_MAPPING,
	LAB_SLOT_OWNED,
	LAB_SLOT_PART,  /* of the segment that its n leads to; also what FREE keeps */
	LAB_SLOT_EMPTY, /* mapped, and nobody's */
	LAB_SLOT_UNMAPPING,
	LAB_SLOT_REFUSED, /* others are there */
};

struct lab_slot {
	_Atomic uint64_t owner;
	_Atomic(struct lab_segment *) segment; /* whose first slot it is; NULL: it never was one */
};

/* What is known of 64 slots. */
struct lab_slot_bits {
	_Atomic uint64_t used;  /* INV-SPACE-1 */
	_Atomic uint64_t empty; /* a hint: EMPTY segments begin here */
	_Atomic bool is_open;   /* what describes them is writable */
};

struct lab_space {
	uintptr_t base; /* of the window */
	size_t slot_count;
	struct lab_slot *slots;
	struct lab_unit *units;
	char *heaps;
	size_t table_size;
	_Atomic size_t high_water;                    /* slots from this one on were never used */
	_Atomic size_t lowest[LAB_SLOTS_LOG_MAX + 1]; /* hints: no 2^n slots are free in the words of bits below it */
	_Atomic size_t lowest_empty;                  /* the same for EMPTY segments */
	_Atomic uint64_t heap_is_mapped[LAB_HEAP_MAX / 64];
	struct lab_slot_bits bits[];
};

/* {seq:38, heap:20, n:3, state:3} */
static inline uint64_t
lab_owner_make(uint64_t seq, uint32_t heap_id, unsigned slots_log, enum lab_slot_state state)
{
	return seq << 26 | (uint64_t)heap_id << 6 | (uint64_t)slots_log << 3 | (uint64_t)state;
}

static inline enum lab_slot_state
lab_owner_state(uint64_t owner)
{
	return (enum lab_slot_state)(owner & 7);
}

static inline unsigned
lab_owner_slots_log(uint64_t owner)
{
	return owner >> 3 & 7;
}

static inline uint32_t
lab_owner_heap(uint64_t owner)
{
	return (uint32_t)(owner >> 6) & 0xfffff;
}

static inline uint64_t
lab_owner_seq(uint64_t owner)
{
	return owner >> 26;
}

/* Finds a place for the window, and makes the table. Repeatable, in any thread. False: there is no address space. */
bool lab_space_start(void);

/* The table; NULL before lab_space_start. */
struct lab_space *lab_space(void);

/* How many forks this process is away from the first one: INV-PAGE-3. */
extern uint32_t lab_space_generation;

/* The owner word of a segment. */
static inline _Atomic uint64_t *
lab_segment_owner(const struct lab_segment *segment)
{
	return &segment->slot->owner;
}

/* Whether the segment is mapped, by its owner word, and this is still its metadata: a longer segment may have got
 * new one. */
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

/* Where the heap struct with this id is, or would be. */
static inline char *
lab_space_heap(const struct lab_space *space, uint32_t id)
{
	return space->heaps + (size_t)id * LAB_HEAP_STRIDE;
}

/* Maps `size` bytes for it, unless they are. LAB_OCCUPIED: others are there, or another thread is just mapping it. */
enum lab_mapped lab_space_map_heap(uint32_t id, size_t size);

/* Bytes of the table and of segments that are mapped. Figures. */
size_t lab_space_table_size(void);
size_t lab_space_mapped(void);

/* Whether pages are to be huge ones: of the segments that are there, and of all that is mapped from now on. */
void lab_space_set_huge_pages(enum lab_huge_pages when);

/* Applies that to pages of ours that were mapped just now. */
void lab_space_apply_huge_pages(void *start, size_t size);

/* New pages, zeroed, in the place of marked ones (lab_os.renew). False: it is unknown what is there now. */
bool lab_space_renew_pages(void *start, size_t size);

/* Gives back what fork has copied while others wrote to it, or takes it for dirty: INV-PAGE-3. No block is in the
 * segment. */
void lab_space_renew(struct lab_segment *segment);

#endif
