/* report.c - the lines that end a program: see base/check.h. Async-signal-safe. */
#include <stdlib.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/format.h"
#include "os/backtrace.h"
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

/* Whether the report's callback is running. */
static bool
is_told(uintptr_t report, uintptr_t thread)
{
	return lab_os_reads_as((const uint64_t *)report + 1, mark_of(report, ~thread));
}

/*
 * Whether a callback, or a handler of SIGABRT, that a report of this thread has called is running. If a jump has left
 * that report, its frame is gone or written over, or the signal is no longer blocked.
 */
static bool
is_nested(uintptr_t thread, uintptr_t sp)
{
	uintptr_t report = lab_load_rlx(place_of(thread));

	return report != 0 && lab_os_reads_as((const uint64_t *)report, mark_of(report, thread)) &&
	       !is_left(report, sp) && (is_told(report, thread) || lab_os_may_handle_abort());
}

/*
 * Where details are made: not on the stack, which may be a small alternate one. Reports take them in turn, so that one
 * which a jump has left holds none; of more at once than there are rooms, the details may mix. The first line is made
 * on the stack.
 */
enum { ROOMS = 8, TEXT_ROOM = 6144, FRAMES = 16, LINE_ROOM = 256 };
struct LAB_ALIGNED(4096) room {
	char text[TEXT_ROOM];
	char name[LAB_OS_NAME_ROOM];
	uintptr_t trace[FRAMES];
};
/* The second half is of what ends no process, and may come often: so that it does not take the room of what does. */
static struct room rooms[2 * ROOMS];

const void *
lab_os_report_rooms(size_t *size)
{
	*size = sizeof rooms;
	return rooms;
}
static _Atomic unsigned next_room;

/* The report that ends the process: for who looks at a core dump, as glibc's __abort_msg. */
LAB_EXPORT const char *volatile lab_abort_message;

static _Atomic(const struct lab_report_hooks *) hooks;
static _Atomic(const char *) file;

void
lab_report_set_hooks(const struct lab_report_hooks *added)
{
	lab_store_rel(&hooks, added); /* pairs with the acq of begin and end_in */
}

void
lab_report_set_file(const char *path)
{
	lab_store_rlx(&file, path);
}

/* A report that is being made. */
struct making {
	struct room *room;
	struct lab_text text;
	size_t written;
	bool nested;
	struct lab_report report;
	char line[LINE_ROOM]; /* the first one */
};

/* Writes what was added to the text. */
static void
write_out(struct making *making)
{
	const char *from = making->text.buffer + making->written, *pattern = lab_load_rlx(&file);
	size_t length = making->text.length - making->written;

	if (length == 0)
		return;
	lab_os_write(from, length);
	if (pattern) {
		struct lab_text path = lab_text_start(making->room->name, sizeof making->room->name);
		lab_text_path(&path, pattern, lab_os_pid(), NULL);
		lab_os_append(path.buffer, from, length);
	}
	making->written = making->text.length;
}

static void
begin_in(struct making *making, struct room *room, bool nested)
{
	making->room = room;
	making->written = 0;
	making->nested = nested;
	making->report = (struct lab_report){0};
	making->text = lab_text_start(making->line, sizeof making->line);
	making->report.text = room->text;
	making->report.trace = room->trace;
}

static void
begin(struct making *making, bool nested)
{
	begin_in(making, &rooms[lab_add_rlx(&next_room, 1u) % ROOMS], nested);
}

/* A line that comes after the first one. */
static struct lab_text *
detail(struct making *making, const char *indent)
{
	lab_text_string(&making->text, "labyrinth:   ");
	lab_text_string(&making->text, indent);
	return &making->text;
}

static void
text_thread(struct lab_text *text, uint32_t thread)
{
	lab_text_string(text, "thread ");
	lab_text_number(text, thread);
}

/* The addresses of calls, not those that they return to, which may be of the next line. */
static void
add_trace(struct making *making, const char *indent, const uintptr_t *trace, unsigned frames)
{
	for (unsigned i = 0; i < frames; i++) {
		struct lab_text *text = detail(making, indent);
		lab_text_string(text, "#");
		lab_text_number(text, i);
		lab_text_string(text, " ");
		lab_os_text_address(text, trace[i] - 1, making->room->name);
		lab_text_string(text, "\n");
	}
}

static void
add_site(struct making *making, const char *what, uint32_t thread, const uintptr_t *trace, unsigned frames)
{
	if (thread == 0)
		return;
	struct lab_text *text = detail(making, what);
	text_thread(text, thread);
	lab_text_string(text, frames ? ":\n" : "\n");
	add_trace(making, "  ", trace, frames);
}

/* What is known of the block, and which thread this is. */
static void
add_block(struct making *making)
{
	const struct lab_block_facts *block = &making->report.block;
	struct lab_text *text = detail(making, "");
	uintptr_t offset = (uintptr_t)making->report.p - (uintptr_t)block->start;

	if (block->start) {
		bool before = (uintptr_t)making->report.p < (uintptr_t)block->start;
		lab_text_string(text, "the block at ");
		lab_text_hex(text, (uintptr_t)block->start);
		lab_text_string(text, " has ");
		lab_text_number(text, block->size);
		lab_text_string(text, " bytes");
		if (offset != 0) {
			lab_text_string(text, "; the pointer is ");
			lab_text_number(text, before ? -offset : offset);
			lab_text_string(text, before ? " before it" : " behind its start");
		}
		lab_text_string(text, "; ");
	}
	text_thread(text, making->report.thread);
	lab_text_string(text, "\n");
}

