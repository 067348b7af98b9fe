/*
 * storm.c - threads claim and release slots of the reserve as fast as they can, while others open and close chunks, and free slots of each
 * other's shares: no slot has two holders, none is lost. Plain programs, as TSan and Criterion do not go together.
 */
#include "crowd.h"
#include "island.h"
#include "reserve/share.h"

#if defined(LAB_THREAD_SANITIZER)
enum { STEPS = 30000 };
#else
enum { STEPS = 300000 };
#endif

enum { THREADS = 4, HELD = 40 };

static const uint32_t slots[LAB_RESERVE_CLASSES] = {16, 40, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1};
static _Atomic bool stop;

static void
claim_and_release(size_t number)
{
	struct trace_random random = {number + 1};
	size_t *held[HELD], sizes[HELD], live = 0;

	for (int step = 0; step < STEPS; step++) {
		if (live < HELD && trace_below(&random, 2)) {
			size_t size = 1 + trace_below(&random, trace_below(&random, 4) ? 64 : 16384);
			size_t *slot = lab_reserve_claim_sig(size, 16, LAB_DEPTH_ALL);
			if (!slot)
				continue;
			sizes[live] = lab_reserve_slot_size(slot) / sizeof *slot;
			REQUIRE(sizes[live] != 0);
			slot[0] = slot[sizes[live] - 1] = number; /* plain stores: TSan sees two holders, too */
			held[live++] = slot;
		} else if (live > 0) {
			size_t victim = trace_below(&random, live);
			REQUIRE(held[victim][0] == number && held[victim][sizes[victim] - 1] == number);
			REQUIRE(lab_reserve_release_sig(held[victim]) == LAB_RESERVE_RELEASED);
			held[victim] = held[--live];
			sizes[victim] = sizes[live];
		}
	}
	while (live > 0)
		REQUIRE(lab_reserve_release_sig(held[--live]) == LAB_RESERVE_RELEASED);
}

static void
check_all_free(void)
{
	REQUIRE(lab_reserve_used() == 0);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_reserve_figures figures = island_figures(c);
		for (size_t i = 0; i < figures.slots + figures.grown; i++)
			REQUIRE(lab_reserve_claim_sig(figures.size, 1, LAB_DEPTH_ALL));
	}
}

static void
run_claims(void)
{
	island_make(slots, 2, 0);
	crowd_run(claim_and_release, THREADS);
	check_all_free();
}

static bool
nobody_is_dead(uint32_t tid)
{
	(void)tid;
	return false;
}

/* Two of them: a filler writes to the chunk before it opens it, as populating does; a closer wipes it before it says that it is closed. */
static void
open_and_close(size_t number)
{
	struct trace_random random = {number + 99};

	while (!atomic_load(&stop)) {
		struct lab_chunk chunk;
		unsigned c = (unsigned)trace_below(&random, 6);
		uint32_t from = 0;
		if (trace_below(&random, 2) && lab_reserve_next_closed(c, &chunk)) {
			for (size_t i = 0; i < chunk.memory.size; i += 4096)
				(void)__atomic_fetch_add(&chunk.memory.start[i], 0, __ATOMIC_RELAXED);
			(void)lab_reserve_open(&chunk);
		} else if (lab_reserve_begin_close(c, &from, (uint32_t)number + 1, nobody_is_dead, &chunk)) {
			for (size_t i = 0; i < chunk.memory.size; i++)
				__atomic_store_n(&chunk.memory.start[i], 0, __ATOMIC_RELAXED);
			lab_reserve_end_close(&chunk);
		}
	}
}

static void
run_growth(void)
{
	struct crowd_member growers[2];

	island_make(slots, 2, (size_t)1 << 20);
	for (size_t i = 0; i < 2; i++)
		crowd_begin(&growers[i], open_and_close, i);
	crowd_run(claim_and_release, THREADS);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 2; i++)
		crowd_join(&growers[i]);
	check_all_free();
}

/* ---- shares ---- */

enum { SHARED = 50 };
static _Atomic(size_t *) mailbox[THREADS];

static void
hand_over(size_t number)
{
	size_t size = lab_share_bytes(6, SHARED);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct lab_share *own = lab_share_make(memory, 6, SHARED, (uint32_t)number + 1);
	_Atomic uint16_t first = 0;

	lab_share_attach(&first, own);
	for (size_t step = 0; step < STEPS; step++) {
		size_t *slot = lab_share_claim_sig(first, 64, 1);
		if (slot) {
			REQUIRE(lab_share_find_sig(slot) == own);
			slot[0] = slot[7] = step;
		}
		slot = atomic_exchange(&mailbox[step % THREADS], slot);
		if (!slot)
			continue;
		REQUIRE(slot[0] == slot[7]);
		REQUIRE(lab_share_release_sig(lab_share_find_sig(slot), slot) == LAB_RESERVE_RELEASED);
	}
}

static void
run_shares(void)
{
	crowd_run(hand_over, THREADS);
	for (int i = 0; i < THREADS; i++)
		if (mailbox[i])
			REQUIRE(lab_share_release_sig(lab_share_find_sig(mailbox[i]), mailbox[i]) == LAB_RESERVE_RELEASED);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(lab_share_is_all_free(lab_share_get(i)));
}

int
main(int argc, char **argv)
{
	static const struct crowd_pattern patterns[] = {{"claims", run_claims}, {"growth", run_growth}, {"shares", run_shares}};

	return crowd_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
