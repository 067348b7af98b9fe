/*
 * huge.c - blocks larger than a segment: mappings that page/huge.h keeps. They are no heap's: a heap is entered to allocate one only so that a frame that is
 * cut short leaves what it holds where it is found. What was freed stays mapped until it has decayed (purge.h): a loop that allocates and frees such
 * blocks pays no faults.
 */
#include "page/huge.h"
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"

static size_t
pages_for(size_t size)
{
	return size ? (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT : 1;
}

/*
 * One that was freed, if it fits, else a new one. Before that as much goes of those that do not fit: so what is kept does not pile up where a block is never
 * as long when it is allocated as when it is freed.
 */
static struct lab_huge *
hold_mapping(struct lab_heap *heap, size_t pages, size_t align)
{
	struct lab_huge_hand *hand = &heap->purge.hand;
	uint32_t tid = lab_thread_tid();
	struct lab_huge *huge = lab_huge_take(pages, align, tid, hand);

	if (huge)
		return huge;
	if (!lab_load_rlx(&lab_purge_is_held))
		(void)lab_purge_huge(&heap->purge, true, pages, tid);
	huge = lab_huge_map(pages, align, hand);
	if (huge)
		return huge;
	lab_heap_make_room_owned(heap);
	return lab_huge_map(pages, align, hand);
}

void *
lab_huge_alloc_owned(struct lab_heap *heap, size_t size, size_t align, bool *fresh)
{
	size_t pages = pages_for(size);

	if (align < LAB_PAGE_SIZE)
		align = LAB_PAGE_SIZE;
	if (size > LAB_HUGE_MAX || align > LAB_HUGE_MAX)
		return NULL; /* more than any address space here: do not try */
	struct lab_huge *huge = hold_mapping(heap, pages, align);
	if (!huge)
		return NULL;
	*fresh = lab_load_rlx(&huge->dirty) == 0;
	if (lab_charge_is_limited() && !lab_charge(lab_huge_added(huge, pages), false)) {
		heap->over_limit = true;
		if (*fresh)
			(void)lab_huge_unmap(huge, &heap->purge.hand);
		else
			lab_huge_put_back(&heap->purge.hand);
		return NULL;
	}
	return lab_huge_publish(huge, pages, &heap->purge.hand);
}

void *
lab_huge_resize(struct lab_huge *huge, size_t size)
{
	size_t old = lab_load_rlx(&huge->run.pages), pages = pages_for(size);

	lab_assert(lab_huge_kind(huge) == LAB_HUGE_LIVE);
	if (pages <= old) {
		lab_huge_shrink(huge, pages);
		lab_purge_note();
		return lab_load_rlx(&huge->base);
	}
	size_t counted = lab_load_rlx(&huge->dirty);
	if (counted < old)
		counted = old;
	if (size > LAB_HUGE_MAX || (lab_charge_is_limited() && !lab_charge(pages > counted ? pages - counted : 0, false)))
		return NULL;
	return lab_huge_extend(huge, pages);
}

/* ---- frees that a thread's death, or a fork, has cut short -------------------------------------------------------------------------- */

/* From where the other was; it is FREEING, by us. Pages that were marked stay lost if the kernel does not renew them: INV-EXCL-2. */
static void
go_on_freeing(struct lab_huge *huge)
{
	size_t size = lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT;

	if (!(lab_load_rlx(&huge->run.state) & LAB_EXCLUSIVE_MARKS) || lab_space_renew_pages(lab_load_rlx(&huge->base), size))
		lab_huge_free(huge);
}

void
lab_huge_finish_frees(void)
{
	struct lab_huge *huge;

	if (lab_registry_is_forked() || lab_registry_is_outside())
		return;
	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		uint64_t state = lab_load_acq(&huge->run.state); /* pairs with the CAS of who began: what the block was made of */
		if (lab_huge_kind_of(state) != LAB_HUGE_FREEING)
			continue;
		uint64_t mine = lab_lease_next(state, lab_thread_tid(), lab_lease_tag(state));
		if (lab_lease_win(&huge->run.state, state, mine, lab_os.thread_is_dead))
			go_on_freeing(huge);
	}
}
