/*
 * registry.c - which heap belongs to which thread: every transition of the owner word, adoption only after proven death
 * (by a hook, and by the kernel with real threads), fork's freeze, and what happens when there is no place.
 *
 * Clauses: G7.1, G10.2.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/exclusive.h"
#include "heap/leases.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "heap_check.h"
#include "reserve/share.h"
#include "trace.h"
#include "world.h"

enum { ANN = 1001, BOB = 1002, CAT = 1003 };

static void
start(void)
{
	world_install();
	world.deaths_are_set = true;
	REQUIRE(lab_registry_start());
	REQUIRE(lab_registry_start()); /* repeatable */
}

static struct lab_heap *
make_whole(uint32_t tid)
{
	struct lab_heap *heap = lab_registry_make(tid, LAB_HEAP_CURRENT);

	REQUIRE(heap && !heap->whole);
	lab_heap_rebuild_owned(heap);
	return heap;
}

static void
check_owned(const struct lab_heap *heap, uint32_t tid)
{
	REQUIRE(lab_heap_state_is_owned(lab_registry_state(heap->id)));
	REQUIRE(lab_registry_tid(heap->id) == tid);
	REQUIRE(lab_registry_heap(heap->id) == heap);
}

Test(registry, heaps_are_made_dense_and_far_apart)
{
	start();
	cr_assert_eq(lab_registry_count(), 0);
	for (uint32_t id = 0; id < 20; id++) {
		struct lab_heap *heap = make_whole(ANN + id);
		cr_assert_eq(heap->id, id);
		cr_assert_eq(lab_registry_count(), id + 1);
		cr_assert_eq((uintptr_t)heap % LAB_HEAP_STRIDE, 0);
		check_owned(heap, ANN + id);
	}
	cr_assert_eq(lab_registry_state(20), LAB_HEAP_UNUSED);
}

Test(registry, what_is_given_back_is_idle_and_taken_again_by_hint)
{
	start();
	struct lab_heap *a = make_whole(ANN), *b = make_whole(ANN), *c = make_whole(ANN);

	cr_assert_null(lab_registry_take_idle(BOB, LAB_HEAP_BORROWED), "nothing is idle");
	lab_registry_give_back(a, lab_registry_word(a));
	lab_registry_give_back(c, lab_registry_word(c));
	cr_assert_eq(lab_registry_state(a->id), LAB_HEAP_IDLE);
	cr_assert_eq(lab_registry_take_if_idle(BOB, LAB_HEAP_BORROWED, c->id), c);
	cr_assert_eq(lab_registry_state(c->id), LAB_HEAP_BORROWED, "won, and said what for, at once");
	check_owned(c, BOB);
	cr_assert_null(lab_registry_take_if_idle(BOB, LAB_HEAP_BORROWED, b->id), "that one is not idle");
	cr_assert_eq(lab_registry_take_idle(BOB, LAB_HEAP_BORROWED), a);
	cr_assert_null(lab_registry_take_idle(CAT, LAB_HEAP_BORROWED));
	check_owned(b, ANN);

	uint64_t word = lab_registry_word(b);
	lab_registry_give_back(b, word);
	cr_assert_eq(lab_registry_take_if_idle(CAT, LAB_HEAP_HELD, b->id), b);
	lab_registry_give_back(b, word);
	check_owned(b, CAT); /* a word from before gives nothing back */
	cr_assert_eq(lab_registry_state(b->id), LAB_HEAP_HELD);
}

Test(registry, births_take_from_the_other_end)
{
	start();
	struct lab_heap *a = make_whole(ANN), *b = make_whole(ANN), *c = make_whole(ANN);

	lab_registry_give_back(a, lab_registry_word(a));
	lab_registry_give_back(b, lab_registry_word(b));
	lab_registry_give_back(c, lab_registry_word(c));
	cr_assert_eq(lab_registry_take_idle(BOB, LAB_HEAP_BORROWED), a);
	cr_assert_eq(lab_registry_take_idle(CAT, LAB_HEAP_CURRENT), c);
	lab_registry_give_back(a, lab_registry_word(a));
	cr_assert_eq(lab_registry_take_idle(CAT, LAB_HEAP_CURRENT), b, "what is borrowed stays the first");
}

