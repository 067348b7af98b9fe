/* value.c - see value.h. */
#include <string.h>

#include "alloc/cgroup.h"
#include "alloc/value.h"
#include "base/parse.h"

unsigned
lab_value_distance(const char *a, const char *b, size_t length)
{
	unsigned row[LAB_KEY_MAX + 1];

	for (unsigned j = 0; j <= length; j++)
		row[j] = j;
	for (unsigned i = 0; a[i]; i++) {
		unsigned diagonal = row[0];
		row[0] = i + 1;
		for (unsigned j = 0; j < length; j++) {
			unsigned change = diagonal + (a[i] != b[j]), insert = row[j] + 1, remove = row[j + 1] + 1;
			diagonal = row[j + 1];
			row[j + 1] = change < insert ? change : insert;
			row[j + 1] = row[j + 1] < remove ? row[j + 1] : remove;
		}
	}
	return row[length];
}

size_t
lab_value_next_word(const char **words)
{
	*words += **words == ',';
	return strcspn(*words, ",");
}

int
lab_value_find_word(const char *words, const char *value)
{
	int index = 0;

	for (size_t length; (length = lab_value_next_word(&words)) != 0; words += length, index++)
		if (strlen(value) == length && memcmp(words, value, length) == 0)
			return index;
	return -1;
}

/* The rest is for what a program has beside blocks: code, stacks, the kernel's tables of pages. */
enum { PERCENT_FOR_BLOCKS = 90 };

/* Of none, none. */
static size_t
share_of_cgroup(size_t percent)
{
	size_t limit = lab_cgroup_limit();

	return limit == SIZE_MAX ? limit : limit / 100 * percent + limit % 100 * percent / 100;
}

/* "80%" of the cgroup's limit. */
static bool
parse_share(const char *value, size_t *number)
{
	size_t percent;
	const char *end = lab_parse_number(value, &percent);

	if (!end || strcmp(end, "%") != 0 || percent == 0 || percent > 100)
		return false;
	*number = share_of_cgroup(percent);
	return true;
}

bool
lab_value_is_in_range(const struct lab_setting *setting, size_t number)
{
	return (number >= setting->least && number <= setting->most) ||
	       (number == SIZE_MAX && *setting->words && setting->kind != LAB_SETTING_CHOICE);
}

static bool
parse_number(const struct lab_setting *setting, const char *value, size_t *number)
{
	bool has_shares = lab_value_find_word(setting->words, "cgroup") >= 0;

	if (lab_value_find_word(setting->words, value) >= 0) {
		*number = strcmp(value, "cgroup") == 0 ? share_of_cgroup(PERCENT_FOR_BLOCKS) : SIZE_MAX;
		return true;
	}
	return (has_shares && parse_share(value, number)) ||
	       (lab_parse_whole_size(value, number) && lab_value_is_in_range(setting, *number));
}

bool
lab_value_parse(const struct lab_setting *setting, const char *value, size_t *number)
{
	static const char *const flags = "0,1,false,true";
	int word;

	switch (setting->kind) {
	case LAB_SETTING_TEXT:
		*number = SIZE_MAX;
		return *value != 0 && strlen(value) <= LAB_VALUE_MAX;
	case LAB_SETTING_FLAG:
		word = lab_value_find_word(flags, value);
		*number = (size_t)word & 1;
		return word >= 0;
	case LAB_SETTING_CHOICE:
		word = lab_value_find_word(setting->words, value);
		*number = (size_t)word;
		return word >= 0;
	default:
		return parse_number(setting, value, number);
	}
}

void
lab_value_put_word(struct lab_text *text, const char *word, size_t length)
{
	char copy[LAB_KEY_MAX + 1];

	memcpy(copy, word, length);
	copy[length] = 0;
	lab_text_string(text, copy);
}

/* "a, b or c", behind other things if `follows`. */
static void
put_words(struct lab_text *text, const char *words, bool follows)
{
	for (size_t length; (length = lab_value_next_word(&words)) != 0; words += length, follows = true) {
		if (follows)
			lab_text_string(text, words[length] == 0 ? " or " : ", ");
		lab_value_put_word(text, words, length);
	}
}

bool
lab_value_is_near(const char *value, const char *word, size_t length)
{
	return 2 * lab_value_distance(value, word, length) <= length;
}

/* If one is like it. */
static void
put_nearest_word(struct lab_text *text, const char *words, const char *value)
{
	const char *nearest = words;
	size_t least = SIZE_MAX, nearest_length = 0;

	for (size_t length; (length = lab_value_next_word(&words)) != 0; words += length) {
		if (lab_value_distance(value, words, length) < least) {
			least = lab_value_distance(value, words, length);
			nearest = words;
			nearest_length = length;
		}
	}
	if (lab_value_is_near(value, nearest, nearest_length)) {
		lab_text_string(text, "; the nearest is ");
		lab_value_put_word(text, nearest, nearest_length);
	}
}

void
lab_value_expect(struct lab_text *text, const struct lab_setting *setting, const char *value)
{
	switch (setting->kind) {
	case LAB_SETTING_BYTES:
		lab_text_string(text, "bytes, with K, M, G or T (or Ki, Mi, Gi, Ti)");
		if (setting->least > 1) {
			lab_text_string(text, ", from ");
			lab_text_number(text, setting->least >> 10);
			lab_text_string(text, "K on");
		}
		if (lab_value_find_word(setting->words, "cgroup") >= 0)
			lab_text_string(text, ", a share as 80%");
		break;
	case LAB_SETTING_MS:
		lab_text_string(text, "milliseconds up to a day");
		break;
	case LAB_SETTING_NUMBER:
		lab_text_string(text, "a number from ");
		lab_text_number(text, setting->least);
		lab_text_string(text, " to ");
		lab_text_number(text, setting->most);
		break;
	case LAB_SETTING_FLAG:
		lab_text_string(text, "0 or 1");
		break;
	case LAB_SETTING_CHOICE:
		put_words(text, setting->words, false);
		put_nearest_word(text, setting->words, value);
		return;
	case LAB_SETTING_TEXT:
		lab_text_string(text, setting->words);
		return;
	}
	put_words(text, setting->words, true);
}
