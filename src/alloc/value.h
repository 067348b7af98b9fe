/* value.h - values of settings: what a text stands for, and what is to be said if it stands for nothing. */
#ifndef LAB_ALLOC_VALUE_H
#define LAB_ALLOC_VALUE_H

#include "base/format.h"

enum lab_setting_kind {
	LAB_SETTING_BYTES,
	LAB_SETTING_MS,
	LAB_SETTING_NUMBER,
	LAB_SETTING_FLAG,
	LAB_SETTING_CHOICE,
	LAB_SETTING_TEXT,
};

/* The columns of settings.def. */
struct lab_setting {
	const char *key;
	enum lab_setting_kind kind;
	int param; /* an enum lab_param; -1: none */
	const char *by_default;
	size_t least, most;
	const char *words;
	union {
		void (*number)(size_t value);    /* in range */
		bool (*text)(const char *value); /* false: refused, and nothing is changed */
	} set;
};

#define LAB_KEY_MAX   63  /* bytes of a name that is looked at; keys are shorter */
#define LAB_VALUE_MAX 255 /* bytes of a value that is a text */

/* The number that a value stands for; SIZE_MAX for a TEXT. False: malformed, or out of range. At the start, by one
 * thread at a time. */
bool lab_value_parse(const struct lab_setting *setting, const char *value, size_t *number);
bool lab_value_is_in_range(const struct lab_setting *setting, size_t number);

/* What a setting takes, in words; and, of a choice, the word that is most like the value, if one is like it. */
void lab_value_expect(struct lab_text *text, const struct lab_setting *setting, const char *value);

/* How many characters have to be put in, taken out or changed to make one text of the other: Levenshtein. The second
 * one has `length` bytes, at most LAB_KEY_MAX. */
unsigned lab_value_distance(const char *a, const char *b, size_t length);

/* Whether it may be a typing error for the word, which has `length` bytes: half of them are right. */
bool lab_value_is_near(const char *value, const char *word, size_t length);

/* Words with commas between them. The next one's length, 0 at the end, and *words at it; its number, -1 if it is not
 * there. */
size_t lab_value_next_word(const char **words);
int lab_value_find_word(const char *words, const char *value);
void lab_value_put_word(struct lab_text *text, const char *word, size_t length);

#endif
