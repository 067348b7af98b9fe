/*
 * config.c - the sources of settings, each of which goes before those in front of it: what is built in, the profile,
 * /etc/labyrinth.conf, lab_conf[] of the program, LABYRINTH_CONF, and a variable for each. What is wrong is said once,
 * in one line, and ignored. Nothing is allocated.
 *
 * A program that runs set-user-ID was started by somebody who is not to have a say in what it does: for it there is no
 * environment. The file is root's, as the list of preloaded libraries in /etc/ld.so.preload is, and counts; but nothing
 * is made to write figures, as the path of a file may be one where others can put links.
 */
#include <labyrinth/labyrinth.h>
#include <string.h>

#include "alloc/config.h"
#include "alloc/setting.h"
#include "alloc/settings.h"
#include "backing/settings.h"
#include "heap/thread.h"
#include "os/os.h"

#define PREFIX  "LABYRINTH_"
#define IN_ONE  PREFIX "CONF"
#define ITEM    (LAB_KEY_MAX + LAB_VALUE_MAX + 8)
#define BETWEEN " \t\r"

extern const char lab_conf[] __attribute__((weak, visibility("default")));

_Atomic uint32_t lab_config_state;

/* Bytes of the file that are read. */
enum { FILE_MAX = 4096 };
static char file[FILE_MAX];

/* Where an item stands. */
struct origin {
	const char *name;
	unsigned line; /* of a file; 0: none */
	enum lab_source source;
};

typedef void take_item(const struct origin *origin, const char *key, const char *value);

/* ---- complaints ------------------------------------------------------------------------------------------------ */

/* A line, from its start to "…: ", with room for a newline. */
struct complaint {
	char buffer[256];
	struct lab_text text;
};

static void
begin(struct complaint *complaint, const struct origin *origin)
{
	struct lab_text *text = &complaint->text;

	*text = lab_text_start(complaint->buffer, sizeof complaint->buffer - 1);
	lab_text_string(text, "labyrinth: ");
	if (origin->source == LAB_SOURCE_VARIABLE)
		return;
	lab_text_string(text, origin->name);
	if (origin->line != 0) {
		lab_text_string(text, ":");
		lab_text_number(text, origin->line);
	}
	lab_text_string(text, ": ");
}

static void
say(struct complaint *complaint)
{
	complaint->buffer[complaint->text.length++] = '\n';
	lab_os_write(complaint->buffer, complaint->text.length);
}

/* A key as its source has it. */
static void
put_key(struct lab_text *text, const struct origin *origin, const char *key)
{
	if (origin->source != LAB_SOURCE_VARIABLE) {
		lab_text_string(text, key);
		return;
	}
	lab_text_string(text, PREFIX);
	for (; *key; key++) {
		char letter[2] = {*key >= 'a' && *key <= 'z' ? (char)(*key - 'a' + 'A') : *key, 0};
		lab_text_string(text, letter);
	}
}

static void
complain(const struct origin *origin, const struct lab_setting *setting, const char *value)
{
	struct complaint complaint;

	begin(&complaint, origin);
	put_key(&complaint.text, origin, setting->key);
	lab_text_string(&complaint.text, origin->source == LAB_SOURCE_VARIABLE ? "=" : ":");
	lab_text_string(&complaint.text, value);
	lab_text_string(&complaint.text, ": ignored; expected ");
	lab_value_expect(&complaint.text, setting, value);
	say(&complaint);
}

static void
complain_of_item(const struct origin *origin, const char *item, const char *what)
{
	struct complaint complaint;

	begin(&complaint, origin);
	lab_text_string(&complaint.text, item);
	lab_text_string(&complaint.text, what);
	say(&complaint);
}

/* The one whose key is most like it: a text of at most LAB_KEY_MAX bytes. */
static const struct lab_setting *
nearest_setting(const char *key)
{
	const struct lab_setting *nearest = lab_setting_at(0), *setting;

	for (unsigned i = 1; (setting = lab_setting_at(i)) != NULL; i++)
		if (lab_value_distance(key, setting->key, strlen(setting->key)) <
		    lab_value_distance(key, nearest->key, strlen(nearest->key)))
			nearest = setting;
	return nearest;
}

