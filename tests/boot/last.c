/*
 * last.c - a second preloaded library, whose constructor and destructor run before ours or after, by its place in
 * LD_PRELOAD. The destructor allocates and says so; with NO_FILES set it sees whether any descriptor is open. With
 * NO_ENVIRONMENT set the constructor takes environ away.
 */
#include <fcntl.h>

#include "boot.h"

static char *kept;
static bool no_files;

__attribute__((constructor)) static void
begin(void)
{
	no_files = getenv("NO_FILES") != NULL;
	if (getenv("NO_ENVIRONMENT"))
		environ = NULL;
	kept = boot_allocate(); /* after that: the first block is what has the settings read */
}

__attribute__((destructor)) static void
end(void)
{
	boot_free(kept);
	boot_free(boot_allocate());
	CHECK(lab_owns != NULL);
	CHECK(!no_files || open("/dev/null", O_RDONLY) == 0);
	boot_say("last: destructed\n");
}
