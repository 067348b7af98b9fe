/*
 * step.c - lab_free_rcu and lab_free_rcu_head interrupted after every single instruction of liblabyrinth_rcu, by a
 * handler that gives blocks in both forms itself; and left by siglongjmp at every instruction, which loses at most the
 * block in hand. The worker is awake, naps and sleeps meanwhile. Under the drop-in: there is one heap.
 *
 * Clauses: G11.2.
 */
#include "support.h"

#include "../signal/stepper.h"

enum { DENSE = 300 };

static size_t given, instruction, jump_at; /* 0: no jump */
static bool is_quiet;
static sigjmp_buf out;

static void
give(bool headless)
{
	struct node *node = new_node(headless ? LAB_GFP_KERNEL : LAB_GFP_ATOMIC, given);

	if (!node)
		node = new_node(LAB_GFP_KERNEL, given);
	REQUIRE(node);
	given++;
	if (headless)
		REQUIRE(lab_free_rcu(node));
	else
		kfree_rcu(node, rcu);
}

static bool
hook(void)
{
	if (++instruction == jump_at)
		siglongjmp(out, 1);
	/* a push between each two instructions of another would have that one try for ever */
	bool pushes = !is_quiet && (instruction < DENSE || instruction % 16 == 0);
	if (pushes)
		give(instruction % 2);
	return pushes;
}

static void
step_one(unsigned round)
{
	struct node *node = new_node(LAB_GFP_KERNEL, round);
	struct lab_rcu_stats stats;
	bool done = true;

	given++;
	instruction = 0;
	if (sigsetjmp(out, 1) == 0) {
		step_on();
		if (round % 2)
			done = lab_free_rcu(node);
		else
			lab_free_rcu_head(node, (struct lab_rcu_head *)&node->rcu);
		lab_rcu_stats_get(&stats);
		step_off();
	}
	REQUIRE(done);
}

/* A quiet moment, after which the worker sleeps. */
static void
let_it_sleep(unsigned round)
{
	if (round % 29 == 0)
		sleep_ms(250);
}

int
main(void)
{
	size_t jumps = 0, longest = 0;

	void *block = malloc(100);
	REQUIRE(lab_owns(block)); /* one heap, the drop-in's */
	REQUIRE(lab_free_rcu(block));
	given++;
	REQUIRE(lab_set_param(LAB_PARAM_PERTURB, 0x5a));
	REQUIRE(lab_rcu_start(&rcu_flavor));
	step_start_in("lab_free_rcu", hook, 0);

	for (unsigned round = 0; round < 120; round++) {
		lab_rcu_set_mark(round % 3 ? SIZE_MAX : 1); /* and in a hurry */
		let_it_sleep(round);
		step_one(round);
		longest = instruction > longest ? instruction : longest;
	}
	REQUIRE(lab_rcu_barrier());
	struct lab_rcu_stats stats = rcu_figures();
	printf("%zu blocks given, %zu freed, %zu distinct instructions interrupted\n", given, stats.freed,
	       step_figures().distinct);
	REQUIRE(stats.blocks == 0 && stats.freed == given && longest > 50);

	is_quiet = true;
	step_one(1);
	longest = instruction + 20; /* without a handler's pushes a call is no longer */
	for (unsigned round = 0; jump_at < longest; round++) {
		is_quiet = round / 2 % 2;
		jump_at = round / 4 + 1;
		let_it_sleep(round);
		step_one(round);
		jumps += instruction >= jump_at;
	}
	jump_at = 0;
	give(false); /* with this the figures are right again */
	REQUIRE(lab_rcu_barrier());
	stats = rcu_figures();
	printf("%zu jumps, %zu blocks lost\n", jumps, given - stats.freed);
	REQUIRE(stats.blocks == 0 && stats.bytes == 0);
	REQUIRE(stats.freed <= given && given - stats.freed <= jumps && jumps > 50);
	REQUIRE(stats.freed > given / 2);
	return 0;
}
