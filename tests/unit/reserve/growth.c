/*
 * growth.c - shares that are everybody's: opened, closed, torn at each step and taken over. The steps are called one by
 * one by what plays the threads: A (tid 11) and B (tid 12), of which one may be dead.
 *
 * Clauses: G5.2.
 */
#include <criterion/criterion.h>

#include "test_reserve.h"

/* Too few for overflow. */
static const uint32_t slots[LAB_RESERVE_CLASSES] = {8, 7, 0, 4, 4, 4, 4, 4, 2, 2, 1, 1};
enum { A = 11, B = 12, WORDS = 4, MORE = WORDS * 32 - 5, NEVER = 99 };
static uint32_t dead;

static bool
is_dead(uint32_t tid)
{
	return tid == dead;
}

static size_t
claim_all(size_t size)
{
	size_t n = 0;

	while (lab_reserve_claim(size, 1, LAB_DEPTH_ALL))
		n++;
	return n;
}

static void
open_for_all(struct lab_share *share)
{
	lab_share_open(share, LAB_SHARE_EVERYBODY);
	lab_share_let_go(share);
}

static struct lab_share *
grow(unsigned c, uint32_t n)
{
	struct lab_share *share = test_reserve_share(c + LAB_RESERVE_MIN_SHIFT, n, A, true);

	REQUIRE(share);
	open_for_all(share);
	return share;
}

Test(growth, it_adds_its_slots_to_its_class)
{
	test_reserve_make(slots);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_share *share = grow(c, 40), *another = grow(c, 3);
		struct lab_reserve_figures figures = test_reserve_figures(c);
		cr_assert(figures.grown == 43 && figures.used == 0 && figures.plain == slots[c] - slots[c] / 2 + 43);
		struct lab_range memory = lab_share_memory(share);
		cr_assert_eq(claim_all(figures.size), slots[c] + 43, "class %u", c);
		cr_assert_eq(test_reserve_figures(c).used, slots[c] + 43);
		for (unsigned i = 0; i < 40; i++) {
			char *slot = memory.start + i * figures.size;
			cr_assert(lab_share_find(slot) == share && lab_share_slot_size(share, slot) == figures.size);
			cr_assert_eq(lab_share_release(share, slot), LAB_RESERVE_RELEASED);
		}
		cr_assert_eq(claim_all(figures.size), 40);
		cr_assert_eq(lab_share_release(another, lab_share_memory(another).start), LAB_RESERVE_RELEASED);
		cr_assert_eq(claim_all(figures.size / 2 + 1), 1, "also for smaller requests");
	}
}

Test(growth, what_is_closed_gives_no_slot_and_takes_no_release)
{
	test_reserve_make(slots);
	struct lab_share *share = grow(0, MORE);
	char *slot = lab_share_memory(share).start;
	REQUIRE(lab_share_take(share, A, is_dead));
	for (int state = 0; state < 2; state++) { /* the lease is somebody's, nobody's: INV-RES-2 */
		cr_assert_eq(lab_share_release(share, slot), LAB_RESERVE_NOT_A_SLOT);
		cr_assert_eq(lab_share_slot_size(share, slot), 0);
		cr_assert_eq(test_reserve_figures(0).grown, 0);
		lab_share_let_go(share);
	}
	cr_assert_eq(claim_all(32), slots[0]);
	REQUIRE(lab_share_take(share, B, is_dead));
	open_for_all(share);
	cr_assert_eq(claim_all(32), MORE);
}

Test(growth, what_is_in_use_is_not_closed)
{
	test_reserve_make(slots);
	struct lab_share *share = grow(0, MORE);
	for (uint32_t word = 0; word < WORDS; word++) { /* a slot of each word in turn */
		REQUIRE(lab_slots_claim(&share->words[word], 1u << 7) == 7);
		cr_assert(!lab_share_take(share, A, is_dead));
		cr_assert(lab_share_is_everybodys(share) && lab_share_tid(share) == 0);
		cr_assert_eq(test_reserve_figures(0).plain, 4 + MORE - 1);
		char *slot = lab_share_memory(share).start + (word * 32 + 7) * 32;
		cr_assert_eq(lab_share_release(share, slot), LAB_RESERVE_RELEASED);
	}
	cr_assert(lab_share_take(share, A, is_dead));
}

