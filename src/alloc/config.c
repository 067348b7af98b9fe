/*
 * config.c - settings: their defaults, the environment, lab_set_param. One table; what is wrong is said once, in one
 * line, and ignored.
 */
#include <string.h>

#include "alloc/cgroup.h"
#include "alloc/config.h"
#include "alloc/limit.h"
#include "alloc/settings.h"
#include "backing/settings.h"
#include "base/format.h"
#include "base/parse.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/pending.h"

/* A huge block takes 4 MiB of address space at least. */
#define HUGE_THRESHOLD_MIN ((size_t)1 << 20)
#define NAME_MAX_LENGTH    63
#define A_DAY_MS           ((size_t)86400 * 1000)

void
lab_config_apply(void)
{
	bool slow = lab_load_rlx(&lab_settings.perturb) != 0 || lab_load_rlx(&lab_settings.count_allocations);

	lab_store_rlx(&lab_word_tag, slow ? LAB_WORD_SLOW : LAB_WORD_FAST);
}

LAB_EXPORT bool
lab_set_param(enum lab_param param, size_t value)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	switch (param) {
	case LAB_PARAM_TRIM_THRESHOLD:
		lab_store_rlx(&lab_settings.trim_threshold, value);
		lab_store_rlx(&lab_purge_is_held, value == LAB_TRIM_NEVER);
		return true;
	case LAB_PARAM_DIRTY_MAX:
		lab_store_rlx(&lab_settings.dirty_max, value);
		return true;
	case LAB_PARAM_DECAY_MS:
		if (value > A_DAY_MS && value != SIZE_MAX)
			return false;
		lab_store_rlx(&lab_settings.decay_ms, value);
		return true;
	case LAB_PARAM_HUGE_THRESHOLD:
		if (value != 0 && value < HUGE_THRESHOLD_MIN)
			value = HUGE_THRESHOLD_MIN;
		lab_store_rlx(&lab_settings.huge_threshold, value ? value : SIZE_MAX);
		return true;
	case LAB_PARAM_LIMIT:
		if (value < LAB_PAGE_SIZE)
			return false;
		lab_charge_set_limit(value == SIZE_MAX ? LAB_CHARGE_UNLIMITED : value >> LAB_PAGE_SHIFT);
		lab_limit_notify();
		return true;
	case LAB_PARAM_WAIT_MS:
		if (value > A_DAY_MS)
			return false;
		lab_store_rlx(&lab_settings.wait_ms, value);
		return true;
	case LAB_PARAM_THP:
		if (value > LAB_HUGE_ALWAYS)
			return false;
		lab_space_set_huge_pages((enum lab_huge_pages)value);
		lab_store_rlx(&lab_settings.purge_in_whole, value == LAB_HUGE_ALWAYS);
		return true;
	case LAB_PARAM_PERTURB:
		if (value > UINT8_MAX)
			return false;
		lab_store_rlx(&lab_settings.perturb, (uint8_t)value);
		lab_config_apply();
		/* the calling thread's next call sees it; others see it after their next slow path */
		if (lab_try_enter(&guard))
			lab_leave(&guard);
		return true;
	}
	return false;
}

static bool
set_size(enum lab_param param, const char *text)
{
	size_t value;

	return lab_parse_whole_size(text, &value) && lab_set_param(param, value);
}

static bool
set_size_or_never(enum lab_param param, const char *text)
{
	return strcmp(text, "never") == 0 ? lab_set_param(param, SIZE_MAX) : set_size(param, text);
}

static bool
set_decay(const char *text)
{
	return set_size_or_never(LAB_PARAM_DECAY_MS, text);
}

static bool
set_trim_threshold(const char *text)
{
	return set_size_or_never(LAB_PARAM_TRIM_THRESHOLD, text);
}

static bool
set_dirty_max(const char *text)
{
	return set_size_or_never(LAB_PARAM_DIRTY_MAX, text);
}

static bool
set_limit(const char *text)
{
	if (strcmp(text, "cgroup") == 0)
		return lab_set_param(LAB_PARAM_LIMIT, lab_cgroup_limit());
	return set_size(LAB_PARAM_LIMIT, text);
}

static bool
set_wait(const char *text)
{
	return set_size(LAB_PARAM_WAIT_MS, text);
}

static bool
set_perturb(const char *text)
{
	return set_size(LAB_PARAM_PERTURB, text);
}

static bool
set_stats(const char *text)
{
	bool count;

	if (!lab_parse_flag(text, &count))
		return false;
	if (count) {
		lab_store_rlx(&lab_settings.count_allocations, true);
		if (!lab_load_rlx(&lab_settings.stats_file))
			lab_store_rlx(&lab_settings.stats_file, "");
	}
	return true;
}

static bool
set_background(const char *text)
{
	return lab_parse_flag(text, &lab_settings.background);
}

static bool
set_stats_file(const char *text)
{
	/* a copy: programs that change their title overwrite the environment */
	static char path[256];
	size_t length = strlen(text);

	if (length == 0 || length >= sizeof path)
		return false;
	memcpy(path, text, length + 1);
	lab_store_rlx(&lab_settings.stats_file, path);
	return true;
}

