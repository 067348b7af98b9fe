/*
 * moves.c - huge blocks that are samples of the heap profile, and are resized: once a block's pages have moved, its old
 * address may be another's before the call is over.
 *
 * Clauses: G12.1.
 */
#include <criterion/criterion.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "insight/live.h"
#include "insight/profile.h"
#include "insight/sites.h"
#include "os/os.h"

#define MIB ((size_t)1 << 20)

enum { MOST = 64 };

static void *(*system_extend)(void *start, size_t old_size, size_t size);
static char *others[MOST]; /* taken by somebody else while a block moved */
static size_t taken, moved, refusals;
static bool is_refused;

static void *
map_nothing(size_t size, enum lab_access access)
{
	(void)size;
	(void)access;
	return NULL;
}

static void *
extend_among_others(void *start, size_t old_size, size_t size)
{
	void *place = is_refused ? NULL : system_extend(start, old_size, size);

	refusals += is_refused;
	moved += place && place != start;
	if (place && place != start && taken < MOST)
		others[taken++] = lab_malloc(5 * MIB);
	return place;
}

static void
begin(void)
{
	cr_assert(lab_profile_start(1));
	system_extend = lab_os.extend;
	lab_os.extend = extend_among_others;
}

TestSuite(moves, .init = begin);

/* Samples in use, in parts of LAB_SAMPLE_ONE, and what they stand for. */
static void
sum_up(uint64_t *objects, uint64_t *bytes)
{
	struct lab_site_counts counts;

	*objects = *bytes = 0;
	for (uint32_t site = 1; site < LAB_SITES; site++) {
		if (!lab_site_read(site, &counts))
			continue;
		*objects += counts.objects - counts.freed_objects;
		*bytes += counts.bytes - counts.freed_bytes;
	}
}

static uint64_t
in_use(void)
{
	uint64_t objects, bytes;

	sum_up(&objects, &bytes);
	return objects / LAB_SAMPLE_ONE;
}

static void
cr_expect_sample(const void *block, size_t size)
{
	uint32_t site;
	size_t sampled;

	cr_assert(lab_live_take(block, &site, &sampled));
	cr_expect_eq(sampled, size);
}

Test(moves, an_address_that_another_has)
{
	char *p[MOST] = {0}, *before;
	size_t same = 0;

	for (int i = 0; i < MOST; i++) {
		cr_assert(p[i] = lab_malloc(5 * MIB));
		before = p[i];
		cr_assert(p[i] = lab_realloc(p[i], 40 * MIB, LAB_GFP_KERNEL));
		same += taken > 0 && others[taken - 1] == before;
	}
	cr_assert_gt(moved, 0);
	cr_assert_gt(same, 0, "no address was another's at once: nothing is tried");
	cr_expect_eq(in_use(), MOST + taken);
	for (int i = 0; i < MOST; i++)
		cr_expect_sample(p[i], 40 * MIB);
	for (size_t i = 0; i < taken; i++)
		cr_expect_sample(others[i], 5 * MIB);
	cr_expect_eq(lab_profile_lost(), 0);
}

Test(moves, a_block_that_could_not)
{
	char *p = lab_malloc(5 * MIB);

	is_refused = true;
	lab_os.map = map_nothing;
	cr_assert_null(lab_realloc(p, (size_t)1 << 40, LAB_GFP_KERNEL | LAB_GFP_NOWARN));
	cr_assert_gt(refusals, 0);
	cr_expect_eq(in_use(), 1);
	cr_expect_sample(p, 5 * MIB);
}

/* ---- blocks that grow by steps ---- */

static uint64_t
bytes_in_use(void)
{
	uint64_t objects, bytes;

	sum_up(&objects, &bytes);
	return bytes;
}

/* Of `count` blocks that grow from 100 bytes to some 8000; by_usable_size: as programs do that ask malloc_usable_size
 * before they call realloc. */
static void
grow(bool by_usable_size)
{
	enum { COUNT = 4000, STEP = 200 };
	static char *blocks[COUNT];
	size_t in_use = 0;

	for (int i = 0; i < COUNT; i++)
		blocks[i] = lab_malloc(100);
	for (size_t size = 100 + STEP; size <= 8000; size += STEP)
		for (int i = 0; i < COUNT; i++)
			if (!by_usable_size || size > lab_usable_size(blocks[i]))
				blocks[i] = lab_realloc(blocks[i], size, LAB_GFP_KERNEL);
	for (int i = 0; i < COUNT; i++)
		in_use += lab_usable_size(blocks[i]);
	uint64_t profiled = bytes_in_use();
	cr_assert(profiled > in_use * 8 / 10 && profiled < in_use * 12 / 10, "%zu KiB, profiled %zu KiB", in_use >> 10,
	          (size_t)profiled >> 10);
	for (int i = 0; i < COUNT; i++)
		lab_free(blocks[i]);
	cr_assert_eq(bytes_in_use(), 0);
}

static void
begin_sparsely(void)
{
	cr_assert(
	        lab_profile_start(64 << 10)); /* some 450 samples of what is left: 20 % are four standard deviations */
}

TestSuite(steps, .init = begin_sparsely);

Test(steps, sums_are_unbiased)
{
	grow(false);
}

Test(steps, sums_are_unbiased_where_the_usable_size_is_asked_for)
{
	grow(true);
}
