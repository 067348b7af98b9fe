/*
 * reserve.h - the emergency reserve: fixed slots of 12 classes, 32 bytes to 64 KiB, claimed and released by one atomic
 * instruction each (slot.h). The last resort of re-entrant calls for which the system has no memory, and what LAB_GFP_ATOMIC draws on.
 *
 * Functions with _sig are for any context: no lock, no system call, no loop that another thread can prolong beyond its bound. This layer
 * does not talk to the kernel: memory is handed in by alloc/provision.c, which also fills and empties chunks.
 *
 * One region: a head (bitmap words), and for each class a range of 2^range_shift bytes, so
 * that an address gives class, slot, word and bit by shifts. Slots of a class by index, all aligned to their size:
 *
 *     [0, high)        MEMALLOC only
 *     [high, min)      HIGH and ATOMIC as well
 *     [min, low)       everybody; a claim that gets here asks for growth
 *     [low, n)         everybody
 *     [n, n+overflow)  requests rounded up from smaller classes, and the class itself when all else is taken
 *     grown            chunks of whole pages, opened and closed while the program runs; everybody
 *
 * INV-RES-3  A request rounded up takes overflow and grown slots of a larger class only, so that n claims of a class with MEMALLOC succeed
 *            without concurrent releases, whatever the order of frees before and whatever other classes do.
 * INV-RES-4  Word 0 of a chunk is its state: it is the first to be closed and the last to be opened, so that whoever holds it in state
 *            CLOSING has the chunk to himself, and its memory is given back only when all of its words are so held.
 */
#ifndef LAB_RESERVE_RESERVE_H
#define LAB_RESERVE_RESERVE_H

#include "reserve/slot.h"

#define LAB_RESERVE_CLASSES   12u
#define LAB_RESERVE_MIN_SHIFT 5u
#define LAB_RESERVE_MAX_SHIFT 16u
#define LAB_RESERVE_PAGE      ((size_t)4096)

/* How far down a class's slots a claim may go: the watermarks, by flags (docs/guarantees.md, G6). */
enum lab_reserve_depth {
	LAB_DEPTH_MIN = 0, /* stops at `min`: re-entrant malloc */
	LAB_DEPTH_HIGH,    /* at `high`: LAB_GFP_HIGH, ATOMIC */
	LAB_DEPTH_ALL,     /* takes the last slot: LAB_GFP_MEMALLOC */
};

/* A slot of at least `size` bytes at a multiple of `align`, a power of two, or NULL: every word that it may reach was seen empty at some
 * instant, or LAB_SLOTS_TRIES claims of a word were lost to others. Contents are indeterminate. O(words that it may reach). */
void *lab_reserve_claim_sig(size_t size, size_t align, enum lab_reserve_depth depth);

/* p must be in the reserve. Constant time. */
enum lab_reserve_release lab_reserve_release_sig(void *p);

/* Whether p points into the reserve. */
bool lab_reserve_contains(const void *p);

/* Bytes of the slot that starts at p and is taken; 0 if p is no such. */
size_t lab_reserve_slot_size(const void *p);

/* Bytes in all slots, and in those that are taken. */
size_t lab_reserve_total(void);
size_t lab_reserve_used(void);

/* Bit c: class c has got below its low mark since somebody cleared the bit. The bits above are for those who look (provision.c). */
extern _Atomic uint32_t lab_reserve_hungry LAB_HIDDEN;

/* Size + 1 of the first request that was not met and is worth a line; 0: none; SIZE_MAX: it was said. Here, as these pages stay resident. */
extern _Atomic size_t lab_reserve_unmet LAB_HIDDEN;

/* ---- layout -------------------------------------------------------------------------------------------------------------------- */

struct lab_reserve_plan {
	uint32_t slots[LAB_RESERVE_CLASSES];    /* n */
	uint32_t overflow[LAB_RESERVE_CLASSES]; /* more */
	size_t limit;                           /* bytes in slots, growth included */
	/* made by lab_reserve_plan: */
	size_t fixed; /* bytes in slots, growth not included */
	size_t size;  /* bytes of address space that are needed */
	size_t head;  /* of them, at the start, to be accessible at once */
	unsigned range_shift;
};

/* Completes a plan. False: it asks for more than the address space can give. */
bool lab_reserve_plan(struct lab_reserve_plan *plan);

/* The memory of class c that is there from the start, in a region at `region`: page-aligned; size 0 if there is none. */
struct lab_range {
	char *start;
	size_t size;
};
struct lab_range lab_reserve_fixed_range(const struct lab_reserve_plan *plan, void *region, unsigned c);

/* Begins to use the region, whose head and fixed ranges are accessible and zero. Once in a process; not at the same time as itself. */
void lab_reserve_install(const struct lab_reserve_plan *plan, void *region);

/* ---- chunks: for those who can map memory ----------------------------------------------------------------------------------- */

#define LAB_CHUNK_WORDS 4u

/* A chunk as somebody saw it. */
struct lab_chunk {
	unsigned c;
	uint32_t index; /* of the chunk in its class */
	struct lab_range memory;
	struct lab_range words; /* the page or pages of its bitmap words */
	uint64_t seen[LAB_CHUNK_WORDS];
};

/* A closed chunk of class c that growth may open, within the limit. False: there is none. */
bool lab_reserve_next_closed(unsigned c, struct lab_chunk *chunk);

/* Opens it; its memory is accessible and resident. False: somebody else has opened or closed it since it was seen. */
bool lab_reserve_open(const struct lab_chunk *chunk);

/* Begins to close an open chunk of class c all of whose slots are free, from chunk *from on, or goes on with what a dead thread was
 * closing. *from is then behind it. The caller may give the memory back, and calls one of the next two. False: there is none. */
bool lab_reserve_begin_close(unsigned c, uint32_t *from, uint32_t tid, lab_is_dead *is_dead, struct lab_chunk *chunk);

/* In fork's child: anybody may go on with what other threads were closing. */
void lab_reserve_settle(const struct lab_lease_fork *fork);
void lab_reserve_end_close(const struct lab_chunk *chunk);
void lab_reserve_undo_close(const struct lab_chunk *chunk);

/* The i-th chunk that class c ever had, while it is open. False: it is not. `*end`: there are no more. */
bool lab_reserve_open_chunk(unsigned c, uint32_t i, struct lab_chunk *chunk, bool *end);

/* ---- figures; snapshots -------------------------------------------------------------------------------------------------------- */

struct lab_reserve_figures {
	size_t size, slots, overflow, used, min, high, low;
	size_t grown;   /* slots in open chunks */
	size_t plain;   /* free slots that do not ask for growth: [low, n) and grown */
	size_t a_chunk; /* slots in a chunk */
};
bool lab_reserve_figures(unsigned c, struct lab_reserve_figures *figures);
size_t lab_reserve_limit(void);
size_t lab_reserve_failures(void);   /* claims with depth HIGH or ALL that got NULL */
size_t lab_reserve_lost_races(void); /* claims that got NULL after LAB_SLOTS_TRIES losses */
bool lab_reserve_is_installed(void);

/* What the reserve's functions read and write beside the slots: index 0 …; size 0 at the end. Whole pages. */
struct lab_range lab_reserve_own_range(unsigned i);

#endif
