/*
 * retire.c - arenas that go back: when they do and when not, what a walk holds up and what not, and each step cut short, with something else
 * mapped at the address meanwhile. The races are in page/arenas.c.
 *
 * Clauses: G10.5.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page/purge.h"
#include "page/retire.h"
#include "page/walk.h"
#include "trace.h"
#include "world.h"

#define MIB      ((size_t)1 << 20)
#define ALL_IDLE lab_arenas_retire(0, 0)

static struct lab_arena *arena; /* the second */

static enum lab_arena_state
state(void)
{
	return lab_where_state(lab_load_rlx(&arena->where));
}

static uint64_t
grow(void)
{
	REQUIRE(lab_map_grow(0));
	arena = lab_map_arena(1);
	REQUIRE(state() == LAB_ARENA_LIVE);
	return lab_load_rlx(&arena->where);
}

static uint64_t
start(void)
{
	world_install();
	world.map_limit = 40 * MIB; /* arenas of 32 MiB */
	REQUIRE(lab_map_start());
	lab_walk_note_process(lab_os_pid());
	return grow();
}

static void
claim(size_t index)
{
	REQUIRE(lab_arena_claim_at(arena, LAB_SEGMENT_SMALL, 7, index, 1));
	*lab_arena_payload(arena, index) = 1;
}

static void
release(size_t index)
{
	REQUIRE(lab_arena_release(arena, index, lab_load_rlx(&arena->owners[index])));
}

static size_t
address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	REQUIRE(file && fscanf(file, "%lu", &pages) == 1);
	(void)fclose(file);
	return pages * LAB_PAGE_SIZE;
}

static bool
is_mapped(const void *p)
{
	unsigned char resident;

	return mincore((void *)((uintptr_t)p & ~(uintptr_t)4095), 1, &resident) == 0;
}

/* ---- when, and when not ---- */

Test(retire, an_unused_arena_goes_back_whole)
{
	size_t before = (start(), ALL_IDLE, address_space());
	uint64_t where = grow();
	char *base = lab_arena_base(arena);

	claim(3);
	cr_assert_eq(lab_map_find_arena(base), arena);
	cr_assert_geq(address_space(), before + lab_where_size(where));
	release(3);
	cr_assert_eq(ALL_IDLE, lab_where_size(where));
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
	cr_assert_eq(address_space(), before, "but for its seat, which was there");
	cr_assert_null(lab_map_find_arena(base));
	cr_assert_eq(lab_map_find(base + 3 * LAB_SEGMENT_SIZE).kind, LAB_PLACE_FOREIGN);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 1, 1), LAB_CLAIM_NONE_FREE);
	cr_assert_eq(ALL_IDLE, 0);
	cr_assert(lab_where_is_usable(lab_load_rlx(&lab_map_arena(0)->where)), "the first stays");
}

Test(retire, one_that_is_in_use_stays)
{
	uint64_t where = start();

	for (size_t index = 0; index < lab_where_segment_count(where); index++) {
		claim(index);
		cr_assert_eq(ALL_IDLE, 0);
		cr_assert_eq(lab_load_rlx(&arena->where), where);
		cr_assert_eq(*lab_arena_payload(arena, index), 1);
		release(index);
	}
	struct lab_segment *segment = lab_arena_segment(arena, 2);
	lab_store_rlx(&segment->purge, 99);
	cr_assert_eq(ALL_IDLE, 0, "somebody is purging");
	cr_assert_eq(lab_load_rlx(&arena->where), where);
	lab_store_rlx(&segment->purge, 0);
	cr_assert_neq(ALL_IDLE, 0);
}

Test(retire, idle_for_so_long_is_counted_from_the_last_claim)
{
	start();
	cr_assert_eq(lab_arenas_retire(1000, 500), 0, "seen for the first time");
	cr_assert_eq(lab_arenas_retire(1499, 500), 0);
	claim(0);
	release(0);
	cr_assert_eq(lab_arenas_retire(1500, 500), 0);
	cr_assert_eq(lab_arenas_retire(1999, 500), 0);
	claim(1);
	cr_assert_eq(lab_arenas_retire(2500, 500), 0);
	release(1);
	cr_assert_eq(lab_arenas_retire(3000, 500), 0);
	cr_assert_eq(lab_arenas_retire(2000, 500), 0, "another's clock is behind");
	cr_assert_neq(lab_arenas_retire(3500, 500), 0);
}

