/*
 * window.h - address space: a window of which only what is used is mapped, and the table that describes it.
 *
 * The window is a range of addresses, a power of two of bytes, chosen when the first heap is made. Nothing of it is
 * reserved: others may map there. Its slots of 128 KiB have one table, which is readable from the start and is never
 * unmapped or of another type: anything can be looked up, whatever becomes of the memory.
 *
 *     table   [struct lab_space, bits][slots: 16 B for 128 KiB][units: 64 B for 64 KiB]    64 MiB + 8 MiB for 64 GiB
 *     window  [guard][segment][segment      ][   ][segment]  …                      [guard]
 *     heaps   [heap, 60 KiB of nothing][heap, …                       below the window, mapped as they are needed
 *
 * INV-SPACE-4  The window is as long as the table of units has entries: no two addresses of it share one. The heaps'
 *              addresses are less than that apart (INV-UNIT-1).
 */
#ifndef LAB_PAGE_WINDOW_H
#define LAB_PAGE_WINDOW_H

#include "os/os.h"
#include "page/unit.h"

struct lab_segment;

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

/* The table; NULL before lab_space_start. The variable is for who looks from outside (alloc/inspect.h). */
struct lab_space *lab_space(void);
extern _Atomic(struct lab_space *) lab_space_published LAB_HIDDEN;

/*
 * What free()'s fast path reads: the descriptors, and the mask that makes an index of a pointer's bits. Before there is
 * a window they lead to a descriptor that no pointer passes (limit 0).
 */
struct lab_map {
	uintptr_t mask; /* unit mask, shifted left to select a byte offset */
	char *units;
};
extern struct lab_map lab_map LAB_HIDDEN;

/* The descriptor of the unit that holds p, if p is in the window; else one that p does not fit (INV-UNIT-1). */
static inline struct lab_unit *
lab_map_unit(const void *p)
{
	_Static_assert(sizeof(struct lab_unit) == 1 << 6, "the shift below");
	return (struct lab_unit *)(lab_map.units + ((uintptr_t)p >> (LAB_UNIT_SHIFT - 6) & lab_map.mask));
}

/* Where the heap struct with this id is, or would be. */
static inline char *
lab_space_heap(const struct lab_space *space, uint32_t id)
{
	return space->heaps + (size_t)id * LAB_HEAP_STRIDE;
}

/* Maps `size` bytes for it, unless they are. LAB_OCCUPIED: others are there, or another thread is just mapping it. */
enum lab_mapped lab_space_map_heap(uint32_t id, size_t size);

/* An enum lab_huge_pages: lab_space_set_huge_pages. */
extern _Atomic uint32_t lab_space_huge_pages;

/* What is done with pages of ours when they are mapped: bits of lab_space_hold. */
enum lab_hold {
	LAB_HOLD_RESIDENT = 1,
	LAB_HOLD_LOCKED = 2,
};
extern _Atomic uint32_t lab_space_hold;

/* Applies both to pages of blocks that were mapped just now. */
void lab_space_prepare_pages(void *start, size_t size);

/* Applies lab_space_hold to any pages of ours. A refusal is said in a line, the first one. */
void lab_space_hold_range(void *start, size_t size);

/* New pages, zeroed, in the place of marked ones (lab_os.renew). False: it is unknown what is there now. */
bool lab_space_renew_pages(void *start, size_t size);

#endif
