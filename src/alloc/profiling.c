/* profiling.c - see profiling.h. */
#include <errno.h>
#include <labyrinth/labyrinth.h>

#include "alloc/profiling.h"
#include "alloc/settings.h"
#include "base/format.h"
#include "debug/walk.h"
#include "heap/thread.h"
#include "insight/leaks.h"
#include "insight/profile.h"
#include "insight/target.h"
#include "os/os.h"

LAB_EXPORT bool
lab_profile_dump(const char *path)
{
	int error = lab_profile_write(path ? path : lab_profile_file());

	if (error != 0)
		errno = error;
	return error == 0;
}

/* What goes wrong is said in a line on stderr. Where the core library runs under the drop-in it is the drop-in's
 * profile. Any context. */
static void
dump_by_default(void)
{
	int saved = errno;
	bool done = lab_profile_dump(NULL);
	int error = errno;
	char buffer[352];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	errno = saved;
	if (done)
		return;
	lab_text_string(&text, "labyrinth: the heap profile cannot be written to ");
	lab_text_string(&text, lab_profile_file());
	lab_text_string(&text, ": error ");
	lab_text_number(&text, (uint64_t)error);
	lab_text_string(&text, "\n");
	lab_os_append(NULL, buffer, text.length);
}

#define PROFILE_DISTANCE_DEFAULT ((size_t)512 << 10)

static void
on_profile_signal(int number)
{
	(void)number;
	dump_by_default();
}

void
lab_profiling_start(void)
{
	static const char refused[] = "labyrinth: no heap profile is made where `check` is on\n";
	size_t distance = lab_settings.profile_distance;

	/* where only leaks are asked for, and not every block is known, what is in use is sampled as well */
	if (distance == 0 && lab_settings.report_leaks && !lab_debug_is_all())
		distance = PROFILE_DISTANCE_DEFAULT;
	if (distance != 0 && lab_debug_is_on()) { /* its blocks have a way of their own */
		lab_os_append(NULL, refused, sizeof refused - 1);
		return;
	}
	if (distance == 0 || !lab_profile_start(distance))
		return;
	if (lab_settings.profile_signal != 0)
		(void)lab_os_handle_signal(lab_settings.profile_signal, on_profile_signal);
	lab_config_apply();
	struct lab_guard guard = LAB_GUARD_HERE;
	if (lab_try_enter(&guard)) /* this thread's next call counts */
		lab_leave(&guard);
}

static void
write_leak_line(void *unused, const char *line)
{
	char buffer[512];
	struct lab_text text = lab_text_start(buffer, sizeof buffer - 1);

	(void)unused;
	lab_text_string(&text, "labyrinth: ");
	lab_text_string(&text, line);
	buffer[text.length++] = '\n';
	lab_os_append(NULL, buffer, text.length);
}

void
lab_profiling_end(void)
{
	bool is_exact = lab_debug_is_all(); /* then there is no profile */

	if (lab_profile_is_on() && lab_settings.profile_distance != 0)
		dump_by_default();
	if (lab_settings.report_leaks && (is_exact ? lab_dress_count_left() : lab_profile_is_on()))
		lab_leaks_report(write_leak_line, NULL);
}
