/*
 * refused.c - late filters: a process that has allocated for a while is forbidden a system call, or all that the
 * library makes, by a seccomp filter that answers ENOMEM, EPERM or ENOSYS, to the whole program or to the library alone
 * (libc ends a program that is refused futex). Then come allocations of every kind, threads, handlers that jump, and
 * children: each gives a good block, or NULL with ENOMEM. Nothing hangs, crashes, or shows what was there before.
 *
 * Clauses: G8.8.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "filter.h"
#include "load.h"
#include "process.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static const struct call {
	const char *name;
	int number;
} calls[] = {
        {"mmap", SYS_mmap},
        {"mprotect", SYS_mprotect},
        {"madvise", SYS_madvise},
        {"munmap", SYS_munmap},
        {"mremap", SYS_mremap},
        {"rt_sigprocmask", SYS_rt_sigprocmask},
        {"membarrier", SYS_membarrier},
        {"mlock", SYS_mlock},
        {"munlock", SYS_munlock},
        {"tkill", SYS_tkill},
        {"tgkill", SYS_tgkill},
        {"sigaltstack", SYS_sigaltstack},
        {"mincore", SYS_mincore},
        {"futex", SYS_futex},
        {"gettid", SYS_gettid},
        {"getpid", SYS_getpid},
        {"prctl", SYS_prctl},
        {"prlimit64", SYS_prlimit64},
        {"clock_gettime", SYS_clock_gettime},
        {"openat", SYS_openat},
        {"write", SYS_write},
        {"read", SYS_read},
        {"close", SYS_close},
};

static const struct {
	const char *name;
	int number;
} errors[] = {{"ENOMEM", ENOMEM}, {"EPERM", EPERM}, {"ENOSYS", ENOSYS}};

struct refusal {
	struct filter_range range; /* of whom they are refused to */
	int numbers[LENGTH(calls)];
	size_t count;
	int error;
	int before; /* how much is allocated before the filter: 0 nothing, 1 one block, 2 much */
};

static _Atomic int clock_error; /* what the clock answers; 0: the time */

/* The vDSO answers without a system call, so that no filter sees it: the program says that there is none, and libc's
 * function is this one. */
unsigned long
getauxval(unsigned long type)
{
	static unsigned long pairs[2 * 64];

	if (pairs[0] == 0) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY);
		(void)!syscall(SYS_read, fd, pairs, sizeof pairs - 2 * sizeof *pairs);
		(void)syscall(SYS_close, fd);
	}
	for (size_t i = 0; pairs[i] != AT_NULL; i += 2)
		if (pairs[i] == type && type != AT_SYSINFO_EHDR)
			return pairs[i + 1];
	return 0;
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	int error = clock_error ? clock_error : -(int)syscall(SYS_clock_gettime, clock, time);

	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* ---- threads that cannot learn who they are -------------------------------------------------------------------- */

enum { THREADS = 8, BIRTHS = 12, HEAPS_MAX = 48 };

/* The thread's first allocation is in a child that has its memory. */
static void
allocate_in_vfork(void)
{
	pid_t child = vfork();

	if (child == 0) {
		free(malloc(100));
		_exit(0);
	}
	if (child > 0)
		REQUIRE(waitpid(child, NULL, 0) == child);
}

static void *
one_of_many(void *number)
{
	if ((uintptr_t)number % 2 == 0)
		allocate_in_vfork();
	for (size_t size = 24; size < 1600; size += 40) {
		load_errno();
		void *p = load_given(malloc(size));
		struct block block = p ? block_of(p, size) : (struct block){0};
		sched_yield();
		free_block(&block);
	}
	return NULL;
}

static void
births_and_ends(void)
{
	pthread_t threads[THREADS];
	struct lab_stats before, after;

	library_stats(&before);
	for (uintptr_t birth = 0; birth < BIRTHS; birth++) {
		uintptr_t made = 0;
		while (made < THREADS && pthread_create(&threads[made], NULL, one_of_many, (void *)(birth + made)) == 0)
			made++;
		while (made-- > 0)
			REQUIRE(pthread_join(threads[made], NULL) == 0);
	}
	library_stats(&after);
	if (after.heaps > before.heaps + HEAPS_MAX)
		fail("heaps grow with threads", before.heaps, after.heaps);
}

static void
threads_in_child(void *unused)
{
	(void)unused;
	births_and_ends();
}

static bool
concerns_ids(const struct refusal *refusal)
{
	for (size_t i = 0; i < refusal->count; i++)
		if (refusal->numbers[i] == SYS_gettid || refusal->numbers[i] == SYS_getpid)
			return true;
	return false;
}

/* ---- the refusals ---------------------------------------------------------------------------------------------- */

static void
live_with(void *argument)
{
	const struct refusal *refusal = argument;
	struct block before[8] = {{0}};

	for (size_t i = 0; refusal->before > 0 && i < LENGTH(before); i++)
		before[i] = new_block(i == 0 ? 9000000 : 20 + i * i * i * 500);
	for (int i = 0; refusal->before == 2 && i < 3; i++)
		load_blocks((uint32_t)i + 20);
	if (refusal->before == 2)
		load_threads();
	for (size_t i = 0; i < refusal->count; i++)
		if (refusal->numbers[i] == SYS_clock_gettime)
			clock_error = refusal->error;
	if (!filter_refuse(refusal->range, refusal->numbers, refusal->count, refusal->error)) {
		fputs("not run: no seccomp filter can be installed here\n", stderr);
		_exit(SKIPPED);
	}
	load_all();
	if (concerns_ids(refusal)) {
		births_and_ends();
		(void)process_in_child(threads_in_child, NULL);
	}
	for (size_t i = 0; i < LENGTH(before); i++)
		free_block(&before[i]);
	if (load_count.given == 0)
		fail("nothing at all was given: before", (uintptr_t)refusal->before, 0);
}

static bool
run(const char *name, struct refusal *refusal, size_t error)
{
	char title[64];

	snprintf(title, sizeof title, "%s %s", name, errors[error].name);
	if (!strstr(title, only))
		return true;
	refusal->error = errors[error].number;
	for (refusal->before = 0; refusal->before < 3; refusal->before++) {
		current_scenario = title;
		if (scale == 1 && refusal->count == 1 &&
		    (unsigned)refusal->before != (unsigned)(refusal->numbers[0] + (int)error) % 3)
			continue; /* of these three one each in CI */
		uint64_t from = now_ms();
		if (!process_in_child(live_with, refusal))
			return false;
		printf("%s, %d: %llu ms\n", title, refusal->before, (unsigned long long)(now_ms() - from));
	}
	return true;
}

static bool
run_each(size_t error)
{
	struct refusal of_all = {.count = 0}, of_library = {.range = filter_library()};

	for (size_t i = 0; i < LENGTH(calls); i++) {
		/* futex: libc ends the program; rt_sigprocmask: a jump out of a handler leaves the signal blocked */
		bool libc_can = calls[i].number != SYS_futex && calls[i].number != SYS_rt_sigprocmask;
		struct refusal one = {.numbers = {calls[i].number}, .count = 1};
		one.range = libc_can ? of_all.range : of_library.range;
		of_library.numbers[of_library.count++] = calls[i].number;
		if (libc_can)
			of_all.numbers[of_all.count++] = calls[i].number;
		if (!run(calls[i].name, &one, error))
			return false;
	}
	return run("all to the library", &of_library, error) && run("all", &of_all, error);
}

int
main(int argc, char **argv)
{
	load_start(argc, argv, 600);
	for (size_t error = 0; error < LENGTH(errors); error++)
		if (!run_each(error))
			return SKIPPED;
	return end_test();
}
