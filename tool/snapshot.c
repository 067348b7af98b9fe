/* snapshot.c - see snapshot.h. Nothing that was read is an index or a length before it was compared with its bound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap/size_class.h"
#include "page/space.h"
#include "snapshot.h"
#include "tool.h"

enum {
	TRIES = 4,          /* of a segment that changes while it is read */
	HUGE_MAX = 1 << 22, /* entries of a part of the table */
	SHARE_WORDS_MAX = 1 << 20,
};

#define SLOTS_MAX ((size_t)1 << 30)

/* ---- segments ---- */

static bool
read_owner(const struct target *target, const struct lab_slot *slot, uint64_t *owner)
{
	return target_read(target, (uintptr_t)&slot->owner, owner, sizeof *owner);
}

/* The parts that have a length of their own, into `segment`, which has as many pages. */
static bool
read_parts(const struct target *target, const struct lab_space *space, uintptr_t metadata, struct segment *segment)
{
	struct lab_run runs[LAB_SEGMENT_PAGES];
	size_t units = segment->pages / LAB_UNIT_PAGES, mask = space->slot_count * (LAB_SLOT_SIZE / LAB_UNIT_SIZE) - 1;
	uintptr_t first = (uintptr_t)(space->units + ((segment->base >> LAB_UNIT_SHIFT) & mask));

	if (!target_read(target, metadata + offsetof(struct lab_segment, runs), runs, segment->pages * sizeof *runs) ||
	    !target_read(target, first, segment->units, units * sizeof *segment->units))
		return false;
	for (size_t page = 0; page < segment->pages; page++) {
		uint64_t pages = lab_load_rlx(&runs[page].pages);
		bool live = lab_run_kind_of(lab_load_rlx(&runs[page].state)) == LAB_RUN_LIVE &&
		            segment_page_is(segment->taken, page) && pages <= segment->pages - page;
		segment->runs[page] = live ? (uint32_t)pages : 0;
	}
	return true;
}

/* As it is under one owner word; false: it is not, or makes no sense. */
static bool
read_segment(const struct target *target, const struct lab_space *space, size_t index, uint64_t owner,
             struct segment *segment)
{
	const struct lab_slot *slot = &space->slots[index];
	struct lab_segment *metadata, copy;
	uint64_t after;
	size_t pages = LAB_SLOT_PAGES << lab_owner_slots_log(owner);

	if (!target_read(target, (uintptr_t)&slot->segment, &metadata, sizeof metadata) || !metadata ||
	    !target_read(target, (uintptr_t)metadata, &copy, sizeof copy) ||
	    (uintptr_t)copy.base != space->base + index * LAB_SLOT_SIZE || lab_load_rlx(&copy.pages) != pages ||
	    pages > copy.capacity || pages > LAB_SEGMENT_PAGES)
		return false;
	segment->base = (uintptr_t)copy.base;
	segment->heap = lab_owner_heap(owner);
	segment->pages = (uint32_t)pages;
	segment->is_empty = lab_owner_state(owner) == LAB_SLOT_EMPTY;
	for (size_t word = 0; word < LAB_SEGMENT_WORDS; word++) {
		segment->taken[word] = lab_load_rlx(&copy.taken[word]);
		segment->dirty[word] = lab_load_rlx(&copy.dirty[word]);
	}
	return read_parts(target, space, (uintptr_t)metadata, segment) && read_owner(target, slot, &after) &&
	       after == owner;
}

/* The segment that begins at a slot, if one does; *slots is what it takes. */
static void
read_slot(struct snapshot *snapshot, const struct lab_space *space, size_t index, size_t *slots)
{
	uint64_t owner;
	struct segment segment;

	*slots = 1;
	segment.units = allocate(LAB_SEGMENT_SIZE / LAB_UNIT_SIZE * sizeof *segment.units);
	segment.runs = allocate(LAB_SEGMENT_PAGES * sizeof *segment.runs);
	for (int try = 0; try < TRIES; try++) {
		if (!read_owner(snapshot->target, &space->slots[index], &owner) ||
		    (lab_owner_state(owner) != LAB_SLOT_OWNED && lab_owner_state(owner) != LAB_SLOT_EMPTY) ||
		    lab_owner_slots_log(owner) > LAB_SLOTS_LOG_MAX)
			goto none;
		if (read_segment(snapshot->target, space, index, owner, &segment)) {
			*slots = (size_t)1 << lab_owner_slots_log(owner);
			segment.units =
			        reallocate(segment.units, segment.pages / LAB_UNIT_PAGES * sizeof *segment.units);
			segment.runs = reallocate(segment.runs, segment.pages * sizeof *segment.runs);
			*APPEND(snapshot->segments, snapshot->segment_count) = segment;
			return;
		}
	}
	snapshot->skipped++;
none:
	free(segment.units);
	free(segment.runs);
}

