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

/* The signal with a number in the list of words that such a setting has. */
static int
signal_of(size_t word)
{
	static const int signals[] = {0, SIGHUP, SIGUSR1, SIGUSR2, SIGPROF, SIGVTALRM, SIGIO, SIGURG, SIGWINCH};

	return signals[word];
}

/* One that stores a number, or hands it on. */
#define SETTER(key, statement)                                                                                         \
	static void set_##key(size_t value)                                                                            \
	{                                                                                                              \
		statement;                                                                                             \
	}

SETTER(background_thread, lab_settings.background = value != 0)
SETTER(decay_ms, lab_store_rlx(&lab_settings.decay_ms, value))
SETTER(dirty_max, lab_store_rlx(&lab_settings.dirty_max, value))
SETTER(exclusive, lab_store_rlx(&lab_settings.log_exclusive, value != 0))
SETTER(heap_profile, lab_settings.profile_distance = value)
SETTER(heap_profile_signal, lab_settings.profile_signal = signal_of(value))
SETTER(leaks, lab_settings.report_leaks = value != 0)
SETTER(lock_memory, lab_space_hold_pages(LAB_HOLD_LOCKED, value != 0))
SETTER(name_mappings, lab_os_name_mappings(value != 0))
SETTER(os_calls, lab_os_use_libc(value != 0))
SETTER(prefault, lab_space_hold_pages(LAB_HOLD_RESIDENT, value != 0))
SETTER(profile, lab_store_rlx(&lab_settings.profile, (uint32_t)value))
SETTER(report_reentrant, lab_store_rlx(&lab_reentrant_is_told, value != 0))
SETTER(reserve, lab_backing_set_size(value))
SETTER(reserve_max, lab_backing_settings.plan.limit = value)
SETTER(stats_format, lab_store_rlx(&lab_settings.stats_format, (uint32_t)value))
SETTER(stats_interval, lab_store_rlx(&lab_settings.stats_interval, value))
SETTER(stats_signal, lab_store_rlx(&lab_settings.stats_signal, (uint32_t)signal_of(value)))
SETTER(wait_ms, lab_store_rlx(&lab_settings.wait_ms, value))

static void
set_check(size_t word)
{
	if (word != LAB_DEBUG_OFF)
		lab_quarantine_start();
	lab_debug_start((enum lab_debug_mode)word);
	lab_config_apply();
}

static void
set_huge_threshold(size_t bytes)
{
	if (bytes != 0 && bytes < HUGE_THRESHOLD_MIN)
		bytes = HUGE_THRESHOLD_MIN;
	lab_store_rlx(&lab_settings.huge_threshold, bytes ? bytes : SIZE_MAX);
}

static void
set_limit(size_t bytes)
{
	lab_charge_set_limit(bytes == SIZE_MAX ? LAB_CHARGE_UNLIMITED : bytes >> LAB_PAGE_SHIFT);
	lab_limit_notify();
}

static void
set_perturb(size_t byte)
{
	lab_store_rlx(&lab_settings.perturb, (uint8_t)byte);
	lab_config_apply();
}

static void
set_reserve_lock(size_t word)
{
	static const enum lab_lock locks[] = {LAB_LOCK_BY_LIMIT, LAB_LOCK_NEVER, LAB_LOCK_ALWAYS};

	lab_backing_settings.lock = locks[word];
}

static void
set_stats(size_t on)
{
	const char *file = lab_load_rlx(&lab_settings.stats_file);

	lab_store_rlx(&lab_settings.count_allocations, on != 0);
	if (!file || !*file)
		lab_store_rlx(&lab_settings.stats_file, on ? "" : NULL);
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

static bool
set_faults(const char *text)
{
	return lab_faults_set_text(text);
}

static bool
set_reserve_classes(const char *text)
{
	return lab_backing_set_classes(text);
}

/* Paths: the table's own copy, as programs that change their title overwrite the environment. */
static bool
set_heap_profile_file(const char *path)
{
	lab_profile_set_file(path);
	return true;
}

static bool
set_report_file(const char *path)
{
	lab_report_set_file(path);
	return true;
}

static bool
set_stats_file(const char *path)
{
	lab_store_rlx(&lab_settings.stats_file, path);
	return true;
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

/* In the order of the words of the setting `profile`. */
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
	char *text = setting->kind == LAB_SETTING_TEXT ? lab_setting_text(setting) : NULL, before[LAB_VALUE_MAX + 1];
	size_t number;

	if (!lab_value_parse(setting, value, &number))
		return false;
	if (text) {
		memcpy(before, text, sizeof before);
		memcpy(text, value, strlen(value) + 1);
	} else {
		setting->set.number(number);
	}
	if (text && !setting->set.text(text)) {
		memcpy(text, before, sizeof before);
		return false;
	}
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
