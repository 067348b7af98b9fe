/* last.c - a second preloaded library, whose destructor allocates and says so: before ours or after, by its place in LD_PRELOAD. */
#include "boot.h"

static char *kept;

__attribute__((constructor)) static void
begin(void)
{
	kept = boot_allocate();
}

__attribute__((destructor)) static void
end(void)
{
	boot_free(kept);
	boot_free(boot_allocate());
	CHECK(lab_owns != NULL);
	boot_say("last: destructed\n");
}