/* The first line is out already: what is looked at here may fail. */
static void
add_details(struct making *making, const void *frame, uintptr_t pc)
{
	const struct lab_report_hooks *told = lab_load_acq(&hooks); /* pairs with lab_report_set_hooks */
	struct lab_report *report = &making->report;
	uintptr_t *trace = making->room->trace;

	if (making->nested)
		return;
	report->thread = lab_os_tid();
	if (told && report->p)
		told->describe(report->p, &report->block);
	add_block(making);
	if (pc != 0)
		trace[report->frames++] = pc + 1; /* as if it were a call */
	report->frames += lab_os_backtrace(frame, trace + report->frames, FRAMES - report->frames, NULL);
	add_trace(making, "", trace, report->frames);
	add_site(making, "allocated by ", report->block.made_by, report->block.made_at, report->block.made_frames);
	add_site(making, "freed by ", report->block.freed_by, report->block.freed_at, report->block.freed_frames);
	write_out(making);
}

/* In the frame of a report: the mark that is_nested looks for. `told` says so while the callback runs, in which SIGABRT
 * is not blocked. */
struct frame_mark {
	uint64_t mark;
	uint64_t told;
};

static void
set_mark(volatile struct frame_mark *frame, uintptr_t thread, bool told)
{
	frame->told = told ? mark_of((uintptr_t)frame, ~thread) : 0;
	frame->mark = mark_of((uintptr_t)frame, thread);
	lab_store_rlx(place_of(thread), (uintptr_t)frame);
}

static LAB_NORETURN void
end(struct making *making, volatile struct frame_mark *frame)
{
	const struct lab_report_hooks *told = lab_load_acq(&hooks); /* pairs with lab_report_set_hooks */
	uintptr_t thread = lab_thread_pointer();

	lab_abort_message = making->report.text;
	if (making->nested)
		lab_os_die();
	if (told) {
		set_mark(frame, thread, true);
		told->tell(&making->report);
	}
	set_mark(frame, thread, false);
	abort();
}

static void
end_first_line(struct making *making)
{
	lab_text_string(&making->text, making->nested ? ", while a report is under way\n" : "\n");
	write_out(making);
	making->text = lab_text_start(making->room->text, sizeof making->room->text);
	lab_text_string(&making->text, making->line);
	making->written = making->text.length;
}

void
lab_assert_failed(const char *what, const char *file_name, int line)
{
	volatile struct frame_mark frame;
	struct making making;

	begin(&making, is_nested(lab_thread_pointer(), (uintptr_t)&frame));
	lab_text_string(&making.text, "labyrinth: assertion failed: ");
	lab_text_string(&making.text, what);
	lab_text_string(&making.text, " (");
	lab_text_string(&making.text, file_name);
	lab_text_string(&making.text, ":");
	lab_text_number(&making.text, (uint64_t)line);
	lab_text_string(&making.text, ")");
	making.report.reason = what;
	end_first_line(&making);
	add_details(&making, LAB_FRAME_HERE, 0);
	end(&making, &frame);
}

static void
compose(struct making *making, const char *call, const void *p, const char *reason)
{
	struct lab_text *text = &making->text;

	lab_text_string(text, "labyrinth: ");
	lab_text_string(text, call);
	if (p) {
		lab_text_string(text, "(");
		lab_text_hex(text, (uintptr_t)p);
		lab_text_string(text, ")");
	}
	lab_text_string(text, ": ");
	lab_text_string(text, reason);
	making->report.call = call;
	making->report.p = p;
	making->report.reason = reason;
}

void
lab_report_misuse(const char *call, const void *p, const char *reason)
{
	volatile struct frame_mark frame;
	struct making making;

	begin(&making, is_nested(lab_thread_pointer(), (uintptr_t)&frame));
	compose(&making, call, p, reason);
	end_first_line(&making);
	add_details(&making, LAB_FRAME_HERE, 0);
	end(&making, &frame);
}

void
lab_report_fault(const char *call, const void *p, const char *reason, const void *frame, uintptr_t pc)
{
	const struct lab_report_hooks *told = lab_load_acq(&hooks); /* pairs with lab_report_set_hooks */
	struct making making;

	begin(&making, false);
	compose(&making, call, p, reason);
	end_first_line(&making);
	add_details(&making, frame, pc);
	lab_abort_message = making.report.text;
	if (told)
		told->tell(&making.report);
}

void
lab_report_damage(const void *start, size_t bytes, size_t block_size)
{
	volatile struct frame_mark frame;
	struct making making;

	begin(&making, is_nested(lab_thread_pointer(), (uintptr_t)&frame));
	lab_text_string(&making.text, "labyrinth: heap corrupted: a freed block of this span was written to: ");
	lab_text_hex(&making.text, (uintptr_t)start);
	lab_text_string(&making.text, "-");
	lab_text_hex(&making.text, (uintptr_t)start + bytes);
	lab_text_string(&making.text, ", blocks of ");
	lab_text_number(&making.text, block_size);
	lab_text_string(&making.text, " bytes");
	making.report.reason = "a freed block was written to";
	end_first_line(&making);
	add_details(&making, LAB_FRAME_HERE, 0);
	end(&making, &frame);
}

void
lab_report_refusal(const char *call, const void *p, const char *reason)
{
	static _Atomic unsigned next;
	struct making making;

	begin_in(&making, &rooms[ROOMS + lab_add_rlx(&next, 1u) % ROOMS], false);
	compose(&making, call, p, reason);
	if (!p) {
		lab_text_string(&making.text, ", ");
		text_thread(&making.text, lab_os_tid());
	}
	end_first_line(&making);
	if (!p) /* no block's, but a call's */
		add_trace(&making, "", making.room->trace,
		          lab_os_backtrace(LAB_FRAME_HERE, making.room->trace, FRAMES, NULL));
	write_out(&making);
}
