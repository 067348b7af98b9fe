/* format.c - see format.h. */
#include "base/format.h"

struct lab_text
lab_text_start(char *buffer, size_t size)
{
	buffer[0] = 0;
	return (struct lab_text){.buffer = buffer, .size = size};
}

void
lab_text_string(struct lab_text *text, const char *string)
{
	while (*string && text->length + 1 < text->size)
		text->buffer[text->length++] = *string++;
	text->buffer[text->length] = 0;
}

static void
put_number(struct lab_text *text, uint64_t number, unsigned radix, unsigned width)
{
	char digits[24];
	unsigned at = sizeof digits;

	digits[--at] = 0;
	do {
		digits[--at] = "0123456789abcdef"[number % radix];
		number /= radix;
	} while (number != 0);
	for (unsigned used = (unsigned)sizeof digits - 1 - at; used < width; used++)
		lab_text_string(text, " ");
	lab_text_string(text, digits + at);
}

void
lab_text_number(struct lab_text *text, uint64_t number)
{
	put_number(text, number, 10, 0);
}

void
lab_text_hex(struct lab_text *text, uint64_t number)
{
	lab_text_string(text, "0x");
	put_number(text, number, 16, 0);
}

void
lab_text_bytes(struct lab_text *text, uint64_t bytes)
{
	static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
	unsigned unit = 0;
	uint64_t rest = 0;

	for (; bytes >= 1024 && unit < 6; unit++) {
		rest = bytes & 1023;
		bytes >>= 10;
	}
	lab_text_number(text, bytes);
	if (unit > 0) {
		lab_text_string(text, ".");
		lab_text_number(text, rest * 10 / 1024);
	}
	lab_text_string(text, units[unit]);
}

void
lab_text_column(struct lab_text *text, uint64_t number, unsigned width)
{
	put_number(text, number, 10, width);
}

void
lab_text_path(struct lab_text *text, const char *pattern, uint64_t process, const uint64_t *number)
{
	for (; *pattern; pattern++) {
		char letter[2] = {*pattern, 0};
		bool is_process = pattern[0] == '%' && pattern[1] == 'p';
		if (is_process || (pattern[0] == '%' && pattern[1] == 'n' && number)) {
			lab_text_number(text, is_process ? process : *number);
			pattern++;
		} else {
			lab_text_string(text, letter);
		}
	}
}
