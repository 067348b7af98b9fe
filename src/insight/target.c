/* target.c - see target.h. */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "insight/dump.h"
#include "insight/profile.h"
#include "insight/target.h"
#include "os/os.h"

enum { PATH_MAX_LENGTH = 256, NUMBERS_LENGTH = 64 };

static const char *_Atomic file_pattern;
static _Atomic uint32_t dumps;

int
lab_profile_write(const char *pattern)
{
	char buffer[PATH_MAX_LENGTH + NUMBERS_LENGTH];
	struct lab_text path = lab_text_start(buffer, sizeof buffer);

	if (!lab_profile_is_on())
		return EINVAL;
	if (strlen(pattern) >= PATH_MAX_LENGTH)
		return ENAMETOOLONG;
	uint64_t number = lab_add_rlx(&dumps, 1);
	lab_text_path(&path, pattern, lab_os_pid(), &number);
	if (path.length + 1 == sizeof buffer) /* perhaps cut */
		return ENAMETOOLONG;
	/* a handler that jumped out would leave the file open, and what is mapped meanwhile */
	uint64_t signals = lab_os_hold_signals();
	int file = lab_os_open_file(buffer, true), error = -file;
	if (file >= 0) {
		error = lab_dump_write(file);
		lab_os_close_file(file);
	}
	lab_os_release_signals(signals);
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
