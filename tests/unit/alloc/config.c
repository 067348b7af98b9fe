/* config.c - settings from the environment and from lab_set_param: what is right is taken, what is wrong is said once
 * and ignored. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

/* What lab_config_read says on stderr. */
static const char *
complaint(const char *name, const char *value)
{
	static char words[600];
	int ends[2], saved = dup(2);

	REQUIRE(setenv(name, value, 1) == 0 && pipe(ends) == 0);
	dup2(ends[1], 2);
	lab_config_read();
	dup2(saved, 2);
	close(saved);
	close(ends[1]);
	ssize_t got = read(ends[0], words, sizeof words - 1);
	words[got > 0 ? got : 0] = 0;
	close(ends[0]);
	unsetenv(name);
	return words;
}

static void
check_size(const char *name, const _Atomic size_t *setting, const char *text, size_t expected)
{
	const char *words = complaint(name, text);

	cr_assert_str_empty(words, "%s=%s: %s", name, text, words);
	cr_assert_eq(lab_load_rlx(setting), expected, "%s=%s: %zu", name, text, (size_t)lab_load_rlx(setting));
}

Test(config, sizes_and_times)
{
	check_size("LABYRINTH_DECAY_MS", &lab_settings.decay_ms, "0", 0);
	check_size("LABYRINTH_DECAY_MS", &lab_settings.decay_ms, "2500", 2500);
	check_size("LABYRINTH_DECAY_MS", &lab_settings.decay_ms, "1K", 1024);
	check_size("LABYRINTH_DECAY_MS", &lab_settings.decay_ms, "never", SIZE_MAX);
	check_size("LABYRINTH_DECAY_MS", &lab_settings.decay_ms, "86400000", 86400000);
	check_size("LABYRINTH_DIRTY_MAX", &lab_settings.dirty_max, "64M", 64 << 20);
	check_size("LABYRINTH_DIRTY_MAX", &lab_settings.dirty_max, "never", SIZE_MAX);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "0", 0);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "123", 123);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "3K", 3 << 10);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "5M", 5 << 20);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "7G", (size_t)7 << 30);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "2T", (size_t)2 << 40);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "never", SIZE_MAX);
	check_size("LABYRINTH_TRIM_THRESHOLD", &lab_settings.trim_threshold, "18446744073709551615", SIZE_MAX);
}

Test(config, huge_pages)
{
	world_install();
	cr_assert_str_empty(complaint("LABYRINTH_THP", "default"));
	cr_assert_eq(world.huge_pages, 0);
	cr_assert_str_empty(complaint("LABYRINTH_THP", "always"));
	cr_assert_eq(world.huge_pages, 0, "there is no segment yet");
	lab_free(lab_malloc(1));
	cr_assert_eq(world.huge_pages, 1, "now there is");
	cr_assert_eq(world.huge_when, LAB_HUGE_ALWAYS);
	cr_assert_eq(world.huge_bytes, lab_space_mapped());
	cr_assert(lab_load_rlx(&lab_settings.purge_in_whole));
	cr_assert_str_empty(complaint("LABYRINTH_THP", "never"));
	cr_assert_eq(world.huge_pages, 2);
	cr_assert_eq(world.huge_when, LAB_HUGE_NEVER);
	cr_assert(!lab_load_rlx(&lab_settings.purge_in_whole));
}

Test(config, what_is_wrong_is_said_in_one_line_and_ignored)
{
	static const struct {
		const char *name, *value;
	} wrong[] = {
	        {"LABYRINTH_DECAY_MS", ""},
	        {"LABYRINTH_DECAY_MS", "x"},
	        {"LABYRINTH_THP", "Always"},
	        {"LABYRINTH_THP", "madvise"},
	        {"LABYRINTH_RESERVE", "1Q"},
	        {"LABYRINTH_RESERVE_CLASSES", "48:3"},
	        {"LABYRINTH_RESERVE_MAX", "most"},
	        {"LABYRINTH_RESERVE_LOCK", "yes"},
	        {"LABYRINTH_KSWAPD", ""},
	        {"LABYRINTH_DECAY_MS", "-1"},
	        {"LABYRINTH_DECAY_MS", "1 "},
	        {"LABYRINTH_DECAY_MS", "1s"},
	        {"LABYRINTH_DECAY_MS", "86400001"},
	        {"LABYRINTH_DECAY_MS", "Never"},
	        {"LABYRINTH_TRIM_THRESHOLD", "1KK"},
	        {"LABYRINTH_TRIM_THRESHOLD", "K"},
	        {"LABYRINTH_TRIM_THRESHOLD", "18446744073709551616"},
	        {"LABYRINTH_TRIM_THRESHOLD", "99999999999G"},
	        {"LABYRINTH_TRIM_THRESHOLD", "0x10"},
	        {"LABYRINTH_PERTURB", "256"},
	        {"LABYRINTH_PERTURB", "1K"},
	        {"LABYRINTH_STATS", "2"},
	        {"LABYRINTH_STATS", "yes"},
	        {"LABYRINTH_STATS", ""},
	        {"LABYRINTH_STATS_FILE", ""},
	};
	size_t decay = lab_load_rlx(&lab_settings.decay_ms), threshold = lab_load_rlx(&lab_settings.trim_threshold);

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		const char *words = complaint(wrong[i].name, wrong[i].value);
		char start[100];
		snprintf(start, sizeof start, "labyrinth: %s=%s: ignored; expected ", wrong[i].name, wrong[i].value);
		cr_assert_eq(strncmp(words, start, strlen(start)), 0, "%s=%s: \"%s\"", wrong[i].name, wrong[i].value,
		             words);
		cr_assert_eq(strchr(words, '\n'), words + strlen(words) - 1, "one line");
	}
	cr_assert_eq(lab_load_rlx(&lab_settings.decay_ms), decay);
	cr_assert_eq(lab_load_rlx(&lab_settings.trim_threshold), threshold);
	cr_assert_eq(lab_load_rlx(&lab_settings.perturb), 0);
	cr_assert_null(lab_load_rlx(&lab_settings.stats_file));

	static char too_long[2000];
	memset(too_long, '7', sizeof too_long - 1);
	cr_assert_lt(strlen(complaint("LABYRINTH_DECAY_MS", too_long)), 260, "cut off");
	cr_assert_str_not_empty(complaint("LABYRINTH_STATS_FILE", too_long));
}

