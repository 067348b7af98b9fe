/* arena.c - segments: claiming, committing, releasing; see arena.h. */
#include "page/arena.h"
#include "base/check.h"
#include "os/os.h"

uint32_t lab_arena_generation;
_Atomic uint32_t lab_arena_huge_pages = LAB_HUGE_BY_SYSTEM;

void
lab_arena_apply_huge_pages(void *start, size_t size)
{
	enum lab_huge_pages when = (enum lab_huge_pages)lab_load_rlx(&lab_arena_huge_pages);

	if (when != LAB_HUGE_BY_SYSTEM) /* refused: the kernel has none */
		(void)lab_os.huge_pages(start, size, when);
}

bool
lab_arena_renew_pages(void *start, size_t size)
{
	if (!lab_os.renew(start, size))
		return false;
	lab_arena_apply_huge_pages(start, size);
	return true;
}

/* Makes a claimed segment's payload and metadata accessible. Repeatable: a frame cut short leaves work that the next one does. */
static bool
commit(struct lab_arena *arena, size_t index)
{
	struct lab_segment *segment = lab_arena_segment(arena, index);
	char *payload = lab_arena_payload(arena, index);

	if (lab_arena_is_committed(arena, index))
		return true;
	if (!lab_os.protect(lab_arena_unit(arena, payload), LAB_SEGMENT_UNITS * sizeof(struct lab_unit), LAB_ACCESS_WRITE))
		return false;
	if (!lab_os.protect(segment, LAB_SEGMENT_STRIDE, LAB_ACCESS_WRITE))
		return false;
	if (!lab_os.protect(payload, LAB_SEGMENT_SIZE, LAB_ACCESS_WRITE))
		return false;
	segment->base = payload;
	lab_or_acq_rel(&arena->committed[index / 64], UINT64_C(1) << (index % 64));
	return true;
}

void
lab_arena_renew(struct lab_segment *segment)
{
	if (lab_likely(segment->generation == lab_arena_generation))
		return;
	if (lab_os.purge(segment->base, LAB_SEGMENT_SIZE))
		lab_segment_mark_fresh(segment, 0, LAB_SEGMENT_PAGES);
	else
		lab_segment_mark_dirty(segment, 0, LAB_SEGMENT_PAGES);
	lab_poke(&segment->generation, lab_arena_generation); /* read by lab_huge_finish_frees */
}

static void
raise_high_water(struct lab_arena *arena, size_t end)
{
	size_t now = lab_load_rlx(&arena->high_water);

	while (now < end &&
	       !atomic_compare_exchange_weak_explicit(&arena->high_water, &now, end, memory_order_acq_rel, memory_order_relaxed))
		;
}

bool
lab_arena_release(struct lab_arena *arena, size_t index, uint64_t owner)
{
	if (!lab_cas64(&arena->owners[index], owner, lab_owner_make(lab_owner_seq(owner), 0, LAB_SEGMENT_FREE)))
		return false;
	atomic_fetch_or_explicit(&arena->free_hint[index / 64], UINT64_C(1) << (index % 64), memory_order_release);
	return true;
}

enum claim_result {
	CLAIMED,
	NOT_FREE,
	NO_MEMORY,
};

/*
 * INV-ARENA-1, for who has just written an owner word: whether the arena is there, as it was when the segment was looked for. Who is about to
 * retire it has seen the word, or finds here that it is not to be.
 */
static bool
is_held(struct lab_arena *arena, uint64_t where)
{
	for (;;) {
		uint64_t now = atomic_load(&arena->where);
		if (lab_likely(now == where))
			break;
		if (lab_where_state(now) != LAB_ARENA_RETIRING || (now & LAB_ARENA_PLACE) != (where & LAB_ARENA_PLACE))
			return false;
		(void)lab_cas64(&arena->where, now, where);
	}
	if (lab_load_rlx(&arena->idle_since))
		lab_store_rlx(&arena->idle_since, 0);
	return true;
}

