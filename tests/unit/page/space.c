/*
 * space.c - segments in the window: claimed, released, unmapped, refused, found; each state of a slot, and what is cut
 * short in it.
 *
 * Clauses: G10.5, G9.2.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page/map.h"
#include "page/purge.h"
#include "tear.h"
#include "trace.h"
#include "world.h"

static struct lab_segment *
claim(unsigned slots_log)
{
	struct lab_segment *segment = lab_space_claim(1, slots_log, slots_log);

	cr_assert(segment);
	return segment;
}

static uint64_t
owner_of(const struct lab_segment *segment)
{
	return lab_load_acq(lab_segment_owner(segment));
}

static enum lab_slot_state
state_of(const struct lab_segment *segment)
{
	return lab_owner_state(owner_of(segment));
}

static void
release(struct lab_segment *segment)
{
	cr_assert(lab_space_release(segment, owner_of(segment)));
}

static size_t
size_of(const struct lab_segment *segment)
{
	return lab_segment_pages(segment) * LAB_PAGE_SIZE;
}

static bool
is_mapped(const struct lab_segment *segment)
{
	return world_is_mapped((uintptr_t)segment->base, (uintptr_t)segment->base + LAB_PAGE_SIZE);
}

static size_t
index_of(const void *p)
{
	return ((uintptr_t)p - lab_space()->base) >> LAB_SLOT_SHIFT;
}

static bool
is_used(const void *p)
{
	return lab_load_rlx(&lab_space()->bits[index_of(p) / 64].used) >> (index_of(p) % 64) & 1;
}

static void
start(void)
{
	world_install();
	cr_assert(lab_space_start());
}

TestSuite(space, .init = start);

Test(space, owner_words_keep_what_they_are_made_of)
{
	for (unsigned log = 0; log <= LAB_SLOTS_LOG_MAX; log++)
		for (unsigned state = LAB_SLOT_FREE; state <= LAB_SLOT_REFUSED; state++) {
			uint64_t seq = (UINT64_C(1) << 38) - 1 - log;
			uint64_t owner = lab_owner_make(seq, LAB_HEAP_MAX - 1, log, (enum lab_slot_state)state);
			cr_assert_eq(lab_owner_seq(owner), seq);
			cr_assert_eq(lab_owner_heap(owner), LAB_HEAP_MAX - 1);
			cr_assert_eq(lab_owner_slots_log(owner), log);
			cr_assert_eq(lab_owner_state(owner), state);
		}
}

Test(space, segments_of_every_size_are_aligned_mapped_and_zero)
{
	for (unsigned log = 0; log <= LAB_SLOTS_LOG_MAX; log++) {
		struct lab_segment *segment = claim(log);
		cr_assert_eq(size_of(segment), LAB_SLOT_SIZE << log);
		cr_assert_eq((uintptr_t)segment->base % size_of(segment), 0);
		cr_assert(trace_is_zero(segment->base, size_of(segment)));
		memset(segment->base, 1, size_of(segment));
		cr_assert(lab_segment_is_empty(segment));
		cr_assert_eq(state_of(segment), LAB_SLOT_OWNED);
		cr_assert_eq(lab_owner_heap(owner_of(segment)), 1);
		for (size_t page = 0; page < lab_segment_pages(segment); page++)
			cr_assert(lab_segment_take_at(segment, page, 1), "page %zu", page);
		if (log == 0)
			cr_assert(!lab_segment_take_at(segment, LAB_SLOT_PAGES, 1), "there is no such page");
		for (size_t page = 0; page < lab_segment_pages(segment); page++)
			lab_segment_give(segment, page, 1, 1);
		cr_assert(lab_segment_is_empty(segment));
	}
}

Test(space, nothing_but_what_is_used_is_mapped)
{
	struct lab_segment *segment = claim(0);

	cr_assert(!world_is_mapped((uintptr_t)segment->base + LAB_SLOT_SIZE,
	                           (uintptr_t)segment->base + LAB_SLOT_SIZE + 1));
	cr_assert(!world_is_mapped((uintptr_t)segment->base - 1, (uintptr_t)segment->base), "a guard");
	cr_assert(!world_is_mapped(lab_space()->base, lab_space()->base + 1));
	cr_assert_eq(lab_space_mapped(), LAB_SLOT_SIZE);
}

Test(space, the_lowest_addresses_first_and_again)
{
	struct lab_segment *first = claim(0), *second = claim(0), *large = claim(3);

	cr_assert_eq(second->base, first->base + LAB_SLOT_SIZE);
	cr_assert_eq(large->base, (char *)lab_space()->base + 8 * LAB_SLOT_SIZE);
	struct lab_segment *third = claim(0);
	cr_assert_eq(third->base, second->base + LAB_SLOT_SIZE, "the hole before the large one");
	release(first);
	cr_assert(lab_space_unmap(first, owner_of(first)));
	cr_assert_eq(claim(0), first);
}

Test(space, every_slot_is_claimed_once)
{
	enum { SEGMENTS = 3000 };
	static struct lab_segment *all[SEGMENTS];
	struct trace_random random = {5};

	for (int i = 0; i < SEGMENTS; i++) {
		all[i] = claim((unsigned)trace_below(&random, 4));
		*(int *)all[i]->base = i;
		*(int *)(all[i]->base + size_of(all[i]) - sizeof i) = i;
	}
	for (int i = 0; i < SEGMENTS; i++) {
		cr_assert_eq(*(int *)all[i]->base, i);
		cr_assert_eq(*(int *)(all[i]->base + size_of(all[i]) - sizeof i), i);
	}
	uint64_t owner;
	size_t seen = 0;
	for (size_t index = 0; lab_space_next(&index, &owner);)
		seen++;
	cr_assert_eq(seen, SEGMENTS);
}

/* ---- EMPTY ---- */

