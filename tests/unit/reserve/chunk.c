/*
 * chunk.c - growth and shrink, torn at each step and taken over; fillers and closers that come late. The steps are called one by one by
 * what plays the threads: A (tid 11) and B (tid 12), of which one may be dead.
 *
 * Clauses: G5.2.
 */
#include <criterion/criterion.h>

#include "island.h"

static const uint32_t slots[LAB_RESERVE_CLASSES] = {8, 8, 0, 4, 4, 4, 4, 4, 2, 2, 1, 1};
enum { A = 11, B = 12 };
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

	while (lab_reserve_claim_sig(size, 1, LAB_DEPTH_ALL))
		n++;
	return n;
}

static void
grow(unsigned c)
{
	struct lab_chunk chunk;

	REQUIRE(lab_reserve_next_closed(c, &chunk) && lab_reserve_open(&chunk));
}

static bool
begin(unsigned c, uint32_t tid, struct lab_chunk *chunk)
{
	uint32_t from = 0;

	return lab_reserve_begin_close(c, &from, tid, is_dead, chunk);
}

Test(chunk, growth_adds_slots_up_to_the_limit_and_no_further)
{
	island_make(slots, 0, (size_t)16 << 20);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_chunk chunk;
		size_t chunks = 0, before = island_figures(c).used;
		while (chunks < 3 && lab_reserve_next_closed(c, &chunk)) {
			cr_assert_eq((uintptr_t)chunk.memory.start % 4096 + chunk.memory.size % 4096, 0);
			memset(chunk.memory.start, 1, chunk.memory.size);
			REQUIRE(lab_reserve_open(&chunk));
			chunks++;
		}
		cr_assert_eq(chunks, 3);
		struct lab_reserve_figures figures = island_figures(c);
		cr_assert_eq(figures.grown, 3 * figures.a_chunk);
		cr_assert_eq(claim_all(figures.size), slots[c] + figures.grown - before, "class %u", c);
		for (size_t i = 0; i < chunk.memory.size; i += figures.size)
			cr_assert_eq(lab_reserve_release_sig(chunk.memory.start + i), LAB_RESERVE_RELEASED);
		claim_all(figures.size);
	}
	struct lab_chunk chunk;
	while (lab_reserve_next_closed(7, &chunk))
		REQUIRE(lab_reserve_open(&chunk));
	cr_assert_leq(lab_reserve_total(), lab_reserve_limit());
	cr_assert_gt(lab_reserve_total() + 65536, lab_reserve_limit());
}

Test(chunk, a_closed_chunk_gives_no_slot_and_takes_no_release)
{
	struct lab_chunk chunk;

	island_make(slots, 0, (size_t)1 << 20);
	grow(0);
	REQUIRE(begin(0, A, &chunk));
	for (int state = 0; state < 2; state++) { /* CLOSING, CLOSED: INV-RES-2 */
		cr_assert_eq(lab_reserve_release_sig(chunk.memory.start), LAB_RESERVE_NOT_A_SLOT);
		cr_assert_eq(lab_reserve_slot_size(chunk.memory.start), 0);
		cr_assert_eq(island_figures(0).grown, 0);
		lab_reserve_end_close(&chunk);
	}
	cr_assert_eq(claim_all(32), slots[0]);
	grow(0);
	cr_assert_eq(claim_all(32), 128);
}

Test(chunk, a_chunk_in_use_is_not_closed)
{
	struct lab_chunk chunk;

	island_make(slots, 0, (size_t)1 << 20);
	grow(0);
	for (unsigned word = 0; word < 4; word++) { /* a slot of each word in turn */
		_Atomic uint64_t *words = lab_reserve_state.pools[0].grown;
		REQUIRE(lab_slots_claim(&words[word], 1u << 7) == 7);
		cr_assert(!begin(0, A, &chunk));
		for (unsigned i = 0; i < 4; i++)
			cr_assert_eq(lab_load_rlx(&words[i]), lab_slots_all_free(32) & ~(i == word ? UINT64_C(1) << 7 : 0));
		cr_assert_eq(lab_reserve_release_sig(chunk.memory.start + (word * 32 + 7) * 32), LAB_RESERVE_RELEASED);
	}
	cr_assert(begin(0, A, &chunk));
}

/* INV-RES-2: the ticket. */
Test(chunk, a_late_filler_opens_nothing)
{
	struct lab_chunk late, chunk;

	island_make(slots, 0, (size_t)1 << 20);
	REQUIRE(lab_reserve_next_closed(0, &late));
	grow(0);
	cr_assert(!lab_reserve_open(&late), "somebody else has opened it");
	cr_assert_eq(island_figures(0).plain, 4 + 128);
	REQUIRE(begin(0, A, &chunk));
	cr_assert(!lab_reserve_open(&late), "while it is being closed");
	lab_reserve_end_close(&chunk);
	cr_assert(!lab_reserve_open(&late), "closed, but later than he saw it");
	cr_assert_eq(island_figures(0).grown, 0);
	struct lab_chunk again;
	REQUIRE(lab_reserve_next_closed(0, &again));
	grow(0);
	REQUIRE(begin(0, B, &chunk));
	lab_reserve_end_close(&chunk);
	cr_assert(!lab_reserve_open(&again), "closed twice");
	cr_assert_eq(island_figures(0).grown, 0);
}

