/* range.c - address space: reserving and unmapping ranges, and making seats for them; see arena.h. Any context. */
#include "os/os.h"
#include "page/arena.h"

#define TOKEN_SIZE LAB_PAGE_SIZE

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

static size_t
metadata_size(size_t size)
{
	return (size >> LAB_UNIT_SHIFT) * sizeof(struct lab_unit) + (size >> LAB_SEGMENT_SHIFT) * LAB_SEGMENT_STRIDE;
}

/* The struct and its words, in whole pages. */
static size_t
seat_size(size_t segments)
{
	size_t bits = (segments + 63) / 64 * sizeof(uint64_t);

	return lab_round_up(sizeof(struct lab_arena) + segments * sizeof(uint64_t) + 2 * bits, LAB_PAGE_SIZE);
}

/* An address where the payload can begin, with metadata before it, in what was mapped at `start`. */
static uint64_t
place_at(uintptr_t start, size_t size)
{
	uintptr_t base = lab_round_up(start + metadata_size(size), LAB_SEGMENT_SIZE);

	return lab_where_make((uint64_t)(lab_log2(size) - 20) << 35 | base >> LAB_SEGMENT_SHIFT, LAB_ARENA_LIVE, 0);
}

static bool
open_units(uint64_t where)
{
	size_t size = (lab_where_size(where) >> LAB_UNIT_SHIFT) * sizeof(struct lab_unit);

	return lab_os.protect(lab_where_units(where), size, LAB_ACCESS_READ);
}

