/*
 * histogram_test.c - that histogram.h says what was put in: buckets lie end to end and are narrow, percentiles are
 * never too good and at most a bucket too bad, maxima are exact, and marked samples are counted apart.
 */
#include "histogram.h"

enum { SKIPPED = 77 }; /* to meson */

#define CHECK(condition) ((condition) ? (void)0 : bench_fail("line %d: not so: %s", __LINE__, #condition))

static struct histogram histogram, other;

static void
check_bucket(uint64_t value)
{
	unsigned bucket = histogram_bucket(value);
	CHECK(bucket < HISTOGRAM_BUCKETS);
	uint64_t low = histogram_low(bucket);
	CHECK(low <= value);
	CHECK(bucket + 1 == HISTOGRAM_BUCKETS || value < histogram_low(bucket + 1));
	CHECK(value - low <= value / HISTOGRAM_STEPS);
}

static void
check_percentiles(void)
{
	const double parts[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
	const uint64_t total = 100000;
	for (uint64_t value = 1; value <= total; value++)
		histogram_add(value % 2 ? &histogram : &other, value, value % 1000 == 0);
	histogram_merge(&histogram, &other);
	CHECK(histogram_total(&histogram, false) == total);
	CHECK(histogram_total(&histogram, true) == total / 1000);
	CHECK(histogram.max == total);
	CHECK(histogram.max_unswitched == total - 1);
	for (size_t i = 0; i < BENCH_COUNT(parts); i++) {
		uint64_t exact = (uint64_t)((double)total * parts[i]),
		         given = histogram_percentile(&histogram, parts[i]);
		CHECK(given >= exact);
		CHECK(given <= exact + exact / HISTOGRAM_STEPS + 1);
	}
	CHECK(histogram_percentile(&histogram, 1) == total);
}

/* A switch is marked, and nothing else is: some of these calls may be interrupted, not all. False: switches cannot be
 * seen here. */
static bool
check_marks(void)
{
	if (!switch_start())
		return false;
	unsigned quiet = 0;
	for (unsigned i = 0; i < 1000; i++) {
		switch_arm();
		quiet += !switch_seen();
	}
	CHECK(quiet > 0);
	for (unsigned i = 0; i < 10; i++) {
		switch_arm();
		nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
		CHECK(switch_seen());
	}
	return true;
}

int
main(void)
{
	for (uint64_t value = 0; value < 100000; value++)
		check_bucket(value);
	for (unsigned bit = 0; bit < 64; bit++) {
		check_bucket(UINT64_C(1) << bit);
		check_bucket((UINT64_C(1) << bit) - 1);
		check_bucket(UINT64_MAX >> bit);
	}
	check_percentiles();
	uint64_t begin = ticks();
	CHECK(ticks() >= begin);
	return check_marks() ? 0 : SKIPPED;
}