/* A handler in between has given it back, or has it itself. */
Test(registry, an_own_heap_is_won_from_the_word_that_was_read)
{
	uint32_t id = 0;
	uint64_t word;

	start();
	struct lab_heap *heap = make_whole(ANN);
	cr_assert_eq(lab_registry_next_of(ANN, &id, &word), heap);
	cr_assert(lab_registry_claim_own(heap, word, LAB_HEAP_ABSORBING));
	cr_assert_eq(lab_registry_state(heap->id), LAB_HEAP_ABSORBING);
	cr_assert(!lab_registry_claim_own(heap, word, LAB_HEAP_BORROWED));
	check_owned(heap, ANN);
}

Test(registry, a_thread_finds_all_its_heaps)
{
	start();
	struct lab_heap *heap, *a = make_whole(ANN);
	(void)make_whole(BOB);
	struct lab_heap *c = make_whole(ANN);
	uint32_t id = 0;
	uint64_t word;

	cr_assert_eq(lab_registry_next_of(ANN, &id, &word), a);
	cr_assert_eq(word, lab_registry_word(a));
	cr_assert_eq(lab_registry_next_of(ANN, &id, &word), c);
	cr_assert_null(lab_registry_next_of(ANN, &id, &word));
	id = 0;
	cr_assert_null(heap = lab_registry_next_of(CAT, &id, &word));
	(void)heap;
}

/* Where gettid is refused all who are born have this one. */
Test(registry, who_has_no_id_finds_no_heap_and_is_not_found_dead)
{
	uint32_t id = 0;
	uint64_t word;

	start();
	world.deaths_are_set = false;
	struct lab_heap *heap = make_whole(LAB_OS_TID_UNKNOWN);
	cr_assert_null(lab_registry_next_of(LAB_OS_TID_UNKNOWN, &id, &word));
	cr_assert_not(lab_os.thread_is_dead(LAB_OS_TID_UNKNOWN));
	cr_assert_null(lab_registry_adopt((uint32_t)getpid(), LAB_HEAP_CURRENT, 10, false));
	check_owned(heap, LAB_OS_TID_UNKNOWN);
	lab_registry_give_back(heap, lab_registry_word(heap));
	cr_assert_eq(lab_registry_take_idle(LAB_OS_TID_UNKNOWN, LAB_HEAP_BORROWED), heap);
}

Test(registry, only_the_dead_are_adopted_and_only_so_many_are_asked_about)
{
	start();
	for (int i = 0; i < 10; i++)
		(void)make_whole(ANN);
	struct lab_heap *bobs = make_whole(BOB), *mine = make_whole(CAT);

	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 4, false));
	cr_assert_eq(world.probes, 4);
	world.probes = 0;
	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 1000, false));
	cr_assert_leq(world.probes, 11, "not about the caller's own, and each once");
	world.dead_tid = BOB;
	struct lab_heap *adopted = lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 11, false);
	cr_assert_eq(adopted, bobs);
	check_owned(bobs, CAT);
	cr_assert_eq(lab_registry_state(bobs->id), LAB_HEAP_CURRENT);
	cr_assert_eq(bobs->adopted, 1);
	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 1000, false));
	world.dead_tid = CAT;
	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 1000, false),
	               "its own id says nothing about the caller");
	check_owned(mine, CAT);
}

