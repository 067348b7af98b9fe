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
	cr_assert_not(lab_lease_win(&word, seen, lab_lease_next(seen, 7, 2), is_dead),
	              "INV-LEASE-1: the value is another");
	cr_assert_not(lab_lease_release(&word, seen, 0));
	cr_assert_eq(lab_load_rlx(&word), lab_lease_make(1, 6, 2), "not by who has lost it");
	cr_assert(lab_lease_release(&word, lab_load_rlx(&word), lab_lease_make(2, 0, 0)));
	cr_assert_not(lab_lease_release(&word, lab_lease_make(2, 6, 0), 0), "it is nobody's");
	cr_assert(lab_lease_win(&word, lab_load_acq(&word), lab_lease_make(3, 8, 0), nobody));
}

/* ---- fork's child ---- */

enum { OLD = 5, CUT = 40, NEW = 50, BEGUN = 9, STRANGER = 6 };

static bool
is_here(uint32_t tid)
{
	return tid == NEW || tid == BEGUN;
}

static bool
cannot_tell(uint32_t tid)
{
	(void)tid;
	return false;
}

Test(lease, a_child_of_fork_settles_each)
{
	static const struct {
		const char *what;
		uint32_t holder, cut;
		bool (*is_here)(uint32_t tid);
		enum lab_lease_settled settled;
		uint32_t then; /* the holder */
	} cases[] = {
	        {"the forking thread's", OLD, 0, is_here, LAB_LEASE_MINE, NEW},
	        {"another thread's of the parent", STRANGER, 0, is_here, LAB_LEASE_ORPHANED, 0},
	        {"of a thread that the child has begun", BEGUN, 0, is_here, LAB_LEASE_KEPT, BEGUN},
	        {"nobody's", 0, 0, is_here, LAB_LEASE_NOBODYS, 0},
	        {"of a thread of the parent that had the id, where the child begins a PID namespace", NEW, 0, is_here,
	         LAB_LEASE_ORPHANED, 0},
	        {"settled before a jump cut the pass short", NEW, NEW, is_here, LAB_LEASE_MINE, NEW},
	        {"settled before a handler forked in the pass", CUT, CUT, is_here, LAB_LEASE_MINE, NEW},
	        {"not settled yet then", OLD, CUT, is_here, LAB_LEASE_MINE, NEW},
	        {"of a namesake of nobody", STRANGER, CUT, is_here, LAB_LEASE_ORPHANED, 0},
	        {"where it cannot be told", BEGUN, 0, cannot_tell, LAB_LEASE_ORPHANED, 0},
	        {"the forking thread's there", OLD, 0, cannot_tell, LAB_LEASE_MINE, NEW},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct lab_lease_fork fork = {
		        .old_tid = OLD, .new_tid = NEW, .cut_tid = cases[i].cut, .is_here = cases[i].is_here};
		_Atomic uint64_t word = lab_lease_make(7, cases[i].holder, 3);
		uint64_t before = word;
		enum lab_lease_settled settled = lab_lease_settle(&word, &fork, lab_lease_nobodys(before));
		cr_assert_eq(settled, cases[i].settled, "%s", cases[i].what);
		cr_assert_eq(word, lab_lease_make(7, cases[i].then, 3), "%s", cases[i].what);
		cr_assert(lab_lease_is_settled(word, &fork), "%s", cases[i].what);
		/* the frame that has it knows it by epoch and tag */
		cr_assert_eq(lab_lease_release(&word, before, 0), cases[i].then != 0, "%s", cases[i].what);
	}
}

/* A thread that had no lease: its old id is 0, as nobody's. */
Test(lease, who_had_none_gets_none)
{
	const struct lab_lease_fork fork = {.old_tid = 0, .new_tid = NEW, .is_here = is_here};
	_Atomic uint64_t word = lab_lease_make(7, 0, 3);

	cr_assert_eq(lab_lease_settle(&word, &fork, 1), LAB_LEASE_NOBODYS);
	cr_assert_eq(word, lab_lease_make(7, 0, 3));
}

/* ---- many threads take over from the dead ---------------------------------------------------------------------- */

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
		(void)lab_lease_release(&contended, mine, lab_lease_next(mine, turn % 2 ? 1000 : 0, 0));
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