Test(chunk, a_torn_filling_is_finished_by_the_next)
{
	island_make(slots, 0, (size_t)1 << 20);
	for (unsigned opened = 0; opened < 4; opened++) {
		struct lab_chunk chunk;
		_Atomic uint64_t *words = lab_reserve_state.pools[0].grown;
		REQUIRE(lab_reserve_next_closed(0, &chunk));
		REQUIRE(chunk.index == 0);
		if (opened == 0)
			lab_store_rlx(&lab_reserve_state.pools[0].open_words, 4); /* torn right behind that */
		for (unsigned i = 0; i < opened; i++)
			REQUIRE(lab_cas64(&words[3 - i], chunk.seen[3 - i], lab_slots_all_free(32)));
		struct lab_chunk other;
		cr_assert(!begin(0, B, &other), "word 0 is closed: it is a filler's");
		REQUIRE(lab_reserve_next_closed(0, &other));
		cr_assert_eq(other.index, 0);
		cr_assert(lab_reserve_open(&other));
		cr_assert_eq(island_figures(0).grown, 128);
		REQUIRE(begin(0, B, &chunk));
		lab_reserve_end_close(&chunk);
	}
}

/* A is torn with `mine` words CLOSING, going up, or with words from `closed` on CLOSED, going down. */
static void
tear_close(struct lab_chunk *chunk, unsigned mine, unsigned closed)
{
	_Atomic uint64_t *words = lab_reserve_state.pools[0].grown;

	REQUIRE(begin(0, A, chunk));
	for (unsigned i = 4; i-- > mine;)
		REQUIRE(lab_cas64(&words[i], chunk->seen[i], lab_slots_all_free(32)));
	for (unsigned i = 4; i-- > closed;)
		REQUIRE(lab_cas64(&words[i], chunk->seen[i], lab_slots_closed(1000 + i)));
}

Test(chunk, a_torn_closing_is_the_threads_until_it_is_dead_and_then_anyones)
{
	island_make(slots, 0, (size_t)1 << 20);
	for (unsigned step = 1; step <= 7; step++) {
		struct lab_chunk torn, chunk;
		grow(0);
		dead = 0;
		tear_close(&torn, step <= 4 ? step : 4, step <= 4 ? 4 : 8 - step);
		struct lab_chunk none;
		cr_assert(!begin(0, B, &chunk), "step %u: alive", step);
		cr_assert(!lab_reserve_next_closed(0, &none) || none.index != 0, "nor is it filled");
		dead = A;
		cr_assert(begin(0, B, &chunk), "step %u: dead", step);
		lab_reserve_end_close(&torn); /* A was not dead: he changes nothing */
		lab_reserve_undo_close(&torn);
		cr_assert_eq(island_figures(0).grown, 0);
		lab_reserve_end_close(&chunk);
		cr_assert(lab_reserve_next_closed(0, &none) && none.index == 0);
	}
}

Test(chunk, a_taken_over_closing_of_a_chunk_in_use_is_undone)
{
	struct lab_chunk torn, chunk;

	island_make(slots, 0, (size_t)1 << 20);
	grow(0);
	tear_close(&torn, 2, 4);
	_Atomic uint64_t *words = lab_reserve_state.pools[0].grown;
	REQUIRE(lab_slots_claim(&words[3], UINT32_MAX) == 0);
	dead = A;
	cr_assert(!begin(0, B, &chunk));
	cr_assert_eq(island_figures(0).plain, 4 + 127, "all others can be had again");
	REQUIRE(lab_reserve_release_sig(torn.memory.start + 96 * 32) == LAB_RESERVE_RELEASED);
}

Test(chunk, words_as_values)
{
	cr_assert(lab_slots_is_closed(0), "fresh memory is closed");
	for (uint32_t ticket = 0; ticket < 0x3fffffff; ticket = ticket * 5 + 1) {
		uint64_t closed = lab_slots_closed(ticket), closing = lab_slots_closing(ticket, 4194303);
		cr_assert(lab_slots_is_closed(closed) && !lab_slots_is_closing(closed) && !lab_slots_is_open(closed));
		cr_assert(lab_slots_is_closing(closing) && !lab_slots_is_closed(closing) && !lab_slots_is_open(closing));
		cr_assert_eq((closed | closing) & LAB_SLOTS_MASK, 0, "a late claim finds no bit");
		cr_assert_eq(lab_lease_tid(closing), 4194303);
		cr_assert_neq(lab_slots_closed(ticket), lab_slots_closed(ticket + 1));
	}
	_Atomic uint64_t word = lab_slots_closed(5);
	cr_assert_eq(lab_slots_claim(&word, UINT32_MAX), LAB_SLOTS_NONE);
	cr_assert_eq(lab_slots_release(&word, 3), LAB_RESERVE_NOT_A_SLOT);
	cr_assert(!lab_slots_take_bit(&word, 3));
	cr_assert_eq(lab_load_rlx(&word), lab_slots_closed(5));
}
