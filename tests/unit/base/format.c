/* format.c - base/format.h against snprintf. */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "base/format.h"
#include "trace.h"

static void
check_number(uint64_t number)
{
	char ours[64], theirs[64];
	struct lab_text text = lab_text_start(ours, sizeof ours);

	lab_text_number(&text, number);
	lab_text_string(&text, " ");
	lab_text_hex(&text, number);
	lab_text_string(&text, "|");
	lab_text_column(&text, number, 12);
	snprintf(theirs, sizeof theirs, "%" PRIu64 " 0x%" PRIx64 "|%12" PRIu64, number, number, number);
	REQUIRE(strcmp(ours, theirs) == 0);
	REQUIRE(text.length == strlen(theirs));
}

Test(format, numbers)
{
	struct trace_random random = {1};

	for (uint64_t n = 0; n < 2000; n++)
		check_number(n);
	for (unsigned shift = 0; shift < 64; shift++) {
		check_number(UINT64_C(1) << shift);
		check_number((UINT64_C(1) << shift) - 1);
		check_number(trace_next(&random) >> shift);
	}
	check_number(UINT64_MAX);
}

Test(format, what_does_not_fit_is_cut_off)
{
	for (size_t size = 1; size < 20; size++) {
		char buffer[24];
		memset(buffer, '#', sizeof buffer);
		struct lab_text text = lab_text_start(buffer, size);
		lab_text_string(&text, "labyrinth");
		lab_text_number(&text, 1234567890);
		cr_assert_eq(text.length, size - 1);
		cr_assert_eq(strncmp(buffer, "labyrinth1234567890", size - 1), 0);
		cr_assert_eq(buffer[size - 1], 0);
		cr_assert_eq(buffer[size], '#');
	}
}
