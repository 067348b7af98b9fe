/* setting.c - the table of settings, what each of them does, and lab_set_param: see setting.h and settings.def. */
#include "alloc/setting.h"

#include <labyrinth/labyrinth.h>
#include <signal.h>
#include <string.h>

#include "alloc/faults.h"
#include "alloc/limit.h"
#include "alloc/settings.h"
#include "backing/settings.h"
#include "base/check.h"
#include "debug/dress.h"
#include "debug/quarantine.h"
#include "heap/thread.h"
#include "insight/target.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"
#include "page/pending.h"
#include "page/space.h"

/* A huge block takes 4 MiB of address space at least. */
#define HUGE_THRESHOLD_MIN ((size_t)1 << 20)
#define A_DAY_MS           ((size_t)86400 * 1000)
#define NO_PARAM           (-1)

/* ---- what each setting does ------------------------------------------------------------------------------------ */

static void
set_background_thread(size_t on)
{
	lab_settings.background = on;
}

static void
set_check(size_t word)
{
	static const unsigned features[] = {0, LAB_DEBUG_SECURE, LAB_DEBUG_ALL};

	if (features[word] != 0)
		lab_quarantine_start();
	lab_debug_start(features[word]);
	lab_config_apply();
}

static void
set_decay_ms(size_t ms)
{
	lab_store_rlx(&lab_settings.decay_ms, ms);
}

static void
set_dirty_max(size_t bytes)
{
	lab_store_rlx(&lab_settings.dirty_max, bytes);
}

static void
set_exclusive(size_t word)
{
	lab_store_rlx(&lab_settings.log_exclusive, word != 0);
}

static bool
set_faults(const char *text)
{
	return lab_faults_set_text(text);
}

static void
set_heap_profile(size_t distance)
{
	lab_settings.profile_distance = distance;
}

/* Copies a path: programs that change their title overwrite the environment. NULL: it is empty, or too long. */
static const char *
keep(char copy[LAB_VALUE_MAX + 1], const char *path)
{
	return *path && strlen(path) <= LAB_VALUE_MAX ? memcpy(copy, path, strlen(path) + 1) : NULL;
}

static bool
set_heap_profile_file(const char *text)
{
	static char path[LAB_VALUE_MAX + 1];

	lab_profile_set_file(keep(path, text));
	return *text != 0;
}

/* The signal with a number in the list of words that such a setting has. */
static int
signal_of(size_t word)
{
	static const int signals[] = {0, SIGHUP, SIGUSR1, SIGUSR2, SIGPROF, SIGVTALRM, SIGIO, SIGURG, SIGWINCH};

	return signals[word];
}

static void
set_heap_profile_signal(size_t word)
{
	lab_settings.profile_signal = signal_of(word);
}

static void
set_huge_threshold(size_t bytes)
{
	if (bytes != 0 && bytes < HUGE_THRESHOLD_MIN)
		bytes = HUGE_THRESHOLD_MIN;
	lab_store_rlx(&lab_settings.huge_threshold, bytes ? bytes : SIZE_MAX);
}

static void
set_leaks(size_t on)
{
	lab_settings.report_leaks = on != 0;
}

static void
set_limit(size_t bytes)
{
	lab_charge_set_limit(bytes == SIZE_MAX ? LAB_CHARGE_UNLIMITED : bytes >> LAB_PAGE_SHIFT);
	lab_limit_notify();
}

static void
set_lock_memory(size_t on)
{
	lab_space_hold_pages(LAB_HOLD_LOCKED, on != 0);
}

static void
set_name_mappings(size_t on)
{
	lab_os_name_mappings(on != 0);
}

static void
set_os_calls(size_t word)
{
	lab_os_use_libc(word != 0);
}

static void
set_perturb(size_t byte)
{
	lab_store_rlx(&lab_settings.perturb, (uint8_t)byte);
	lab_config_apply();
}

static void
set_prefault(size_t on)
{
	lab_space_hold_pages(LAB_HOLD_RESIDENT, on != 0);
}

static void
set_profile(size_t profile)
{
	lab_store_rlx(&lab_settings.profile, (uint32_t)profile);
}

static bool
set_report_file(const char *text)
{
	static char path[LAB_VALUE_MAX + 1];
	const char *kept = keep(path, text);

	if (kept)
		lab_report_set_file(kept);
	return kept != NULL;
}

static void
set_report_reentrant(size_t on)
{
	lab_store_rlx(&lab_reentrant_is_told, on != 0);
}

static void
set_reserve(size_t bytes)
{
	lab_backing_set_size(bytes);
}

static bool
set_reserve_classes(const char *text)
{
	return lab_backing_set_classes(text);
}

static void
set_reserve_lock(size_t word)
{
	static const enum lab_lock locks[] = {LAB_LOCK_BY_LIMIT, LAB_LOCK_NEVER, LAB_LOCK_ALWAYS};

	lab_backing_settings.lock = locks[word];
}

static void
set_reserve_max(size_t bytes)
{
	lab_backing_settings.plan.limit = bytes;
}

static void
set_stats(size_t on)
{
	const char *file = lab_load_rlx(&lab_settings.stats_file);

	lab_store_rlx(&lab_settings.count_allocations, on != 0);
	if (!file || !*file)
		lab_store_rlx(&lab_settings.stats_file, on ? "" : NULL);
}

