/* file.c - files, and what else the heap profile and tracers want of the kernel: see os.h. Any context. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/atomic.h"
#include "os/os.h"
#include "os/syscall.h"

enum { NAPS = 100 }; /* of a millisecond each, until somebody reads the pipe */

#ifndef PR_SET_VMA /* of Linux 5.17; older headers do not have it */
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

int
lab_os_open_file(const char *path, bool create)
{
	long flags = O_CLOEXEC | (create ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY);

	return (int)lab_syscall(SYS_openat, AT_FDCWD, (long)path, flags, 0644, 0);
}

long
lab_os_read(int file, void *buffer, size_t size)
{
	long done;

	do
		done = lab_syscall(SYS_read, file, (long)buffer, (long)size, 0, 0);
	while (done == -EINTR);
	return done;
}

int
lab_os_write_file(int file, const void *bytes, size_t length)
{
	const char *at = bytes;
	unsigned naps = 0;

	while (length > 0) {
		long done = lab_syscall(SYS_write, file, (long)at, (long)length, 0, 0);
		if (done == -EINTR)
			continue;
		if (done == -EAGAIN && naps++ < NAPS) { /* a pipe that does not block, and is full */
			lab_os_sleep_ms(1);
			continue;
		}
		if (done <= 0)
			return done == 0 ? EIO : (int)-done;
		at += done;
		length -= (size_t)done;
	}
	return 0;
}

void
lab_os_close_file(int file)
{
	(void)lab_syscall(SYS_close, file, 0, 0, 0, 0);
}

uint64_t
lab_os_real_time_ns(void)
{
	struct timespec time = {0};

	(void)lab_syscall(SYS_clock_gettime, CLOCK_REALTIME, (long)&time, 0, 0, 0);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t
lab_os_seed(void)
{
	const void *bytes = (const void *)getauxval(AT_RANDOM); /* 16 of them, the kernel's */
	uint64_t value = 0;

	if (bytes)
		memcpy(&value, bytes, sizeof value);
	return value ^ lab_os_real_time_ns();
}

static _Atomic bool names_mappings;

void
lab_os_name_mappings(bool on)
{
	lab_store_rlx(&names_mappings, on);
}

void
lab_os_name(const void *start, size_t size, const char *name)
{
	if (lab_load_rlx(&names_mappings))
		(void)lab_syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, (long)start, (long)size, (long)name);
}
