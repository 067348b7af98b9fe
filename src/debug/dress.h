/*
 * dress.h - blocks that know themselves: a record in front of what the program gets, and bytes on both sides of it that
 * nobody may write to. With the setting `check` each block that libc's names and lab_alloc hand out is such a one; the
 * heap underneath gives longer ones, and knows nothing of it.
 *
 *     raw block:  struct lab_dress | canary | what the program gets | canary | (a page without access, large blocks)
 *
 * INV-DRESS-1  A block belongs to one frame from its allocation to its release: all that is written here is written by
 *              that frame, but for the mark, which goes from live to freed by compare-and-swap. Who wins that frees the
 *              block. So there is nothing to lock, and a handler may interrupt any of it: its blocks are others.
 * INV-DRESS-2  The mark is a secret, the block's address, and the state: memory that was never dressed does not have it
 *              but by a chance of 2^-62. It is written when the rest of the record is, and outlives the release: until
 *              the raw block is used again a free of it is known for a double one.
 *
 * Blocks of the reserve, exclusive ones, objects of caches, and what was allocated before the setting was read are not
 * dressed.
 */
#ifndef LAB_DEBUG_DRESS_H
#define LAB_DEBUG_DRESS_H

#include "base/atomic.h"
#include "base/check.h"
#include "insight/stack.h"

/* Which function made a block, and so which is to free it. */
enum lab_maker {
	LAB_BY_MALLOC,
	LAB_BY_NEW,
	LAB_BY_NEW_ARRAY,
	LAB_BY_ALIGNED_NEW,
	LAB_BY_ALIGNED_NEW_ARRAY,
};

/* What is done. */
enum lab_debug_mode {
	LAB_DEBUG_OFF,
	LAB_DEBUG_SECURE, /* canaries on both sides; what is freed waits; a page without access behind large blocks */
	LAB_DEBUG_ALL,    /* and who allocated and freed a block; new ones are filled; delete of what malloc made */
};
extern _Atomic unsigned lab_debug_mode;

static inline bool
lab_debug_is_on(void)
{
	return lab_load_rlx(&lab_debug_mode) != 0;
}

static inline bool
lab_debug_is_all(void)
{
	return lab_load_rlx(&lab_debug_mode) == LAB_DEBUG_ALL;
}

/* Blocks are dressed from here on. By one thread, before others allocate. */
void lab_debug_start(enum lab_debug_mode mode);

enum { LAB_DRESS_FRAMES = 10 };

/* Kept with LAB_DEBUG_ALL only. */
struct lab_sites {
	uintptr_t made[LAB_DRESS_FRAMES], freed[LAB_DRESS_FRAMES];
};

struct lab_dress {
	uint64_t link;         /* the heap's, while the raw block is free */
	_Atomic uint64_t mark; /* INV-DRESS-2 */
	size_t size;           /* what was asked for */
	uint32_t offset;       /* from the raw block to what the program got */
	uint8_t maker;         /* enum lab_maker */
	uint8_t made_frames, freed_frames;
	bool is_guarded; /* the raw block's last page has no access; none but the first has once it is freed */
	uint32_t made_by, freed_by;
	size_t raw_size;
	struct lab_sites sites[];
};
_Static_assert(sizeof(struct lab_dress) == 48, "what is in front of each block");

enum lab_dress_state {
	LAB_DRESS_NONE,  /* no dressed block */
	LAB_DRESS_LIVE,  /* the program's */
	LAB_DRESS_FREED, /* it waits (quarantine.h) */
	LAB_DRESS_GONE,  /* the heap's again */
};

/* n, 0 to 255, in an order that only who knows the secret can foresee. */
unsigned lab_dress_shuffle(uint64_t n);

/* The raw block that is to be asked for: bytes; SIZE_MAX: more than there can be. It has the alignment of what it is
 * for. */
size_t lab_dress_raw_size(size_t size, size_t align);

/* Dresses a raw block, for `size` bytes at a multiple of `align`; what the program gets. stack: of who asked for it. */
void *lab_dress_make(void *raw, size_t raw_size, size_t size, size_t align, enum lab_maker maker,
                     const struct lab_stack *stack);

/* Makes a live block shorter, by the frame that it belongs to (INV-DRESS-1). */
void lab_dress_shorten(struct lab_dress *dress, size_t size);

/* The state of the block that begins at raw, which can be read. */
enum lab_dress_state lab_dress_state(const struct lab_dress *raw);

/* The record of what begins with, or contains p, and its state. NULL: p is in no block, or in none that is dressed. */
struct lab_dress *lab_dress_find(const void *p, enum lab_dress_state *state);

static inline char *
lab_dress_start(const struct lab_dress *dress)
{
	return (char *)(uintptr_t)dress + dress->offset;
}

/* Whether p, which lies in a raw block without a record, has the canary of a start: the record was written over. */
bool lab_dress_was_start(const void *p);

/* What is wrong with the canaries of a live block; NULL: nothing. *at: the first byte that was written to. */
const char *lab_dress_damage(const struct lab_dress *dress, const void **at);

/* LIVE → FREED, and what comes with it. False: it was not LIVE. */
bool lab_dress_free(struct lab_dress *dress, const void *frame);

/* The first byte that was written to since a FREED block was freed; NULL: none. */
const void *lab_dress_written(const struct lab_dress *dress);

/* FREED → GONE: the raw block can go back to its heap. False: it cannot, as the system refused. */
bool lab_dress_undress(struct lab_dress *dress);

/* What is known of the raw block, if it is dressed. */
void lab_dress_describe(const void *raw, size_t raw_size, struct lab_block_facts *facts);

#endif
