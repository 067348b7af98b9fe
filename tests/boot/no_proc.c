/*
 * no_proc.c - chroot into an empty folder, before the first thread and after: no /proc, no /dev, no libc on disk. A
 * plain user does it in a user namespace, where there are any.
 *
 * Clauses: G8.3.
 */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>

#include "boot.h"

static void *
thread(void *kept)
{
	boot_free(kept);
	return boot_allocate();
}

int
main(void)
{
	char folder[] = "/tmp/labyrinth-chroot-XXXXXX";
	pthread_t other;
	void *kept;

	CHECK(lab_owns && mkdtemp(folder));
	if ((geteuid() != 0 && unshare(CLONE_NEWUSER) != 0) || chroot(folder) != 0) {
		boot_say("not run: chroot is not allowed here\n");
		rmdir(folder);
		return SKIPPED;
	}
	CHECK(chdir("/") == 0 && access("/proc", F_OK) != 0);
	for (int i = 0; i < 20; i++) {
		CHECK(pthread_create(&other, NULL, thread, boot_allocate()) == 0);
		CHECK(pthread_join(other, &kept) == 0);
		boot_free(kept);
	}
	malloc_trim(0);
	pid_t child = fork();
	if (child == 0) {
		boot_free(boot_allocate());
		_exit(0);
	}
	CHECK(boot_child_succeeded(child));
	return 0;
}