/* FREE → kind for one segment; INV-SEG-2 for huge ones. */
static enum claim_result
claim_one(struct lab_arena *arena, uint64_t where, enum lab_segment_kind kind, uint32_t heap_id, size_t index)
{
	_Atomic uint64_t *word = &arena->owners[index];
	uint64_t free = lab_load_rlx(word);
	uint64_t mine = lab_owner_make(lab_owner_seq(free) + 1, heap_id, kind);
	enum claim_result failure = NO_MEMORY;

	/* High water first: the scan that finds a claim cut short looks no further than that. */
	raise_high_water(arena, index + 1);
	if (lab_owner_kind(free) != LAB_SEGMENT_FREE || !lab_cas64(word, free, mine))
		return NOT_FREE;
	atomic_fetch_and_explicit(&arena->free_hint[index / 64], ~(UINT64_C(1) << (index % 64)), memory_order_relaxed);
	if (!is_held(arena, where)) {
		failure = NOT_FREE;
	} else if (commit(arena, index)) {
		lab_arena_renew(lab_arena_segment(arena, index));
		if (kind == LAB_SEGMENT_SMALL)
			lab_segment_settle(lab_arena_segment(arena, index));
		if (kind != LAB_SEGMENT_HUGE || atomic_load(&lab_arena_segment(arena, index)->purge) == 0)
			return CLAIMED;
		failure = NOT_FREE;
	}
	(void)lab_arena_release(arena, index, mine);
	return failure;
}

/* All or none. */
static enum claim_result
claim_range(struct lab_arena *arena, uint64_t where, enum lab_segment_kind kind, uint32_t heap_id, size_t index, size_t count)
{
	for (size_t done = 0; done < count; done++) {
		enum claim_result result = claim_one(arena, where, kind, heap_id, index + done);
		if (result == CLAIMED)
			continue;
		while (done-- > 0) {
			uint64_t owner = lab_load_rlx(&arena->owners[index + done]);
			if (lab_owner_kind(owner) == kind && lab_owner_heap(owner) == heap_id) /* nobody but us, inside this heap */
				(void)lab_arena_release(arena, index + done, owner);
		}
		return result;
	}
	return CLAIMED;
}

/* `where` as it is while the arena is LIVE; 0 if there is nothing to be claimed. */
static uint64_t
usable(const struct lab_arena *arena)
{
	uint64_t where = lab_load_acq(&arena->where); /* pairs with the CAS of lab_arena_settle */

	return lab_where_is_usable(where) ? lab_where_make(where, LAB_ARENA_LIVE, 0) : 0;
}

bool
lab_arena_claim_at(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t index, size_t count)
{
	uint64_t where = usable(arena);

	return index + count <= lab_where_segment_count(where) && claim_range(arena, where, kind, heap_id, index, count) == CLAIMED;
}

/* How many of the `count` segments from index on are free, as far as the hint tells. */
static size_t
free_run(const struct lab_arena *arena, size_t index, size_t count)
{
	size_t length = 0;

	while (length < count && lab_load_rlx(&arena->free_hint[(index + length) / 64]) >> ((index + length) % 64) & 1)
		length++;
	return length;
}

/* The first index from `from` on whose hint is set; `end` or more if there is none. */
static size_t
next_free(const struct lab_arena *arena, size_t from, size_t end)
{
	while (from < end) {
		uint64_t word = lab_load_rlx(&arena->free_hint[from / 64]) & ~lab_mask(from % 64);
		if (word)
			return (from & ~(size_t)63) + lab_ctz(word);
		from = (from | 63) + 1;
	}
	return end;
}

long
lab_arena_claim(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t count, size_t align)
{
	uint64_t where = usable(arena);
	size_t end = lab_where_segment_count(where), index = next_free(arena, 0, end);

	while (index + count <= end && usable(arena) == where) {
		uintptr_t start = (uintptr_t)lab_where_base(where) + (index << LAB_SEGMENT_SHIFT);
		uintptr_t aligned = (start + align - 1) & ~(uintptr_t)(align - 1);
		if (aligned != start) {
			index += (aligned - start) >> LAB_SEGMENT_SHIFT;
			continue;
		}
		size_t length = free_run(arena, index, count);
		enum claim_result result = length == count ? claim_range(arena, where, kind, heap_id, index, count) : NOT_FREE;
		if (result == CLAIMED)
			return (long)index;
		if (result == NO_MEMORY)
			return LAB_CLAIM_NO_MEMORY;
		index = next_free(arena, index + (length < count ? length + 1 : 1), end);
	}
	return LAB_CLAIM_NONE_FREE;
}
