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

Test(format, bytes)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	        {0, "0 B"},
	        {17, "17 B"},
	        {1023, "1023 B"},
	        {1024, "1.0 KiB"},
	        {1535, "1.4 KiB"},
	        {1536, "1.5 KiB"},
	        {10240, "10.0 KiB"},
	        {1048575, "1023.9 KiB"},
	        {UINT64_C(5) << 20, "5.0 MiB"},
	        {UINT64_C(13) << 37, "1.6 TiB"},
	        {UINT64_MAX, "15.9 EiB"},
	};

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		char buffer[32];
		struct lab_text text = lab_text_start(buffer, sizeof buffer);
		lab_text_bytes(&text, cases[i].bytes);
		cr_assert_str_eq(buffer, cases[i].text);
	}
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
