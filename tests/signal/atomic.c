/*
 * atomic.c - the atomic tier makes no system call and no page fault, changes no errno, gives what it promises and then
 * NULL.
 *
 * System calls: in a child under a seccomp filter that kills on any call but rt_sigreturn and exit_group, the whole
 * reserve is claimed, written, and released, by the program and by a handler (of SIGTRAP, raised by an instruction).
 * Page faults: the thread's counters, over the same, at first, after a fork and a _Fork with the child alive, after
 * vfork, and after their end. A thread's share likewise. What lab_reserve_info says in a child.
 *
 * Clauses: G1.3, G4.1, G4.2, G6.3.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "support.h"

pid_t _Fork(void);

enum { SLOTS_MAX = 1 << 16, ROUNDS = 3, SHARE = 40, SHARE_SIZE = 512 };

static void *slots[SLOTS_MAX];
static size_t in_handler;

static void
faults(long *minor, long *major)
{
	struct rusage usage;

	REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
	*minor = usage.ru_minflt;
	*major = usage.ru_majflt;
}

/* All slots of a class: each is written whole. Returns how many there were. */
static size_t
claim_class(size_t size, size_t from)
{
	size_t count = 0;
	void *p;

	while ((p = tier.alloc(size, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN)) != NULL) {
		if ((uintptr_t)p % size != 0 || tier.usable_size(p) < size)
			fail("a slot is not aligned to its size", (uintptr_t)p, size);
		memset(p, (int)(from + count), size);
		REQUIRE(from + count < SLOTS_MAX);
		slots[from + count++] = p;
	}
	return count;
}

/* Largest first, so that nothing that is rounded up comes in between; everything is released. */
static size_t
claim_all(void)
{
	size_t count = 0;

	for (size_t size = 65536; size >= 32; size /= 2)
		count += claim_class(size, count);
	REQUIRE(tier.alloc(32, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN) == NULL);
	for (size_t i = 0; i < count; i++)
		tier.release(slots[i]);
	return count;
}

static void
some_calls(void)
{
	char *p = tier.alloc(200, LAB_GFP_ATOMIC | LAB_GFP_ZERO), *q;

	REQUIRE(p != NULL && p[0] == 0 && p[199] == 0);
	memset(p, 7, 200);
	q = tier.realloc(p, 3000, LAB_GFP_ATOMIC);
	REQUIRE(q != NULL && q[199] == 7);
	p = tier.alloc_aligned(4096, 100, LAB_GFP_ATOMIC);
	REQUIRE(p != NULL && (uintptr_t)p % 4096 == 0);
	tier.release(p);
	tier.release(q);
	p = tier.alloc_pages(LAB_GFP_ATOMIC, 1);
	REQUIRE(p != NULL && (uintptr_t)p % 8192 == 0);
	tier.free_pages(p, 1);
	REQUIRE(tier.alloc(65537, LAB_GFP_ATOMIC | LAB_GFP_NOWARN) == NULL);
	REQUIRE(tier.alloc(SIZE_MAX, LAB_GFP_ATOMIC | LAB_GFP_NOWARN) == NULL);
	tier.release(NULL);
}

static void
everything(void)
{
	errno = 4711;
	for (int i = 0; i < ROUNDS; i++) {
		some_calls();
		claim_all();
	}
	REQUIRE(errno == 4711);
}

static void
on_trap(int number)
{
	(void)number;
	in_handler++;
	everything();
}

/* As an instruction: raise() is a system call. */
static inline void
trap(void)
{
#if defined(__x86_64__)
	__asm__ volatile("int3");
#elif defined(__aarch64__)
	/* brk comes back to itself: the handler would have to step over it */
	on_trap(SIGTRAP);
#endif
}

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void
forbid_system_calls(void)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        ALLOW(SYS_rt_sigreturn),
	        ALLOW(SYS_exit_group),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};

	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* The child's exit status, or its signal + 128. */
static int
run_child(void (*body)(void))
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		body();
		syscall(SYS_exit_group, 0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) ? WTERMSIG(status) + 128 : WEXITSTATUS(status);
}

static void
filtered(void)
{
	forbid_system_calls();
	everything();
	trap();
	if (in_handler == 0)
		syscall(SYS_exit_group, 3);
}

static void
filtered_malloc(void)
{
	forbid_system_calls();
	free(malloc((size_t)64 << 20));
}

static void
no_system_call(void)
{
	current_scenario = "no system call";
	int status = run_child(filtered);
	if (status != 0)
		fail("a call of the atomic tier made a system call: status", (uintptr_t)status, 0);
	if (run_child(filtered_malloc) != SIGSYS + 128)
		fail("the filter does not notice malloc's system calls", 0, 0);
}

