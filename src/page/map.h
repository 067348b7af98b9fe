/*
 * map.h - the arenas of the process, and what a pointer is. Any context.
 */
#ifndef LAB_PAGE_MAP_H
#define LAB_PAGE_MAP_H

#include "os/os.h"
#include "page/arena.h"

/*
 * What free()'s fast path reads: the descriptors of the first arena, and the mask that makes an index of a pointer's bits. Before
 * there is an arena they lead to a descriptor that no pointer passes (limit 0).
 */
struct lab_map {
	uintptr_t mask; /* unit mask, shifted left to select a byte offset */
	char *units;
};
extern struct lab_map lab_map LAB_HIDDEN;

static inline struct lab_unit *
lab_map_first_arena_unit(const void *p)
{
	_Static_assert(sizeof(struct lab_unit) == 1 << 6, "the shift below");
	return (struct lab_unit *)(lab_map.units + ((uintptr_t)p >> (LAB_UNIT_SHIFT - 6) & lab_map.mask));
}

/* The i-th arena, or NULL; arena 0 is there after the first allocation and stays. Others may be empty (retire.h), for a while or for ever. */
struct lab_arena *lab_map_arena(size_t i);

/* Makes the first arena, if nobody has yet. False if there is no address space. Lock-free: of two, one's arena is given back. */
bool lab_map_start(void);

/*
 * Adds an arena that can hold a block of `least` bytes, in the place of an empty one if there is one. False if there is no address space, or no
 * more arenas can be, also after those that are not in use were retired.
 */
bool lab_map_grow(size_t least);

/* For all arenas, those that are there and those to come. */
void lab_map_set_huge_pages(enum lab_huge_pages when);

/* The arena in whose payload p lies, or NULL. */
struct lab_arena *lab_map_find_arena(const void *p);

enum lab_place_kind {
	LAB_PLACE_FOREIGN,  /* not in an arena, or in no block's pages */
	LAB_PLACE_SPAN,     /* in a span of small blocks: unit */
	LAB_PLACE_RUN,      /* the start of a run of pages: segment, run */
	LAB_PLACE_HUGE,     /* the start of a huge run: arena, index, segment, run */
	LAB_PLACE_INTERIOR, /* inside a run, not at its start */
	LAB_PLACE_FREED,    /* the start of something that was freed before */
};

struct lab_place {
	enum lab_place_kind kind;
	struct lab_arena *arena;
	size_t index; /* of the segment */
	struct lab_segment *segment;
	struct lab_unit *unit;
	struct lab_run *run;
	uint32_t heap_id;
};

/* What p is; any pointer value, from any thread, at any time. A block of the caller's own is described exactly. */
struct lab_place lab_map_find(const void *p);

#endif
