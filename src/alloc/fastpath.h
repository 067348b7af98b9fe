/*
 * fastpath.h - malloc and free as they nearly always run: a test, a guard of two stores around the one store that
 * commits, and a jump to the slow path, which does everything again from the start if anything at all is unusual. Any
 * context.
 *
 * They are inline because they exist twice: as lab_malloc and lab_free, and under libc's names in preload/.
 * Instruction budget for the pair: 45 (bench/instructions.sh). Read docs/architecture.md before you change this file.
 */
#ifndef LAB_ALLOC_FASTPATH_H
#define LAB_ALLOC_FASTPATH_H

#include "alloc/release.h"
#include "heap/outbox.h"
#include "heap/thread.h"
#include "page/map.h"

/* Everything that the fast paths do not do. */
void *lab_malloc_slow(size_t size) LAB_HIDDEN;
/* malloc's fast path for sizes above LAB_DIRECT_MAX, up to LAB_SMALL_MAX, whose class is to be computed; else
 * lab_malloc_slow. */
void *lab_malloc_medium(size_t size) LAB_HIDDEN;
/* The free of what is no block of this thread's heap, `span` being p's unit: into the outbox if it is another heap's;
 * else lab_free_slow. */
void lab_free_foreign(void *p, struct lab_unit *span) LAB_HIDDEN;
/* malloc's fast path where bytes are counted for the heap profile (LAB_WORD_COUNTED), up to LAB_DIRECT_MAX bytes. NULL:
 * lab_malloc_slow is to be called, which counts as well. */
void *lab_malloc_counted_try(size_t size) LAB_HIDDEN;
/* lab_malloc_counted_try, then lab_malloc_slow. */
void *lab_malloc_counted(size_t size) LAB_HIDDEN;

/*
 * The guard. LAB_GUARD is 1: a build without (meson's -Dguard=false) is not signal-safe, and is there to measure what
 * the guard costs (bench/guard.py). The test of the word stays, and so does the guard of the slow paths (lab_enter).
 */
static inline void
lab_fast_enter(struct lab_thread *t)
{
	if (LAB_GUARD)
		lab_store_stack_pointer(&t->word);
}

static inline void
lab_fast_leave(struct lab_thread *t, uintptr_t word)
{
	if (LAB_GUARD) {
		lab_compiler_barrier();
		lab_poke_for_fence(&t->word, word);
	}
}

/* Takes a block of the span, inside the guard; NULL if the span has none, or its list is damaged. */
static inline void *
lab_pop(struct lab_unit *span)
{
	uint32_t freelist_state = lab_peek_dependent(&span->freelist_state);
	uint32_t head = lab_freelist_head(freelist_state);
	char *block = NULL;

	if (lab_likely(lab_unit_has_free(span, head))) {
		block = lab_unit_block(span, head);
		lab_poke_commit(&span->freelist_state, lab_insert16(freelist_state, lab_block_link(block)) +
		                                               LAB_FREELIST_USED_ONE); /* commit */
	}
	return block;
}

static inline void *
lab_pop_and_leave(struct lab_thread *t, uintptr_t word, struct lab_unit *span)
{
	void *block = lab_pop(span);

	lab_fast_leave(t, word);
	return block;
}

/* A block of at most LAB_DIRECT_MAX bytes, by a thread whose word is idle with this tag; NULL if there is none. */
static inline void *
lab_malloc_idle(struct lab_thread *t, uintptr_t word, uintptr_t tag, size_t size)
{
	lab_fast_enter(t); /* nothing of the heap is read before this */

	struct lab_heap *heap = (struct lab_heap *)(word - tag);
	return lab_pop_and_leave(t, word, lab_peek(&heap->direct[(size + 15) / 16]));
}

/* A block of at most LAB_DIRECT_MAX bytes if it can be had at once, else NULL. The tag is an idle word's: that is
 * LAB_WORD_FAST, or LAB_WORD_SLOW for what stands in front of the allocator while all calls are slow (checked.c). */
static inline void *
lab_malloc_try_tagged(size_t size, uintptr_t tag)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;

	return lab_likely(word & tag) ? lab_malloc_idle(t, word, tag, size) : NULL;
}

static inline void *
lab_malloc_try(size_t size)
{
	return lab_malloc_try_tagged(size, LAB_WORD_FAST);
}

/* The same up to LAB_SMALL_MAX bytes: the class is computed. */
static inline void *
lab_malloc_try_small(size_t size)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;

	if (lab_unlikely(!(word & LAB_WORD_FAST)))
		return NULL;
	lab_fast_enter(t);
	struct lab_heap *heap = (struct lab_heap *)(word - LAB_WORD_FAST);
	return lab_pop_and_leave(t, word, lab_peek(&heap->bins[lab_class_of(size)].current));
}

static inline void *
lab_malloc_fast(size_t size)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;

	if (lab_unlikely(size > LAB_DIRECT_MAX))
		return lab_malloc_medium(size);
	if (lab_unlikely(!(word & LAB_WORD_FAST)))
		return lab_malloc_counted(size);
	void *block = lab_malloc_idle(t, word, LAB_WORD_FAST, size);
	return lab_likely(block != NULL) ? block : lab_malloc_slow(size);
}

/* Whether a free was done: else nothing was. */
enum lab_freed {
	LAB_FREED_FAST,
	LAB_FREED_NOT_OWN, /* no block that this thread can free at once, or none at all */
	LAB_FREED_NOT,     /* the slow path is to do it */
};

/* A word whose tag is not the span's makes the offset wrong by 2^63 or by an odd number, as INV-UNIT-1 says of words
 * that are not idle. */
static inline enum lab_freed
lab_free_try_tagged(void *p, uintptr_t tag)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	struct lab_unit *span = lab_map_unit(p);

	/* One comparison: ours, idle, the start of a carved block of an open span (INV-UNIT-1, -2). NULL never is. */
	uint64_t offset = (uintptr_t)p + (word - tag + LAB_WORD_FAST) - lab_peek(&span->owner_key);
	uint64_t number = lab_unit_block_number(offset, lab_peek(&span->inverse), span->shift);
	if (lab_unlikely(number >= lab_peek(&span->carved)))
		return LAB_FREED_NOT_OWN;
	lab_fast_enter(t);

	uint32_t freelist_state = lab_peek_dependent(&span->freelist_state);
	bool is_head = lab_freelist_head(freelist_state) == (uint16_t)number; /* freed just before */
	if (lab_unlikely(is_head) ||
	    lab_unlikely(__builtin_sub_overflow(freelist_state, LAB_FREELIST_USED_ONE, &freelist_state))) {
		lab_fast_leave(t, word); /* nothing was written: the block may be in the list */
		return LAB_FREED_NOT;
	}
	lab_poke((uint16_t *)p, lab_freelist_head(freelist_state)); /* the subtraction has left the head alone */
	lab_compiler_barrier();
	lab_poke_commit(&span->freelist_state, lab_insert16(freelist_state, (uint16_t)number)); /* commit */

	lab_fast_leave(t, word);
	return LAB_FREED_FAST;
}

static inline void
lab_free_fast(void *p)
{
	enum lab_freed freed = lab_free_try_tagged(p, LAB_WORD_FAST);

	if (lab_unlikely(freed == LAB_FREED_NOT_OWN))
		lab_free_foreign(p, lab_map_unit(p));
	else if (lab_unlikely(freed != LAB_FREED_FAST))
		lab_free_slow(p);
}

#endif