static bool
read_segments(struct snapshot *snapshot, const struct lab_space *space)
{
	size_t end = lab_load_rlx(&space->high_water), words = (end + 63) / 64;
	struct lab_slot_bits *bits = allocate(words * sizeof *bits);
	uintptr_t at = snapshot->space_start + offsetof(struct lab_space, bits);
	bool read = target_read(snapshot->target, at, bits, words * sizeof *bits);

	for (size_t index = 0; read && index < end;) {
		uint64_t used = lab_load_rlx(&bits[index / 64].used) >> (index % 64);
		size_t slots = 1;
		if (!used) {
			index = (index | 63) + 1;
			continue;
		}
		index += lab_ctz(used);
		read_slot(snapshot, space, index, &slots);
		index += slots;
	}
	free(bits);
	return read;
}

/* ---- the rest ---- */

static void
read_huge_part(struct snapshot *snapshot, uintptr_t address)
{
	struct lab_huge_part part;

	if (!target_read(snapshot->target, address, &part, sizeof part) || part.count > HUGE_MAX ||
	    !lab_is_power_of_two(part.count))
		return;
	struct lab_huge *entries = allocate(part.count * sizeof *entries);
	if (target_read(snapshot->target, (uintptr_t)part.entries, entries, part.count * sizeof *entries))
		for (size_t i = 0; i < part.count; i++) {
			enum lab_huge_kind kind = lab_huge_kind(&entries[i]);
			size_t mapped = lab_load_rlx(&entries[i].mapped);
			if ((kind == LAB_HUGE_LIVE || kind == LAB_HUGE_FREEING || kind == LAB_HUGE_CACHED) &&
			    mapped <= LAB_HUGE_MAX >> LAB_PAGE_SHIFT && lab_load_rlx(&entries[i].run.pages) <= mapped)
				*APPEND(snapshot->huge, snapshot->huge_count) = entries[i];
		}
	free(entries);
}

static void
read_heaps(struct snapshot *snapshot, const struct lab_space *space)
{
	const struct lab_inspect *block = &snapshot->target->block;
	uint32_t count;
	uint64_t *owners;

	if (!target_read(snapshot->target, (uintptr_t)block->heaps, &count, sizeof count) || count > LAB_HEAP_MAX)
		return;
	owners = allocate(count * sizeof *owners);
	if (!target_read(snapshot->target, (uintptr_t)block->owners, owners, count * sizeof *owners))
		count = 0;
	for (uint32_t id = 0; id < count; id++) {
		enum lab_heap_state state = lab_registry_state_in(owners[id]);
		struct heap *heap;
		if (state == LAB_HEAP_UNUSED || state > LAB_HEAP_FROZEN)
			continue;
		heap = APPEND(snapshot->heaps, snapshot->heap_count);
		*heap = (struct heap){.id = id, .tid = lab_lease_tid(owners[id]), .state = state};
		if (!target_read(snapshot->target, (uintptr_t)lab_space_heap(space, id), &heap->heap,
		                 sizeof heap->heap))
			snapshot->heap_count--;
	}
	free(owners);
}

/* Slots of open words that are taken; *open: there are open words. */
static uint32_t
count_used(const struct target *target, const struct lab_bank *bank, uint32_t slots, bool *open)
{
	uint32_t words = lab_bank_words(slots), used = 0;
	uint64_t *copy = allocate(words * sizeof *copy);

	if (!target_read(target, (uintptr_t)bank->words, copy, words * sizeof *copy))
		words = 0;
	for (uint32_t word = 0; word < words; word++) {
		uint32_t here = slots - word * LAB_SLOTS_A_WORD;
		uint64_t all = lab_mask(here < LAB_SLOTS_A_WORD ? here : LAB_SLOTS_A_WORD);
		if (!lab_slots_is_open(copy[word]))
			continue;
		*open = true;
		used += (uint32_t)__builtin_popcountll(~copy[word] & all);
	}
	free(copy);
	return used;
}

static void
read_reserve(struct snapshot *snapshot)
{
	struct lab_reserve *reserve = &snapshot->reserve;
	bool open = false;

	if (!target_read(snapshot->target, (uintptr_t)snapshot->target->block.reserve, reserve, sizeof *reserve) ||
	    !lab_load_rlx(&reserve->installed)) {
		memset(reserve, 0, sizeof *reserve);
		return;
	}
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		const struct lab_pool *pool = &reserve->pools[c];
		if (pool->zones[LAB_ZONES] <= SHARE_WORDS_MAX)
			snapshot->reserve_used[c] =
			        count_used(snapshot->target, &pool->bank, pool->zones[LAB_ZONES], &open);
	}
}

