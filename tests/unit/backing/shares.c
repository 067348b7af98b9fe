/* shares.c - lab_reserve_thread: a thread's own slots, their memory, and what becomes of them when it ends. Clauses:
 * G6.3. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "backing/shares.h"
#include "heap/leases.h"
#include "reserve/reserve.h"
#include "trace.h"
#include "world.h"

enum { SLOTS = 40 };
static char *held[SLOTS];

static size_t
bytes_in_shares(void)
{
	struct lab_reserve_info now;

	lab_reserve_info(&now);
	return now.shares;
}

static size_t
used(void)
{
	return lab_reserve_bytes().used;
}

Test(shares, atomic_calls_draw_on_the_threads_own_slots_first)
{
	cr_assert(lab_reserve_thread(100, SLOTS));
	cr_assert_eq(bytes_in_shares(), SLOTS * 128);
	for (int i = 0; i < SLOTS; i++) {
		held[i] = lab_alloc(100, LAB_GFP_ATOMIC);
		REQUIRE(held[i] && lab_owns(held[i]) && lab_usable_size(held[i]) == 128);
		cr_assert_eq(used(), 0);
		memset(held[i], i, 128);
	}
	void *next = lab_alloc(100, LAB_GFP_ATOMIC);
	cr_assert_eq(used(), 128, "then on the reserve");
	lab_free(next);
	cr_assert(lab_reserve_thread(100, 5), "more of them");
	cr_assert_not_null(lab_alloc(100, LAB_GFP_ATOMIC));
	cr_assert_eq(used(), 0);
	for (int i = 0; i < SLOTS; i++) {
		cr_assert(held[i][127] == i);
		lab_free(held[i]);
		cr_assert(!lab_owns(held[i]));
	}
	cr_assert(lab_reserve_thread(100, 0));
	cr_assert_eq(bytes_in_shares(), 0);
	lab_free(lab_alloc(100, LAB_GFP_ATOMIC));
}

static void *
free_all(void *unused)
{
	void *foreign = lab_alloc(64, LAB_GFP_ATOMIC);

	REQUIRE(used() == 64);
	lab_free(foreign);
	for (int i = 0; i < SLOTS; i++)
		lab_free(held[i]);
	return unused;
}

Test(shares, any_thread_frees_and_nobody_else_draws)
{
	pthread_t thread;

	REQUIRE(lab_reserve_thread(64, SLOTS));
	for (int i = 0; i < SLOTS; i++)
		held[i] = lab_alloc(64, LAB_GFP_ATOMIC);
	REQUIRE(pthread_create(&thread, NULL, free_all, NULL) == 0 && pthread_join(thread, NULL) == 0);
	for (int i = 0; i < SLOTS; i++)
		REQUIRE((held[i] = lab_alloc(64, LAB_GFP_ATOMIC)) != NULL);
	cr_assert_eq(used(), 0);
}

Test(shares, a_share_that_cannot_be_had_again_now_and_then_does_not_add_another_each_time)
{
	world_install();
	for (int i = 0; i < 600; i++) { /* more often than there is room for shares */
		world.populates_to_fail = i > 0 ? 1 : 0;
		REQUIRE(lab_reserve_thread(100, SLOTS) && lab_reserve_thread(100, 0));
	}
	cr_assert_leq(world.maps, 2);
}

static void *
reserve_and_die(void *tid)
{
	REQUIRE(lab_reserve_thread(4096, 8));
	*(uint32_t *)tid = lab_thread_tid();
	held[0] = lab_alloc(4096, LAB_GFP_ATOMIC);
	return NULL;
}

Test(shares, a_dead_threads_slots_are_used_again_when_all_are_free)
{
	pthread_t thread;

	world_install();
	world.deaths_are_set = true;
	REQUIRE(pthread_create(&thread, NULL, reserve_and_die, &world.dead_tid) == 0 &&
	        pthread_join(thread, NULL) == 0);
	size_t maps = world.maps;
	cr_assert(!lab_shares_shrink(), "one is in use");
	lab_free(held[0]);
	cr_assert(lab_shares_shrink());
	cr_assert_eq(bytes_in_shares(), 0);
	cr_assert_eq(world.purged, 8 * 4096);
	cr_assert(lab_reserve_thread(4096, 8));
	cr_assert_eq(world.maps, maps, "the same one");
	cr_assert_not_null(lab_alloc(4096, LAB_GFP_ATOMIC));
	cr_assert_eq(used(), 0);
}

Test(shares, without_memory_it_says_so)
{
	world_install();
	cr_assert(!lab_reserve_thread(65537, 1));
	cr_assert(!lab_reserve_thread(64, SIZE_MAX / 64));
	world.maps_left = 0;
	cr_assert(!lab_reserve_thread(64, 10));
	world.maps_left = SIZE_MAX;
	world.populate_fails = true;
	size_t unmaps = world.unmaps;
	cr_assert(!lab_reserve_thread(64, 10));
	cr_assert_eq(world.unmaps, unmaps + 1);
	cr_assert_eq(bytes_in_shares(), 0);
}