Test(space, an_empty_segment_serves_whom_it_is_large_enough_for)
{
	struct lab_segment *small = claim(0), *large = claim(4);
	size_t maps = world.maps;

	small->base[5] = large->base[5] = 1;
	lab_segment_mark_dirty(small, 0, 1);
	release(small);
	release(large);
	cr_assert_eq(state_of(small), LAB_SLOT_EMPTY);
	cr_assert_eq(lab_space_claim(2, 2, 2), large);
	cr_assert_eq(lab_owner_heap(owner_of(large)), 2);
	cr_assert_eq(lab_space_claim(2, 5, 0), small, "what is there before what would have to be mapped");
	cr_assert_eq(world.maps, maps);
	cr_assert(!lab_segment_is_fresh(small, 0, 1), "the dirty bits stay");
}

Test(space, a_release_is_for_the_value_that_was_read)
{
	struct lab_segment *segment = claim(0);
	uint64_t before = owner_of(segment);

	release(segment);
	cr_assert_eq(lab_space_claim(1, 0, 0), segment);
	cr_assert(!lab_space_release(segment, before), "a claim later");
	cr_assert_eq(state_of(segment), LAB_SLOT_OWNED);
}

/* As a sweep does. */
static enum lab_emptied
look_at(struct lab_segment *segment, size_t *dirty)
{
	return lab_space_unmap_emptied(segment, lab_load_rlx(lab_segment_owner(segment)), false, dirty);
}

Test(space, empty_segments_are_unmapped_at_the_second_look)
{
	struct lab_segment *segment = claim(2);
	size_t dirty = 0;

	lab_segment_mark_dirty(segment, 0, 3);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_STAYS, "it is owned");
	release(segment);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_WAITS);
	cr_assert(is_mapped(segment));
	cr_assert_eq(dirty, 0);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_UNMAPPED);
	cr_assert_eq(dirty, 3);
	cr_assert(!is_mapped(segment));
	cr_assert_eq(state_of(segment), LAB_SLOT_FREE);
	cr_assert(!is_used(segment->base));
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_STAYS);
	struct lab_segment *again = claim(2);
	cr_assert_eq(again, segment, "metadata belongs to its place");
	cr_assert(lab_segment_is_fresh(again, 0, lab_segment_pages(again)));
	cr_assert(trace_is_zero(again->base, size_of(again)));
}

Test(space, one_that_was_used_between_two_looks_stays)
{
	struct lab_segment *segment = claim(0);
	size_t dirty = 0;

	release(segment);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_WAITS);
	cr_assert_eq(lab_space_claim(1, 0, 0), segment);
	release(segment);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_WAITS);
	cr_assert_eq(lab_space_unmap_empty(), LAB_SLOT_SIZE, "or all at once");
}