static void
read_shares(struct snapshot *snapshot)
{
	struct lab_share_table table;
	const struct target *target = snapshot->target;

	if (!target_read(target, (uintptr_t)target->block.shares, &table, sizeof table))
		return;
	for (unsigned i = 0; i < LAB_SHARE_MAX; i++) {
		struct lab_share share;
		const struct lab_share *at = lab_load_rlx(&table.shares[i]);
		if (!at || !target_read(target, (uintptr_t)at, &share, sizeof share) ||
		    share.bank.slots > SHARE_WORDS_MAX || share.bank.shift > LAB_RESERVE_MAX_SHIFT)
			continue;
		struct snapshot_share copy = {
		        .bytes = lab_bank_bytes(&share.bank),
		        .shift = share.bank.shift,
		        .everybodys = share.is_growth,
		        .start = (uintptr_t)at,
		        .end = (uintptr_t)share.bank.base + lab_bank_bytes(&share.bank),
		};
		copy.used = (uint64_t)count_used(target, &share.bank, share.bank.slots, &copy.open) << share.bank.shift;
		*APPEND(snapshot->shares, snapshot->share_count) = copy;
	}
}

static bool
read_words(struct snapshot *snapshot)
{
	const struct target *target = snapshot->target;
	const struct lab_inspect *block = &target->block;

	return target_read(target, (uintptr_t)block->settings, snapshot->settings, sizeof snapshot->settings) &&
	       target_read(target, (uintptr_t)block->texts, snapshot->texts, sizeof snapshot->texts) &&
	       target_read(target, (uintptr_t)block->counts, &snapshot->counts, sizeof snapshot->counts) &&
	       target_read(target, (uintptr_t)block->limit, &snapshot->limit, sizeof snapshot->limit) &&
	       target_read(target, (uintptr_t)block->waits, &snapshot->waits, sizeof snapshot->waits);
}

/* The space's head, if it is one. */
static bool
read_space(struct snapshot *snapshot, struct lab_space *space)
{
	const struct target *target = snapshot->target;

	if (!target_read(target, (uintptr_t)target->block.space, &snapshot->space_start, sizeof(uintptr_t)) ||
	    !target_read(target, snapshot->space_start, space, sizeof *space))
		return false;
	snapshot->space_end = snapshot->space_start + space->table_size;
	snapshot->heaps_base = (uintptr_t)space->heaps;
	return space->slot_count <= SLOTS_MAX && lab_is_power_of_two(space->slot_count) &&
	       lab_load_rlx(&space->high_water) <= space->slot_count && space->base % LAB_SEGMENT_SIZE == 0;
}

bool
snapshot_take(struct snapshot *snapshot, const struct target *target)
{
	struct lab_space space;
	struct timespec now;
	uintptr_t parts[LAB_HUGE_PARTS] = {0};

	memset(snapshot, 0, sizeof *snapshot);
	snapshot->target = target;
	clock_gettime(CLOCK_REALTIME, &now);
	snapshot->at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	if (!read_space(snapshot, &space) || !read_words(snapshot) || !read_segments(snapshot, &space)) {
		snapshot_free(snapshot);
		return false;
	}
	if (target_read(target, (uintptr_t)target->block.huge_parts, parts, sizeof parts))
		for (unsigned i = 0; i < LAB_HUGE_PARTS && parts[i]; i++)
			read_huge_part(snapshot, parts[i]);
	read_heaps(snapshot, &space);
	read_reserve(snapshot);
	read_shares(snapshot);
	return true;
}

void
snapshot_free(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->segment_count; i++) {
		free(snapshot->segments[i].units);
		free(snapshot->segments[i].runs);
	}
	free(snapshot->segments);
	free(snapshot->huge);
	free(snapshot->heaps);
	free(snapshot->shares);
	memset(snapshot, 0, sizeof *snapshot);
}

/* ---- looking ---- */

const struct lab_unit *
segment_span(const struct segment *segment, size_t page)
{
	size_t number = page / LAB_UNIT_PAGES;
	const struct lab_unit *unit = &segment->units[number];

	return segment_page_is(segment->taken, page) && unit->kind == LAB_UNIT_IS_SPAN &&
	                       unit->size_class < LAB_CLASS_COUNT && unit->size == lab_class_size(unit->size_class) &&
	                       (uintptr_t)unit->base == segment->base + number * LAB_UNIT_SIZE &&
	                       unit->carved <= lab_unit_capacity(unit)
	               ? unit
	               : NULL;
}

const struct segment *
snapshot_find(const struct snapshot *snapshot, uintptr_t address)
{
	for (size_t i = 0; i < snapshot->segment_count; i++)
		if (address - snapshot->segments[i].base < snapshot->segments[i].pages * LAB_PAGE_SIZE)
			return &snapshot->segments[i];
	return NULL;
}

const char *
heap_state_name(enum lab_heap_state state)
{
	static const char *const names[] = {
	        [LAB_HEAP_UNUSED] = "unused",     [LAB_HEAP_IDLE] = "idle", [LAB_HEAP_CURRENT] = "current",
	        [LAB_HEAP_BORROWED] = "borrowed", [LAB_HEAP_HELD] = "held", [LAB_HEAP_ABSORBING] = "absorbing",
	        [LAB_HEAP_FROZEN] = "frozen",
	};

	return (unsigned)state < sizeof names / sizeof *names ? names[state] : "?";
}
