/*
 * huge.c - blocks larger than a segment: runs of whole segments, straight from the arena and straight back. Any thread. What
 * was freed stays as it is, dirty, until it has decayed (purge.h): a loop that allocates and frees such blocks pays no faults.
 */
#include "base/check.h"
#include "heap/heap.h"
#include "os/os.h"
#include "page/map.h"

#define HUGE_MAX ((size_t)1 << 46)
#define ASK_FROM ((size_t)1 << 30)

static size_t
segments_for(size_t size)
{
	return (size + LAB_SEGMENT_SIZE - 1) >> LAB_SEGMENT_SHIFT;
}

static bool
is_fresh(const struct lab_arena *arena, size_t index, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!lab_segment_is_fresh(lab_arena_segment(arena, index + i), 0, LAB_SEGMENT_PAGES))
			return false;
	return true;
}

static void *
publish(struct lab_arena *arena, size_t index, size_t size, bool *fresh)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];

	*fresh = is_fresh(arena, index, segments_for(size));
	lab_store_rlx(&run->pages, (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT);
	lab_store_rel(&run->state, LAB_RUN_LIVE); /* last: until then the heap's scan takes the segments for orphans */
	return lab_arena_payload(arena, index);
}

void *
lab_huge_alloc(struct lab_heap *heap, size_t size, size_t align, bool *fresh)
{
	struct lab_arena *arena;
	size_t i = 0;

	if (align < LAB_SEGMENT_SIZE)
		align = LAB_SEGMENT_SIZE;
	if (size == 0)
		size = 1;
	if (size > HUGE_MAX || align > HUGE_MAX)
		return NULL; /* more than any address space here: do not try */
	if (size >= ASK_FROM && !lab_os.may_commit(size))
		return NULL; /* as the kernel would answer a program that maps it: arenas are not charged when they are reserved */
	size_t count = segments_for(size);
	do {
		for (; (arena = lab_map_arena(i)) != NULL; i++) {
			long index = lab_arena_claim(arena, LAB_SEGMENT_HUGE, heap->id, count, align);
			if (index >= 0)
				return publish(arena, (size_t)index, size, fresh);
		}
	} while (lab_map_grow(size + align));
	return NULL;
}

/* Marks what the block used of one segment and lets the segment go, if it is still as the block has it. */
static void
release(struct lab_arena *arena, size_t index, size_t used_pages)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	uint64_t owner = lab_load_rlx(&arena->owners[index]);

	lab_segment_mark_dirty(segment, 0, used_pages);
	lab_store_rlx(&segment->stamp, lab_os.clock_ms());
	if (lab_owner_kind(owner) == LAB_SEGMENT_HUGE)
		(void)lab_arena_release(arena, index, owner);
}

/* Lets go of the segments from `keep` on, the last first: the length that is stored says what is still held. */
static void
release_tail(struct lab_arena *arena, size_t index, struct lab_run *run, size_t keep)
{
	size_t pages = lab_load_rlx(&run->pages);

	for (size_t i = segments_for(pages << LAB_PAGE_SHIFT); i-- > keep;) {
		size_t before = i * LAB_SEGMENT_PAGES;
		if (i > 0)
			lab_store_rel(&run->pages, before);
		release(arena, index + i, pages - before);
		pages = before;
	}
}

void
lab_huge_free(struct lab_arena *arena, size_t index)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];

	release_tail(arena, index, run, 1);
	lab_store_rel(&run->state, LAB_RUN_DEAD);
	release(arena, index, lab_load_rlx(&run->pages));
}

bool
lab_huge_resize(struct lab_arena *arena, size_t index, size_t size)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	size_t pages = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;
	size_t old = lab_load_rlx(&run->pages);
	size_t have = segments_for(old << LAB_PAGE_SHIFT), want = segments_for(size);
	uint32_t heap_id = lab_owner_heap(lab_load_rlx(&arena->owners[index]));

	if (want > have && !lab_arena_claim_at(arena, LAB_SEGMENT_HUGE, heap_id, index + have, want - have))
		return false;
	if (want < have)
		release_tail(arena, index, run, want);
	if (pages < old) /* the end of the last segment is given up with it: it may be dirty */
		lab_segment_mark_dirty(lab_arena_segment(arena, index + want - 1), 0, LAB_SEGMENT_PAGES);
	lab_store_rel(&run->pages, pages);
	return true;
}
