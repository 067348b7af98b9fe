/*
 * storm.c - threads claim and release slots of the reserve as fast as they can, while others open and close growth, and
 * free slots of each other's shares: no slot has two holders, none is lost. Plain programs, as TSan and Criterion do
 * not go together.
 *
 * Clauses: G5.1, G5.2, G6.4.
 */
#include "many_threads.h"
#include "test_reserve.h"

#if defined(LAB_THREAD_SANITIZER)
enum { STEPS = 30000 };
#else
enum { STEPS = 300000 };
#endif

enum { THREADS = 4, HELD = 40, GROWTH = 12 };

static const uint32_t slots[LAB_RESERVE_CLASSES] = {16, 40, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1};
static _Atomic bool stop;

static void
release(void *p)
{
	struct lab_share *share = lab_reserve_contains(p) ? NULL : lab_share_find(p);

	REQUIRE((share ? lab_share_release(share, p) : lab_reserve_release(p)) == LAB_RESERVE_RELEASED);
}

static size_t
size_of(const void *p)
{
	struct lab_share *share = lab_share_find(p);

	return share ? lab_share_slot_size(share, p) : lab_reserve_slot_size(p);
}

static void
claim_and_release(size_t number)
{
	struct trace_random random = {number + 1};
	size_t *held[HELD], sizes[HELD], live = 0;

	for (int step = 0; step < STEPS; step++) {
		if (live < HELD && trace_below(&random, 2)) {
			size_t size = 1 + trace_below(&random, trace_below(&random, 4) ? 64 : 16384);
			size_t *slot = lab_reserve_claim(size, 16, LAB_DEPTH_ALL);
			if (!slot)
				continue;
			sizes[live] = size_of(slot) / sizeof *slot;
			REQUIRE(sizes[live] != 0);
			slot[0] = slot[sizes[live] - 1] = number; /* plain stores: TSan sees two holders, too */
			held[live++] = slot;
		} else if (live > 0) {
			size_t victim = trace_below(&random, live);
			REQUIRE(held[victim][0] == number && held[victim][sizes[victim] - 1] == number);
			release(held[victim]);
			held[victim] = held[--live];
			sizes[victim] = sizes[live];
		}
	}
	while (live > 0)
		release(held[--live]);
}

static void
check_all_free(void)
{
	REQUIRE(lab_reserve_bytes().used == 0);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_reserve_figures figures = test_reserve_figures(c);
		for (size_t i = 0; i < figures.slots + figures.grown; i++)
			REQUIRE(lab_reserve_claim(figures.size, 1, LAB_DEPTH_ALL));
	}
}

static void
run_claims(void)
{
	test_reserve_make(slots);
	threads_run(claim_and_release, THREADS);
	check_all_free();
}

static bool
nobody_is_dead(uint32_t tid)
{
	(void)tid;
	return false;
}

/* Two of them: a filler writes to the memory before it opens it, as populating does; a closer wipes it before it lets
 * go. */
static void
open_and_close(size_t number)
{
	struct trace_random random = {number + 99};

	while (!atomic_load(&stop)) {
		struct lab_share *share = lab_share_get((unsigned)trace_below(&random, GROWTH));
		bool closes = lab_share_is_everybodys(share);
		if (!lab_share_take(share, (uint32_t)number + 1, nobody_is_dead))
			continue;
		struct lab_range memory = lab_share_memory(share);
		for (size_t i = 0; i < memory.size; i++)
			__atomic_store_n(&memory.start[i], 0, __ATOMIC_RELAXED);
		if (!closes)
			lab_share_open(share, LAB_SHARE_EVERYBODY);
		lab_share_let_go(share);
	}
}

static void
run_growth(void)
{
	struct threads_member growers[2];

	test_reserve_make(slots);
	for (unsigned i = 0; i < GROWTH; i++)
		lab_share_let_go(test_reserve_share(LAB_RESERVE_MIN_SHIFT + i % 6, 20 + 10 * i, 1, true));
	for (size_t i = 0; i < 2; i++)
		threads_begin(&growers[i], open_and_close, i);
	threads_run(claim_and_release, THREADS);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 2; i++)
		threads_join(&growers[i]);
	check_all_free();
}

/* ---- shares ---- */

enum { SHARED = 50 };
static _Atomic(size_t *) mailbox[THREADS];

static void
hand_over(size_t number)
{
	struct lab_share *own = test_reserve_share(6, SHARED, (uint32_t)number + 1, false);
	_Atomic uint16_t first = 0;

	lab_share_open(own, lab_thread_pointer());
	lab_share_link(&first, own);
	for (size_t step = 0; step < STEPS; step++) {
		size_t *slot = lab_share_claim(first, 64, 1);
		if (slot) {
			REQUIRE(lab_share_find(slot) == own);
			slot[0] = slot[7] = step;
		}
		slot = atomic_exchange(&mailbox[step % THREADS], slot);
		if (!slot)
			continue;
		REQUIRE(slot[0] == slot[7]);
		REQUIRE(lab_share_release(lab_share_find(slot), slot) == LAB_RESERVE_RELEASED);
	}
}

static void
run_shares(void)
{
	threads_run(hand_over, THREADS);
	for (int i = 0; i < THREADS; i++)
		if (mailbox[i])
			REQUIRE(lab_share_release(lab_share_find(mailbox[i]), mailbox[i]) == LAB_RESERVE_RELEASED);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(lab_bank_free(&lab_share_get(i)->bank, 0, SHARED) == SHARED);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {
	        {"claims", run_claims}, {"growth", run_growth}, {"shares", run_shares}};

	return threads_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