/* A few probes at a time come round to every heap. */
Test(registry, probing_goes_round)
{
	start();
	for (int i = 0; i < 30; i++)
		(void)make_whole(ANN + (uint32_t)i);
	world.dead_tid = ANN + 17;
	struct lab_heap *adopted = NULL;
	for (int i = 0; i < 30 / 4 + 2 && !adopted; i++)
		adopted = lab_registry_adopt(1, LAB_HEAP_CURRENT, 4, false);
	cr_assert(adopted && adopted->id == 17);
}

/* INV-REG-1: the word was read before the probe; whatever happened since, the CAS fails. */
static void
change_hands(uint32_t tid)
{
	static bool done;

	if (done || tid != BOB)
		return;
	done = true;
	lab_registry_give_back(lab_registry_heap(1), lab_registry_word(lab_registry_heap(1)));
	REQUIRE(lab_registry_take_if_idle(BOB, LAB_HEAP_CURRENT, 1) ==
	        lab_registry_heap(1)); /* the same id again: a new thread */
}

Test(registry, an_old_word_wins_nothing)
{
	start();
	(void)make_whole(ANN);
	struct lab_heap *bobs = make_whole(BOB);

	world.dead_tid = BOB;
	world.on_probe = change_hands;
	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 1 + 1, false));
	check_owned(bobs, BOB);
	world.on_probe = NULL;
	cr_assert_eq(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 2, false), bobs, "but the next probe does");
}

/* The same with a newborn that finds its own id on the heap of a dead namesake. */
static void
be_born(uint32_t tid)
{
	static bool done;

	if (done || tid != lab_os_tid())
		return;
	done = true;
	lab_free(lab_malloc(10));
	REQUIRE(lab_thread.heap == lab_registry_heap(0));
}

Test(registry, the_heap_of_a_dead_namesake_has_one_holder)
{
	start();
	uint32_t mine = lab_os_tid();
	struct lab_heap *heap = make_whole(mine); /* left by a thread that had our id, and died */

	world.dead_tid = mine; /* as the kernel said just before we were born */
	world.on_probe = be_born;
	cr_assert_null(lab_registry_adopt(ANN, LAB_HEAP_CURRENT, 4, false), "we live in it");
	cr_assert_eq(lab_thread.heap, heap);
	check_owned(heap, mine);
}

/* A frame may be cut short just after the CAS. */
Test(registry, a_heap_that_was_won_and_not_yet_written_to_is_found_and_built)
{
	start();
	(void)make_whole(ANN);
	struct lab_heap *heap = lab_registry_make(lab_os_tid(), LAB_HEAP_CURRENT);

	memset(heap, 0, sizeof *heap); /* but for what is written before the CAS */
	heap->id = 1;
	void *p = lab_malloc(100);
	cr_assert_eq(lab_thread.heap, heap);
	cr_assert_eq(heap->id, 1);
	cr_assert_eq(lab_map_find(p).heap_id, 1, "segments are claimed in its own name");
}

/* ---- fork's child ---- */

enum { BEGUN = 1004 };

static bool
is_here(uint32_t tid)
{
	return tid == CAT || tid == BEGUN; /* CAT: the leader's, as the kernel has it */
}

static void
settle(uint32_t old_tid, uint32_t new_tid, uint32_t cut_tid)
{
	const struct lab_lease_fork fork = {old_tid, new_tid, cut_tid, is_here};

	lab_registry_settle(&fork);
	lab_registry_end_fork();
}