/* Fills in the struct in a fresh mapping whose first pages are its and its words'; false if they cannot be had. */
static bool
make_words(void *start, size_t segments)
{
	struct lab_arena *arena = start;

	if (!lab_os.protect(start, seat_size(segments), LAB_ACCESS_WRITE))
		return false;
	arena->reservation = start;
	arena->capacity = segments;
	arena->owners = (_Atomic uint64_t *)(arena + 1);
	arena->free_hint = arena->owners + segments;
	arena->committed = arena->free_hint + (segments + 63) / 64;
	for (size_t i = 0; i < (segments + 63) / 64; i++)
		lab_store_rlx(&arena->free_hint[i], ~UINT64_C(0));
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

/* The first arena: all in one mapping. */
static struct lab_arena *
reserve_with_heaps(size_t size)
{
	size_t seat = seat_size(size >> LAB_SEGMENT_SHIFT), heaps = heap_slots_for(size) * LAB_HEAP_STRIDE;
	size_t total = seat + LAB_HEAP_STRIDE + heaps + metadata_size(size) + LAB_SEGMENT_SIZE + size;
	char *start = lab_os.map(total, LAB_ACCESS_NONE);
	struct lab_arena *arena = (struct lab_arena *)start;

	if (!start)
		return NULL;
	uintptr_t first_heap = lab_round_up((uintptr_t)start + seat, LAB_HEAP_STRIDE);
	uint64_t where = place_at(first_heap + heaps, size);
	if (!make_words(start, size >> LAB_SEGMENT_SHIFT) || !open_units(where)) {
		lab_os.unmap(start, total);
		return NULL;
	}
	lab_arena_apply_huge_pages(lab_where_base(where), size);
	arena->reserved = total;
	arena->heaps = (char *)first_heap;
	arena->heap_slots = heaps / LAB_HEAP_STRIDE;
	lab_store_rlx(&arena->where, where);
	return arena;
}

/*
 * A range ends in a page at either side that holds a token, a value that no other range has: a half of the range is unmapped together with its
 * page. So it can be told whether a party that was cut short had unmapped it, whatever has come to that address since.
 */
static _Atomic uint64_t tokens_made;

static uint64_t *
metadata_token(uint64_t where)
{
	return (uint64_t *)((char *)lab_where_units(where) - TOKEN_SIZE);
}

static uint64_t *
payload_token(uint64_t where)
{
	return (uint64_t *)(lab_where_base(where) + lab_where_size(where));
}

static bool
write_tokens(uint64_t where)
{
	uint64_t *low = metadata_token(where), *high = payload_token(where);

	if (!lab_os.protect(low, TOKEN_SIZE, LAB_ACCESS_WRITE) || !lab_os.protect(high, TOKEN_SIZE, LAB_ACCESS_WRITE))
		return false;
	*low = *high = (lab_add_rlx(&tokens_made, 1) + 1) * UINT64_C(0x9e3779b97f4a7c15); /* by an odd number: a bijection */
	return true;
}

/* Keeps what the range needs of a mapping, and makes it a range. 0: it cannot be; all of it is given back. */
static uint64_t
carve_range(char *start, size_t total, size_t size)
{
	uint64_t where = place_at((uintptr_t)start + TOKEN_SIZE, size);
	char *low = (char *)metadata_token(where), *high = (char *)payload_token(where) + TOKEN_SIZE;

	if (!open_units(where) || !write_tokens(where)) {
		lab_os.unmap(start, total);
		return 0;
	}
	if (low > start)
		lab_os.unmap(start, (size_t)(low - start));
	if (start + total > high)
		lab_os.unmap(high, (size_t)(start + total - high));
	lab_arena_apply_huge_pages(lab_where_base(where), size);
	return where;
}

uint64_t
lab_range_reserve(size_t least)
{
	if (least < LAB_ARENA_SIZE_MIN)
		least = LAB_ARENA_SIZE_MIN;
	for (size_t size = first_size(least); size >= least; size /= 2) {
		size_t total = metadata_size(size) + size + LAB_SEGMENT_SIZE + 2 * TOKEN_SIZE;
		char *start = lab_os.map(total, LAB_ACCESS_NONE);
		uint64_t where = start ? carve_range(start, total, size) : 0;
		if (where)
			return where;
	}
	return 0;
}

void
lab_range_unreserve(uint64_t where)
{
	char *low = (char *)metadata_token(where);

	lab_os.unmap(low, (size_t)((char *)payload_token(where) + TOKEN_SIZE - low));
}

static bool
unmap_with(const uint64_t *token, uint64_t value, char *start, size_t size)
{
	if (lab_os_reads_as(token, value))
		lab_os.unmap(start, size);
	return !lab_os_reads_as(token, value);
}

bool
lab_range_unmap_payload(struct lab_arena *seat, uint64_t where)
{
	lab_store_rlx(&seat->token, *metadata_token(where));
	lab_compiler_barrier();
	return unmap_with(payload_token(where), lab_load_rlx(&seat->token), lab_where_base(where),
	                  lab_where_size(where) + TOKEN_SIZE);
}

bool
lab_range_unmap_metadata(struct lab_arena *seat, uint64_t where)
{
	char *low = (char *)metadata_token(where);

	return unmap_with(metadata_token(where), lab_load_rlx(&seat->token), low, (size_t)(lab_where_base(where) - low));
}

struct lab_arena *
lab_arena_make_seat(uint64_t where)
{
	size_t segments = lab_where_segment_count(where), total = seat_size(segments);
	void *start = lab_os.map(total, LAB_ACCESS_NONE);

	if (start && make_words(start, segments)) {
		((struct lab_arena *)start)->reserved = total;
		return start;
	}
	if (start)
		lab_os.unmap(start, total);
	return NULL;
}

bool
lab_arena_settle(struct lab_arena *seat, uint64_t where)
{
	return seat->capacity >= lab_where_segment_count(where) && lab_cas64(&seat->where, 0, where);
}

static struct lab_arena *
reserve_without_heaps(size_t least)
{
	uint64_t where = lab_range_reserve(least);
	struct lab_arena *seat = where ? lab_arena_make_seat(where) : NULL;

	if (seat)
		(void)lab_arena_settle(seat, where);
	else if (where)
		lab_range_unreserve(where);
	return seat;
}

struct lab_arena *
lab_arena_reserve(size_t least, bool with_heaps)
{
	struct lab_arena *arena = NULL;

	if (least < LAB_ARENA_SIZE_MIN)
		least = LAB_ARENA_SIZE_MIN;
	if (!with_heaps)
		return reserve_without_heaps(least);
	for (size_t size = first_size(least); !arena && size >= least; size /= 2)
		arena = reserve_with_heaps(size);
	return arena;
}

void
lab_arena_unreserve(struct lab_arena *arena)
{
	if (!arena->heaps)
		lab_range_unreserve(lab_load_rlx(&arena->where));
	lab_os.unmap(arena->reservation, arena->reserved);
}

size_t
lab_arena_reserved(const struct lab_arena *arena)
{
	uint64_t where = lab_load_rlx(&arena->where);
	size_t size = lab_where_size(where);

	if (arena->heaps || size == 0)
		return arena->reserved;
	return arena->reserved + metadata_size(size) + (lab_where_is_usable(where) ? size + 2 * TOKEN_SIZE : TOKEN_SIZE);
}
