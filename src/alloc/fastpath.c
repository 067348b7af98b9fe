/* fastpath.c - lab_malloc and lab_free: see fastpath.h, and allocate.c, release.c for the rest. */
#include "alloc/fastpath.h"
#include "alloc/allocate.h"
#include "alloc/checks.h"
#include "reserve/reserve.h"

LAB_EXPORT void *
lab_malloc(size_t size)
{
	return lab_malloc_fast(size);
}

LAB_NOINLINE void *
lab_malloc_slow(size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	return lab_or_enomem(lab_allocate_block(&guard, (struct lab_request){size, LAB_ALIGN_DEFAULT, LAB_GFP_KERNEL}));
}

/* A small block where bytes are counted. What is left to the slow path is not counted here. A frame that is cut short
 * has counted a block that nobody got. */
static inline void *
malloc_counted_try(size_t size, bool is_direct)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	void *block = NULL;

	if (lab_unlikely(!(word & LAB_WORD_COUNTED)))
		return NULL;
	lab_fast_enter(t);
	struct lab_heap *heap = (struct lab_heap *)(word - LAB_WORD_COUNTED);
	if (lab_likely(lab_sampler_pass(&heap->sampler, size)))
		block = lab_pop(is_direct ? lab_peek(&heap->direct[(size + 15) / 16])
		                          : lab_peek(&heap->bins[lab_class_of(size)].current));
	if (lab_unlikely(!block))
		lab_sampler_undo(&heap->sampler, size);
	lab_fast_leave(t, word);
	return block;
}

void *
lab_malloc_counted_try(size_t size)
{
	return malloc_counted_try(size, true);
}

void *
lab_malloc_counted(size_t size)
{
	void *block = malloc_counted_try(size, true);

	return lab_likely(block != NULL) ? block : lab_malloc_slow(size);
}

static LAB_NOINLINE void *
malloc_medium_counted(size_t size)
{
	void *block = size <= LAB_SMALL_MAX ? malloc_counted_try(size, false) : NULL;

	return block ? block : lab_malloc_slow(size);
}

void *
lab_malloc_medium(size_t size)
{
	void *block = lab_likely(size <= LAB_SMALL_MAX) ? lab_malloc_try_small(size) : NULL;

	return lab_likely(block != NULL) ? block : malloc_medium_counted(size);
}

/*
 * A block of another heap's span goes into the outbox of this thread's, inside the guard of the fast paths: one store
 * commits, and neither the lease nor another word that threads share is touched. It reads the span without a right to
 * it, as lab_release does: p is a block in use, so that what it reads of it does not change.
 */
LAB_NOINLINE void
lab_free_foreign(void *p, struct lab_unit *span)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	struct lab_heap *heap = (struct lab_heap *)(word - LAB_WORD_FAST);

	if (lab_unlikely(lab_reserve_contains(p))) { /* first: the atomic tier's free is to be short */
		lab_release_slot(p, "free");
		return;
	}
	if (lab_likely(word & LAB_WORD_FAST) && lab_likely(lab_unit_is_block(span, p)) &&
	    lab_likely(lab_unit_heap(span) != heap)) {
		lab_fast_enter(t);
		enum lab_put_result result = lab_outbox_put(&heap->outbox, p, span->size);
		lab_fast_leave(t, word);
		if (lab_likely(result == LAB_PUT_DONE))
			return;
	}
	lab_free_slow(p);
}

LAB_EXPORT void
lab_free(void *p)
{
	lab_free_fast(p);
}
