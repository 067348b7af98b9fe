/* sampler.c - see sampler.h. The library has no libm: the two functions that are needed are series here. */
#include "insight/sampler.h"
#include "base/check.h"

_Atomic size_t lab_sample_distance;

#define LN_2      0.69314718055994530942
#define SQRT_HALF 0.70710678118654752440

static _Atomic uint64_t seed = UINT64_C(0x2545f4914f6cdd1d);
static _Atomic uint64_t seeded; /* generators so far */

/* Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t
next_random(struct lab_sampler *sampler)
{
	sampler->random += UINT64_C(0x9e3779b97f4a7c15);
	return mix(sampler->random);
}

/* ln x for 0 < x <= 1: by 2 artanh((m - 1) / (m + 1)), m being x without its power of two. */
static double
logarithm(double x)
{
	int power = 0;

	for (; x < SQRT_HALF; power--)
		x *= 2;
	double t = (x - 1) / (x + 1), square = t * t, sum = 0;
	for (int n = 21; n >= 1; n -= 2)
		sum = sum * square + 1.0 / n;
	return 2 * t * sum + power * LN_2;
}

/* 1 - exp(-x) for x >= 0, exact to many digits for small x too. */
static double
one_minus_exp(double x)
{
	if (x > 40)
		return 1;
	int halvings = 0;
	for (; x > 0.25; halvings++)
		x /= 2;
	double sum = 1;
	for (int n = 14; n >= 2; n--) /* (1 - exp(-x)) / x */
		sum = 1 - x / n * sum;
	double result = x * sum;
	while (halvings-- > 0) /* 1 - exp(-2x) = (1 - exp(-x)) (2 - (1 - exp(-x))) */
		result *= 2 - result;
	return result;
}

static int64_t
draw(struct lab_sampler *sampler, size_t distance)
{
	const double longest = (double)(INT64_C(1) << 60);
	/* in (0, 1], a multiple of 2^-53 */
	double u = ((double)(next_random(sampler) >> 11) + 1) / (double)(UINT64_C(1) << 53);

	if (distance <= 1)
		return 1; /* every block, exactly */
	double d = -logarithm(u) * (double)distance;
	return (int64_t)(d < longest ? d : longest) + 1;
}

void
lab_sampler_seed(uint64_t value)
{
	lab_store_rlx(&seed, value);
	lab_store_rlx(&seeded, 0);
}

bool
lab_sampler_step(struct lab_sampler *sampler, size_t size)
{
	size_t distance = lab_load_rlx(&lab_sample_distance);

	if (lab_unlikely(distance == 0))
		return false;
	if (lab_unlikely(sampler->random == 0)) {
		sampler->random = mix(lab_load_rlx(&seed) + lab_add_rlx(&seeded, 1)) | 1;
		sampler->left = 0;
	}
	if (lab_unlikely(sampler->left <= 0))
		sampler->left = draw(sampler, distance);
	if ((int64_t)size < sampler->left) {
		sampler->left -= (int64_t)size;
		return false;
	}
	sampler->left = draw(sampler, distance);
	lab_assert(sampler->left > 0); /* INV-SAMPLER-1 */
	return true;
}

static double
weight(size_t size)
{
	size_t distance = lab_load_rlx(&lab_sample_distance);

	if (distance <= 1)
		return 1;
	return 1 / one_minus_exp((double)(size ? size : 1) / (double)distance);
}

uint64_t
lab_sample_objects(size_t size)
{
	return (uint64_t)(weight(size) * (double)LAB_SAMPLE_ONE + 0.5);
}

uint64_t
lab_sample_bytes(size_t size)
{
	return (uint64_t)(weight(size) * (double)size + 0.5);
}
