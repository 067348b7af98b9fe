/* parse.c - numbers in settings: what is one, what follows it, and what is too great. */
#include <criterion/criterion.h>

#include "base/parse.h"

Test(parse, numbers_end_where_no_digit_is)
{
	static const char *const none[] = {
	        "", "x", "-1", "+1", " 1", "K", "18446744073709551616", "99999999999999999999"};
	size_t value = 7;

	for (unsigned i = 0; i < sizeof none / sizeof *none; i++)
		cr_assert(!lab_parse_number(none[i], &value) && value == 7, "%s", none[i]);
	cr_assert_str_eq(lab_parse_number("18446744073709551615,", &value), ",");
	cr_assert_eq(value, SIZE_MAX);
	cr_assert_str_eq(lab_parse_number("0K", &value), "K");
	cr_assert_eq(value, 0);
}

Test(parse, sizes_may_have_a_suffix)
{
	size_t value = 7;

	cr_assert_str_eq(lab_parse_size("3K:4", &value), ":4");
	cr_assert_eq(value, 3 << 10);
	cr_assert_str_eq(lab_parse_size("12:4", &value), ":4");
	cr_assert_eq(value, 12);
	cr_assert(lab_parse_whole_size("5M", &value) && value == (size_t)5 << 20);
	cr_assert(lab_parse_whole_size("6G", &value) && value == (size_t)6 << 30);
	cr_assert(lab_parse_whole_size("16777215T", &value) && value == (size_t)16777215 << 40);
	value = 7;
	cr_assert(!lab_parse_size("16777216T", &value) && value == 7, "too great");
	cr_assert(!lab_parse_whole_size("5MB", &value) && !lab_parse_whole_size("5kK", &value) && value == 7);
	cr_assert(!lab_parse_whole_size("5i", &value) && !lab_parse_whole_size("5iM", &value) && value == 7);
	cr_assert(lab_parse_whole_size("5k", &value) && value == 5 << 10, "in small letters");
	cr_assert(lab_parse_whole_size("512Mi", &value) && value == (size_t)512 << 20,
	          "as IEC and Kubernetes write it");
	cr_assert_str_eq(lab_parse_size("3Ki:4", &value), ":4");
	value = 7;
	cr_assert(!lab_parse_whole_size("", &value) && !lab_parse_whole_size("K", &value) && value == 7);
}
