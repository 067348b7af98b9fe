/* setting.h - the table of settings (settings.def): what each is called, what it takes, and what it is now. */
#ifndef LAB_ALLOC_SETTING_H
#define LAB_ALLOC_SETTING_H

#include "alloc/value.h"

/* Where a value comes from; a later one wins. */
enum lab_source {
	LAB_SOURCE_BUILT_IN,
	LAB_SOURCE_PROFILE,
	LAB_SOURCE_FILE,
	LAB_SOURCE_PROGRAM,     /* lab_conf */
	LAB_SOURCE_ENVIRONMENT, /* LABYRINTH_CONF */
	LAB_SOURCE_VARIABLE,    /* LABYRINTH_KEY */
	LAB_SOURCE_CALL,        /* lab_set_param */
};

struct lab_preset {
	const char *name;
	const char *settings;
};

/* 0 …; NULL at the end. */
const struct lab_setting *lab_setting_at(unsigned index);
const struct lab_preset *lab_preset_at(unsigned index);

#define LAB_SETTINGS_MAX 64
unsigned lab_setting_index(const struct lab_setting *setting);

/* What they are now, by number, and those of kind TEXT in their order. Also for who looks from outside (inspect.h). */
struct lab_setting_now {
	_Atomic size_t number;
	_Atomic uint32_t source; /* an enum lab_source */
};
#define LAB_SETTING_TEXTS 8 /* at most */
extern struct lab_setting_now lab_setting_now[LAB_SETTINGS_MAX] LAB_HIDDEN;
extern char lab_setting_texts[LAB_SETTING_TEXTS][LAB_VALUE_MAX + 1] LAB_HIDDEN;

/* What lab_set_param does. False: no such setting can be changed, or the value is out of range. */
bool lab_setting_set(int param, size_t value);

/* The place of the text of a setting of kind TEXT. */
char *lab_setting_text(const struct lab_setting *setting);

/* NULL: there is none. */
const struct lab_setting *lab_setting_find(const char *key);

/* Understands a value and takes it. False: malformed, or out of range; nothing is changed. At the start, by one thread
 * at a time. */
bool lab_setting_take(const struct lab_setting *setting, const char *value, enum lab_source source);

#endif
