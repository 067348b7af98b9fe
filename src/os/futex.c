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
lab_os_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	lab_os.wait(word, value, ms);
}

void
lab_os_wake(_Atomic uint32_t *word)
{
	(void)lab_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0);
}

/* A wait that is over at once: the kernel compares first. */
static bool
word_reads_as(const uint32_t *word, uint32_t value)
{
	const struct timespec at_once = {0};
	long result;

	do
		result = lab_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, (long)value, (long)&at_once, 0);
	while (result == -4 /* EINTR */);
	return result == 0 || result == -110 /* ETIMEDOUT */;
}

bool
lab_os_reads_as(const uint64_t *p, uint64_t value)
{
	uint32_t words[2];

	memcpy(words, &value, sizeof value);
	return word_reads_as((const uint32_t *)(const void *)p, words[0]) &&
	       word_reads_as((const uint32_t *)(const void *)p + 1, words[1]);
}