Test(registry, fork_freezes_all_heaps_but_the_leaders)
{
	start();
	struct lab_heap *mine = make_whole(ANN), *also = make_whole(ANN), *bobs = make_whole(BOB),
	                *idle = make_whole(CAT);

	lab_registry_give_back(idle, lab_registry_word(idle));
	cr_assert(!lab_registry_is_forked());
	lab_registry_note_fork();
	cr_assert(lab_registry_is_forked());
	world.dead_tid = BOB;
	cr_assert_null(lab_registry_adopt(ANN, LAB_HEAP_CURRENT, 100, false),
	               "until the leader has been through, all are alive");
	cr_assert_null(lab_registry_take_idle(ANN, LAB_HEAP_BORROWED));
	settle(ANN, CAT, 0);
	cr_assert(!lab_registry_is_forked());
	check_owned(mine, CAT);
	check_owned(also, CAT);
	cr_assert_eq(lab_registry_state(bobs->id), LAB_HEAP_FROZEN);
	cr_assert_eq(lab_registry_state(idle->id), LAB_HEAP_FROZEN);
	cr_assert_null(lab_registry_adopt(CAT, LAB_HEAP_CURRENT, 100, false));
	cr_assert_null(lab_registry_take_if_idle(CAT, LAB_HEAP_BORROWED, idle->id));
	cr_assert_eq(make_whole(CAT)->id, 4, "new ones can be made");
}

/* The child begins a PID namespace, in which its id is one that another thread had in the parent's. */
Test(registry, a_namesake_of_the_child_in_the_parent_is_not_taken_for_it)
{
	start();
	struct lab_heap *mine = make_whole(ANN), *namesakes = make_whole(CAT);

	lab_registry_note_fork();
	settle(ANN, CAT, 0);
	check_owned(mine, CAT);
	cr_assert_eq(lab_registry_state(namesakes->id), LAB_HEAP_FROZEN);
}

/* Signals that an instruction raises come through; so do all where the system refuses to hold them. */
Test(registry, a_pass_that_was_cut_short_is_done_again)
{
	start();
	struct lab_heap *mine = make_whole(ANN);

	lab_registry_note_fork();
	settle(ANN, CAT, 0);
	lab_registry_note_fork();
	settle(ANN, CAT, CAT); /* a jump has left it after the first heap */
	check_owned(mine, CAT);
	lab_registry_note_fork();
	settle(ANN, BOB, CAT); /* a handler forked in the middle */
	check_owned(mine, BOB);
}

/* A thread that was begun before the leader's first call. */
Test(registry, heaps_of_threads_that_the_child_has_begun_stay)
{
	start();
	struct lab_heap *mine = make_whole(ANN), *begun = make_whole(BEGUN);

	lab_registry_note_fork();
	settle(ANN, CAT, 0);
	check_owned(mine, CAT);
	check_owned(begun, BEGUN);
}

/* A frame that has borrowed a heap, and was interrupted by a handler that forked, gives it back in the child. */
Test(registry, what_was_borrowed_before_a_fork_is_given_back_after_it)
{
	start();
	struct lab_heap *heap = make_whole(ANN);
	uint64_t word = lab_registry_word(heap);

	lab_registry_note_fork();
	settle(ANN, CAT, 0);
	lab_registry_give_back(heap, word);
	cr_assert_eq(lab_registry_state(heap->id), LAB_HEAP_IDLE);
}

/* The whole pass, by the thread that forks, in a process that has other threads' leases of each kind. */
Test(registry, one_pass_settles_leases_of_all_kinds)
{
	world_install();
	void *block = lab_malloc(100);
	char *owned = lab_alloc(5000, LAB_GFP_EXCLUSIVE), *others = lab_alloc(5000, LAB_GFP_EXCLUSIVE);
	struct lab_place place = lab_map_find(block), other_place = lab_map_find(others);
	struct lab_heap *anns = make_whole(ANN);

	uint64_t state = lab_load_rlx(&other_place.run->state);
	lab_store_rlx(&other_place.run->state, lab_state_make(state, 0, ANN));
	lab_store_rlx(&place.segment->purge, lab_lease_make(1, ANN, LAB_PURGE_GIVES_BACK));
	struct lab_share *share = lab_share_make(lab_os.map(lab_share_bytes(6, 8), LAB_ACCESS_WRITE), 6, 8, ANN, false);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		REQUIRE(!lab_registry_is_forked()); /* by libc's hook */
		check_owned(lab_thread.heap, lab_os_tid());
		REQUIRE(lab_registry_state(anns->id) == LAB_HEAP_FROZEN);
		REQUIRE(lab_load_rlx(&place.segment->purge) == 0);
		REQUIRE(lab_owner(owned) == gettid() && lab_owner(others) == 0);
		REQUIRE(lab_share_tid(share) == 0);
		REQUIRE(lab_thread.next_tid == 0);
		lab_free(owned);
		lab_free(others);
		lab_free(block);
		_exit(0);
	}
	int status;
	REQUIRE(waitpid(child, &status, 0) == child);
	cr_assert_eq(status, 0);
	cr_assert_eq(lab_owner(others), ANN, "not in the parent");
}