Test(retire, the_system_refuses_to_unmap)
{
	uint64_t where = start();

	claim(0);
	release(0);
	world.unmap_fails = true;
	cr_assert_eq(ALL_IDLE, 0);
	cr_assert_eq(lab_load_rlx(&arena->where), where);
	claim(0);
	cr_assert_eq(*lab_arena_payload(arena, 0), 1);
	release(0);
	world.unmap_fails = false;
	cr_assert_neq(ALL_IDLE, 0);
}

/* ---- the place in the table ---- */

Test(retire, an_empty_seat_serves_again)
{
	start();
	for (int round = 0; round < 1000; round++) {
		claim((size_t)round % 8);
		cr_assert_eq(lab_load_rlx(&arena->high_water), (size_t)round % 8 + 1);
		cr_assert(lab_segment_is_fresh(lab_arena_segment(arena, (size_t)round % 8), 0, LAB_SEGMENT_PAGES));
		lab_segment_mark_dirty(lab_arena_segment(arena, (size_t)round % 8), 0, 9);
		release((size_t)round % 8);
		cr_assert_neq(ALL_IDLE, 0);
		cr_assert_eq(state(), LAB_ARENA_EMPTY);
		grow();
	}
	cr_assert_null(lab_map_arena(2));
}

Test(retire, a_larger_range_gets_a_larger_seat_and_the_old_one_stays_readable)
{
	start();
	const struct lab_arena *old = arena;
	uint64_t *owners = (uint64_t *)(uintptr_t)arena->owners;

	ALL_IDLE;
	world.map_limit = SIZE_MAX;
	cr_assert(lab_map_grow((size_t)65 << 30));
	arena = lab_map_arena(1);
	cr_assert_neq(arena, old);
	cr_assert_geq(lab_arena_size(arena), (size_t)65 << 30);
	cr_assert_eq(*owners + lab_load_rlx(&old->where), 0);
	claim(12000);
	release(12000);
	world.map_limit = 40 * MIB;
	ALL_IDLE;
	grow();
	cr_assert_eq(lab_arena_size(arena), 32 * MIB, "a smaller one fits in it");
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 9, LAB_SEGMENT_SIZE), LAB_CLAIM_NONE_FREE);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 8, LAB_SEGMENT_SIZE), 0);
}

Test(retire, growth_retires_what_is_idle_when_there_is_no_room)
{
	world_install();
	world.map_limit = 40 * MIB;
	cr_assert(lab_map_start());
	for (size_t i = 1; i < LAB_ARENA_MAX; i++)
		cr_assert(lab_map_grow(0));
	cr_assert(lab_map_grow(0), "62 of them went");
	size_t live = 0;
	for (size_t i = 1; i < LAB_ARENA_MAX; i++)
		live += lab_where_is_usable(lab_load_rlx(&lab_map_arena(i)->where));
	cr_assert_eq(live, 1);
}

/* A claim that was cut short before the seat was emptied, and is found, or undone, after it has another range. */
Test(retire, a_late_claim_is_undone)
{
	start();
	ALL_IDLE;
	uint64_t late = lab_owner_make(lab_owner_seq(lab_load_rlx(&arena->owners[2])) + 1, 7, LAB_SEGMENT_SMALL);
	lab_store_rlx(&arena->owners[2], late);
	grow();
	lab_store_rlx(&arena->high_water, 3);
	cr_assert(!lab_arena_is_committed(arena, 2));
	cr_assert_eq(ALL_IDLE, 0);
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 8, LAB_SEGMENT_SIZE), LAB_CLAIM_NONE_FREE);
	cr_assert(lab_arena_release(arena, 2, late));
	cr_assert_eq(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 8, LAB_SEGMENT_SIZE), 0);
}

Test(retire, a_claim_rescues_what_somebody_is_about_to_retire)
{
	uint64_t where = start(), retiring = lab_where_make(where, LAB_ARENA_RETIRING, 5);

	lab_store_rlx(&arena->where, retiring);
	cr_assert_eq(lab_map_find_arena(lab_arena_base(arena)), arena);
	claim(0);
	cr_assert_eq(lab_load_rlx(&arena->where), where);
	release(0);
	lab_store_rlx(&arena->where, retiring); /* and who left it so is not there any more */
	cr_assert_neq(ALL_IDLE, 0);
}

