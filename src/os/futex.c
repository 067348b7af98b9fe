/* futex.c - waits and wakes, and a look at memory that may be unmapped: see os.h. */
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "os/linux.h"
#include "os/os.h"
#include "os/syscall.h"

void
lab_linux_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)lab_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, (long)value, (long)&timeout, 0);
}

void
lab_os_wake(_Atomic uint32_t *word)
{
	(void)lab_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0);
}

/* A requeue of no waiters: the kernel compares first. (A wait for no time sleeps 50 us where the word is equal.) */
enum lab_compared
lab_linux_compare(const void *word, uint32_t value)
{
	long result = lab_syscall6(SYS_futex, (long)word, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, (long)word,
	                           (long)(unsigned long)value);

	switch (result) {
	case 0:
		return LAB_WORD_IS_EQUAL;
	case -11 /* EAGAIN */:
		return LAB_WORD_DIFFERS;
	case -14 /* EFAULT */:
		return LAB_WORD_IS_NOT_THERE;
	default:
		return LAB_WORD_UNKNOWN;
	}
}

bool
lab_os_reads_as(const uint64_t *p, uint64_t value)
{
	uint32_t words[2];

	memcpy(words, &value, sizeof value);
	return lab_linux_compare(p, words[0]) == LAB_WORD_IS_EQUAL &&
	       lab_linux_compare((const char *)p + sizeof words[0], words[1]) == LAB_WORD_IS_EQUAL;
}

/* mincore does not tell: for it guard pages, which have no access, are mapped. */
bool
lab_linux_is_readable(uintptr_t low, uintptr_t high)
{
	/* A word of each page. Of the first page none below `low`: memory checkers do not take that for part
	 * of a stack. */
	for (uintptr_t word = low & ~(uintptr_t)3; word < high; word = (word | (LAB_OS_PAGE_SIZE - 1)) + 1) {
		enum lab_compared answer = lab_linux_compare((const void *)word, 0);
		if (answer != LAB_WORD_IS_EQUAL && answer != LAB_WORD_DIFFERS)
			return false;
	}
	return true;
}