static bool
occupy_most(void *start, size_t size, enum lab_mapped *result)
{
	size_t id = (size_t)((char *)start - lab_space()->heaps) / LAB_HEAP_STRIDE;

	(void)size;
	*result = LAB_OCCUPIED;
	return id >= 20 && id < 25000;
}

/* Others' mappings where heaps would be are stepped over. */
Test(registry, when_there_is_no_place_or_no_memory_it_is_null)
{
	size_t made = 0;

	world_install();
	world.deaths_are_set = true;
	REQUIRE(lab_registry_start());
	world.maps_left = 0;
	cr_assert_null(lab_registry_make(ANN, LAB_HEAP_CURRENT));
	cr_assert_eq(lab_registry_state(0), LAB_HEAP_UNUSED);
	world.maps_left = SIZE_MAX;
	world.on_map_at = occupy_most;
	while (lab_registry_make(ANN, LAB_HEAP_CURRENT))
		made++;
	cr_assert_gt(made, 20, "some behind them");
	cr_assert_gt(lab_registry_count(), 25000);
	cr_assert_null(lab_malloc(1), "a thread without a heap has no memory");
}

/* ---- real threads, asked about at the kernel ---- */

static void *
leave_blocks(void *into)
{
	void **blocks = into;

	for (int i = 0; i < 100; i++)
		blocks[i] = lab_malloc(1000);
	return NULL;
}

static pthread_barrier_t barrier;

static void *
live_on(void *into)
{
	void *p = lab_malloc(1000);

	*(struct lab_heap **)into = lab_thread.heap;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lab_free(p);
	return NULL;
}

Test(registry, the_heaps_of_threads_that_ended_are_adopted_soon_those_of_living_ones_never)
{
	enum { DEAD = 4 };
	static void *blocks[DEAD][100];
	struct lab_heap *living;
	pthread_t thread, dead[DEAD];
	size_t adopted = 0;

	world_install();
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&thread, NULL, live_on, &living) == 0);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < DEAD; i++) /* together: one of them would take over the one before */
		REQUIRE(pthread_create(&dead[i], NULL, leave_blocks, blocks[i]) == 0);
	for (int i = 0; i < DEAD; i++)
		pthread_join(dead[i], NULL);
	void *mine = lab_malloc(10);
	for (int i = 0; i < 10000; i++) {
		struct lab_heap *heap = lab_registry_adopt(lab_thread_tid(), LAB_HEAP_CURRENT, 4, false);
		cr_assert_neq(heap, living);
		adopted += heap != NULL;
		if (i > 1000 && lab_registry_count() <= adopted + 2)
			break;
		if (i > 1000)
			usleep(100);
	}
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		struct lab_heap *heap = lab_registry_heap(id);
		if (heap != living && lab_heap_state_is_owned(lab_registry_state(id)))
			cr_assert_eq(lab_registry_tid(id), lab_thread_tid(), "every dead thread's heap was found");
	}
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	lab_free(mine);
	for (int i = 0; i < DEAD; i++)
		for (int j = 0; j < 100; j++) {
			cr_assert(lab_owns(blocks[i][j]), "blocks outlive their thread");
			lab_free(blocks[i][j]);
		}
}