/* What looks like a setting and is none: a typing error, most likely. */
static void
complain_unknown(const struct origin *origin, const char *key)
{
	struct complaint complaint;

	begin(&complaint, origin);
	const struct lab_setting *nearest = nearest_setting(key);
	put_key(&complaint.text, origin, key);
	lab_text_string(&complaint.text, ": no such setting");
	if (lab_value_is_near(key, nearest->key, strlen(nearest->key))) {
		lab_text_string(&complaint.text, "; the nearest is ");
		put_key(&complaint.text, origin, nearest->key);
	} else {
		lab_text_string(&complaint.text, "; labyrinth(3) has the list");
	}
	say(&complaint);
}

/* ---- sources --------------------------------------------------------------------------------------------------- */

/* The `length` bytes, without what is blank at either end; at most size - 1 of them. */
static void
copy_trimmed(char *copy, size_t size, const char *from, size_t length)
{
	while (length > 0 && strchr(BETWEEN, *from))
		from++, length--;
	while (length > 0 && strchr(BETWEEN, from[length - 1]))
		length--;
	length = length < size ? length : size - 1;
	memcpy(copy, from, length);
	copy[length] = 0;
}

static void take_any(const struct origin *origin, const char *key, const char *value);

/* "key:value", "key=value"; blanks around each. What is wrong is said in the last round. */
static void
read_item(const struct origin *origin, const char *item, take_item *take)
{
	char key[LAB_KEY_MAX + 1], value[ITEM];
	size_t length = strcspn(item, ":=");

	if (*item == 0 || (origin->line != 0 && *item == '#'))
		return;
	if (item[length] == 0 || length > LAB_KEY_MAX) {
		if (take == take_any)
			complain_of_item(origin, item, ": ignored; expected key:value");
		return;
	}
	copy_trimmed(key, sizeof key, item, length);
	copy_trimmed(value, sizeof value, item + length + 1, strlen(item + length + 1));
	take(origin, key, value);
}

/* A line each. */
static void
read_lines(struct origin origin, const char *text, take_item *take)
{
	while (*text) {
		char item[ITEM];
		size_t length = strcspn(text, "\n");
		origin.line++;
		copy_trimmed(item, sizeof item, text, length);
		read_item(&origin, item, take);
		text += length + (text[length] != 0);
	}
}

/* Whether a key cannot begin so, but a number. */
static bool
is_number(const char *text)
{
	return (*text == '-' ? text[1] : *text) >= '0' && (*text == '-' ? text[1] : *text) <= '9';
}

/* Separated by commas. What begins with a number is no key, but a part of the value in front of it. */
static void
read_list(struct origin origin, const char *text, take_item *take)
{
	while (*text) {
		char item[ITEM];
		size_t length = strcspn(text, ",");
		while (text[length] == ',' && is_number(text + length + 1))
			length += 1 + strcspn(text + length + 1, ",");
		copy_trimmed(item, sizeof item, text, length);
		read_item(&origin, item, take);
		text += length + (text[length] != 0);
	}
}

