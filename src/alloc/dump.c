/*
 * dump.c - where figures go, and when: see dump.h. Nothing is allocated, and all of it may be done in a handler.
 *
 * One dump at a time: `dumping` is the process that is at it. Signals are held back during a dump, so that no handler
 * leaves it by a jump; in fork's child the word names another process. A signal that comes, or a time, while another
 * thread is at it is dropped: that one has just been served. At the exit the dump waits a moment, and then goes on
 * without the buffer.
 */
#include <errno.h>
#include <labyrinth/labyrinth.h>
#include <signal.h>
#include <string.h>

#include "alloc/dump.h"
#include "base/format.h"
#include "os/os.h"
#include "page/space.h"

enum { PATIENCE_MS = 50, BUFFER = 4096, PATH = 300 };

static struct lab_os_file file; /* of `stats_file`; written at the start, and in fork's child */
static uint32_t file_owner;     /* the process whose file it is, if the path has %p */
static _Atomic uint32_t dumping;
static _Atomic uint64_t next_ms;
static struct sigaction before; /* our handler */

/* ---- where to -------------------------------------------------------------------------------------------------- */

static bool
has_own_path(void)
{
	const char *pattern = lab_load_rlx(&lab_settings.stats_file);

	return pattern && strstr(pattern, "%p");
}

/* The path of the setting with %p replaced by the process id. */
static void
expand_path(char *buffer, size_t size)
{
	struct lab_text path = lab_text_start(buffer, size);
	const char *pattern = lab_load_rlx(&lab_settings.stats_file);

	lab_text_path(&path, pattern ? pattern : "", lab_os_pid(), NULL);
}

static void
complain(const char *path, int error)
{
	char buffer[PATH + 100];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: stats_file: ");
	lab_text_string(&text, path);
	lab_text_string(&text, " cannot be opened: ");
	lab_text_string(&text, error == EACCES || error == EPERM || error == EROFS ? "not allowed"
	                       : error == ENOENT || error == ENOTDIR               ? "there is no such folder"
	                       : error == EISDIR                                   ? "it is a folder"
	                                                                           : "error ");
	if (buffer[text.length - 1] == ' ')
		lab_text_number(&text, (uint64_t)error);
	lab_text_string(&text, "; no figures are written\n");
	lab_os_write(text.buffer, text.length);
}

static void
open_file(void)
{
	char path[PATH];

	expand_path(path, sizeof path);
	if (!*path)
		return;
	int error = lab_os_open(&file, path, has_own_path()); /* what others have written stays */
	if (error != 0)
		complain(path, error);
	file_owner = has_own_path() ? lab_os_pid() : 0;
}

/* The file that is open; else, if the program has closed it, or this is a child that no hook has seen, opened again. */
static bool
find_file(struct lab_os_file *target, bool *opened)
{
	char path[PATH];

	*target = file;
	*opened = false;
	if (lab_os_has(target) && (file_owner == 0 || file_owner == lab_os_pid()))
		return true;
	expand_path(path, sizeof path);
	*opened = *path && lab_os_open(target, path, false) == 0;
	return *opened;
}

/* ---- what ------------------------------------------------------------------------------------------------------ */

struct dump {
	const struct lab_os_file *file; /* NULL: stderr */
	enum lab_stats_format format;
	char *buffer; /* NULL: each line is written at once */
	size_t used;
};

static void
write_out(const struct dump *dump, const char *text, size_t length)
{
	if (dump->file)
		lab_os_append_to(dump->file, text, length);
	else
		lab_os_append(NULL, text, length);
}

static void
flush(struct dump *dump)
{
	if (dump->used != 0)
		write_out(dump, dump->buffer, dump->used);
	dump->used = 0;
}

static void
put(struct dump *dump, const char *text)
{
	size_t length = strlen(text);

	if (!dump->buffer || length > BUFFER) {
		flush(dump);
		write_out(dump, text, length);
		return;
	}
	if (dump->used + length > BUFFER)
		flush(dump);
	memcpy(dump->buffer + dump->used, text, length);
	dump->used += length;
}

