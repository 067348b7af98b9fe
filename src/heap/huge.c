/*
 * huge.c - blocks larger than a segment: runs of whole segments, straight from the arena and straight back. What
 * was freed stays as it is, dirty, until it has decayed (purge.h): a loop that allocates and frees such blocks pays no faults.
 */
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/walk.h"

#define HUGE_MAX ((size_t)1 << 46)
#define ASK_FROM ((size_t)1 << 30)

/* In a FREEING state, above the marks: how often it was taken over, so that no value occurs twice in a block's life. */
#define TAKEN_OVER (UINT64_C(1) << 36)

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

/* Lets go of segments that were just claimed, untouched. */
static void
unclaim(struct lab_arena *arena, size_t index, size_t count)
{
	while (count-- > 0)
		(void)lab_arena_release(arena, index + count, lab_load_acq(&arena->owners[index + count]));
}

/* Of the last segment, what the block does not use: it may be dirty, and nobody else can give it back while the block lives. */
static void
purge_tail(struct lab_arena *arena, size_t index, size_t pages)
{
	struct lab_segment *last = lab_arena_segment(arena, index + (pages - 1) / LAB_SEGMENT_PAGES);
	size_t used = (pages - 1) % LAB_SEGMENT_PAGES + 1, rest = LAB_SEGMENT_PAGES - used;

	if (lab_segment_is_fresh(last, used, rest))
		return;
	if (lab_os.purge(last->base + used * LAB_PAGE_SIZE, rest * LAB_PAGE_SIZE))
		lab_segment_mark_fresh(last, used, rest);
}

static void *
charge_and_publish(struct lab_heap *heap, struct lab_arena *arena, size_t index, size_t size, bool *fresh)
{
	size_t pages = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	if (lab_charge_is_limited() && !lab_charge(lab_charge_count_clean_from(arena, index, 0, pages), false)) {
		unclaim(arena, index, segments_for(size));
		heap->over_limit = true;
		return NULL;
	}
	if (lab_charge_is_limited())
		purge_tail(arena, index, pages);
	return publish(arena, index, size, fresh);
}

void *
lab_huge_alloc_owned(struct lab_heap *heap, size_t size, size_t align, bool *fresh)
{
	struct lab_arena *arena;

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
		for (size_t i = 0; (arena = lab_map_arena(i)) != NULL; i++) {
			long index = lab_arena_claim(arena, LAB_SEGMENT_HUGE, heap->id, count, align);
			if (index >= 0)
				return charge_and_publish(heap, arena, (size_t)index, size, fresh);
			if (index == LAB_CLAIM_NO_MEMORY)
				return NULL;
		}
	} while (lab_map_grow(size + align));
	return NULL;
}

/* Marks what the block used of a segment, and reads the owner word, while the block still covers it: once it does not, a scan may
 * free the segment and another claim it. */
static uint64_t
prepare_release(struct lab_arena *arena, size_t index, size_t pages)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);

	lab_segment_mark_dirty(segment, 0, pages);
	return lab_load_acq(&arena->owners[index]);
}

/* Lets go of the segments from `keep` on, the last first: the length that is stored says what is still held. */
static void
release_tail(struct lab_arena *arena, size_t index, struct lab_run *run, size_t keep)
{
	size_t pages = lab_load_rlx(&run->pages);

	for (size_t i = segments_for(pages << LAB_PAGE_SHIFT); i-- > keep;) {
		size_t before = i * LAB_SEGMENT_PAGES;
		uint64_t owner = prepare_release(arena, index + i, pages - before);
		lab_store_rel(&run->pages, before);
		(void)lab_arena_release(arena, index + i, owner); /* fails if a scan has it already */
		pages = before;
	}
}

void
lab_huge_free(struct lab_arena *arena, size_t index)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];

	release_tail(arena, index, run, 1);
	uint64_t owner = prepare_release(arena, index, lab_load_rlx(&run->pages));
	lab_store_rel(&run->state, LAB_RUN_DEAD);
	(void)lab_arena_release(arena, index, owner);
	lab_purge_note();
}

enum lab_move
lab_huge_move(char *from, char *to)
{
	struct lab_arena *arena = lab_map_find_arena(to);
	struct lab_segment *segment = lab_arena_segment(arena, lab_arena_index_of(arena, to));

	lab_store_rlx(&segment->displaced, true); /* first: INV-PAGE-5 */
	return lab_os.move(from, to, LAB_SEGMENT_SIZE);
}

/* The lost segment becomes a block of its own that is for ever being freed: the scan takes it for covered, and no claim gets it. */
void
lab_huge_abandon(struct lab_arena *arena, size_t index, size_t lost)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	struct lab_segment *segment = lab_arena_segment(arena, index + lost);

	release_tail(arena, index, run, lost + 1);
	lab_segment_mark_fresh(segment, 0, LAB_SEGMENT_PAGES); /* whatever is there, nobody is to give it back */
	lab_store_rlx(&segment->runs[0].pages, 1);
	lab_store_rel(&segment->runs[0].state, LAB_RUN_FREEING);
	if (lost > 0) {
		lab_store_rel(&run->pages, lost * LAB_SEGMENT_PAGES);
		lab_huge_free(arena, index);
	}
}