/* ---- walks ---- */

Test(walk, holds_the_metadata_and_not_the_payload)
{
	uint64_t where = start();
	struct lab_walk walk;

	claim(0);
	release(0);
	lab_walk_begin(&walk);
	struct lab_segment *segment = lab_arena_segment(arena, 0);
	cr_assert_eq(ALL_IDLE, lab_where_size(where));
	cr_assert_eq(state(), LAB_ARENA_WAITING);
	cr_assert(!is_mapped(lab_where_base(where)));
	cr_assert_null(segment->next);
	cr_assert(!lab_arena_is_committed(arena, 0));
	cr_assert(lab_map_grow(0), "others are not kept waiting");
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_WAITING);
	lab_walk_end(&walk);
	lab_walk_begin(&walk); /* a younger one does not matter */
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
	cr_assert(!is_mapped(segment));
	lab_walk_end(&walk);
}

Test(walk, the_purgers_word_is_not_won_in_what_is_going)
{
	struct lab_purge_record record = {.claim = UINT64_C(5) << 32 | 77};
	uint64_t where = start();
	struct lab_walk walk;

	claim(0);
	struct lab_segment *segment = lab_arena_segment(arena, 0);
	lab_segment_mark_dirty(segment, 0, 9);
	release(0);
	lab_walk_begin(&walk);
	lab_store_rlx(&arena->where, lab_where_make(where, LAB_ARENA_RETIRING, 5));
	cr_assert_eq(lab_purge_segment(arena, 0, &record, &lab_purge_everything), 0);
	cr_assert_eq(lab_load_rlx(&segment->purge), 0);
	lab_store_rlx(&arena->where, where);
	cr_assert_eq(lab_purge_segment(arena, 0, &record, &lab_purge_everything), 9);
	record.segment = segment; /* a purger that was cut short before it had the word */
	ALL_IDLE;
	lab_walk_end(&walk);
	ALL_IDLE;
	cr_assert(!is_mapped(segment));
	lab_purge_recover(&record);
	cr_assert_null(record.segment);
}

static sigjmp_buf out;

static __attribute__((noinline)) void
leave_a_walk(void)
{
	volatile char below[16384]; /* deeper than any frame of the calls after the jump, in any build */
	struct lab_walk walk;

	below[0] = 0;
	lab_walk_begin(&walk);
	below[1] = below[0];
	siglongjmp(out, 1);
}

Test(walk, one_that_was_left_by_a_jump_is_let_go_from_the_same_level)
{
	start();
	for (volatile int i = 0; i < 3 * LAB_WALK_WORDS; i++)
		if (sigsetjmp(out, 0) == 0)
			leave_a_walk();
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
}

static void *
end_in_a_walk(void *unused)
{
	struct lab_walk walk;

	lab_walk_begin(&walk);
	return unused;
}

static void
run_thread(void *(*act)(void *))
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, act, NULL) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

Test(walk, one_of_a_dead_thread_is_let_go)
{
	start();
	world.deaths_are_set = true; /* nobody is dead */
	run_thread(end_in_a_walk);
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_WAITING);
	world.deaths_are_set = false;
	for (int tries = 0; state() != LAB_ARENA_EMPTY && tries < 100000; tries++)
		ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
}

static struct lab_walk walks[LAB_WALK_WORDS + 1];

/* Begins all of them, each in a frame below the last, as handlers do that interrupt each other; and goes on in the lowest. */
static __attribute__((noinline)) void
walk_deeper(unsigned depth, void (*go_on)(void))
{
	volatile char frame[64];

	frame[0] = 0;
	lab_walk_begin(&walks[depth]);
	REQUIRE((walks[depth].slot < 0) == (depth == LAB_WALK_WORDS));
	REQUIRE(lab_walk_arena(&walks[depth], 1) == arena);
	if (depth < LAB_WALK_WORDS)
		walk_deeper(depth + 1, go_on);
	else
		go_on();
	frame[1] = frame[0];
}

