/* report.c - the lines that end a program: see base/check.h. Async-signal-safe. */
#include "base/check.h"
#include "base/format.h"
#include "os/os.h"

static LAB_NORETURN void
say_and_abort(struct lab_text *text)
{
	lab_text_string(text, "\n");
	lab_os_write(NULL, text->buffer, text->length);
	lab_os_abort();
}

void
lab_assert_failed(const char *what, const char *file, int line)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: assertion failed: ");
	lab_text_string(&text, what);
	lab_text_string(&text, " (");
	lab_text_string(&text, file);
	lab_text_string(&text, ":");
	lab_text_number(&text, (uint64_t)line);
	lab_text_string(&text, ")");
	say_and_abort(&text);
}

static void
compose(struct lab_text *text, const char *call, const void *p, const char *reason)
{
	lab_text_string(text, "labyrinth: ");
	lab_text_string(text, call);
	lab_text_string(text, "(");
	lab_text_hex(text, (uintptr_t)p);
	lab_text_string(text, "): ");
	lab_text_string(text, reason);
}

void
lab_report_misuse(const char *call, const void *p, const char *reason)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	compose(&text, call, p, reason);
	say_and_abort(&text);
}

void
lab_report_refusal(const char *call, const void *p, const char *reason)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	compose(&text, call, p, reason);
	lab_text_string(&text, "\n");
	lab_os_write(NULL, text.buffer, text.length);
}
