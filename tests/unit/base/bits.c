/* bits.c - base/bits.h against loops that anyone can read. */
#include <criterion/criterion.h>

#include "base/bits.h"
#include "trace.h"

static void
check_scans(uint64_t word)
{
	unsigned low = 0, high = 63;

	while (!(word >> low & 1))
		low++;
	while (!(word >> high & 1))
		high--;
	REQUIRE(lab_ctz(word) == low);
	REQUIRE(lab_log2(word) == high);
	REQUIRE(lab_is_power_of_two(word) == (low == high));
}

Test(bits, scans)
{
	struct trace_random random = {1};

	for (uint64_t word = 1; word < 1 << 16; word++)
		for (unsigned shift = 0; shift <= 48; shift += 16)
			check_scans(word << shift);
	for (int i = 0; i < 100000; i++)
		check_scans(trace_next(&random) | 1ull << trace_below(&random, 64));
	cr_assert(!lab_is_power_of_two(0));
}

Test(bits, logarithm_rounded_up)
{
	for (uint64_t n = 1; n < 1 << 17; n++) {
		unsigned order = 0;
		while (UINT64_C(1) << order < n)
			order++;
		cr_assert_eq(lab_log2_up(n), order);
	}
	cr_assert_eq(lab_log2_up(UINT64_C(1) << 63), 63);
}

Test(bits, rounding)
{
	for (size_t to = 1; to <= 4096; to *= 2)
		for (size_t n = 0; n <= 8192; n++) {
			size_t expected = (n + to - 1) / to * to;
			cr_assert_eq(lab_round_up(n, to), expected);
		}
}

Test(bits, masks_and_rotation)
{
	struct trace_random random = {2};

	for (unsigned n = 0; n <= 64; n++)
		for (unsigned i = 0; i < 64; i++)
			cr_assert_eq(lab_mask(n) >> i & 1, i < n);
	for (int i = 0; i < 1000; i++) {
		uint64_t word = trace_next(&random);
		for (unsigned by = 0; by < 64; by++)
			for (unsigned bit = 0; bit < 64; bit++)
				REQUIRE((lab_rotate_right(word, by) >> bit & 1) == (word >> ((bit + by) % 64) & 1));
	}
}

Test(bits, inverses)
{
	struct trace_random random = {3};

	for (uint64_t odd = 1; odd < 1 << 16; odd += 2)
		cr_assert_eq(odd * lab_inverse_odd(odd), 1);
	for (int i = 0; i < 100000; i++) {
		uint64_t odd = trace_next(&random) | 1;
		REQUIRE(odd * lab_inverse_odd(odd) == 1);
	}
}