Test(growth, who_comes_while_another_opens_or_closes_changes_nothing)
{
	test_reserve_make(slots);
	struct lab_share *share = test_reserve_share(5, MORE, A, true);
	cr_assert(!lab_share_take(share, B, is_dead), "A fills it");
	cr_assert(!lab_share_take(share, A, is_dead), "nor does a handler of A");
	open_for_all(share);
	REQUIRE(lab_share_take(share, A, is_dead));
	cr_assert(!lab_share_take(share, B, is_dead), "A empties it");
	lab_share_let_go(share);
	cr_assert(lab_share_take(share, B, is_dead));
}

/* A is torn, and dead or not, when `open` words are open: it opened them from the first on, or closed those before the
 * last `open`. */
static struct lab_share *
tear(unsigned open, bool closing)
{
	struct lab_share *share = test_reserve_share(5, MORE, A, true);

	lab_bank_open(&share->bank);
	if (closing)
		lab_store_rlx(&share->owner, LAB_SHARE_EVERYBODY); /* it is cleared behind the last one */
	for (unsigned i = 0; i < WORDS; i++)
		if (closing ? i < WORDS - open : i >= open)
			lab_store_rlx(&share->words[i], 0);
	return share;
}

Test(growth, what_is_torn_is_the_threads_until_it_is_dead_and_then_anyones)
{
	test_reserve_make(slots);
	for (unsigned step = 0; step <= 2 * WORDS; step++) {
		struct lab_share *share = tear(step / 2, step % 2);
		dead = NEVER;
		cr_assert(!lab_share_take(share, B, is_dead), "step %u: alive", step);
		dead = A;
		cr_assert(lab_share_take(share, B, is_dead), "step %u: dead", step);
		cr_assert(lab_bank_is_closed(&share->bank) && !lab_share_is_everybodys(share));
		open_for_all(share);
		size_t grown = test_reserve_figures(0).grown;
		REQUIRE(lab_share_take(share, B, is_dead));
		cr_assert_eq(test_reserve_figures(0).grown, grown - MORE);
	}
}

Test(growth, a_torn_closing_of_what_is_in_use_is_undone)
{
	test_reserve_make(slots);
	struct lab_share *share = tear(2, true);
	cr_assert_eq(test_reserve_figures(0).plain, 4, "it is not open");
	REQUIRE(lab_slots_claim(&share->words[3], UINT32_MAX) == 0);
	dead = A;
	cr_assert(!lab_share_take(share, B, is_dead));
	cr_assert_eq(test_reserve_figures(0).plain, 4 + MORE - 1, "all others can be had again");
	cr_assert_eq(lab_share_release(share, lab_share_memory(share).start + 96 * 32), LAB_RESERVE_RELEASED);
	cr_assert(lab_share_take(share, B, is_dead));
}

static bool
is_99(uint32_t tid)
{
	return tid == 99;
}

Test(growth, in_a_child_what_others_were_opening_or_closing_is_nobodys)
{
	const struct lab_lease_fork fork = {.old_tid = B, .new_tid = 99, .is_here = is_99};

	test_reserve_make(slots);
	dead = NEVER;
	for (unsigned step = 0; step <= 2 * WORDS; step++) {
		struct lab_share *share = tear(step / 2, step % 2);
		lab_share_settle(&fork);
		cr_assert(lab_share_take(share, 99, is_dead), "step %u", step);
	}
}

Test(growth, words_as_values)
{
	_Atomic uint64_t word = 0; /* fresh memory is closed */

	cr_assert(!lab_slots_is_open(word) && lab_slots_is_open(lab_slots_all_free(1)));
	cr_assert_eq(lab_slots_claim(&word, UINT32_MAX), LAB_SLOTS_NONE);
	cr_assert_eq(lab_slots_release(&word, 3), LAB_RESERVE_NOT_A_SLOT);
	cr_assert(!lab_slots_take_bit(&word, 3), "a late claim finds no bit");
	cr_assert_eq(lab_load_rlx(&word), 0);
}
