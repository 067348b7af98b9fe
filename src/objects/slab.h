/*
 * slab.h - the memory of a typed cache: slabs of at most 32 equal objects, the free ones bits of a slot word
 * (reserve/slot.h). After Bonwick's slab allocator (USENIX 1994), with a word in the place of the free list. Any
 * context, unless a function says otherwise.
 *
 *     struct lab_slab_head | object 0 | object 1 | …    one block, a power of two bytes, aligned to its size
 *
 * A slab's word is OPEN; 0: no memory; OPENING or CLOSING: one frame gives it its memory, or takes it away. Every
 * open word has the bits of objects that do not fit in the block as well, under no claim's mask: so "all are free" is
 * one value, whatever a cache's layout was when somebody read it. Descriptors are in a list, to which new ones are
 * pushed, and are never freed nor of another type: who walks the list, in figures or reclaim, needs no protection.
 *
 * INV-SLAB-1  `memory` is written by the frame whose CAS made the word OPENING or CLOSING, or which made the
 *             descriptor so, and used by that frame and by those who hold an object of the slab. What was read before
 *             the CAS, or the claim, is not used after it: there is no ABA.
 * INV-SLAB-2  An object that is free, in an open slab, is in its constructed state.
 */
#ifndef LAB_OBJECTS_SLAB_H
#define LAB_OBJECTS_SLAB_H

#include "alloc/allocate.h"
#include "alloc/gfp.h"
#include "alloc/limit.h"
#include "alloc/objects.h"
#include "alloc/release.h"
#include "reserve/slot.h"

#define LAB_SLAB_OPENING  (UINT64_C(3) << 61)
#define LAB_SLAB_CLOSING  (UINT64_C(2) << 61)
#define LAB_SLAB_ALL_FREE lab_slots_all_free(LAB_SLOTS_A_WORD)

enum { LAB_SLAB_HINTS = 8 };

/* At the start of a block, at least as large as a struct lab_rcu_head. */
struct lab_slab_head {
	struct lab_slabs *slabs;
	struct lab_slab *slab; /* NULL: the block is a slot of the reserve with one object, which is in use */
};
_Static_assert(sizeof(struct lab_slab_head) >= 2 * sizeof(void *), "a struct lab_rcu_head");

/* A cache line: threads in different slabs do not disturb each other. */
struct lab_slab {
	LAB_ALIGNED(64) _Atomic uint64_t word;
	_Atomic(struct lab_slab_head *) memory; /* the block; NULL: none */
	_Atomic uint64_t allocations;           /* so far */
	struct lab_slabs *slabs;                /* never change once the slab is listed */
	struct lab_slab *next;
};
_Static_assert(sizeof(struct lab_slab) == 64, "a line");

/* All slabs of one cache. */
struct lab_slabs {
	/* Written while nobody else uses the cache. */
	size_t size, align;
	size_t stride;    /* from object to object */
	size_t first;     /* offset of object 0 in a block */
	size_t slab_size; /* of a block: a power of two */
	uint32_t objects; /* in a slab */
	void (*construct)(void *object);
	void (*_Atomic release)(void *block,
	                        struct lab_rcu_head *room); /* takes blocks of the cache; NULL: they are freed */

	_Atomic(struct lab_slab *) list;   /* newest first */
	_Atomic(struct lab_slab *) cursor; /* where the last walk ended */
	_Atomic uint64_t closings;         /* so far */
	_Atomic uint64_t none_closed_at;   /* after so many closings no slab was without memory */
	struct {
		LAB_ALIGNED(64) _Atomic(struct lab_slab *) slab; /* where threads of this hash were last */
	} hints[LAB_SLAB_HINTS];
};

/* The newest slab; `next` goes on. */
static inline struct lab_slab *
lab_slabs_first(const struct lab_slabs *slabs)
{
	return lab_load_acq(&slabs->list); /* pairs with the CAS of claim in slab.c: `next` is seen */
}

/* The layout for objects of this size and alignment; false: too large. */
bool lab_slabs_lay_out(struct lab_slabs *slabs, size_t size, size_t align);

/* Frees a block of the cache, or hands it to `release`: its head is room enough, and no object lies there. `call`:
 * whose misuse it is if it is no block. */
void lab_slabs_let_go(const struct lab_slabs *slabs, struct lab_guard *guard, struct lab_slab_head *memory,
                      const char *call);

/* An object that is there: from the thread's last slab, or `most` others from where the last such walk ended. NULL:
 * none was seen. */
void *lab_slabs_take(struct lab_slabs *slabs, size_t most);

/* The first object of a slab that it opens: with memory as LAB_GFP_KERNEL or NOWAIT, whichever `gfp` is, gives it.
 * NULL: no memory. A frame that is cut short leaves one slab OPENING. */
void *lab_slabs_open(struct lab_slabs *slabs, struct lab_guard *guard, unsigned gfp);

/* The slab of which p is an object, and its number there; else NULL, and *why says what p is instead. p: any value
 * that is a block of the caller's, or lies in one. */
struct lab_slab *lab_slabs_find(struct lab_slabs *slabs, const void *p, unsigned *object, const char **why);

/* The holder's release; false: the object is free. */
bool lab_slab_release(struct lab_slab *slab, unsigned object);

/* Objects in use. */
static inline size_t
lab_slab_live(const struct lab_slab *slab)
{
	uint64_t word = lab_load_acq(&slab->word); /* pairs with the instruction that releases */

	return lab_slots_is_open(word) ? LAB_SLOTS_A_WORD - (size_t)__builtin_popcountll(word & UINT32_MAX) : 0;
}

/* Gives the memory of a slab back if its word is `from`; bytes. From LAB_SLAB_ALL_FREE: any thread, at any time. From
 * LAB_SLAB_OPENING, where a frame left it that did not come back: by the cache's only user. A frame that is cut short
 * after its CAS loses at most that block. */
size_t lab_slab_close(struct lab_slab *slab, uint64_t from, struct lab_guard *guard);

#endif
