/* parse.c - see parse.h. */
#include "base/parse.h"

const char *
lab_parse_number(const char *text, size_t *value)
{
	size_t number = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (size_t)(*text - '0'), &number))
			return NULL;
	*value = number;
	return text;
}

const char *
lab_parse_size(const char *text, size_t *value)
{
	static const char suffixes[] = "KMGTkmgt";
	size_t number;

	text = lab_parse_number(text, &number);
	for (unsigned i = 0; text && suffixes[i]; i++)
		if (*text == suffixes[i]) {
			unsigned shift = 10 * (i % 4 + 1);
			if (number > SIZE_MAX >> shift)
				return NULL;
			number <<= shift;
			text += text[1] == 'i' ? 2 : 1;
			break;
		}
	if (text)
		*value = number;
	return text;
}

bool
lab_parse_whole_size(const char *text, size_t *value)
{
	size_t number;
	const char *end = lab_parse_size(text, &number);

	if (!end || *end != 0)
		return false;
	*value = number;
	return true;
}
