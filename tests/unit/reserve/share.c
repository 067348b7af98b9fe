/* share.c - threads' shares: exclusive, freed by anyone, given on only when their owner is dead or has let go, and all
 * is free. Clauses: G6.3. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "test_reserve.h"

/* What a thread's variable is in the library. */
static _Thread_local _Atomic uint16_t own;

static uint32_t dead;

static bool
is_dead(uint32_t tid)
{
	return tid == dead;
}

/* As lab_reserve_thread does it. */
static struct lab_share *
make(unsigned shift, size_t n, uint32_t tid)
{
	return test_reserve_share(shift, n, tid, false);
}

static void
attach(struct lab_share *share)
{
	lab_share_open(share, lab_thread_pointer());
	lab_share_link(&own, share);
}

static void *
claim_as_another(void *size)
{
	return lab_share_claim(own, (size_t)size, 1);
}

Test(share, its_slots_are_the_owners_and_exact)
{
	static char *slot[100];
	for (unsigned shift = 5; shift <= 16; shift++) {
		struct lab_share *share = make(shift, 37, 11);
		size_t size = (size_t)1 << shift;
		cr_assert_null(lab_share_claim(own, size, 1), "before it is opened");
		attach(share);
		pthread_t thread;
		void *got = slot;
		REQUIRE(pthread_create(&thread, NULL, claim_as_another, (void *)size) == 0 &&
		        pthread_join(thread, &got) == 0);
		cr_assert_null(got, "nobody else draws on it");
		for (unsigned i = 0; i < 37; i++) {
			slot[i] = lab_share_claim(own, size, i % 2 ? size : 1);
			REQUIRE(slot[i] && (uintptr_t)slot[i] % size == 0 && lab_share_find(slot[i]) == share);
			struct lab_range memory = lab_share_memory(share);
			REQUIRE(slot[i] >= memory.start && slot[i] + size <= memory.start + memory.size);
			REQUIRE(memory.start + memory.size <= (char *)share + lab_share_bytes(shift, 37));
			memset(slot[i], (int)i, size);
		}
		cr_assert_null(lab_share_claim(own, size, 1));
		cr_assert_eq(lab_bank_free(&share->bank, 0, 37), 0);
		for (unsigned i = 0; i < 37; i++) {
			cr_assert_eq(slot[i][0], (char)i);
			cr_assert_eq(slot[i][size - 1], (char)i);
			cr_assert_eq(lab_share_slot_size(share, slot[i]), size);
			cr_assert_eq(lab_share_release(share, slot[i] + 16), LAB_RESERVE_NOT_A_SLOT);
			cr_assert_eq(lab_share_release(share, slot[i]), LAB_RESERVE_RELEASED);
			cr_assert_eq(lab_share_release(share, slot[i]), LAB_RESERVE_WAS_FREE);
		}
		cr_assert_eq(lab_bank_free(&share->bank, 0, 37), 37);
		cr_assert(shift == 5 || !lab_share_claim(own, size / 2, 1), "only its own class");
		cr_assert_null(lab_share_claim(own, SIZE_MAX, 1));
		lab_share_detach(&own, share);
		cr_assert_null(lab_share_claim(own, size, 1));
	}
	cr_assert_null(lab_share_find(&dead));
}

Test(share, it_is_given_on_only_when_nobody_has_it_and_all_is_free)
{
	struct lab_share *share = make(6, 8, 11);

	attach(share);
	void *p = lab_share_claim(own, 64, 1);
	cr_assert(!lab_share_take(share, 12, is_dead), "its owner lives");
	dead = 11;
	cr_assert(!lab_share_take(share, 12, is_dead), "a slot is in use");
	cr_assert_eq(lab_share_release(share, p), LAB_RESERVE_RELEASED);
	cr_assert(!lab_share_take(share, 11, is_dead), "not the owner's own");
	cr_assert(lab_share_take(share, 12, is_dead));
	cr_assert_eq(lab_share_tid(share), 12);
	cr_assert(!lab_share_take(share, 13, is_dead));
	lab_share_let_go(share);
	cr_assert(lab_share_take(share, 13, is_dead));
}

static bool
is_13(uint32_t tid)
{
	return tid == 13;
}

Test(share, in_a_child_the_forking_threads_get_its_new_id_and_others_are_nobodys)
{
	const struct lab_lease_fork fork = {.old_tid = 11, .new_tid = 99, .is_here = is_13};
	struct lab_share *mine = make(6, 8, 11), *other = make(6, 8, 12), *of_new_thread = make(6, 8, 13);

	attach(mine);
	lab_share_settle(&fork);
	cr_assert_eq(lab_share_tid(mine), 99);
	cr_assert_eq(lab_share_tid(other), 0);
	cr_assert_eq(lab_share_tid(of_new_thread), 13);
	cr_assert(lab_share_take(other, 99, is_dead), "it serves the next who asks");
}

Test(share, the_table_is_full_at_some_time)
{
	for (unsigned i = 0; i < LAB_SHARE_OF_THREAD; i++)
		REQUIRE(make(5, 1, 11));
	cr_assert_null(make(5, 1, 11));
	for (unsigned i = LAB_SHARE_OF_THREAD; i < LAB_SHARE_MAX; i++)
		REQUIRE(test_reserve_share(5, 1, 11, true));
	cr_assert_null(test_reserve_share(5, 1, 11, true));
	cr_assert_eq(lab_share_bytes(5, SIZE_MAX / 2), 0);
}
