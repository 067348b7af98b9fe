/* process.c - the process's limits, environment, files and end: see os.h. Any context. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "os/syscall.h"

static size_t
soft_limit(int resource)
{
	struct rlimit limit = {0};

	if (lab_syscall_failed(lab_syscall(SYS_prlimit64, 0, resource, 0, (long)&limit, 0)) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur;
}

size_t
lab_os_address_space_limit(void)
{
	return soft_limit(RLIMIT_AS);
}

size_t
lab_os_memory_size(void)
{
	struct sysinfo info;

	if (lab_syscall_failed(lab_syscall(SYS_sysinfo, (long)&info, 0, 0, 0, 0)))
		return 0;
	return (size_t)info.totalram * info.mem_unit;
}

size_t
lab_os_lock_limit(void)
{
	return soft_limit(RLIMIT_MEMLOCK);
}

bool
lab_os_is_program(const void *elf_header)
{
	/* the program headers of an executable follow its ELF header */
	return (uintptr_t)getauxval(AT_PHDR) - (uintptr_t)elf_header < LAB_OS_PAGE_SIZE;
}

void
lab_os_sleep_ms(unsigned milliseconds)
{
	static _Atomic uint32_t nobody_wakes;

	lab_os.wait(&nobody_wakes, 0, milliseconds);
}

bool
lab_os_has_environment(void)
{
	extern char **environ;

	return environ != NULL;
}

bool
lab_os_is_privileged(void)
{
	return getauxval(AT_SECURE) != 0;
}

const char *
lab_os_environment_next(const char *prefix, size_t *at)
{
	extern char **environ;
	size_t length = strlen(prefix);

	if (!environ || lab_os_is_privileged())
		return NULL;
	while (environ[*at]) {
		const char *entry = environ[(*at)++];
		if (strncmp(entry, prefix, length) == 0)
			return entry;
	}
	return NULL;
}

/* Another descriptor of what stderr was at the start: the program may have closed it and have its own there. */
static struct lab_os_file kept_stderr;

static bool
stat_descriptor(long fd, struct statx *file)
{
	return !lab_syscall_failed(lab_syscall(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)file));
}

/* A descriptor of the same, with a high number, closed on exec; an error. */
static long
duplicate(long fd)
{
	enum { AT_LEAST = 200 }; /* out of the way of programs that count on low numbers, or close a few */
	long other = lab_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, AT_LEAST, 0, 0);

	return lab_syscall_failed(other) ? lab_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3, 0, 0) : other;
}

/* False: it cannot be told what the descriptor is, and it is closed. */
static bool
keep(struct lab_os_file *file, long fd)
{
	struct statx now;

	*file = (struct lab_os_file){0};
	if (lab_syscall_failed(fd))
		return false;
	if (!stat_descriptor(fd, &now)) {
		(void)lab_syscall(SYS_close, fd, 0, 0, 0, 0);
		return false;
	}
	*file = (struct lab_os_file){
	        .fd = (int)fd, .device = {now.stx_dev_major, now.stx_dev_minor}, .inode = now.stx_ino};
	return true;
}

void
lab_os_keep_stderr(void)
{
	if (kept_stderr.fd == 0)
		(void)keep(&kept_stderr, duplicate(2));
}

bool
lab_os_has(const struct lab_os_file *file)
{
	struct statx now;

	return file->fd != 0 && stat_descriptor(file->fd, &now) && now.stx_ino == file->inode &&
	       now.stx_dev_major == file->device[0] && now.stx_dev_minor == file->device[1];
}

int
lab_os_open(struct lab_os_file *file, const char *path, bool truncate)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (truncate ? O_TRUNC : 0);
	long fd = lab_syscall(SYS_openat, AT_FDCWD, (long)path, flags, 0644, 0);

	*file = (struct lab_os_file){0};
	if (lab_syscall_failed(fd))
		return (int)-fd;
	long high = duplicate(fd);
	bool kept = keep(file, high);
	(void)lab_syscall(SYS_close, fd, 0, 0, 0, 0);
	return kept ? 0 : lab_syscall_failed(high) ? (int)-high : EPERM;
}

void
lab_os_append_to(const struct lab_os_file *file, const char *text, size_t length)
{
	(void)lab_os_write_file(file->fd, text, length);
}

void
lab_os_empty(const struct lab_os_file *file)
{
	(void)lab_syscall(SYS_ftruncate, file->fd, 0, 0, 0, 0);
}

void
lab_os_close(struct lab_os_file *file)
{
	if (lab_os_has(file))
		(void)lab_syscall(SYS_close, file->fd, 0, 0, 0, 0);
	*file = (struct lab_os_file){0};
}

/* stderr; the kept one if the program has closed its own. */
static int
stderr_at_end(void)
{
	struct statx now;

	return !stat_descriptor(2, &now) && lab_os_has(&kept_stderr) ? kept_stderr.fd : 2;
}

void
lab_os_write(const char *text, size_t length)
{
	(void)lab_os_write_file(2, text, length);
}

void
lab_os_append(const char *path, const char *text, size_t length)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
	long fd = path ? lab_syscall(SYS_openat, AT_FDCWD, (long)path, flags, 0644, 0) : stderr_at_end();

	if (lab_syscall_failed(fd))
		return;
	(void)lab_os_write_file((int)fd, text, length);
	if (path)
		lab_os_close_file((int)fd);
}

/* A signal's action, as the kernel has it; `rest` differs between architectures. All zero: the default action, with
 * an empty mask. */
struct action {
	unsigned long handler, flags, rest[6];
};

enum { SIGNAL_SET = 8 }; /* bytes, to the kernel */

bool
lab_os_may_handle_abort(void)
{
	struct action action = {0};
	uint64_t blocked = 0;

	if (lab_syscall_failed(lab_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&blocked, SIGNAL_SET, 0)) ||
	    lab_syscall_failed(lab_syscall(SYS_rt_sigaction, SIGABRT, 0, (long)&action, SIGNAL_SET, 0)))
		return true;
	return blocked >> (SIGABRT - 1) & 1 || action.flags & SA_NODEFER;
}

void
lab_os_die(void)
{
	const struct action by_default = {0};
	const uint64_t abort_signal = UINT64_C(1) << (SIGABRT - 1);
	enum { EXIT_ABORTED = 128 + SIGABRT };

	(void)lab_syscall(SYS_rt_sigaction, SIGABRT, (long)&by_default, 0, SIGNAL_SET, 0);
	(void)lab_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&abort_signal, 0, SIGNAL_SET, 0);
	(void)lab_syscall(SYS_tgkill, (long)lab_os_pid(), (long)lab_os_tid(), SIGABRT, 0, 0);
	for (;;) /* the first process of a namespace does not die of signals */
		(void)lab_syscall(SYS_exit_group, EXIT_ABORTED, 0, 0, 0, 0);
}

/* By libc's function, which knows how a handler returns. */
bool
lab_os_handle_signal(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;
	int saved = errno;
	bool done = sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_DFL &&
	            !(before.sa_flags & SA_SIGINFO) && sigaction(number, &action, NULL) == 0;

	errno = saved;
	return done;
}

const char *
lab_os_program(void)
{
	return program_invocation_short_name ? program_invocation_short_name : "?";
}
