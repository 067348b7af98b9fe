/* target.c - see target.h. */
#include <errno.h>
#include <string.h>

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

int
lab_profile_write(const char *pattern)
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

const char *
lab_profile_file(void)
{
	const char *pattern = lab_load_rlx(&file_pattern);

	return pattern ? pattern : "labyrinth.%p.%n.pb.gz";
}

void
lab_profile_set_file(const char *pattern)
{
	lab_store_rlx(&file_pattern, pattern);
}