Test(space, a_longer_segment_gets_longer_metadata_and_a_shorter_one_keeps_it)
{
	struct lab_segment *first = claim(0), *guard = claim(0);
	char *place = guard->base + LAB_SLOT_SIZE;
	struct lab_segment *one = claim(0); /* slot 3 */
	struct lab_segment *at = claim(0);  /* slot 4: the start of aligned places of 2 and 4 slots */

	(void)first;
	(void)place;
	cr_assert_eq(at->capacity, LAB_SLOT_PAGES);
	release(at);
	cr_assert(lab_space_unmap(at, owner_of(at)));
	struct lab_segment *longer = claim(2);
	cr_assert_eq(longer->base, at->base);
	cr_assert_neq(longer, at);
	cr_assert_eq(longer->capacity, 4 * LAB_SLOT_PAGES);
	/* the old one names the same place, and is not it */
	cr_assert(lab_segment_is_mapped(longer, owner_of(longer)));
	cr_assert(!lab_segment_is_mapped(at, owner_of(at)));
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | 1};
	longer->base[0] = 1;
	cr_assert(lab_segment_take_at(longer, 0, 1));
	lab_segment_mark_dirty(at, 0, 1);
	cr_assert_eq(lab_purge_segment(at, &record, &lab_purge_everything), 0, "INV-SPACE-2");
	cr_assert_eq(longer->base[0], 1);
	lab_segment_give(longer, 0, 1, 1);
	release(longer);
	cr_assert(lab_space_unmap(longer, owner_of(longer)));
	struct lab_segment *shorter = claim(0);
	cr_assert_eq(shorter, longer);
	cr_assert_eq(lab_segment_pages(shorter), LAB_SLOT_PAGES);
	cr_assert(!lab_segment_take_at(shorter, LAB_SLOT_PAGES, 1));
	(void)one;
}

/* INV-SPACE-2, the one side: the unmapper sees the purge word. */
Test(space, what_is_being_purged_is_not_unmapped)
{
	struct lab_segment *segment = claim(0);

	release(segment);
	lab_store_rlx(&segment->purge, 77);
	cr_assert(!lab_space_unmap(segment, owner_of(segment)));
	cr_assert_eq(state_of(segment), LAB_SLOT_EMPTY);
	cr_assert(is_mapped(segment));
	lab_store_rlx(&segment->purge, 0);
	cr_assert(lab_space_unmap(segment, owner_of(segment)));
}

static struct lab_segment *victim;
static size_t purged_in_unmap;

static void
purge_victim(void *at, size_t size)
{
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | 2};
	size_t purges = world.purges;

	(void)at;
	(void)size;
	REQUIRE(state_of(victim) == LAB_SLOT_UNMAPPING);
	(void)lab_purge_segment(victim, &record, &lab_purge_everything);
	purged_in_unmap += world.purges - purges;
	REQUIRE(lab_load_rlx(&victim->purge) == 0);
}

/* The other side: a purger that comes later lets go. */
Test(space, what_is_being_unmapped_is_not_purged)
{
	victim = claim(0);
	lab_segment_mark_dirty(victim, 0, 5);
	release(victim);
	world.on_unmap = world.after_unmap = purge_victim;
	cr_assert(lab_space_unmap(victim, owner_of(victim)));
	cr_assert_eq(purged_in_unmap, 0);
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | 3};
	cr_assert_eq(lab_purge_segment(victim, &record, &lab_purge_everything), 0);
	cr_assert_eq(world.purges, 0);
}

Test(space, where_munmap_is_refused_segments_stay_and_serve)
{
	struct lab_segment *segment = claim(1);
	size_t dirty = 0;

	release(segment);
	world.unmap_fails = true;
	cr_assert_eq(lab_space_unmap_empty(), 0);
	cr_assert_eq(state_of(segment), LAB_SLOT_EMPTY);
	cr_assert_eq(look_at(segment, &dirty), LAB_EMPTIED_STAYS, "nobody is to ask again and again");
	cr_assert_eq(lab_space_claim(1, 0, 0), segment);
	release(segment);
	cr_assert(lab_space_unmap_empty() == 0);
	world.unmap_fails = false;
	cr_assert_eq(lab_space_unmap_empty(), 2 * LAB_SLOT_SIZE);
}

