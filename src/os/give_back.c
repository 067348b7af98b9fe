/* give_back.c - the calls after which other memory, or none, is at an address: see os.h, lab_os_use_libc. Any context,
 * unless libc's functions are interposed by what is not. */
#include <errno.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "os/linux.h"
#include "os/os.h"
#include "os/syscall.h"

static _Atomic bool use_libc;

void
lab_os_use_libc(bool use)
{
	lab_store_rlx(&use_libc, use);
}

bool
lab_linux_munmap(void *start, size_t size)
{
	if (lab_likely(!lab_load_rlx(&use_libc)))
		return !lab_syscall_failed(lab_syscall(SYS_munmap, (long)start, (long)size, 0, 0, 0));
	int saved = errno;
	bool done = munmap(start, size) == 0;
	errno = saved;
	return done;
}

bool
lab_linux_advise_away(void *start, size_t size)
{
	if (lab_likely(!lab_load_rlx(&use_libc)))
		return !lab_syscall_failed(lab_syscall(SYS_madvise, (long)start, (long)size, MADV_DONTNEED, 0, 0));
	int saved = errno;
	bool done = madvise(start, size, MADV_DONTNEED) == 0;
	errno = saved;
	return done;
}

void *
lab_linux_mremap(void *start, size_t old_size, size_t size, int flags, void *to)
{
	if (lab_likely(!lab_load_rlx(&use_libc))) {
		long result = lab_syscall(SYS_mremap, (long)start, (long)old_size, (long)size, flags, (long)to);
		return lab_syscall_failed(result) ? NULL : (void *)result;
	}
	int saved = errno;
	void *result = mremap(start, old_size, size, flags, to);
	errno = saved;
	return result == MAP_FAILED ? NULL : result;
}