static bool
set_stats_file(const char *text)
{
	static char path[LAB_VALUE_MAX + 1];
	const char *kept = keep(path, text);

	if (kept)
		lab_store_rlx(&lab_settings.stats_file, kept);
	return kept != NULL;
}

static void
set_stats_format(size_t format)
{
	lab_store_rlx(&lab_settings.stats_format, (uint32_t)format);
}

static void
set_stats_interval(size_t ms)
{
	lab_store_rlx(&lab_settings.stats_interval, ms);
}

static void
set_stats_signal(size_t word)
{
	lab_store_rlx(&lab_settings.stats_signal, (uint32_t)signal_of(word));
}

static void
set_thp(size_t when)
{
	lab_space_set_huge_pages((enum lab_huge_pages)when);
	lab_store_rlx(&lab_settings.purge_in_whole, when == LAB_HUGE_ALWAYS);
}

static void
set_trim_threshold(size_t bytes)
{
	lab_store_rlx(&lab_settings.trim_threshold, bytes);
	lab_store_rlx(&lab_purge_is_held, bytes == LAB_TRIM_NEVER);
}

static void
set_wait_ms(size_t ms)
{
	lab_store_rlx(&lab_settings.wait_ms, ms);
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

#define SET_BYTES(key)  .number = set_##key
#define SET_MS(key)     .number = set_##key
#define SET_NUMBER(key) .number = set_##key
#define SET_FLAG(key)   .number = set_##key
#define SET_CHOICE(key) .number = set_##key
#define SET_TEXT(key)   .text = set_##key

static const struct lab_setting settings[] = {
#define LAB_SETTING(key, kind, param, by_default, least, most, words, doc)                                             \
	{#key, LAB_SETTING_##kind, param, by_default, least, most, words, {SET_##kind(key)}},
#define LAB_PRESET(name, settings, doc)
#include "alloc/settings.def"
#undef LAB_SETTING
#undef LAB_PRESET
};

/* In the order of the words of the setting `profile`, and of enum lab_preset_name. */
static const struct lab_preset profiles[] = {
#define LAB_SETTING(key, kind, param, by_default, least, most, words, doc)
#define LAB_PRESET(name, settings, doc) {#name, settings},
#include "alloc/settings.def"
#undef LAB_SETTING
#undef LAB_PRESET
};

enum {
	SETTINGS = sizeof settings / sizeof *settings,
	PROFILES = sizeof profiles / sizeof *profiles,
};

_Static_assert((unsigned)SETTINGS <= LAB_SETTINGS_MAX, "lab_setting_now has so many places");

struct lab_setting_now lab_setting_now[LAB_SETTINGS_MAX];
char lab_setting_texts[LAB_SETTING_TEXTS][LAB_VALUE_MAX + 1];

const struct lab_setting *
lab_setting_at(unsigned index)
{
	return index < SETTINGS ? &settings[index] : NULL;
}

unsigned
lab_setting_index(const struct lab_setting *setting)
{
	return (unsigned)(setting - settings);
}

const struct lab_preset *
lab_preset_at(unsigned index)
{
	return index < PROFILES ? &profiles[index] : NULL;
}

const struct lab_setting *
lab_setting_find(const char *key)
{
	for (unsigned i = 0; i < SETTINGS; i++)
		if (strcmp(key, settings[i].key) == 0)
			return &settings[i];
	return NULL;
}

/* ---- what they are now ------------------------------------------------------------------------------------------ */

char *
lab_setting_text(const struct lab_setting *setting)
{
	unsigned slot = 0;

	for (const struct lab_setting *other = settings; other < setting; other++)
		slot += other->kind == LAB_SETTING_TEXT;
	lab_assert(slot < LAB_SETTING_TEXTS);
	return lab_setting_texts[slot];
}

static void
note(const struct lab_setting *setting, size_t number, enum lab_source source)
{
	lab_store_rlx(&lab_setting_now[setting - settings].number, number);
	lab_store_rlx(&lab_setting_now[setting - settings].source, (uint32_t)source);
}

bool
lab_setting_take(const struct lab_setting *setting, const char *value, enum lab_source source)
{
	size_t number;

	if (!lab_value_parse(setting, value, &number))
		return false;
	if (setting->kind == LAB_SETTING_TEXT && !setting->set.text(value))
		return false;
	if (setting->kind == LAB_SETTING_TEXT)
		memcpy(lab_setting_text(setting), value, strlen(value) + 1);
	else
		setting->set.number(number);
	note(setting, number, source);
	return true;
}

bool
lab_setting_set(int param, size_t value)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	const struct lab_setting *setting = settings;

	while (setting < settings + SETTINGS && (setting->param == NO_PARAM || setting->param != param))
		setting++;
	if (setting == settings + SETTINGS || !lab_value_is_in_range(setting, value))
		return false;
	setting->set.number(value);
	note(setting, value, LAB_SOURCE_CALL);
	/* the calling thread's next call sees it; others see it after their next slow path */
	if (param == LAB_PARAM_PERTURB && lab_try_enter(&guard))
		lab_leave(&guard);
	return true;
}
