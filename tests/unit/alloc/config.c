/* config.c - settings from the environment and from lab_set_param: what is right is taken, what is wrong is said once
 * and ignored. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/release.h"
#include "alloc/setting_show.h"
#include "alloc/settings.h"
#include "backing/settings.h"
#include "page/charge.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

/* The program's own, of less weight than what the tests set. */
const char lab_conf[] = "wait_ms:77, reserve_max : 9M";

/* What lab_config_read says on stderr. */
static const char *
complaints(void)
{
	static char words[4000];
	int ends[2], saved = dup(2);

	REQUIRE(pipe(ends) == 0);
	dup2(ends[1], 2);
	lab_config_read();
	dup2(saved, 2);
	close(saved);
	close(ends[1]);
	ssize_t got = read(ends[0], words, sizeof words - 1);
	words[got > 0 ? got : 0] = 0;
	close(ends[0]);
	return words;
}

static const char *
complaint(const char *name, const char *value)
{
	REQUIRE(setenv(name, value, 1) == 0);
	const char *words = complaints();
	unsetenv(name);
	return words;
}

/* ---- /etc/labyrinth.conf, as the tests want it ---- */

static const char *config_file;

static size_t
read_config_file(const char *path, char *buffer, size_t size)
{
	size_t length = strcmp(path, LAB_CONFIG_FILE) == 0 ? strnlen(config_file, size - 1) : 0;

	memcpy(buffer, config_file, length);
	buffer[length] = 0;
	return length;
}

static const char *
complaint_of_file(const char *text)
{
	config_file = text;
	lab_os.read_file = read_config_file;
	return complaints();
}

static enum lab_source
source_of(const char *key)
{
	return lab_setting_source(lab_setting_find(key));
}

static const char *
shown(const char *key)
{
	static char buffer[300];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_setting_show(&text, lab_setting_find(key));
	return buffer;
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
	        {"LABYRINTH_BACKGROUND_THREAD", ""},
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
	cr_assert_str_eq(complaint("LABYRINTH_ZZZQQQ", "1"),
	                 "labyrinth: LABYRINTH_ZZZQQQ: no such setting; labyrinth(3) has the list\n");
	cr_assert_str_empty(complaint("LABYRINTHINE", "1"));
	cr_assert_not_null(strstr(complaint("LABYRINTH_", "1"), "labyrinth: LABYRINTH_: no such setting"));
	cr_assert_str_empty(
	        complaint("LABYRINTH_0123456789012345678901234567890123456789012345678901234567890123456789", "1"));
}

Test(config, a_later_source_goes_before_an_earlier_one)
{
	cr_assert_str_empty(complaint_of_file(""));
	cr_assert_eq(source_of("decay_ms"), LAB_SOURCE_BUILT_IN);
	cr_assert_str_eq(shown("decay_ms"), "1000");
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 77, "lab_conf");
	cr_assert_eq(source_of("wait_ms"), LAB_SOURCE_PROGRAM);
	cr_assert_str_empty(complaint_of_file("decay_ms: 5\nwait_ms = 6\n\n# dirty_max:1\n  profile:small\r\n"));
	cr_assert_eq(lab_load_rlx(&lab_settings.decay_ms), 5, "the file goes before the profile, whatever comes first");
	cr_assert_eq(source_of("decay_ms"), LAB_SOURCE_FILE);
	cr_assert_eq(lab_load_rlx(&lab_settings.dirty_max), 4 << 20, "the profile's, and no comment");
	cr_assert_eq(source_of("dirty_max"), LAB_SOURCE_PROFILE);
	cr_assert_eq(lab_load_rlx(&lab_settings.profile), 1);
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 77, "lab_conf goes before the file");
	cr_assert_str_empty(complaint("LABYRINTH_CONF", "wait_ms:78,decay_ms:never,,thp:always"));
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 78);
	cr_assert_eq(source_of("wait_ms"), LAB_SOURCE_ENVIRONMENT);
	cr_assert_str_eq(shown("decay_ms"), "never");
	cr_assert_str_eq(shown("thp"), "always");
	setenv("LABYRINTH_CONF", "wait_ms:78", 1);
	cr_assert_str_empty(complaint("LABYRINTH_WAIT_MS", "79"));
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 79);
	cr_assert_eq(source_of("wait_ms"), LAB_SOURCE_VARIABLE);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 80));
	cr_assert_eq(source_of("wait_ms"), LAB_SOURCE_CALL);
	cr_assert_str_eq(shown("wait_ms"), "80");
}