Test(space, holes_are_no_more_than_the_kernel_has_mappings_for)
{
	enum { SEGMENTS = 2 * 8192 + 200 };
	static struct lab_segment *all[SEGMENTS];
	size_t unmapped = 0;

	for (int i = 0; i < SEGMENTS; i++)
		all[i] = claim(0);
	for (int i = 0; i < SEGMENTS; i += 2) {
		release(all[i]);
		unmapped += lab_space_unmap_empty() / LAB_SLOT_SIZE;
	}
	cr_assert_geq(unmapped, 8190);
	cr_assert_leq(unmapped, 8194);
	size_t maps = world.maps;
	for (int i = 1; i < SEGMENTS; i += 2)
		release(all[i]);
	cr_assert_eq(claim(0), all[1], "what is mapped comes first");
	cr_assert_eq(world.maps, maps);
}

/* ---- the system refuses ---- */

static char *occupied_low, *occupied_high;
static size_t occupied_calls;

static bool
occupy(void *at, size_t size, enum lab_mapped *result)
{
	if ((char *)at + size <= occupied_low || (char *)at >= occupied_high)
		return false;
	occupied_calls++;
	*result = LAB_OCCUPIED;
	return true;
}

Test(space, others_mappings_are_stepped_over)
{
	char *base = (char *)lab_space()->base;
	void *theirs = mmap(base + 4 * LAB_SLOT_SIZE, LAB_PAGE_SIZE, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	cr_assert_eq(theirs, base + 4 * LAB_SLOT_SIZE);
	memset(theirs, 0x5a, LAB_PAGE_SIZE);
	for (int i = 0; i < 40; i++) {
		struct lab_segment *segment = claim(0);
		cr_assert_neq(segment->base, (char *)theirs);
		memset(segment->base, 1, LAB_SLOT_SIZE);
	}
	cr_assert_eq(lab_owner_state(lab_load_rlx(&lab_space()->slots[4].owner)), LAB_SLOT_REFUSED);
	cr_assert_eq(*(unsigned char *)theirs, 0x5a);
	cr_assert_eq(lab_map_find(theirs).kind, LAB_PLACE_FOREIGN);
	cr_assert(lab_space_claim(1, 5, 5)->base != base);
}

Test(space, long_mappings_of_others_are_stepped_over_in_few_steps)
{
	occupied_low = (char *)lab_space()->base;
	occupied_high = occupied_low + ((size_t)8 << 30);
	world.on_map_at = occupy;
	cr_assert_geq(claim(0)->base, occupied_high);
	cr_assert_leq(occupied_calls, 64);
	size_t calls = occupied_calls;
	for (int i = 0; i < 100; i++)
		cr_assert_geq(claim(0)->base, occupied_high);
	cr_assert_leq(occupied_calls - calls, 64 + 100 * 32);
}

Test(space, what_was_refused_is_tried_again_when_nothing_else_is_left)
{
	occupied_low = (char *)lab_space()->base;
	occupied_high = occupied_low + (lab_space()->slot_count << LAB_SLOT_SHIFT);
	world.on_map_at = occupy;
	cr_assert_null(lab_space_claim(1, 0, 0));
	cr_assert_null(lab_space_claim(1, 5, 2));
	world.on_map_at = NULL;
	cr_assert(lab_space_claim(1, 0, 0));
	cr_assert(lab_space_claim(1, 5, 2));
}

Test(space, no_memory_for_a_long_one_is_memory_for_a_shorter_one)
{
	world.map_limit = 4 * LAB_SLOT_SIZE;
	struct lab_segment *segment = lab_space_claim(1, 5, 1);
	cr_assert_eq(size_of(segment), 4 * LAB_SLOT_SIZE);
	cr_assert_null(lab_space_claim(1, 5, 3));
	world.map_limit = SIZE_MAX;
	cr_assert(lab_space_claim(1, 5, 3));
}

Test(space, each_system_call_of_a_claim_may_fail_and_leaves_nothing)
{
	for (size_t left = 0; left < 2; left++) {
		world.protects_left = left;
		cr_assert_null(lab_space_claim(1, 0, 0));
	}
	world.protects_left = SIZE_MAX;
	world.maps_left = 0; /* metadata */
	cr_assert_null(lab_space_claim(1, 0, 0));
	world.maps_left = 1; /* that, and no more */
	cr_assert_null(lab_space_claim(1, 0, 0));
	cr_assert_eq(lab_space_mapped(), 0);
	world.maps_left = SIZE_MAX;
	cr_assert_eq(claim(0)->base, (char *)lab_space()->base + LAB_SLOT_SIZE, "the first slot, that all had tried");
}

/* For the limits of the process both count: what is mapped for nobody goes before a claim fails. */
Test(space, what_is_empty_and_too_small_goes_before_a_claim_fails)
{
	struct lab_segment *small[8];

	for (int i = 0; i < 8; i++)
		small[i] = claim(0);
	for (int i = 0; i < 8; i++)
		release(small[i]);
	world.maps_left = 0;
	cr_assert_null(lab_space_claim(1, 3, 3));
	cr_assert_eq(lab_space_mapped(), 0);
	cr_assert_eq(world.unmaps, 8);
}

/* ---- cut short ---- */

static void
claim_one(void *result)
{
	*(struct lab_segment **)result = lab_space_claim(1, 1, 1);
}

static void
unmap_one(void *segment)
{
	(void)lab_space_unmap(segment, owner_of(segment));
}

static void
check_one_more(size_t *lost)
{
	struct lab_segment *next = lab_space_claim(3, 1, 1);

	REQUIRE(next && trace_is_zero(next->base, LAB_PAGE_SIZE) &&
	        trace_is_zero(next->base + LAB_SLOT_SIZE, LAB_PAGE_SIZE));
	next->base[0] = next->base[LAB_SLOT_SIZE] = 1;
	lab_segment_mark_dirty(next, 0, lab_segment_pages(next));
	REQUIRE(lab_space_release(next, owner_of(next)));
	REQUIRE(lab_space_unmap(next, owner_of(next)));
	*lost = 0;
	for (size_t index = 0; index < lab_load_rlx(&lab_space()->high_water); index++) {
		uint64_t owner = lab_load_rlx(&lab_space()->slots[index].owner);
		bool used = lab_load_rlx(&lab_space()->bits[index / 64].used) >> (index % 64) & 1;
		if (index > 0 && used &&
		    (lab_owner_state(owner) != LAB_SLOT_OWNED && lab_owner_state(owner) != LAB_SLOT_PART))
			++*lost;
	}
}

/* The trap that tears is open in there, where others are blocked: each tear loses at most the segment. */
Test(space, a_claim_left_at_each_instruction_loses_at_most_its_segment)
{
	struct lab_segment *segment = NULL;
	size_t torn = 0, lost;

	check_one_more(&lost);
	for (long steps = 0; tear(steps, claim_one, &segment); steps += TEAR_COARSER) {
		torn++;
		check_one_more(&lost);
		REQUIRE(lost <= 2 * torn);
	}
	REQUIRE(torn > 50 / TEAR_COARSER);
	REQUIRE(segment != NULL);
	/* those that were torn after the last store are OWNED, and a heap's scan finds them */
	uint64_t owner;
	for (size_t index = 0; lab_space_next(&index, &owner);)
		REQUIRE(lab_owner_heap(owner) == 1);
}

Test(space, an_unmapping_left_at_each_instruction_loses_at_most_its_segment)
{
	size_t torn = 0, lost;

	for (long steps = 0;; steps += TEAR_COARSER) {
		struct lab_segment *segment = lab_space_claim(1, 1, 1);
		REQUIRE(lab_space_release(segment, owner_of(segment)));
		if (!tear(steps, unmap_one, segment))
			break;
		torn++;
		check_one_more(&lost);
		REQUIRE(lost <= 2 * torn);
	}
	REQUIRE(torn > 50 / TEAR_COARSER);
}

static volatile sig_atomic_t handled;
static bool was_open;

static void
note_signal(int number)
{
	(void)number;
	handled++;
}

static bool
signal_in_map(void *at, size_t size, enum lab_mapped *result)
{
	(void)at;
	(void)size;
	(void)result;
	REQUIRE(raise(SIGUSR1) == 0);
	was_open |= handled != 0;
	return false;
}

static void
signal_in_unmap(void *at, size_t size)
{
	enum lab_mapped unused;

	(void)signal_in_map(at, size, &unused);
}

Test(space, asynchronous_signals_wait_until_the_state_is_written)
{
	struct sigaction action = {.sa_handler = note_signal};

	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	world.on_map_at = signal_in_map;
	struct lab_segment *segment = claim(0);
	cr_assert_eq(handled, 1, "when it was");
	release(segment);
	handled = 0;
	world.on_unmap = world.after_unmap = signal_in_unmap;
	cr_assert(lab_space_unmap(segment, owner_of(segment)));
	cr_assert_eq(handled, 1);
	cr_assert(!was_open);
}

/* ---- looking ---- */

Test(space, any_slot_of_a_segment_leads_to_its_metadata)
{
	struct lab_segment *segment = claim(5);
	uint64_t owner;

	for (size_t offset = 0; offset < size_of(segment); offset += 4096 + 16) {
		cr_assert_eq(lab_space_find(segment->base + offset, &owner), segment);
		cr_assert_eq(owner, owner_of(segment));
	}
	release(segment);
	cr_assert_eq(lab_space_find(segment->base + LAB_SLOT_SIZE, &owner), segment);
	cr_assert_eq(lab_owner_state(owner), LAB_SLOT_EMPTY);
	cr_assert(lab_space_unmap(segment, owner));
	for (size_t offset = 0; offset < (size_t)64 << 20; offset += LAB_PAGE_SIZE) {
		const struct lab_segment *found = lab_space_find(segment->base + offset, &owner);
		cr_assert(!found || lab_owner_state(owner) == LAB_SLOT_FREE);
	}
}

Test(space, a_slot_that_was_part_of_a_longer_segment_leads_to_no_page_beyond_the_shorter)
{
	struct lab_segment *longer = claim(5);
	char *base = longer->base;
	uint64_t owner;

	release(longer);
	cr_assert(lab_space_unmap(longer, owner_of(longer)));
	struct lab_segment *shorter = NULL;
	while (!shorter || shorter->base != base)
		shorter = claim(0);
	for (size_t offset = 0; offset < LAB_SEGMENT_SIZE; offset += LAB_PAGE_SIZE) {
		const struct lab_segment *found = lab_space_find(base + offset, &owner);
		cr_assert(!found || lab_segment_page_of(found, base + offset) < found->capacity);
	}
}

/* ---- heaps ---- */

Test(space, places_for_heaps_are_mapped_one_by_one)
{
	size_t maps = world.maps;

	cr_assert_eq(lab_space_map_heap(0, 3000), LAB_MAPPED);
	cr_assert_eq(lab_space_map_heap(7, 3000), LAB_MAPPED);
	cr_assert_eq(lab_space_map_heap(7, 3000), LAB_MAPPED, "repeatable");
	cr_assert_eq(world.maps, maps + 2);
	char *first = lab_space_heap(lab_space(), 0), *seventh = lab_space_heap(lab_space(), 7);
	cr_assert_eq(seventh - first, 7 * LAB_HEAP_STRIDE);
	first[0] = seventh[2999] = 1;
	cr_assert(!world_is_mapped((uintptr_t)first + LAB_PAGE_SIZE, (uintptr_t)first + LAB_PAGE_SIZE + 1));
	world.maps_left = 0;
	cr_assert_eq(lab_space_map_heap(8, 3000), LAB_NOT_MAPPED);
	world.maps_left = SIZE_MAX;
	occupied_low = lab_space_heap(lab_space(), 9);
	occupied_high = occupied_low + 1;
	world.on_map_at = occupy;
	cr_assert_eq(lab_space_map_heap(9, 3000), LAB_OCCUPIED);
	cr_assert_eq(lab_space_map_heap(10, 3000), LAB_MAPPED);
	cr_assert_eq(lab_space_map_heap(LAB_HEAP_MAX - 1, 3000), LAB_MAPPED);
	cr_assert_lt((uintptr_t)lab_space_heap(lab_space(), LAB_HEAP_MAX - 1), lab_space()->base);
}

Test(space, huge_pages_for_what_is_mapped_and_what_is_to_be)
{
	struct lab_segment *segment = claim(5);

	lab_space_set_huge_pages(LAB_HUGE_NEVER);
	cr_assert_eq(world.huge_pages, 1);
	cr_assert_eq(world.huge_bytes, size_of(segment));
	(void)claim(4);
	cr_assert_eq(world.huge_pages, 2);
	cr_assert_eq(world.huge_when, LAB_HUGE_NEVER);
}
