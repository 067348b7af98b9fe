/*
 * fork.c - _Fork, the fork that a signal handler may call (POSIX 2024, glibc 2.34): libc calls no pthread_atfork hooks
 * for it. What the hooks do for this library is async-signal-safe, and is done here: without it the child would lose
 * more memory, and the parent's reserve would fault once for each page. Any context.
 */
#include "alloc/lifecycle.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

typedef pid_t fork_function(void);

pid_t _Fork(void);

static fork_function *libc_fork; /* found before main: dlsym is not for handlers */

__attribute__((constructor)) static void
find_libc_fork(void)
{
	libc_fork = (fork_function *)(uintptr_t)dlsym(RTLD_NEXT, "_Fork");
}

LAB_EXPORT pid_t
_Fork(void)
{
	if (!libc_fork) /* another constructor came first, or libc has none */
		find_libc_fork();
	if (!libc_fork) {
		errno = ENOSYS;
		return -1;
	}
	lab_before_fork();
	pid_t pid = libc_fork();
	int saved = errno;
	if (pid == 0)
		lab_after_fork_in_child();
	else
		lab_after_fork_in_parent();
	errno = saved;
	return pid;
}