Test(config, a_list_may_have_numbers_with_commas)
{
	unsetenv("LABYRINTH_RESERVE"); /* another size of the whole, which goes before */
	cr_assert_str_empty(complaint("LABYRINTH_CONF", "reserve_classes:64:10,4K:3,wait_ms:5"));
	cr_assert_str_eq(shown("reserve_classes"), "64:10,4K:3");
	cr_assert_eq(lab_backing_settings.plan.slots[1], 10);
	cr_assert_eq(lab_load_rlx(&lab_settings.wait_ms), 5);
}

Test(config, the_order_of_the_environment_does_not_count)
{
	static char size[] = "LABYRINTH_RESERVE=4M", classes[] = "LABYRINTH_RESERVE_CLASSES=64:10";
	char *orders[2][3] = {{size, classes, NULL}, {classes, size, NULL}};
	char **saved = environ;

	for (unsigned i = 0; i < 2; i++) {
		environ = orders[i];
		lab_config_read();
		environ = saved;
		cr_assert_eq(lab_backing_settings.plan.slots[1], 10);
		cr_assert_eq(lab_backing_settings.plan.slots[0], 0);
	}
}

Test(config, each_source_is_named_in_complaints)
{
	cr_assert_str_eq(complaint_of_file("# a comment\n\nwait_ms:x\nwait\n"),
	                 "labyrinth: " LAB_CONFIG_FILE ":3: wait_ms:x: ignored; expected milliseconds up to a day\n"
	                 "labyrinth: " LAB_CONFIG_FILE ":4: wait: ignored; expected key:value\n");
	cr_assert_str_empty(complaint_of_file(""));
	cr_assert_str_eq(complaint("LABYRINTH_CONF", "decay:3,thp:nevr"),
	                 "labyrinth: LABYRINTH_CONF: decay: no such setting; the nearest is decay_ms\n"
	                 "labyrinth: LABYRINTH_CONF: thp:nevr: ignored; expected default, never or always; "
	                 "the nearest is never\n");
	cr_assert_str_eq(complaint("LABYRINTH_PROFILE", "smal"),
	                 "labyrinth: LABYRINTH_PROFILE=smal: ignored; expected default, small, rt, secure or debug; "
	                 "the nearest is small\n");
}

Test(config, every_profile_is_taken)
{
	for (unsigned i = 0; lab_preset_at(i); i++) {
		const char *words = complaint("LABYRINTH_PROFILE", lab_preset_at(i)->name);
		cr_assert_str_empty(words, "%s: %s", lab_preset_at(i)->name, words);
		cr_assert_eq(lab_load_rlx(&lab_settings.profile), i);
	}
}

Test(config, of_a_long_file_whole_lines_count)
{
	static char text[6000];

	memset(text, '\n', sizeof text - 1);
	memcpy(text, "wait_ms:1", 9);
	memcpy(text + 4000, "dirty_max:3M", 12);
	memcpy(text + 4088, "decay_ms:55", 11);
	cr_assert_str_eq(complaint_of_file(text),
	                 "labyrinth: " LAB_CONFIG_FILE ": too long; what is behind 4095 bytes is ignored\n");
	cr_assert_eq(lab_load_rlx(&lab_settings.dirty_max), 3 << 20);
	cr_assert_eq(lab_load_rlx(&lab_settings.decay_ms), 1000, "not 5");
}

