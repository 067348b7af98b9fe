/* target.c - see target.h. */
#include <errno.h>
#include <string.h>

#include <labyrinth/labyrinth.h>

#include "base/format.h"
#include "insight/dump.h"
#include "insight/profile.h"
#include "insight/target.h"
#include "os/os.h"

enum { PATH_MAX_LENGTH = 256 };

static const char *_Atomic file_pattern;
static _Atomic uint32_t dumps;

static void
expand(struct lab_text *path, const char *pattern)
{
	uint32_t number = lab_add_rlx(&dumps, 1);

	for (; *pattern; pattern++) {
		char letter[2] = {*pattern, 0};
		if (pattern[0] == '%' && (pattern[1] == 'p' || pattern[1] == 'n'))
			lab_text_number(path, *++pattern == 'p' ? lab_os_pid() : number);
		else
			lab_text_string(path, letter);
	}
}

/* 0, or the system's error. */
static int
dump_as(const char *pattern)
{
	char buffer[PATH_MAX_LENGTH];
	struct lab_text path = lab_text_start(buffer, sizeof buffer);

	if (!lab_profile_is_on())
		return EINVAL;
	if (strlen(pattern) >= sizeof buffer)
		return ENAMETOOLONG;
	expand(&path, pattern);
	int file = lab_os_open_file(buffer, true);
	if (file < 0)
		return -file;
	int error = lab_dump_write(file);
	lab_os_close_file(file);
	return error;
}

static const char *
pattern_in_force(void)
{
	const char *pattern = lab_load_rlx(&file_pattern);

	return pattern ? pattern : "labyrinth.%p.%n.pb.gz";
}

void
lab_profile_set_file(const char *pattern)
{
	lab_store_rlx(&file_pattern, pattern);
}

LAB_EXPORT bool
lab_profile_dump(const char *path)
{
	int error = dump_as(path ? path : pattern_in_force());

	if (error != 0)
		errno = error;
	return error == 0;
}

void
lab_profile_dump_by_default(void)
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
	lab_text_string(&text, pattern_in_force());
	lab_text_string(&text, ": error ");
	lab_text_number(&text, (uint64_t)error);
	lab_text_string(&text, "\n");
	lab_os_append(NULL, buffer, text.length);
}