Test(config, statistics)
{
	cr_assert_str_empty(complaint("LABYRINTH_STATS", "0"));
	cr_assert(!lab_load_rlx(&lab_settings.count_allocations));
	cr_assert_str_empty(complaint("LABYRINTH_STATS_FILE", "/tmp/some-file"));
	cr_assert_str_eq(lab_load_rlx(&lab_settings.stats_file), "/tmp/some-file");
	cr_assert_str_empty(complaint("LABYRINTH_STATS", "1"));
	cr_assert(lab_load_rlx(&lab_settings.count_allocations));
	cr_assert_eq(lab_load_rlx(&lab_word_tag), LAB_WORD_SLOW, "every call is to be counted");
	cr_assert_str_eq(lab_load_rlx(&lab_settings.stats_file), "/tmp/some-file");
	lab_store_rlx(&lab_settings.stats_file, NULL); /* nothing at exit */
}

Test(config, parameters_out_of_range_are_refused)
{
	cr_assert(!lab_set_param(LAB_PARAM_PERTURB, 256));
	cr_assert(!lab_set_param((enum lab_param)99, 1));
	cr_assert(!lab_set_param(LAB_PARAM_THP, 3));
	cr_assert(lab_set_param(LAB_PARAM_HUGE_THRESHOLD, 1 << 21));
	cr_assert_eq(lab_load_rlx(&lab_settings.huge_threshold), 1 << 21);
	cr_assert(lab_set_param(LAB_PARAM_HUGE_THRESHOLD, 0));
	cr_assert_eq(lab_load_rlx(&lab_settings.huge_threshold), SIZE_MAX, "0: the default");
}

Test(config, perturb_fills_new_and_freed_blocks)
{
	static const size_t sizes[] = {16, 1000, 5000, 100000, 5 << 20};

	lab_free(lab_malloc(1));
	cr_assert(lab_set_param(LAB_PARAM_PERTURB, 0x5a));
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		unsigned char *p = lab_malloc(sizes[i]), *z = lab_calloc(1, sizes[i]);
		for (size_t n = 0; n < sizes[i]; n++)
			REQUIRE(p[n] == 0xa5);
		cr_assert(trace_is_zero(z, sizes[i]));
		memset(p, 1, sizes[i]);
		lab_free(z);
		lab_free(p);
		for (size_t n = 8; n < sizes[i]; n++) /* its first bytes are a link */
			REQUIRE(p[n] == 0x5a);
	}
	cr_assert(lab_set_param(LAB_PARAM_PERTURB, 0));
	unsigned char *p = lab_malloc(16);
	memset(p, 1, 16);
	lab_free(p);
	cr_assert_eq(p[15], 1);
	cr_assert_eq(lab_load_rlx(&lab_word_tag), LAB_WORD_FAST);
}

Test(config, a_name_that_is_no_setting_is_said_with_the_nearest_one)
{
	cr_assert_str_eq(complaint("LABYRINTH_DECAY", "5"),
	                 "labyrinth: LABYRINTH_DECAY: no such setting; the nearest is LABYRINTH_DECAY_MS\n");
	cr_assert_str_eq(complaint("LABYRINTH_RESERV", "5"),
	                 "labyrinth: LABYRINTH_RESERV: no such setting; the nearest is LABYRINTH_RESERVE\n");
	cr_assert_str_eq(complaint("LABYRINTH_STAT", "1"),
	                 "labyrinth: LABYRINTH_STAT: no such setting; the nearest is LABYRINTH_STATS\n");
	cr_assert_str_empty(complaint("LABYRINTHINE", "1"));
	cr_assert_not_null(strstr(complaint("LABYRINTH_", "1"), "labyrinth: LABYRINTH_: no such setting"));
	cr_assert_str_empty(
	        complaint("LABYRINTH_0123456789012345678901234567890123456789012345678901234567890123456789", "1"));
}
