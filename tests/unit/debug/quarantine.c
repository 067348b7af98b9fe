/*
 * quarantine.c - where freed blocks wait: how many bytes of them, and that large ones do not drive out small ones.
 *
 * Clauses: G9.9.
 */
#include <criterion/criterion.h>

#include "debug/quarantine.h"
#include "os/os.h"

enum { SMALL = 100, SMALL_SIZE = 256, LARGE = 200, LARGE_SIZE = 900 << 10 };

static size_t pulled;

/* A block that the program had, and has freed. */
static const struct lab_stack nobody;

static void
free_one(size_t size)
{
	struct lab_dress *dress = lab_os.map(size, LAB_ACCESS_WRITE), *old;

	cr_assert(dress);
	(void)lab_dress_make(dress, size, size / 2, 16, LAB_BY_MALLOC, &nobody);
	cr_assert(lab_dress_free(dress, NULL));
	old = lab_quarantine_push(dress);
	pulled += old != NULL;
	for (int i = 0; (old = lab_quarantine_pull()) != NULL; i++) {
		pulled++;
		cr_assert_lt(i, 10000, "it pulls for ever");
	}
}

struct waiting {
	size_t small, large, bytes;
};

static struct waiting
waiting(void)
{
	struct waiting found = {0};
	bool end = false;

	for (size_t i = 0; !end; i++) {
		const struct lab_dress *dress = lab_quarantine_at(i, &end);
		found.small += dress && dress->raw_size == SMALL_SIZE;
		found.large += dress && dress->raw_size == LARGE_SIZE;
		found.bytes += dress ? dress->raw_size : 0;
	}
	return found;
}

Test(quarantine, secure_is_bounded_and_keeps_small_blocks)
{
	lab_quarantine_start();
	lab_debug_start(LAB_DEBUG_SECURE);
	for (int i = 0; i < SMALL; i++)
		free_one(SMALL_SIZE);
	struct waiting before = waiting();
	for (int i = 0; i < LARGE; i++)
		free_one(LARGE_SIZE);
	struct waiting after = waiting();
	cr_assert(before.small > SMALL / 2 && before.large == 0);
	cr_expect_geq(after.small, before.small / 8, "%zu of %zu are left", after.small, before.small);
	cr_expect_geq(after.large, 10);
	cr_expect_leq(after.bytes, ((size_t)16 << 20) + LARGE_SIZE + SMALL * SMALL_SIZE);
	cr_expect_eq(pulled + after.small + after.large, SMALL + LARGE, "none is lost");
}

Test(quarantine, debug_is_bounded_and_keeps_the_order)
{
	lab_quarantine_start();
	lab_debug_start(LAB_DEBUG_ALL);
	for (int i = 0; i < SMALL; i++)
		free_one(SMALL_SIZE * 4);
	for (int i = 0; i < LARGE; i++)
		free_one(LARGE_SIZE);
	struct waiting after = waiting();
	cr_expect_leq(after.bytes, ((size_t)64 << 20) + LARGE_SIZE);
	cr_expect_geq(after.bytes, (size_t)60 << 20);
	cr_expect_eq(pulled + after.large, SMALL + LARGE, "the oldest go first");
}
