/* fastpath.c - lab_malloc and lab_free: see fastpath.h, and allocate.c, release.c for the rest. */
#include "alloc/fastpath.h"
#include "alloc/allocate.h"

LAB_EXPORT void *
lab_malloc(size_t size)
{
	return lab_malloc_fast(size);
}

LAB_NOINLINE void *
lab_malloc_slow(size_t size)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	return lab_or_enomem(lab_allocate(&guard, (struct lab_request){size, LAB_ALIGN_DEFAULT, LAB_GFP_KERNEL}));
}

void *
lab_malloc_medium(size_t size)
{
	struct lab_thread *t = &lab_thread;
	uintptr_t word = t->word;
	void *block = NULL;

	if (lab_likely(size <= LAB_SMALL_MAX) && lab_likely(word & LAB_WORD_FAST)) {
		lab_fast_enter(t);
		struct lab_heap *heap = (struct lab_heap *)(word - LAB_WORD_FAST);
		block = lab_pop_and_leave(t, word, heap->bins[lab_class_of(size)].current);
	}
	return lab_likely(block != NULL) ? block : lab_malloc_slow(size);
}

LAB_EXPORT void
lab_free(void *p)
{
	lab_free_fast(p);
}