static void
no_fault_now(const char *when)
{
	long minor, major, minor_after, major_after;

	current_scenario = when;
	everything(); /* the stack and this program's own pages are written once */
	faults(&minor, &major);
	faults(&minor, &major);
	everything();
	faults(&minor_after, &major_after);
	if (minor_after != minor || major_after != major)
		fail("page faults: minor, major", (uintptr_t)(minor_after - minor), (uintptr_t)(major_after - major));
}

/* The child's reserve is what the header says: copied, until a slow call of the normal tier has made it the child's
 * own. */
static int
look_as_child(void)
{
	struct lab_reserve_info info;

	tier.reserve_info(&info);
	if (info.mode != LAB_RESERVE_COPIED || strcmp(info.why, "forked") != 0)
		return 1;
	void *slot = tier.alloc(64, LAB_GFP_ATOMIC);
	if (!slot)
		return 2;
	tier.release(slot);
	free(malloc(100000));
	tier.reserve_info(&info);
	return info.mode == LAB_RESERVE_STRICT || info.mode == LAB_RESERVE_POPULATED ? 0 : 3;
}

static pid_t
raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, 0L);
}

static void
state_in_child(pid_t (*make_child)(void), const char *name)
{
	int status;

	current_scenario = name;
	pid_t child = make_child();
	REQUIRE(child >= 0);
	if (child == 0)
		_exit(look_as_child());
	REQUIRE(waitpid(child, &status, 0) == child);
	if (status != 0)
		fail("the child's reserve: exit status", (uintptr_t)status >> 8, (uintptr_t)status & 0x7f);
}

/* As vfork's child copies nothing there is nothing to be made good: shown all the same. */
static void
no_fault_after_vfork(void)
{
	long minor, major, minor_after, major_after;
	int status;

	current_scenario = "no page fault after vfork";
	everything();
	faults(&minor, &major);
	pid_t child = vfork();
	if (child == 0)
		_exit(0);
	REQUIRE(child > 0);
	faults(&minor, &major);
	everything();
	faults(&minor_after, &major_after);
	REQUIRE(waitpid(child, &status, 0) == child && status == 0);
	if (minor_after != minor || major_after != major)
		fail("page faults: minor, major", (uintptr_t)(minor_after - minor), (uintptr_t)(major_after - major));
}

/* After fork, before anything else is touched, but for the test's own pages: they are locked and shared with the child
 * no more. */
static void
no_fault_after_fork(pid_t (*make_child)(void), const char *name)
{
	long minor, major, minor_after, major_after;
	int pipe_ends[2], status;
	char byte = 0;

	current_scenario = name;
	REQUIRE(pipe(pipe_ends) == 0);
	pid_t child = make_child();
	REQUIRE(child >= 0);
	if (child == 0) {
		close(pipe_ends[1]);
		(void)!read(pipe_ends[0], &byte, 1);
		_exit(0);
	}
	touch_own_pages(slots, sizeof slots);
	faults(&minor, &major);
	faults(&minor, &major);
	everything();
	faults(&minor_after, &major_after);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	REQUIRE(waitpid(child, &status, 0) == child);
	if (minor_after != minor || major_after != major)
		fail("page faults: minor, major", (uintptr_t)(minor_after - minor), (uintptr_t)(major_after - major));
}

/* The slots of this thread's share come first, and are as good. */
static void
share(void)
{
	size_t before, after;

	current_scenario = "share";
	before = claim_all();
	REQUIRE(tier.reserve_thread(SHARE_SIZE, SHARE));
	after = claim_all();
	if (after != before + SHARE)
		fail("slots with a share, without", after, before);
	no_fault_now("share, no page fault");
	REQUIRE(tier.reserve_thread(SHARE_SIZE, 0));
	REQUIRE(claim_all() == before);
}

int
main(int argc, char **argv)
{
	struct lab_reserve_info info;

	start_test(argc, argv, 600);
	find_tier();
	signal(SIGTRAP, on_trap);
	tier.reserve_info(&info);
	printf("reserve: %zu bytes, mode %d (%s)\n", info.total, (int)info.mode, info.why);
	REQUIRE(info.mode == LAB_RESERVE_STRICT || info.mode == LAB_RESERVE_POPULATED);
	REQUIRE((info.why[0] == 0) == (info.mode == LAB_RESERVE_STRICT));
	printf("%zu slots\n", claim_all());
	no_fault_now("no page fault");
	no_fault_after_fork(fork, "no page fault after fork");
	no_fault_after_fork(_Fork, "no page fault after _Fork");
	no_fault_after_vfork();
	state_in_child(fork, "state after fork");
	state_in_child(_Fork, "state after _Fork");
	state_in_child(raw_clone, "state after a raw clone");
	no_fault_now("no page fault after the child's end");
	share();
	no_system_call();
	tier.reserve_info(&info);
	REQUIRE(info.used == 0 && info.failures > 0);
	return end_test();
}