static bool
set_thp(const char *text)
{
	static const char *const names[] = {
	        [LAB_HUGE_BY_SYSTEM] = "default",
	        [LAB_HUGE_NEVER] = "never",
	        [LAB_HUGE_ALWAYS] = "always",
	};

	for (unsigned when = 0; when < sizeof names / sizeof *names; when++)
		if (strcmp(text, names[when]) == 0)
			return lab_set_param(LAB_PARAM_THP, when);
	return false;
}

static bool
set_exclusive(const char *text)
{
	bool log = strcmp(text, "log") == 0;

	if (!log && strcmp(text, "abort") != 0)
		return false;
	lab_store_rlx(&lab_settings.log_exclusive, log);
	return true;
}

static bool
set_os_calls(const char *text)
{
	bool libc = strcmp(text, "libc") == 0;

	if (!libc && strcmp(text, "direct") != 0)
		return false;
	lab_os_use_libc(libc);
	return true;
}

static const struct setting {
	const char *name;
	bool (*set)(const char *text);
	const char *expected;
} settings[] = {
        {"LABYRINTH_DECAY_MS", set_decay, "milliseconds up to a day, or \"never\""},
        {"LABYRINTH_TRIM_THRESHOLD", set_trim_threshold, "bytes, with K, M, G or T, or \"never\""},
        {"LABYRINTH_DIRTY_MAX", set_dirty_max, "bytes, with K, M, G or T, or \"never\""},
        {"LABYRINTH_LIMIT", set_limit, "bytes, with K, M, G or T, or \"cgroup\""},
        {"LABYRINTH_WAIT_MS", set_wait, "milliseconds up to a day"},
        {"LABYRINTH_PERTURB", set_perturb, "a byte, 0 to 255"},
        {"LABYRINTH_THP", set_thp, "default, never or always"},
        {"LABYRINTH_EXCLUSIVE", set_exclusive, "abort or log"},
        {"LABYRINTH_OS_CALLS", set_os_calls, "direct or libc"},
        {"LABYRINTH_STATS", set_stats, "0 or 1"},
        {"LABYRINTH_RESERVE", lab_backing_set_size, "bytes, with K, M, G or T"},
        {"LABYRINTH_RESERVE_CLASSES", lab_backing_set_classes,
         "SIZE:COUNT,…, sizes being powers of two from 32 to 64K"},
        {"LABYRINTH_RESERVE_MAX", lab_backing_set_limit, "bytes, with K, M, G or T"},
        {"LABYRINTH_RESERVE_LOCK", lab_backing_set_lock, "0 or 1"},
        {"LABYRINTH_KSWAPD", set_background, "0 or 1"},
        {"LABYRINTH_STATS_FILE", set_stats_file, "a path of at most 255 bytes"},
};

static void
complain(const char *name, const char *value, const char *expected)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer - 1);

	lab_text_string(&text, "labyrinth: ");
	lab_text_string(&text, name);
	lab_text_string(&text, "=");
	lab_text_string(&text, value);
	lab_text_string(&text, ": ignored; expected ");
	lab_text_string(&text, expected);
	buffer[text.length++] = '\n';
	lab_os_write(NULL, buffer, text.length);
}

/* How many characters have to be put in, taken out or changed to make one text of the other: Levenshtein, row by row.
 * Both are short. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LENGTH + 1];

	for (unsigned j = 0; j <= strlen(b); j++)
		row[j] = j;
	for (unsigned i = 0; a[i]; i++) {
		unsigned diagonal = row[0];
		row[0] = i + 1;
		for (unsigned j = 0; b[j]; j++) {
			unsigned change = diagonal + (a[i] != b[j]), insert = row[j] + 1, remove = row[j + 1] + 1;
			diagonal = row[j + 1];
			row[j + 1] = change < insert ? change : insert;
			row[j + 1] = row[j + 1] < remove ? row[j + 1] : remove;
		}
	}
	return row[strlen(b)];
}

/* A variable that looks like one of ours and is none: a typing error, most likely. */
static void
complain_unknown(const char *name)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer - 1);
	const struct setting *nearest = settings;

	for (unsigned i = 1; i < sizeof settings / sizeof *settings; i++)
		if (distance(name, settings[i].name) < distance(name, nearest->name))
			nearest = &settings[i];
	lab_text_string(&text, "labyrinth: ");
	lab_text_string(&text, name);
	lab_text_string(&text, ": no such setting; the nearest is ");
	lab_text_string(&text, nearest->name);
	buffer[text.length++] = '\n';
	lab_os_write(NULL, buffer, text.length);
}

static void
find_unknown(void)
{
	const char *entry;

	for (size_t at = 0; (entry = lab_os_environment_next("LABYRINTH_", &at)) != NULL;) {
		char name[NAME_MAX_LENGTH + 1];
		size_t length = strcspn(entry, "=");
		bool known = false;
		if (length > NAME_MAX_LENGTH)
			continue;
		memcpy(name, entry, length);
		name[length] = 0;
		for (unsigned i = 0; i < sizeof settings / sizeof *settings && !known; i++)
			known = strcmp(name, settings[i].name) == 0;
		if (!known)
			complain_unknown(name);
	}
}

void
lab_config_read(void)
{
	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
		const char *value = lab_os_environment(settings[i].name);
		if (value && !settings[i].set(value))
			complain(settings[i].name, value, settings[i].expected);
	}
	find_unknown();
	lab_config_apply();
}
