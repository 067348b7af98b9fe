/*
 * huge.c - allocates and resizes blocks larger than a segment (page/huge.h), and finishes frees that were cut short.
 * They are no heap's: the heap that the caller is inside says how the allocation failed. What was freed stays mapped
 * until it has decayed (purge.h): a loop that allocates and frees such blocks pays no faults.
 */
#include "page/huge.h"
#include "base/check.h"
#include "heap/current.h"
#include "heap/exclusive.h"
#include "heap/heap.h"
#include "heap/huge.h"
#include "heap/registry.h"
#include "heap/run.h"
#include "os/os.h"
#include "page/pending.h"
#include "page/space.h"

static size_t
pages_for(size_t size)
{
	return size ? (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT : 1;
}

/*
 * A mapping that was freed, if one fits or can be made to, else a new one. Before a new one is mapped, as many pages of
 * the others go back: so what is cached does not pile up where a block is never as long when it is allocated as when it
 * is freed.
 */
static struct lab_huge *
allocate(struct lab_heap *heap, size_t pages, size_t align)
{
	struct lab_huge *huge = lab_huge_reuse(pages, align, &heap->over_limit);

	if (!huge && !heap->over_limit && align == LAB_PAGE_SIZE)
		huge = lab_huge_remake(pages, &heap->over_limit);
	if (huge || heap->over_limit)
		return huge;
	if (!lab_load_rlx(&lab_purge_is_held))
		(void)lab_huge_purge(pages);
	huge = lab_huge_map(pages, align, &heap->over_limit);
	if (huge || heap->over_limit)
		return huge;
	lab_heap_make_room_owned(heap);
	return lab_huge_map(pages, align, &heap->over_limit);
}

void *
lab_huge_alloc_owned(struct lab_heap *heap, size_t size, size_t align, bool *fresh)
{
	if (align < LAB_PAGE_SIZE)
		align = LAB_PAGE_SIZE;
	if (size > LAB_HUGE_MAX || align > LAB_HUGE_MAX)
		return NULL; /* more than any address space here: do not try */
	struct lab_huge *huge = allocate(heap, pages_for(size), align);
	if (!huge)
		return NULL;
	*fresh = lab_load_rlx(&huge->dirty) == 0;
	return lab_load_rlx(&huge->base);
}

void *
lab_huge_resize(struct lab_huge *huge, size_t size)
{
	size_t pages = pages_for(size);

	lab_assert(lab_huge_kind(huge) == LAB_HUGE_LIVE);
	if (pages > lab_load_rlx(&huge->run.pages))
		return size > LAB_HUGE_MAX ? NULL : lab_huge_extend(huge, pages);
	lab_huge_shrink(huge, pages);
	lab_purge_note();
	return lab_load_rlx(&huge->base);
}

/* ---- frees that a thread's death, or a fork, has cut short ----------------------------------------------------- */

/* From where the other was; it is FREEING, by us. Pages that were marked stay lost if the kernel does not renew them:
 * INV-EXCL-2. */
static void
go_on_freeing(struct lab_huge *huge)
{
	size_t size = lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT;

	if (!(lab_load_rlx(&huge->run.state) & LAB_EXCLUSIVE_MARKS) ||
	    lab_space_renew_pages(lab_load_rlx(&huge->base), size))
		lab_huge_free(huge);
}

void
lab_huge_finish_frees(void)
{
	struct lab_huge *huge;

	if (lab_registry_is_forked())
		return;
	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		uint64_t state = lab_load_acq(
		        &huge->run.state); /* pairs with the CAS of who began: what the block was made of */
		if (lab_huge_kind_of(state) != LAB_HUGE_FREEING)
			continue;
		if (lab_registry_in_shared_memory_child())
			return;
		uint64_t mine = lab_lease_next(state, lab_current_tid(), lab_lease_tag(state));
		if (lab_lease_win(&huge->run.state, state, mine, lab_os.thread_is_dead))
			go_on_freeing(huge);
	}
}
