/*
 * no_files.c - a program that closes every descriptor, at its start ("early") or from atexit ("late"), under
 * LABYRINTH_STATS=1; the figures go nowhere then. "file" (with LABYRINTH_STATS_FILE): there they arrive, and the
 * library needed no descriptor that stays open.
 *
 * Clauses: G8.3.
 */
#include <fcntl.h>

#include "boot.h"

static void
close_all(void)
{
	closefrom(0);
	boot_free(boot_allocate());
}

/* The lowest free number is 0: nothing has been opened behind our back. */
static void
check_none_open(void)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd != 0)
		abort();
	close(fd);
}

__attribute__((destructor)) static void
destructor(void)
{
	boot_free(boot_allocate());
	check_none_open();
}

int
main(int argc, char **argv)
{
	CHECK(lab_owns && argc == 2);
	boot_free(boot_allocate());
	if (strcmp(argv[1], "late") == 0) {
		CHECK(atexit(close_all) == 0);
	} else {
		close_all();
		check_none_open();
		pid_t child = fork();
		if (child == 0) {
			boot_free(boot_allocate());
			exit(0);
		}
		CHECK(boot_child_succeeded(child));
	}
	boot_free(boot_allocate());
	return 0;
}