/* On a terminal, or in a log, each line of a text is to say whose it is. A JSON object is one line (jsonlines.org), so
 * that a file may have many of them. */
static void
put_line(void *context, const char *line)
{
	struct dump *dump = context;

	if (dump->format == LAB_STATS_TEXT)
		put(dump, "labyrinth: ");
	put(dump, dump->format == LAB_STATS_JSON ? line + strspn(line, " ") : line);
	if (dump->format != LAB_STATS_JSON)
		put(dump, "\n");
}

static void
write_figures(bool has_buffer)
{
	static char buffer[BUFFER];
	const char *path = lab_load_rlx(&lab_settings.stats_file);
	struct dump dump = {.format = (enum lab_stats_format)lab_load_rlx(&lab_settings.stats_format),
	                    .buffer = has_buffer ? buffer : NULL};
	struct lab_os_file target;
	bool opened = false;

	if (path && *path) {
		if (!find_file(&target, &opened))
			return;
		dump.file = &target;
		if (dump.format == LAB_STATS_OPENMETRICS) /* a text ends with its "# EOF": the last one counts */
			lab_os_empty(&target);
	}
	lab_stats_write(dump.format, put_line, &dump);
	if (dump.format == LAB_STATS_JSON)
		put(&dump, "\n");
	flush(&dump);
	if (opened)
		lab_os_close(&target);
}

/* ---- when ------------------------------------------------------------------------------------------------------ */

static bool
try_begin(void)
{
	uint32_t pid = lab_os_pid(), other = lab_load_rlx(&dumping);

	/* pairs with the rel of end: the buffer is one thread's after another */
	return other != pid && atomic_compare_exchange_strong_explicit(&dumping, &other, pid, memory_order_acquire,
	                                                               memory_order_relaxed);
}

static void
end(void)
{
	lab_store_rel(&dumping, 0); /* pairs with the acq of try_begin */
}

static void
dump_unless_busy(void)
{
	if (!lab_space()) /* core under the drop-in: the heap is the drop-in's */
		return;
	uint64_t signals = lab_os_hold_signals();
	if (try_begin()) {
		write_figures(true);
		end();
	}
	lab_os_release_signals(signals);
}

void
lab_dump_at_exit(void)
{
	unsigned ms = 0;

	if (!lab_load_rlx(&lab_settings.stats_file) || !lab_space())
		return;
	while (!try_begin())
		if (ms++ == PATIENCE_MS) {
			write_figures(false);
			return;
		} else {
			lab_os_sleep_ms(1);
		}
	write_figures(true);
	end();
}

LAB_COLD void
lab_dump_now_and_then(void)
{
	uint64_t now = lab_os.clock_ms(), due = lab_load_rlx(&next_ms);

	if (now < due ||
	    !atomic_compare_exchange_strong_explicit(&next_ms, &due, now + lab_load_rlx(&lab_settings.stats_interval),
	                                             memory_order_relaxed, memory_order_relaxed))
		return;
	if (due != 0) /* the first one only starts the clock */
		dump_unless_busy();
}

static void
on_signal(int number)
{
	int saved = errno;

	if (lab_space())
		dump_unless_busy();
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN && !(before.sa_flags & SA_SIGINFO))
		before.sa_handler(number); /* core's came after the drop-in's */
	errno = saved;
}

void
lab_dump_start(void)
{
	int number = (int)lab_load_rlx(&lab_settings.stats_signal);
	const char *path = lab_load_rlx(&lab_settings.stats_file);
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (path && *path)
		open_file();
	else if (path || number != 0 || lab_load_rlx(&lab_settings.stats_interval) != 0)
		lab_os_keep_stderr();
	sigfillset(&action.sa_mask);
	if (number != 0)
		(void)sigaction(number, &action, &before);
}

void
lab_dump_in_child(void)
{
	if (!has_own_path())
		return;
	lab_os_close(&file);
	open_file();
}
