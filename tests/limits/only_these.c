/*
 * only_these.c - the library makes the system calls that docs/guarantees.md lists and no others: a filter kills the
 * process at any other, first if the library's own code makes it, then whoever makes it. With the argument
 * "background", under LABYRINTH_BACKGROUND_THREAD=1: the background thread's are allowed as well.
 *
 * Clauses: G8.9.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"
#include "load.h"
#include "process.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* The last one is the background thread's alone. */
static const int listed[] = {
        SYS_mmap,   SYS_munmap,  SYS_mprotect,    SYS_madvise, SYS_mremap,         SYS_gettid, SYS_getpid,  SYS_tkill,
        SYS_tgkill, SYS_mincore, SYS_sigaltstack, SYS_prctl,   SYS_prlimit64,      SYS_mlock,  SYS_munlock, SYS_futex,
        SYS_write,  SYS_openat,  SYS_close,       SYS_statx,   SYS_rt_sigprocmask, SYS_read,
};

static bool has_thread;

static size_t
listed_count(void)
{
	return LENGTH(listed) - !has_thread;
}

static void
refused_here(void)
{
	fputs("not run: no seccomp filter can be installed here\n", stderr);
	_exit(SKIPPED);
}

/* The reserve: a share, growth, a line that an atomic call has failed. */
static void
use_reserve(void)
{
	bool (*reserve_thread)(size_t size, size_t count) = NULL;
	bool (*balance)(void) = NULL;
	void *(*alloc)(size_t size, unsigned gfp) = NULL;
	void *slots[200] = {NULL};

	*(void **)&reserve_thread = dlsym(RTLD_DEFAULT, "lab_reserve_thread");
	*(void **)&balance = dlsym(RTLD_DEFAULT, "lab_reserve_balance");
	*(void **)&alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	REQUIRE(reserve_thread && balance && alloc);
	REQUIRE(reserve_thread(256, 10));
	for (size_t i = 0; i < LENGTH(slots); i++)
		slots[i] = alloc(256, LAB_GFP_ATOMIC);
	REQUIRE(alloc((size_t)1 << 20, LAB_GFP_ATOMIC) == NULL);
	(void)balance();
	for (size_t i = 0; i < LENGTH(slots); i++)
		free(slots[i]);
	(void)balance();
	REQUIRE(reserve_thread(256, 0));
}

/* A second segment; a block so large that the system is asked first; a block that is given to a thread, which is this
 * one. */
static void
use_much(void)
{
	bool (*transfer)(void *block, int tid) = NULL;
	void *(*alloc)(size_t size, unsigned gfp) = NULL;
	void *blocks[80] = {NULL};

	for (size_t i = 0; i < LENGTH(blocks); i++)
		blocks[i] = malloc((size_t)900 << 20);
	for (size_t i = 0; i < LENGTH(blocks); i++)
		free(blocks[i]);
	free(malloc((size_t)3 << 29));
	*(void **)&transfer = dlsym(RTLD_DEFAULT, "lab_transfer");
	*(void **)&alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	REQUIRE(transfer && alloc);
	void *block = alloc(100, LAB_GFP_EXCLUSIVE);
	REQUIRE(block && transfer(block, getpid()));
	free(block);
}

static void
of_library(void *unused)
{
	(void)unused;
	if (!filter_allow(filter_library(), listed, listed_count()))
		refused_here();
	load_all();
	use_reserve();
	use_much();
	malloc_stats();
	exit(0); /* the figures go to LABYRINTH_STATS_FILE */
}

/* One thread and no child: libc makes calls of its own for those. */
static void
of_all(void *unused)
{
	int calls[LENGTH(listed) + 2] = {SYS_exit_group, SYS_rt_sigreturn};

	(void)unused;
	memcpy(calls + 2, listed, sizeof listed);
	if (!filter_allow((struct filter_range){0, 0}, calls, 2 + listed_count()))
		refused_here();
	load_blocks(5);
	load_moves();
	load_trim();
	load_rest();
	use_reserve();
	malloc_stats();
	_exit(0);
}

int
main(int argc, char **argv)
{
	has_thread = argc > 1 && strcmp(argv[argc - 1], "background") == 0;
	load_start(argc - has_thread, argv, 600);
	REQUIRE(filter_library().from != filter_library().to);
	current_scenario = "calls of the library";
	if (!process_in_child(of_library, NULL))
		return SKIPPED;
	current_scenario = "calls of all";
	if (!has_thread) /* which is one that libc starts */
		(void)process_in_child(of_all, NULL);
	return end_test();
}
