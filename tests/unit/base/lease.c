/* lease.c - leases change hands by exactly the value that was judged. Clauses: G8.7. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "base/lease.h"

static uint32_t dead;

static bool
is_dead(uint32_t tid)
{
	return tid == dead;
}

static bool
nobody(uint32_t tid)
{
	(void)tid;
	return false;
}

Test(lease, a_value_keeps_all_of_its_parts)
{
	for (uint32_t epoch = 1; epoch != 0; epoch *= 2)
		for (uint32_t tid = 1; tid < 1u << LAB_LEASE_TID_BITS; tid *= 2)
			for (unsigned tag = 0; tag < 1u << (64 - LAB_LEASE_TAG_SHIFT); tag = tag * 2 + 1) {
				uint64_t value = lab_lease_make(epoch, tid, tag);
				cr_assert_eq(lab_lease_epoch(value), epoch);
				cr_assert_eq(lab_lease_tid(value), tid);
				cr_assert_eq(lab_lease_tag(value), tag);
			}
}

Test(lease, it_is_won_from_nobody_or_the_dead_alone)
{
	_Atomic uint64_t word = lab_lease_make(0, 5, 1);
	uint64_t seen = lab_load_acq(&word);

	cr_assert_not(lab_lease_win(&word, seen, lab_lease_next(seen, 6, 1), is_dead), "its holder lives");
	dead = 5;
	cr_assert_not(lab_lease_win(&word, seen, lab_lease_next(seen, 5, 1), is_dead), "not from oneself");
	cr_assert(lab_lease_win(&word, seen, lab_lease_next(seen, 6, 2), is_dead));
	cr_assert_eq(lab_load_rlx(&word), lab_lease_make(1, 6, 2));
	cr_assert_not(lab_lease_win(&word, seen, lab_lease_next(seen, 7, 2), is_dead), "INV-LEASE-1: the value is another");
	lab_lease_release(&word, seen, 0);
	cr_assert_eq(lab_load_rlx(&word), lab_lease_make(1, 6, 2), "not by who has lost it");
	lab_lease_release(&word, lab_load_rlx(&word), lab_lease_make(2, 0, 0));
	cr_assert(lab_lease_win(&word, lab_load_acq(&word), lab_lease_make(3, 8, 0), nobody));
}

Test(lease, a_child_of_fork_settles_each)
{
	const struct lab_lease_fork fork = {5, 50, is_dead}; /* "dead": the thread that the child has begun already */
	_Atomic uint64_t mine = lab_lease_make(7, 5, 3), other = lab_lease_make(7, 6, 3), new = lab_lease_make(7, 9, 3);
	_Atomic uint64_t same_id = lab_lease_make(7, 50, 3), free = lab_lease_make(7, 0, 3);
	uint64_t taken = lab_load_rlx(&mine);

	dead = 9;
	lab_lease_settle(&mine, &fork, 0);
	lab_lease_settle(&other, &fork, 0);
	lab_lease_settle(&new, &fork, 0);
	lab_lease_settle(&same_id, &fork, 0);
	lab_lease_settle(&free, &fork, 0);
	cr_assert_eq(mine, lab_lease_make(7, 50, 3));
	cr_assert_eq(other, 0);
	cr_assert_eq(new, lab_lease_make(7, 9, 3));
	cr_assert_eq(same_id, 0, "a thread of the parent, where the child begins a PID namespace");
	cr_assert_eq(free, lab_lease_make(7, 0, 3));
	lab_lease_release(&mine, taken, 0);
	cr_assert_eq(mine, 0, "the frame that holds it knows it by its epoch");
}

/* ---- many threads take over from the dead ------------------------------------------------------------------------------------- */

enum { THREADS = 4, TURNS = 20000 };

static _Atomic uint64_t contended;
static _Atomic uint32_t inside, wins, clashes;

static bool
is_zombie(uint32_t tid)
{
	return tid == 1000;
}

static void *
contend(void *tid)
{
	for (int turn = 0; turn < TURNS; turn++) {
		uint64_t seen = lab_load_acq(&contended), mine = lab_lease_next(seen, (uint32_t)(uintptr_t)tid, 0);
		if (!lab_lease_win(&contended, seen, mine, is_zombie))
			continue;
		lab_add_rlx(&clashes, lab_add_rlx(&inside, 1));
		lab_add_rlx(&wins, 1);
		lab_add_rlx(&inside, -1u);
		lab_lease_release(&contended, mine, lab_lease_next(mine, turn % 2 ? 1000 : 0, 0));
	}
	return NULL;
}

Test(lease, it_has_one_holder_at_a_time)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, contend, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_gt(wins, 0);
	cr_assert_eq(clashes, 0, "two holders");
}
