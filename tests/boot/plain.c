/* plain.c - a program that allocates, with a thread and a child, and must be running on the drop-in (argument 1: or
 * must not). */
#include <pthread.h>

#include "boot.h"

static void *
thread(void *kept)
{
	boot_free(kept);
	return boot_allocate();
}

int
main(int argc, char **argv)
{
	pthread_t other;
	void *kept;

	(void)argv;
	CHECK((lab_owns != NULL) == (argc == 1));
	CHECK(pthread_create(&other, NULL, thread, boot_allocate()) == 0);
	CHECK(pthread_join(other, &kept) == 0);
	pid_t child = fork();
	if (child == 0) {
		boot_free(kept);
		boot_free(boot_allocate());
		_exit(0);
	}
	CHECK(boot_child_succeeded(child));
	boot_free(kept);
	return 0;
}