/* The last found no word, and is protected as the others are. */
static void
end_them_one_by_one(void)
{
	ALL_IDLE;
	REQUIRE(state() == LAB_ARENA_LIVE); /* who retires needs a word */
	lab_walk_end(&walks[7]);
	ALL_IDLE;
	REQUIRE(state() == LAB_ARENA_WAITING);
	for (size_t i = 0; i <= LAB_WALK_WORDS; i++) {
		if (i != 7)
			lab_walk_end(&walks[i]);
		ALL_IDLE;
		REQUIRE((state() == LAB_ARENA_EMPTY) == (i == LAB_WALK_WORDS));
	}
}

Test(walk, more_than_there_are_words_for)
{
	start();
	walk_deeper(0, end_them_one_by_one);
}

/* In the child: the walk of the thread that forked goes on, others are not there. */
Test(walk, fork)
{
	start();
	struct lab_walk walk;
	uint32_t old = lab_os_tid();
	int status;

	world.deaths_are_set = true;
	run_thread(end_in_a_walk);
	lab_walk_begin(&walk);
	pid_t child = fork();
	if (child == 0) {
		lab_walk_after_fork(old, lab_os_tid());
		lab_walk_after_fork(old, lab_os_tid());
		lab_walk_note_process(lab_os_pid());
		ALL_IDLE;
		REQUIRE(state() == LAB_ARENA_WAITING);
		lab_walk_end(&walk);
		ALL_IDLE;
		_exit(state() != LAB_ARENA_EMPTY);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	lab_walk_end(&walk);
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_WAITING, "the other walk is alive here");
}

/* ---- cut short ---- */

static void
jump(void *start, size_t size)
{
	(void)start;
	(void)size;
	world.on_unmap = world.after_unmap = NULL;
	siglongjmp(out, 1);
}

static void *
map_at(char *p, size_t size)
{
	char *there = mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	REQUIRE(there == p);
	memset(there, 0x5a, size);
	return there;
}

static void
check_foreign(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i += LAB_PAGE_SIZE)
		REQUIRE(p[i] == 0x5a);
}

static __attribute__((noinline)) void
retire_deeper(void)
{
	volatile char below[256];

	below[0] = 0;
	ALL_IDLE;
	below[1] = below[0];
}

/* Left in the n-th munmap, before it or after it, with something else mapped at the place. */
static void
cut_short(unsigned n, bool after)
{
	uint64_t where = grow();
	char *low = n == 0 ? lab_where_base(where) : (char *)lab_where_units(where);
	size_t size = n == 0 ? lab_where_size(where) : (size_t)(lab_where_base(where) - low);
	void *foreign = NULL;

	if (sigsetjmp(out, 0) == 0) {
		*(after ? &world.after_unmap : &world.on_unmap) = jump;
		if (n == 1) { /* the payload first */
			struct lab_walk walk;
			lab_walk_begin(&walk);
			void (*on)(void *, size_t) = world.on_unmap, (*behind)(void *, size_t) = world.after_unmap;
			world.on_unmap = world.after_unmap = NULL;
			ALL_IDLE;
			lab_walk_end(&walk);
			world.on_unmap = on, world.after_unmap = behind;
		}
		retire_deeper();
		REQUIRE(!"left");
	}
	cr_assert_eq(state(), n == 0 ? LAB_ARENA_UNMAPPING : LAB_ARENA_FORGETTING);
	cr_assert_null(lab_map_find_arena(lab_where_base(where)));
	if (after)
		foreign = map_at(low, size);
	ALL_IDLE;
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
	if (foreign) {
		check_foreign(foreign, size);
		cr_assert_eq(munmap(foreign, size), 0);
	}
	cr_assert(!is_mapped(low) && !is_mapped(low + size - 1));
}

Test(retire, cut_short_at_each_unmapping)
{
	start();
	ALL_IDLE;
	for (int round = 0; round < 100; round++)
		for (unsigned n = 0; n < 2; n++) {
			cut_short(n, false);
			cut_short(n, true);
		}
}

/* Who is in the middle of it and alive is left alone. */
static void
another_in_the_middle(void *start, size_t size)
{
	(void)size;
	world.on_unmap = NULL;
	size_t unmaps = world.unmaps;
	ALL_IDLE;
	REQUIRE_EQUAL(world.unmaps, unmaps);
	REQUIRE(is_mapped(start));
}

Test(retire, two_at_a_time)
{
	start();
	world.on_unmap = another_in_the_middle;
	cr_assert_neq(ALL_IDLE, 0);
	cr_assert_eq(state(), LAB_ARENA_EMPTY);
}
