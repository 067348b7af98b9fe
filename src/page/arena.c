/* arena.c - see arena.h. */
#include "page/arena.h"
#include "base/check.h"
#include "os/os.h"

uint32_t lab_arena_generation;

struct layout {
	size_t words;                           /* struct lab_arena, owners, hints, committed */
	size_t units, segments, heaps, payload; /* offsets */
	size_t heap_slots, segment_count, total;
};

static size_t
heap_slots_for(size_t size)
{
	size_t slots = size >> 21;

	if (slots < 128)
		slots = 128;
	if (slots > 32768)
		slots = 32768;
	/* INV-UNIT-1 wants the heaps' region smaller than the arena. */
	return slots < size / LAB_HEAP_STRIDE / 2 ? slots : size / LAB_HEAP_STRIDE / 2;
}

static struct layout
layout_of(size_t size, bool with_heaps)
{
	struct layout l = {.segment_count = size >> LAB_SEGMENT_SHIFT};
	size_t bits = (l.segment_count + 63) / 64 * sizeof(uint64_t);

	l.heap_slots = with_heaps ? heap_slots_for(size) : 0;
	l.words = sizeof(struct lab_arena) + l.segment_count * sizeof(uint64_t) + 2 * bits;
	l.units = lab_round_up(l.words, LAB_PAGE_SIZE);
	l.segments = l.units + (size >> LAB_UNIT_SHIFT) * sizeof(struct lab_unit);
	l.segments = lab_round_up(l.segments, LAB_PAGE_SIZE);
	l.heaps = lab_round_up(l.segments + l.segment_count * LAB_SEGMENT_STRIDE, LAB_HEAP_STRIDE);
	l.payload = l.heaps + l.heap_slots * LAB_HEAP_STRIDE;
	/* slack to align the heaps and the payload */
	l.total = l.payload + size + LAB_HEAP_STRIDE + LAB_SEGMENT_SIZE;
	return l;
}

/* Fills in the struct at the start of a fresh reservation; false if that memory cannot be had. */
static bool
lay_out(char *start, const struct layout *l, size_t size)
{
	struct lab_arena *arena = (struct lab_arena *)start;
	size_t words = (l->segment_count + 63) / 64;

	if (!lab_os.protect(start, lab_round_up(l->words, LAB_PAGE_SIZE), LAB_ACCESS_WRITE))
		return false;
	if (!lab_os.protect(start + l->units, l->segments - l->units, LAB_ACCESS_READ))
		return false;
	arena->reservation = start;
	arena->reserved = l->total;
	arena->size = size;
	arena->units = (struct lab_unit *)(start + l->units);
	arena->unit_mask = (size >> LAB_UNIT_SHIFT) - 1;
	arena->segments = start + l->segments;
	arena->heaps = (char *)lab_round_up((uintptr_t)start + l->heaps, LAB_HEAP_STRIDE);
	arena->heap_slots = l->heap_slots;
	arena->segment_count = l->segment_count;
	arena->base = (char *)lab_round_up((uintptr_t)arena->heaps + l->heap_slots * LAB_HEAP_STRIDE, LAB_SEGMENT_SIZE);
	arena->owners = (_Atomic uint64_t *)(arena + 1);
	arena->free_hint = arena->owners + l->segment_count;
	arena->committed = arena->free_hint + words;
	for (size_t i = 0; i < l->segment_count; i += 64)
		lab_store_rlx(&arena->free_hint[i / 64],
		              lab_mask((unsigned)(l->segment_count - i < 64 ? l->segment_count - i : 64)));
	return true;
}

/* The size to ask for first: all of it, unless the address space is limited and others need it as well. */
static size_t
first_size(size_t least)
{
	size_t limit = lab_os_address_space_limit();
	size_t size = LAB_ARENA_SIZE_DEFAULT;

	if (limit != SIZE_MAX)
		while (size > LAB_ARENA_SIZE_MIN && size > limit / 8)
			size /= 2;
	while (size < least && size < ((size_t)1 << 46))
		size *= 2;
	return size;
}

struct lab_arena *
lab_arena_reserve(size_t least, bool with_heaps)
{
	if (least < LAB_ARENA_SIZE_MIN)
		least = LAB_ARENA_SIZE_MIN;
	for (size_t size = first_size(least); size >= least; size /= 2) {
		struct layout l = layout_of(size, with_heaps);
		char *start = lab_os.map(l.total, LAB_ACCESS_NONE);
		if (!start)
			continue;
		if (lay_out(start, &l, size))
			return (struct lab_arena *)start;
		lab_os.unmap(start, l.total);
	}
	return NULL;
}

void
lab_arena_unreserve(struct lab_arena *arena)
{
	lab_os.unmap(arena->reservation, arena->reserved);
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

/* FREE → kind for one segment; INV-SEG-2 for huge ones. */
static enum claim_result
claim_one(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t index)
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
	if (commit(arena, index)) {
		lab_arena_renew(lab_arena_segment(arena, index));
		if (kind != LAB_SEGMENT_HUGE || atomic_load(&lab_arena_segment(arena, index)->purge) == 0)
			return CLAIMED;
		failure = NOT_FREE;
	}
	(void)lab_arena_release(arena, index, mine);
	return failure;
}

/* All or none. */
static enum claim_result
claim_range(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t index, size_t count)
{
	for (size_t done = 0; done < count; done++) {
		enum claim_result result = claim_one(arena, kind, heap_id, index + done);
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

bool
lab_arena_claim_at(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t index, size_t count)
{
	return index + count <= arena->segment_count && claim_range(arena, kind, heap_id, index, count) == CLAIMED;
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

/* The first index from `from` on whose hint is set; segment_count if there is none. */
static size_t
next_free(const struct lab_arena *arena, size_t from)
{
	while (from < arena->segment_count) {
		uint64_t word = lab_load_rlx(&arena->free_hint[from / 64]) & ~lab_mask(from % 64);
		if (word)
			return (from & ~(size_t)63) + lab_ctz(word);
		from = (from | 63) + 1;
	}
	return arena->segment_count;
}

long
lab_arena_claim(struct lab_arena *arena, enum lab_segment_kind kind, uint32_t heap_id, size_t count, size_t align)
{
	size_t index = next_free(arena, 0);

	while (index + count <= arena->segment_count) {
		uintptr_t start = (uintptr_t)lab_arena_payload(arena, index);
		uintptr_t aligned = (start + align - 1) & ~(uintptr_t)(align - 1);
		if (aligned != start) {
			index += (aligned - start) >> LAB_SEGMENT_SHIFT;
			continue;
		}
		size_t length = free_run(arena, index, count);
		enum claim_result result = length == count ? claim_range(arena, kind, heap_id, index, count) : NOT_FREE;
		if (result == CLAIMED)
			return (long)index;
		if (result == NO_MEMORY)
			return LAB_CLAIM_NO_MEMORY;
		index = next_free(arena, index + (length < count ? length + 1 : 1));
	}
	return LAB_CLAIM_NONE_FREE;
}
