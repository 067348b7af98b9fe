/* report.c - the lines that end a program: see base/check.h. Async-signal-safe. */
#include <stdlib.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/format.h"
#include "os/os.h"

/*
 * A report is a frame on the stack of the thread that makes it, until abort() has ended the process or a handler of
 * SIGABRT has jumped out. The table says where the frame is. Threads share a place of it: a later report may displace
 * another thread's. A thread, and its copy in fork's child, is known by its thread pointer.
 */
enum { PLACES = 64 };
static _Atomic uintptr_t under_way[PLACES];

static _Atomic uintptr_t *
place_of(uintptr_t thread)
{
	return &under_way[(uint64_t)thread * UINT64_C(0x9e3779b97f4a7c15) >> 58];
}

/* The mark in the frame of a report at that address, if it is this thread's. */
static uint64_t
mark_of(uintptr_t report, uintptr_t thread)
{
	return (uint64_t)report * UINT64_C(0xf1de83e19937733d) ^ thread;
}

/* Whether a jump has left the report's frame: it lies below a living frame on the same stack. */
static bool
is_left(uintptr_t frame, uintptr_t sp)
{
	struct lab_os_stack alternate;

	return frame < sp && lab_os_alternate_stack(&alternate) && !alternate.running;
}

/*
 * Whether a handler of SIGABRT that a report of this thread has called is running. If a jump has left that report, its
 * frame is gone or written over, or the signal is no longer blocked.
 */
static bool
is_nested(uintptr_t thread, uintptr_t sp)
{
	uintptr_t report = lab_load_rlx(place_of(thread));

	return report != 0 && lab_os_reads_as((const uint64_t *)report, mark_of(report, thread)) &&
	       !is_left(report, sp) && lab_os_may_handle_abort();
}

static LAB_NORETURN void
say_and_abort(struct lab_text *text)
{
	uintptr_t thread = lab_thread_pointer();
	volatile uint64_t mark;
	uintptr_t report = (uintptr_t)&mark;
	bool nested = is_nested(thread, report);

	lab_text_string(text, nested ? ", while a report is under way\n" : "\n");
	lab_os_write(NULL, text->buffer, text->length);
	if (nested)
		lab_os_die();
	mark = mark_of(report, thread);
	lab_store_rlx(place_of(thread), report);
	abort();
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
lab_report_damage(const void *start, size_t bytes, size_t block_size)
{
	char buffer[256];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: heap corrupted: a freed block of this span was written to: ");
	lab_text_hex(&text, (uintptr_t)start);
	lab_text_string(&text, "-");
	lab_text_hex(&text, (uintptr_t)start + bytes);
	lab_text_string(&text, ", blocks of ");
	lab_text_number(&text, block_size);
	lab_text_string(&text, " bytes");
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
