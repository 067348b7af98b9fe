/*
 * storm.c - threads claim and release slots of the reserve as fast as they can: no slot has two holders, none is lost. A plain program,
 * as TSan and Criterion do not go together.
 */
#include "crowd.h"
#include "reserve/reserve.h"

#if defined(LAB_THREAD_SANITIZER)
enum { STEPS = 30000 };
#else
enum { STEPS = 300000 };
#endif

enum { THREADS = 4, HELD = 40 };

static void
claim_and_release(size_t number)
{
	struct trace_random random = {number + 1};
	size_t *held[HELD], sizes[HELD], live = 0;

	for (int step = 0; step < STEPS; step++) {
		if (live < HELD && trace_below(&random, 2)) {
			size_t size = 1 + trace_below(&random, trace_below(&random, 4) ? 64 : 16384);
			size_t *slot = lab_reserve_claim_sig(size, 16, LAB_DEPTH_MIN);
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
run_claims(void)
{
	size_t slots = 0;

	crowd_run(claim_and_release, THREADS);
	REQUIRE(lab_reserve_used() == 0);
	while (lab_reserve_claim_sig(1, 1, LAB_DEPTH_MIN))
		slots++;
	REQUIRE(slots == 64 * 3 + 32 + 8 + 4);
	REQUIRE(lab_reserve_used() == lab_reserve_total());
}

int
main(int argc, char **argv)
{
	static const struct crowd_pattern patterns[] = {{"claims", run_claims}};

	return crowd_main(argc, argv, patterns, 1);
}
