/* tables.c - the tables of the heap profile: sites by stack, live samples by address; full ones too. */
#include <criterion/criterion.h>
#include <string.h>

#include "insight/live.h"
#include "insight/sampler.h"
#include "insight/sites.h"

static void
begin(void)
{
	cr_assert(lab_sites_start());
	cr_assert(lab_live_start());
	lab_store_rlx(&lab_sample_distance, 1);
}

static struct lab_stack
stack_of(uintptr_t a, uintptr_t b)
{
	return (struct lab_stack){.depth = b ? 2 : 1, .addresses = {a, b}};
}

TestSuite(tables, .init = begin);

Test(tables, a_stack_has_one_site)
{
	struct lab_stack one = stack_of(0x1000, 0x2000), other = stack_of(0x2000, 0x1000), prefix = stack_of(0x1000, 0);
	uint32_t site = lab_site_of(&one);

	cr_assert_neq(site, 0);
	cr_assert_eq(lab_site_of(&one), site);
	cr_assert_neq(lab_site_of(&other), site);
	cr_assert_neq(lab_site_of(&prefix), site);
	cr_assert_eq(lab_site_of(&prefix), lab_site_of(&prefix));
}

Test(tables, sites_count)
{
	struct lab_stack stack = stack_of(0x1000, 0x2000);
	uint32_t site = lab_site_of(&stack);
	struct lab_site_counts counts;

	lab_site_add(site, 100);
	lab_site_add(site, 50);
	lab_site_remove(site, 100);
	const struct lab_stack *read = lab_site_read(site, &counts);
	cr_assert(read && read->depth == 2 && read->addresses[1] == 0x2000);
	cr_assert_eq(counts.bytes, 150);
	cr_assert_eq(counts.freed_bytes, 100);
	cr_assert_eq(counts.objects, 2 * LAB_SAMPLE_ONE);
	cr_assert_eq(counts.freed_objects, LAB_SAMPLE_ONE);
}

Test(tables, full_of_sites)
{
	size_t others = 0;

	for (uintptr_t i = 1; i < 2 * LAB_SITES; i++) {
		struct lab_stack stack = stack_of(i << 12, 0);
		uint32_t site = lab_site_of(&stack);
		cr_assert_lt(site, LAB_SITES);
		others += site == 0;
	}
	cr_assert(others > LAB_SITES / 2, "what has no place is at site 0");
	struct lab_site_counts counts;
	cr_assert_eq(lab_site_read(0, &counts)->depth, 0);
}

Test(tables, blocks_come_and_go)
{
	uint32_t site, old;
	size_t size, old_size;

	for (uintptr_t round = 0; round < 3; round++) {
		for (uintptr_t i = 1; i <= 1000; i++)
			cr_assert(lab_live_put((void *)(i << 12), (uint32_t)i, i + round, &old, &old_size) &&
			          old_size == 0);
		cr_assert_not(lab_live_take((void *)(UINT64_C(1001) << 12), &site, &size));
		for (uintptr_t i = 1; i <= 1000; i++) {
			cr_assert(lab_live_take((void *)(i << 12), &site, &size));
			cr_assert(site == i && size == i + round);
			cr_assert_not(lab_live_take((void *)(i << 12), &site, &size), "once");
		}
	}
}

/* The free of a block was cut short, and another lies where it lay. */
Test(tables, the_same_address)
{
	uint32_t site, old = 0;
	size_t size, old_size;

	cr_assert(lab_live_put((void *)0x5000, 7, 100, &old, &old_size));
	cr_assert(lab_live_put((void *)0x5000, 8, 200, &old, &old_size));
	cr_assert(old == 7 && old_size == 100);
	cr_assert(lab_live_take((void *)0x5000, &site, &size) && site == 8 && size == 200);
	cr_assert_not(lab_live_take((void *)0x5000, &site, &size));
}

Test(tables, full_of_blocks)
{
	uint32_t old;
	size_t old_size, kept = 0;

	for (uintptr_t i = 1; i <= 2 * LAB_LIVE_SAMPLES; i++)
		kept += lab_live_put((void *)(i << 12), 1, 1, &old, &old_size);
	cr_assert(kept > LAB_LIVE_SAMPLES / 2 && kept <= LAB_LIVE_SAMPLES);
}
