/* setting_show.c - see setting_show.h. */
#include "alloc/setting_show.h"
#include "alloc/config.h"
#include "base/atomic.h"

void
lab_setting_show(struct lab_text *text, const struct lab_setting *setting)
{
	size_t number = lab_load_rlx(&lab_setting_now[lab_setting_index(setting)].number);
	const char *words = setting->words;

	if (lab_setting_source(setting) == LAB_SOURCE_BUILT_IN) {
		lab_text_string(text, setting->by_default);
	} else if (setting->kind == LAB_SETTING_TEXT) {
		lab_text_string(text, lab_setting_text(setting));
	} else if (setting->kind == LAB_SETTING_CHOICE) {
		for (; number > 0; number--) {
			size_t word = lab_value_next_word(&words);
			words += word;
		}
		size_t length = lab_value_next_word(&words);
		lab_value_put_word(text, words, length);
	} else if (number == SIZE_MAX && *words) {
		lab_text_string(text, lab_value_find_word(words, "none") >= 0 ? "none" : "never");
	} else {
		lab_text_number(text, number);
	}
}

enum lab_source
lab_setting_source(const struct lab_setting *setting)
{
	return (enum lab_source)lab_load_rlx(&lab_setting_now[lab_setting_index(setting)].source);
}

const char *
lab_source_name(enum lab_source source)
{
	static const char *const names[] = {"built in",       "profile",  LAB_CONFIG_FILE, "lab_conf",
	                                    "LABYRINTH_CONF", "variable", "lab_set_param"};

	return names[source];
}