/* The key of a variable, NAME=VALUE, whose prefix is ours: in small letters. False: it is too long to be one. */
static bool
key_of(const char *entry, char key[LAB_KEY_MAX + 1])
{
	size_t length = strcspn(entry, "=");

	if (length > LAB_KEY_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		key[i] = entry[i] >= 'A' && entry[i] <= 'Z' ? (char)(entry[i] - 'A' + 'a') : entry[i];
	key[length] = 0;
	return true;
}

/* In the order of the table, as one may stand for another: it is the same, whatever the order of the environment is. */
static void
read_variables(take_item *take)
{
	static const struct origin origin = {.source = LAB_SOURCE_VARIABLE};
	const char *values[LAB_SETTINGS_MAX] = {NULL}, *entry;
	const struct lab_setting *setting;
	char key[LAB_KEY_MAX + 1];

	for (size_t at = 0; (entry = lab_os_environment_next(PREFIX, &at)) != NULL;) {
		if (strncmp(entry, IN_ONE "=", sizeof IN_ONE) == 0 || !key_of(entry + strlen(PREFIX), key))
			continue;
		const char *value = entry + strcspn(entry, "=") + 1;
		setting = lab_setting_find(key);
		if (!setting)
			take(&origin, key, value);
		else if (!values[lab_setting_index(setting)])
			values[lab_setting_index(setting)] = value;
	}
	for (unsigned i = 0; (setting = lab_setting_at(i)) != NULL; i++)
		if (values[i])
			take(&origin, setting->key, values[i]);
}

static void
read_all(take_item *take)
{
	size_t at = 0;
	const char *in_one = lab_os_environment_next(IN_ONE "=", &at);

	read_lines((struct origin){.name = LAB_CONFIG_FILE, .source = LAB_SOURCE_FILE}, file, take);
	if (lab_conf)
		read_list((struct origin){.name = "lab_conf", .source = LAB_SOURCE_PROGRAM}, lab_conf, take);
	if (in_one)
		read_list((struct origin){.name = IN_ONE, .source = LAB_SOURCE_ENVIRONMENT}, in_one + sizeof IN_ONE,
		          take);
	read_variables(take);
}

/* ---- what is done with them ------------------------------------------------------------------------------------ */

/* A set-user-ID program writes no figures, no profile, no file of reports: others may have put links in the path. */
static bool
is_withheld(const struct lab_setting *setting)
{
	return lab_os_is_privileged() &&
	       (strncmp(setting->key, "stats", 5) == 0 || strncmp(setting->key, "heap_profile", 12) == 0 ||
	        strcmp(setting->key, "leaks") == 0 || strcmp(setting->key, "report_file") == 0);
}

static void
take_any(const struct origin *origin, const char *key, const char *value)
{
	const struct lab_setting *setting = lab_setting_find(key);

	if (!setting)
		complain_unknown(origin, key);
	else if (strcmp(key, "profile") != 0 && !is_withheld(setting) &&
	         !lab_setting_take(setting, value, origin->source))
		complain(origin, setting, value);
}

/* First, as what it stands for is of less weight than any other source. */
static void
take_profile(const struct origin *origin, const char *key, const char *value)
{
	const struct lab_setting *setting = lab_setting_find(key);

	if (setting && strcmp(key, "profile") == 0 && !lab_setting_take(setting, value, origin->source))
		complain(origin, setting, value);
}

/* A part of a line at the end is none. */
static void
read_file(void)
{
	static const struct origin origin = {.name = LAB_CONFIG_FILE, .source = LAB_SOURCE_FILE};

	if (lab_os.read_file(LAB_CONFIG_FILE, file, sizeof file) < sizeof file - 1)
		return;
	char *end = strrchr(file, '\n');
	*(end ? end : file) = 0;
	complain_of_item(&origin, "", "too long; what is behind 4095 bytes is ignored");
}

void
lab_config_read(void)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	const struct origin origin = {.name = "profile", .source = LAB_SOURCE_PROFILE};

	read_file();
	read_all(take_profile);
	const struct lab_preset *profile = lab_preset_at(lab_load_rlx(&lab_settings.profile));
	read_list(origin, profile->settings, take_any);
	lab_backing_settings.asked = false; /* by name */
	read_all(take_any);
	lab_config_apply();
	/* this thread's next call is to see it */
	if (lab_load_rlx(&lab_word_tag) == LAB_WORD_SLOW && lab_try_enter(&guard))
		lab_leave(&guard);
}

void
lab_config_start(void)
{
	/* pairs with the rel of lab_config_read_early. READING: a jump has left that */
	if (lab_load_acq(&lab_config_state) == LAB_CONFIG_IS_READ)
		return;
	lab_config_read();
	lab_store_rel(&lab_config_state, LAB_CONFIG_IS_READ); /* pairs with the acq above */
}

LAB_COLD void
lab_config_read_early(void)
{
	uint32_t unread = LAB_CONFIG_UNREAD;

	if (!lab_os_has_environment() ||
	    !atomic_compare_exchange_strong_explicit(&lab_config_state, &unread, LAB_CONFIG_READING,
	                                             memory_order_relaxed, memory_order_relaxed))
		return;
	lab_config_read();
	lab_store_rel(&lab_config_state, LAB_CONFIG_IS_READ); /* pairs with the acq of lab_config_start */
}

LAB_EXPORT bool
lab_set_param(enum lab_param param, size_t value)
{
	lab_config_poll(); /* what is read later would undo this */
	return lab_setting_set((int)param, value);
}
