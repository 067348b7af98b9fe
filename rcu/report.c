/* report.c - see report.h; and where this library's own assertions end (base/check.h). */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/format.h"

static void
write_line(struct lab_text *text)
{
	int saved = errno;

	lab_text_string(text, "\n");
	/* libc's write is a cancellation point */
	if (syscall(SYS_write, STDERR_FILENO, text->buffer, text->length) < 0)
		errno = saved;
}

void
lab_rcu_report(size_t bytes, size_t blocks, const char *why, uint64_t ms)
{
	char buffer[200];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: rcu: ");
	lab_text_number(&text, bytes);
	lab_text_string(&text, " bytes in ");
	lab_text_number(&text, blocks);
	lab_text_string(&text, " blocks wait, ");
	lab_text_string(&text, why);
	if (ms) {
		lab_text_string(&text, " ");
		lab_text_number(&text, ms);
		lab_text_string(&text, " ms");
	}
	write_line(&text);
}

/* Weak: in a static program the heap has one. */
__attribute__((weak)) LAB_COLD LAB_NORETURN void
lab_assert_failed(const char *assertion, const char *file, int line)
{
	char buffer[200];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: rcu: assertion failed: ");
	lab_text_string(&text, assertion);
	lab_text_string(&text, " (");
	lab_text_string(&text, file);
	lab_text_string(&text, ":");
	lab_text_number(&text, (uint64_t)line);
	lab_text_string(&text, ")");
	write_line(&text);
	abort();
}
