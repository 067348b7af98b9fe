/*
 * sampler.c - which allocations are sampled: the sums over samples are what they stand for, whatever the sizes. With a
 * fixed seed the figures are the same in each run; the bounds are six standard deviations.
 */
#include <criterion/criterion.h>

#include "insight/sampler.h"

#define DISTANCE ((size_t)512 << 10)
enum { SEED = 4711 };

static struct lab_sampler sampler;

static void
begin(size_t distance)
{
	lab_sampler_seed(SEED);
	lab_store_rlx(&lab_sample_distance, distance);
}

/* Newton's method, as there is no libm. */
static double
root(double x)
{
	double r = x > 1 ? x : 1;

	for (int i = 0; i < 200; i++)
		r = (r + x / r) / 2;
	return r;
}

/* Of `count` requests of one size: the fast path's step where it can be, and what the samples say they were. */
static void
check_size(size_t size, size_t count)
{
	uint64_t objects = 0, bytes = 0;
	double samples = 0;

	for (size_t i = 0; i < count; i++) {
		if (lab_sampler_pass(&sampler, size))
			continue;
		lab_sampler_undo(&sampler, size);
		if (lab_sampler_step(&sampler, size)) {
			objects += lab_sample_objects(size);
			bytes += lab_sample_bytes(size);
			samples++;
		}
	}
	double wanted = (double)count, got = (double)objects / (double)LAB_SAMPLE_ONE;
	double p = (double)LAB_SAMPLE_ONE / (double)lab_sample_objects(size);
	double deviation = root(wanted * (1 - p) / p) + 1e-6 * wanted;
	cr_assert(got > wanted - 6 * deviation && got < wanted + 6 * deviation, "%zu requests of %zu bytes: %.0f",
	          count, size, got);
	double error = (double)bytes - got * (double)size;
	cr_assert(error < samples + 1e-4 * (double)bytes && -error < samples + 1e-4 * (double)bytes,
	          "objects of %zu bytes and bytes agree", size);
}

Test(sampler, of_one_size)
{
	const size_t sizes[] = {1, 16, 100, 1024, 4096, 30000, 300000, 1 << 20, 100 << 20};

	begin(DISTANCE);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		check_size(sizes[i], sizes[i] < 4096 ? 4000000 : 200000);
}

/* A pattern that a fixed distance would keep step with: the large ones always where the point is not. */
Test(sampler, of_a_pattern)
{
	uint64_t bytes[2] = {0, 0};
	enum { ROUNDS = 200000 };

	begin(4096);
	for (size_t i = 0; i < 2 * ROUNDS; i++)
		if (lab_sampler_step(&sampler, i % 2 ? 1024 : 3072))
			bytes[i % 2] += lab_sample_bytes(i % 2 ? 1024 : 3072);
	cr_assert(bytes[0] > 3072ull * ROUNDS / 100 * 97 && bytes[0] < 3072ull * ROUNDS / 100 * 103);
	cr_assert(bytes[1] > 1024ull * ROUNDS / 100 * 97 && bytes[1] < 1024ull * ROUNDS / 100 * 103);
}

Test(sampler, distances_are_geometric)
{
	enum { DRAWS = 100000 };
	double sum = 0, below = 0;

	begin(1000);
	for (int i = 0; i < DRAWS; i++) {
		(void)lab_sampler_step(&sampler, (size_t)INT64_MAX);
		cr_assert_gt(sampler.left, 0);
		sum += (double)sampler.left;
		below += sampler.left <= 693; /* the median: 1000 ln 2 */
	}
	cr_assert(sum / DRAWS > 975 && sum / DRAWS < 1025, "mean %f", sum / DRAWS);
	cr_assert(below / DRAWS > 0.49 && below / DRAWS < 0.51, "median: %f", below / DRAWS);
}

Test(sampler, of_every_block)
{
	begin(1);
	for (size_t size = 1; size < 100; size++) {
		cr_assert(lab_sampler_step(&sampler, size));
		cr_assert_eq(lab_sample_objects(size), LAB_SAMPLE_ONE);
		cr_assert_eq(lab_sample_bytes(size), size);
	}
	cr_assert_not(lab_sampler_step(&sampler, 0));
}

Test(sampler, off)
{
	begin(0);
	for (int i = 0; i < 1000; i++)
		cr_assert_not(lab_sampler_step(&sampler, 1 << 20));
	cr_assert_eq(sampler.left, 0);
}

Test(sampler, weights)
{
	begin(DISTANCE);
	cr_assert_eq(lab_sample_objects((size_t)1 << 40), LAB_SAMPLE_ONE, "a large block is itself");
	cr_assert_eq(lab_sample_bytes((size_t)1 << 40), UINT64_C(1) << 40);
	/* 1 / (1 - exp(-1)) = 1.5819767 */
	cr_assert_eq(lab_sample_objects(DISTANCE), 103676);
	/* 524288 / 16 + 1/2, and a little */
	cr_assert_eq(lab_sample_objects(16) / LAB_SAMPLE_ONE, 32768);
	cr_assert_eq(lab_sample_bytes(16), 524296);
}