/* The defaults that the documents show are what is built in. */
Test(config, defaults)
{
	const struct lab_setting *setting;
	struct lab_settings before = lab_settings;

	for (unsigned i = 0; (setting = lab_setting_at(i)) != NULL; i++) {
		bool is_value = setting->kind != LAB_SETTING_TEXT && strcmp(setting->by_default, "by decay") != 0 &&
		                strncmp(setting->by_default, "4 ×", 3) != 0;
		if (is_value)
			cr_assert(lab_setting_take(setting, setting->by_default, LAB_SOURCE_CALL), "%s", setting->key);
		if (strcmp(setting->key, "huge_threshold") == 0) /* the two mean the same: larger than a segment */
			lab_store_rlx(&lab_settings.huge_threshold, SIZE_MAX);
		if (strcmp(setting->key, "wait_ms") == 0)
			lab_store_rlx(&before.wait_ms, 0);
	}
	cr_assert_eq(memcmp(&before, &lab_settings, sizeof before), 0);
	cr_assert_eq(lab_load_rlx(&lab_charge_limit), LAB_CHARGE_UNLIMITED);
}

Test(config, a_share_of_the_cgroups_limit)
{
	size_t number = 0;
	const struct lab_setting *limit = lab_setting_find("limit"), *decay = lab_setting_find("decay_ms");

	cr_assert(lab_value_parse(limit, "80%", &number));
	cr_assert(number == SIZE_MAX || number % 4096 != 1); /* what this machine has: unit/alloc/limit.c has files */
	cr_assert(!lab_value_parse(limit, "0%", &number));
	cr_assert(!lab_value_parse(limit, "101%", &number));
	cr_assert(!lab_value_parse(limit, "80%%", &number));
	cr_assert(!lab_value_parse(limit, "%", &number));
	cr_assert(!lab_value_parse(limit, "1", &number), "less than a page");
	cr_assert(!lab_value_parse(decay, "80%", &number));
}

/* All that is mapped for blocks: segments, huge blocks, and what describes them. */
Test(config, memory_is_made_resident_and_locked)
{
	world_install();
	cr_assert_str_empty(complaint("LABYRINTH_CONF", "prefault:1,lock_memory:1"));
	void *p = lab_malloc(100);
	size_t populates = world.populates, locks = world.locks;
	cr_assert_geq(populates, 4);
	cr_assert_eq(locks, populates);
	void *huge = lab_malloc(5 << 20);
	cr_assert_eq(world.populates, populates + 1);
	cr_assert_eq(world.locks, locks + 1);
	unsigned char resident[(5 << 20) / 4096];
	cr_assert_eq(mincore((void *)((uintptr_t)huge & ~(uintptr_t)4095), 5 << 20, resident), 0);
	for (size_t i = 0; i < sizeof resident; i++)
		REQUIRE(resident[i] & 1);
	huge = lab_realloc(huge, 9 << 20, 0);
	cr_assert_geq(world.populates, populates + 2);
	lab_free(huge);
	lab_free(p);
}

Test(config, a_refusal_to_lock_is_said_once)
{
	world_install();
	int ends[2], saved = dup(2);
	char words[1000];

	cr_assert_str_empty(complaint("LABYRINTH_LOCK_MEMORY", "1"));
	world.lock_fails = true;
	REQUIRE(pipe(ends) == 0);
	dup2(ends[1], 2);
	void *p = lab_malloc(100), *q = lab_malloc(5 << 20);
	dup2(saved, 2);
	close(ends[1]);
	ssize_t got = read(ends[0], words, sizeof words - 1);
	words[got > 0 ? got : 0] = 0;
	cr_assert(p && q);
	cr_assert_eq(strncmp(words, "labyrinth: the system refused to keep", 37), 0, "%s", words);
	cr_assert_eq(strchr(words, '\n'), words + strlen(words) - 1, "one line: %s", words);
	lab_free(p);
	lab_free(q);
}