/* ---- frees that a thread's death has cut short ------------------------------------------------------------------------------------- */

/*
 * FREEING{the dead} → FREEING{us}. The state lies between two looks at the owner word of one claim: so it is no later block's, whose freer is
 * alive and has the same id. Where the second look says that it is, he goes on all the same: nobody asks again who he is.
 */
static bool
take_over(struct lab_arena *arena, size_t index, uint64_t owner)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	uint64_t state = lab_load_acq(&run->state); /* pairs with the CAS of who began: what the block was made of */
	uint64_t ours = (state & ~(uint64_t)UINT32_MAX) + TAKEN_OVER + ((uint64_t)lab_thread_tid() << 2 | LAB_RUN_FREEING);

	uint32_t freer = lab_state_owner(state); /* 0: an abandoned segment */

	if ((state & 3) != LAB_RUN_FREEING || freer == 0 || !lab_os.thread_is_dead(freer))
		return false;
	atomic_thread_fence(memory_order_seq_cst); /* the proof comes between the look and the CAS */
	return lab_cas64(&run->state, state, ours) && lab_load_acq(&arena->owners[index]) == owner;
}

/* From where he was: the length that is stored. Pages that were marked stay lost if the kernel does not renew them: INV-EXCL-2. */
static void
go_on_freeing(struct lab_arena *arena, size_t index)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	size_t size = lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT;

	if (!(lab_load_rlx(&run->state) & LAB_EXCLUSIVE_MARKS) || lab_arena_renew_pages(lab_arena_payload(arena, index), size))
		lab_huge_free(arena, index);
}

/*
 * Returns how many segments to go on by. What was copied by a fork is left: its words may be of different moments of a free. An
 * interior segment's state is DEAD.
 */
static size_t
finish_at(struct lab_arena *arena, size_t index)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	uint64_t owner = lab_load_acq(&arena->owners[index]);

	if (lab_owner_kind(owner) != LAB_SEGMENT_HUGE || !lab_arena_is_committed(arena, index) ||
	    lab_load_acq(&segment->runs[0].state) == LAB_RUN_DEAD)
		return 1;
	size_t length = segments_for(lab_load_rlx(&segment->runs[0].pages) << LAB_PAGE_SHIFT);
	if (lab_peek(&segment->generation) == lab_arena_generation && take_over(arena, index, owner))
		go_on_freeing(arena, index);
	return length ? length : 1;
}

void
lab_huge_finish_frees(void)
{
	struct lab_arena *arena;
	struct lab_walk walk;

	if (lab_registry_is_forked() || lab_registry_is_outside())
		return;
	lab_walk_begin(&walk);
	for (size_t i = 0; (arena = lab_walk_arena(&walk, i)) != NULL; i++) {
		size_t end = lab_load_acq(&arena->high_water);
		for (size_t index = 0; index < end;)
			index += finish_at(arena, index);
	}
	lab_walk_end(&walk);
}

/* ---- in place -------------------------------------------------------------------------------------------------------------------- */

bool
lab_huge_shrink(struct lab_arena *arena, size_t index, size_t size)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	size_t pages = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	if (pages > lab_load_rlx(&run->pages))
		return false;
	release_tail(arena, index, run, segments_for(size));
	/* what was the block's of the last segment is given up with it: it may be dirty */
	size_t before = (segments_for(size) - 1) * LAB_SEGMENT_PAGES;
	lab_segment_mark_dirty(lab_arena_segment(arena, index + segments_for(size) - 1), 0, lab_load_rlx(&run->pages) - before);
	lab_store_rel(&run->pages, pages);
	lab_purge_note();
	return true;
}

bool
lab_huge_grow_owned(struct lab_heap *heap, struct lab_arena *arena, size_t index, size_t size)
{
	struct lab_run *run = &lab_arena_segment(arena, index)->runs[0];
	size_t old = lab_load_rlx(&run->pages), pages = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;
	size_t have = segments_for(old << LAB_PAGE_SHIFT), want = segments_for(size);

	if (lab_owner_heap(lab_load_rlx(&arena->owners[index])) != heap->id)
		return false;
	if (want > have && !lab_arena_claim_at(arena, LAB_SEGMENT_HUGE, heap->id, index + have, want - have))
		return false;
	if (lab_charge_is_limited() && !lab_charge(lab_charge_count_clean_from(arena, index, old, pages - old), false)) {
		unclaim(arena, index + have, want - have);
		return false;
	}
	lab_store_rel(&run->pages, pages);
	return true;
}
