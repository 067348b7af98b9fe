/*
 * atomic_step.c - the atomic tier interrupted at every instruction: a handler that claims and releases itself, or jumps
 * out, before each instruction of lab_alloc(ATOMIC) and lab_free. No slot is given out twice, none is lost but the one
 * in hand of a jump. It also counts instructions: the longest call without a handler, with the reserve full of free
 * slots and empty; with free slots it is no more than SIGNAL_MOST_INSTRUCTIONS says, if it is set (for optimised
 * builds).
 *
 * Clauses: G2.7, G4.3.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "atomic_tier.h"
#include "stepper.h"
#include "support.h"

enum { SLOTS_MAX = 1 << 16, JUMPS = 2000 };

static const size_t sizes[] = {24, 64, 100, 512, 4096, 20000, 65536};
enum { SIZES = sizeof sizes / sizeof *sizes };

static enum { COUNT, REENTER, JUMP } mode;
static size_t instruction, act_at, acted;
static sigjmp_buf out;
static void *held; /* what the interrupted program holds */

static size_t
used_bytes(void)
{
	struct lab_reserve_info info;

	tier.reserve_info(&info);
	return info.used;
}

static void
reenter(void)
{
	struct block atomic = {.p = tier.alloc(200, LAB_GFP_ATOMIC), .size = 200};
	struct block ordinary = new_block(300);

	if (!atomic.p)
		fail("NULL while there are slots", instruction, 0);
	atomic = block_of(atomic.p, atomic.size);
	if (atomic.p == held)
		fail("a slot in use was given out", (uintptr_t)atomic.p, 0);
	check_block(&atomic);
	tier.release(atomic.p);
	free_block(&ordinary);
}

static bool
hook(void)
{
	instruction++;
	switch (mode) {
	case COUNT:
		return false;
	case REENTER:
		reenter();
		acted++;
		return true;
	case JUMP:
		if (instruction != act_at)
			return false;
		acted++;
		siglongjmp(out, 1);
	}
	return false;
}

/* One claim, one release; the instructions of each. */
static void
claim_and_release(size_t size, size_t *claim, size_t *release)
{
	instruction = 0;
	step_on();
	void *p = tier.alloc(size, LAB_GFP_ATOMIC);
	step_off();
	*claim = instruction;
	if (!p)
		fail("NULL while there are slots: size", size, 0);
	struct block block = block_of(p, size);
	held = p;
	check_block(&block);
	held = NULL;
	instruction = 0;
	step_on();
	tier.release(p);
	step_off();
	*release = instruction;
}

static void
count_instructions(void)
{
	size_t claim, release, most_claim = 0, most_release = 0;

	current_scenario = "instructions";
	mode = COUNT;
	for (int i = 0; i < SIZES; i++) {
		claim_and_release(sizes[i], &claim, &release);
		most_claim = claim > most_claim ? claim : most_claim;
		most_release = release > most_release ? release : most_release;
	}
	printf("at most %zu instructions a claim and %zu a release, with free slots\n", most_claim, most_release);
	const char *bound = getenv("SIGNAL_MOST_INSTRUCTIONS");
	if (bound && (most_claim > (size_t)atoi(bound) || most_release > (size_t)atoi(bound)))
		fail("more instructions than promised", most_claim, most_release);
}

/* All words of all classes are empty: the longest way to NULL. */
static void
count_to_null(void)
{
	static void *slots[SLOTS_MAX];
	size_t count = 0;

	current_scenario = "instructions to NULL";
	for (size_t size = 65536; size >= 32; size /= 2) {
		void *p;
		while ((p = tier.alloc(size, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN)) != NULL) {
			REQUIRE(count < SLOTS_MAX);
			slots[count++] = p;
		}
	}
	instruction = 0;
	step_on();
	void *none = tier.alloc(24, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN);
	step_off();
	REQUIRE(none == NULL);
	printf("%zu instructions to NULL, with none\n", instruction);
	while (count > 0)
		tier.release(slots[--count]);
}

static void
reenter_everywhere(void)
{
	size_t claim, release;

	current_scenario = "re-entered at each instruction";
	mode = REENTER;
	for (int i = 0; i < SIZES; i++)
		claim_and_release(sizes[i], &claim, &release);
	REQUIRE(used_bytes() == 0);
	printf("re-entered at %zu instructions\n", acted);
}

/* At most the slot in hand is lost a jump; nothing is handed out twice. */
static void
jump_everywhere(void)
{
	struct block block;
	size_t claim, release;
	volatile size_t jumps = 0, lost = 0;

	current_scenario = "left by a jump at each instruction";
	mode = JUMP;
	for (act_at = 1; jumps < JUMPS; act_at++) {
		size_t before = used_bytes(), jumped = acted;
		if (sigsetjmp(out, 1) == 0)
			claim_and_release(256, &claim, &release);
		if (acted == jumped)
			break; /* the calls are shorter than that */
		jumps++;
		size_t after = used_bytes();
		if (after > before + 512)
			fail("a jump lost more than the slot in hand: before, after", before, after);
		lost += after > before;
		block = block_of(tier.alloc(256, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC), 256);
		check_block(&block);
		tier.release(block.p);
	}
	printf("%zu jumps, %zu slots in hand lost\n", jumps, lost);
	REQUIRE(jumps > 20 && lost < jumps);
}

int
main(int argc, char **argv)
{
	start_test(argc, argv, 600);
	find_tier();
	step_start(hook, 0);
	count_instructions();
	count_to_null();
	reenter_everywhere();
	jump_everywhere();
	return end_test();
}
