/*
 * linux.c - the os layer: each call does what os.h says, and none touches errno.
 *
 * Clauses: G7.1.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "trace.h"

enum { KEPT = 7777 };

Test(os, memory_is_mapped_protected_purged_and_extended)
{
	const size_t size = 16 * LAB_OS_PAGE_SIZE;

	errno = KEPT;
	char *p = lab_os.map(size, LAB_ACCESS_NONE);
	cr_assert(p);
	cr_assert(lab_os.protect(p, size, LAB_ACCESS_WRITE));
	cr_assert(trace_is_zero(p, size));
	trace_fill(p, size, 1);
	cr_assert(lab_os.protect(p, size, LAB_ACCESS_READ));
	cr_assert(trace_reads_as(p, size, size, 1));
	cr_assert(lab_os.protect(p, size, LAB_ACCESS_WRITE));

	char *q = lab_os.map(size, LAB_ACCESS_WRITE);
	cr_assert(q);
	memset(q, 1, size);
	p = lab_os.extend(p, size, 3 * size);
	cr_assert(p);
	cr_assert(trace_reads_as(p, size, size, 1));
	cr_assert(trace_is_zero(p + size, 2 * size));
	memset(p + size, 1, 2 * size);

	cr_assert(lab_os.purge(q, size));
	cr_assert(trace_is_zero(q, size));
	cr_assert(lab_os.unmap(p, 3 * size));
	cr_assert(lab_os.unmap(q, size));
	cr_assert(!lab_os.is_readable((uintptr_t)p, (uintptr_t)p + size));
	cr_assert_eq(errno, KEPT);
}

Test(os, failures_are_told_and_leave_errno)
{
	errno = KEPT;
	cr_assert_null(lab_os.map(SIZE_MAX / 2, LAB_ACCESS_WRITE));
	cr_assert(!lab_os.protect((void *)LAB_OS_PAGE_SIZE, LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE));
	cr_assert(!lab_os.purge((char *)LAB_OS_PAGE_SIZE + 1, LAB_OS_PAGE_SIZE));
	cr_assert_null(lab_os.extend((void *)LAB_OS_PAGE_SIZE, LAB_OS_PAGE_SIZE, 2 * LAB_OS_PAGE_SIZE));
	cr_assert(!lab_os.unmap((char *)LAB_OS_PAGE_SIZE + 1, LAB_OS_PAGE_SIZE));
	cr_assert(lab_os.may_commit(LAB_OS_PAGE_SIZE));
	cr_assert(!lab_os.may_commit(SIZE_MAX / 2));
	cr_assert_eq(errno, KEPT);
}

/* Whatever a limit that was lowered makes of it. (RLIMIT_DATA 0 means none to the kernel.) */
Test(os, a_mapping_over_a_limit_is_not_extended)
{
	static const int resources[] = {RLIMIT_AS, RLIMIT_DATA};
	const size_t size = 1024 * LAB_OS_PAGE_SIZE;

	for (int i = 0; i < 2; i++) {
		struct rlimit before, none;
		char *p = lab_os.map(size, LAB_ACCESS_WRITE);
		trace_fill(p, size, 1);
		cr_assert_eq(getrlimit((__rlimit_resource_t)resources[i], &before), 0);
		none = (struct rlimit){1, before.rlim_max};
		cr_assert_eq(setrlimit((__rlimit_resource_t)resources[i], &none), 0);
		void *extended = lab_os.extend(p, size, 2 * size);
		cr_assert_eq(setrlimit((__rlimit_resource_t)resources[i], &before), 0);
		cr_assert_null(extended);
		cr_assert(trace_reads_as(p, size, size, 1));
	}
}

static volatile sig_atomic_t handled;

static void
count_signal(int signal)
{
	(void)signal;
	handled = handled + 1;
}

Test(os, signals_that_are_held_come_later_and_those_of_instructions_at_once)
{
	signal(SIGUSR1, count_signal);
	signal(SIGTRAP, count_signal);
	uint64_t outer = lab_os_hold_signals(), inner = lab_os_hold_signals();
	cr_assert_eq(raise(SIGUSR1), 0);
	cr_assert_eq(handled, 0);
	cr_assert_eq(raise(SIGTRAP), 0);
	cr_assert_eq(handled, 1);
	lab_os_release_signals(inner);
	cr_assert_eq(handled, 1, "as it was before");
	lab_os_release_signals(outer);
	cr_assert_eq(handled, 2);
}

Test(os, holes_and_guard_pages_cannot_be_read)
{
	enum { PAGES = 700 };
	char *p = lab_os.map(PAGES * LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE);
	uintptr_t low = (uintptr_t)p, high = low + PAGES * LAB_OS_PAGE_SIZE;

	cr_assert(lab_os.is_readable(low, high));
	cr_assert(lab_os.is_readable(low + 5, low + 6));
	lab_os.unmap(p + 600 * LAB_OS_PAGE_SIZE, LAB_OS_PAGE_SIZE);
	cr_assert(lab_os.protect(p + 300 * LAB_OS_PAGE_SIZE, LAB_OS_PAGE_SIZE, LAB_ACCESS_NONE));
	for (uintptr_t bad = 300; bad <= 600; bad += 300) {
		cr_assert(!lab_os.is_readable(low + (bad - 5) * LAB_OS_PAGE_SIZE, low + (bad + 5) * LAB_OS_PAGE_SIZE));
		cr_assert(
		        !lab_os.is_readable(low + (bad - 1) * LAB_OS_PAGE_SIZE + 1, low + bad * LAB_OS_PAGE_SIZE + 1));
		cr_assert(lab_os.is_readable(low + (bad - 5) * LAB_OS_PAGE_SIZE + 1, low + bad * LAB_OS_PAGE_SIZE));
		cr_assert(lab_os.is_readable(low + (bad + 1) * LAB_OS_PAGE_SIZE, low + (bad + 5) * LAB_OS_PAGE_SIZE));
	}
}

static void *
tell_tid(void *tid)
{
	*(uint32_t *)tid = lab_os_tid();
	return NULL;
}

static void *
tell_tid_to_write(void *tid)
{
	*(uint32_t *)tid = lab_os_tid_to_write();
	return NULL;
}

/* By the word for which pthread_join waits: so there is nothing to wait for after it. INV-END-1. */
Test(os, the_end_of_a_noted_thread_is_seen_at_once)
{
	enum { THREADS = 200 };
	pthread_t threads[THREADS];
	uint32_t tids[THREADS];

	lab_os_learn_threads();
	cr_assert_not(lab_os.thread_is_dead(lab_os_tid_to_write()));
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, tell_tid_to_write, &tids[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		cr_assert(lab_os.thread_is_dead(tids[i]), "pthread_join has waited for the same word");
	}
	cr_assert_not(lab_os.thread_is_dead(lab_os_tid()));
}

/* A child that shares memory, but has no word of its own, is asked for by its id: also if an ended thread had the id.
 * INV-END-2. */
Test(os, a_child_that_shares_memory_is_not_taken_for_its_parent)
{
	pid_t child = vfork();

	if (child == 0) {
		uint32_t tid = lab_os_tid_to_write();
		_exit(tid == (uint32_t)getpid() && !lab_os.thread_is_dead(tid) &&
		                      !lab_os.thread_is_dead((uint32_t)getppid())
		              ? 0
		              : 1);
	}
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	cr_assert_not(lab_os.thread_is_dead(lab_os_tid_to_write()));
}

/* ---- who lies where another lay: INV-END-3 ---- */

enum { STACK = 64 * 1024 };
static char stack_of_thread[STACK] __attribute__((aligned(4096)));

static void
run_on_that_stack(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	cr_assert_eq(pthread_attr_init(&attributes), 0);
	cr_assert_eq(pthread_attr_setstack(&attributes, stack_of_thread, STACK), 0);
	cr_assert_eq(pthread_create(&thread, &attributes, run, argument), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	(void)pthread_attr_destroy(&attributes);
}

static uint32_t earlier, of_main;

static void *
judge_predecessor(void *unused)
{
	uint32_t tid = lab_os_tid_to_write();

	cr_assert(lab_os_is_libc_thread(tid));
	cr_assert(!lab_os_is_libc_thread(earlier) && !lab_os_is_libc_thread(of_main));
	cr_assert(lab_os_is_dead_predecessor(earlier) && lab_os.thread_is_dead(earlier));
	cr_assert_not(lab_os_is_dead_predecessor(tid));
	cr_assert_not(lab_os_is_dead_predecessor(of_main), "it lies elsewhere");
	return unused;
}

Test(os, who_lies_where_another_lay_has_outlived_it)
{
	lab_os_learn_threads();
	of_main = lab_os_tid_to_write();
	run_on_that_stack(tell_tid_to_write, &earlier);
	cr_assert_not(lab_os_is_dead_predecessor(earlier), "it lay elsewhere");
	run_on_that_stack(judge_predecessor, NULL);
}

static _Atomic uint32_t running;
static int outcome;

static bool
parent_counts_as_alive(void)
{
	uint32_t tid = lab_os_tid();

	return tid != of_main && !lab_os_is_libc_thread(tid) && !lab_os_is_dead_predecessor(of_main) &&
	       !lab_os.thread_is_dead(of_main);
}

/* Of libc it touches nothing: the thread pointer is another's. */
static int
judge_parent(void *unused)
{
	(void)unused;
	outcome = parent_counts_as_alive() && lab_os_tid_to_write() != of_main && parent_counts_as_alive();
	return 0;
}

static void
check_raw_clone(int flags)
{
	outcome = -1;
	running = 1;
	cr_assert_gt(clone(judge_parent, stack_of_thread + STACK, flags | CLONE_VM | CLONE_CHILD_CLEARTID, NULL, NULL,
	                   (void *)lab_thread_pointer(), &running),
	             0);
	while (running)
		usleep(100);
	cr_assert_eq(outcome, 1);
	cr_assert(lab_os_is_libc_thread(of_main) && !lab_os.thread_is_dead(of_main));
}

Test(os, who_lies_where_another_lives_has_not_outlived_it)
{
	const int of_threads = CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	lab_os_learn_threads();
	of_main = lab_os_tid_to_write();
	check_raw_clone(of_threads);
	check_raw_clone(of_threads | CLONE_SETTLS);
	check_raw_clone(SIGCHLD);
	check_raw_clone(SIGCHLD | CLONE_SETTLS);
	check_raw_clone(SIGCHLD | CLONE_VFORK);
}

Test(os, a_thread_is_dead_soon_after_it_ended)
{
	pthread_t thread;
	uint32_t tid = 0;
	bool dead = false;

	cr_assert(!lab_os.thread_is_dead(lab_os_tid()));
	cr_assert_eq(pthread_create(&thread, NULL, tell_tid, &tid), 0);
	pthread_join(thread, NULL);
	cr_assert_neq(tid, lab_os_tid());
	for (int i = 0; i < 1000000 && !dead; i++) {
		dead = lab_os.thread_is_dead(tid);
		usleep(100);
	}
	cr_assert(dead);
	cr_assert_eq(lab_os_tid(), (uint32_t)gettid());
	cr_assert_eq(lab_os_pid(), (uint32_t)getpid());
}

static volatile int seen_on_alternate = -1;

static bool
on_alternate_stack(void)
{
	struct lab_os_stack stack;

	return lab_os_alternate_stack(&stack) && stack.running;
}

static void
look(int signal)
{
	(void)signal;
	seen_on_alternate = on_alternate_stack();
}

Test(os, the_alternate_stack_is_recognised)
{
	static char stack[1 << 16];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_handler = look};

	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	cr_assert_eq(seen_on_alternate, 0);
	sigaltstack(&alternate, NULL);
	raise(SIGUSR1);
	cr_assert_eq(seen_on_alternate, 0, "registered, but not used");
	action.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	cr_assert_eq(seen_on_alternate, 1);
	cr_assert(!on_alternate_stack());
	struct lab_os_stack known;
	cr_assert(lab_os_alternate_stack(&known));
	cr_assert_eq(known.low, (uintptr_t)stack);
	cr_assert_eq(known.size, sizeof stack);
}

Test(os, a_page_is_wiped_on_fork)
{
	uint64_t *page = lab_os_map_wiped_on_fork();
	int status;

	cr_assert(page);
	*page = 1;
	pid_t child = fork();
	if (child == 0)
		_exit(*page == 0 ? 0 : 1);
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert_eq(*page, 1);
}

Test(os, limits_clock_stack_and_environment)
{
	struct rlimit limit = {.rlim_cur = (rlim_t)1 << 40, .rlim_max = RLIM_INFINITY};
	char local;

	cr_assert_gt(lab_os_main_stack_top(), (uintptr_t)&local);
	uint64_t before = lab_os.clock_ms();
	usleep(30000);
	uint64_t after = lab_os.clock_ms();
	cr_assert(after - before >= 15 && after - before < 1000000);

	cr_assert_eq(setenv("LABYRINTH_TEST_X", "y=z", 1), 0);
	size_t at = 0;
	cr_assert_str_eq(lab_os_environment_next("LABYRINTH_TEST_X=", &at), "LABYRINTH_TEST_X=y=z");
	cr_assert_null(lab_os_environment_next("LABYRINTH_TEST_X=", &at));
	at = 0;
	cr_assert_null(lab_os_environment_next("LABYRINTH_TEST=", &at), "a prefix is another name");
#if !defined(__SANITIZE_ADDRESS__) /* its shadow needs more */
	cr_assert_eq(lab_os_address_space_limit(), SIZE_MAX);
	setrlimit(RLIMIT_AS, &limit);
	cr_assert_eq(lab_os_address_space_limit(), (size_t)1 << 40);
#else
	(void)limit;
#endif
}

static void
write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	REQUIRE(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

Test(os, files_are_appended_to)
{
	char path[] = "/tmp/labyrinth-os-XXXXXX", text[32] = "";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	write_file(path, "one\n");
	lab_os_append(path, "two\n", 4);
	lab_os_append("/no/such/folder/file", "x", 1);
	cr_assert_eq(pread(fd, text, sizeof text - 1, 0), 8);
	cr_assert_str_eq(text, "one\ntwo\n");
	unlink(path);
}

static _Atomic uint32_t sleepers_word;

static void *
sleep_on_word(void *slices)
{
	while (sleepers_word == 1) {
		lab_os.wait(&sleepers_word, 1, 20000);
		++*(_Atomic unsigned *)slices;
	}
	return NULL;
}

Test(os, waits_end_by_a_wake_by_time_and_if_there_is_nothing_to_wait_for, .timeout = 200)
{
	_Atomic unsigned slices = 0;
	pthread_t threads[3];

	sleepers_word = 1;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, sleep_on_word, (void *)&slices);
	errno = KEPT;
	uint64_t start = lab_os.clock_ms();
	lab_os.wait(&sleepers_word, 1, 50);
	cr_assert_geq(lab_os.clock_ms() - start, 40); /* the clock is coarse */
	lab_os.wait(&sleepers_word, 0, 20000);
	sleepers_word = 0;
	lab_os_wake(&sleepers_word);
	cr_assert_eq(errno, KEPT);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	cr_assert_leq(slices, 3 + 3);
}

Test(os, files_are_read_as_text)
{
	char path[] = "/tmp/labyrinth-os-XXXXXX", text[8];

	close(mkstemp(path));
	write_file(path, "0123456789");
	cr_assert_eq(lab_os.read_file(path, text, sizeof text), 7);
	cr_assert_str_eq(text, "0123456");
	write_file(path, "abc");
	cr_assert_eq(lab_os.read_file(path, text, sizeof text), 3);
	cr_assert_str_eq(text, "abc");
	cr_assert_eq(lab_os.read_file("/no/such/file", text, sizeof text), 0);
	cr_assert_str_eq(text, "");
	unlink(path);
}

Test(os, pages_are_marked_and_renewed)
{
	enum { SIZE = 4 * 4096 };
	char *p = lab_os.map(SIZE, LAB_ACCESS_WRITE);

	errno = 7777;
	cr_assert(lab_os.mark(p, SIZE, LAB_MARK_LOCKED | LAB_MARK_NOFORK | LAB_MARK_NOMERGE));
	memset(p, 1, SIZE);
	cr_assert(lab_os.renew(p + 4096, SIZE / 2));
	cr_assert_eq(p[0], 1);
	cr_assert(trace_is_zero(p + 4096, SIZE / 2));
	cr_assert_eq(p[SIZE - 1], 1);
	lab_os.unmap(p, SIZE);
	cr_assert_not(lab_os.mark(p, SIZE, LAB_MARK_NOFORK), "nothing is there");
	cr_assert_not(lab_os.renew(p + 1, SIZE), "no page begins there");
	cr_assert_eq(errno, 7777);
}

/* New pages cannot be had then: the marks are taken away all the same. */
Test(os, marks_are_undone_over_a_limit)
{
	enum { SIZE = 4 * 4096 };
	struct rlimit before, none;
	char *p = lab_os.map(SIZE, LAB_ACCESS_WRITE);

	cr_assert(lab_os.mark(p, SIZE, LAB_MARK_LOCKED | LAB_MARK_NOFORK));
	memset(p, 1, SIZE);
	cr_assert_eq(getrlimit(RLIMIT_AS, &before), 0);
	none = (struct rlimit){1, before.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	bool renewed = lab_os.renew(p, SIZE);
	cr_assert_eq(setrlimit(RLIMIT_AS, &before), 0);
	cr_assert(renewed);
	cr_assert(lab_os.purge(p, SIZE), "locked pages refuse that");
	memset(p, 1, SIZE);
	pid_t child = fork();
	if (child == 0)
		_exit(p[0] == 1 ? 0 : 1);
	int status = -1;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "it is inherited again");
}

/* From now on madvise is answered with success, and does nothing. */
static void
pretend_madvise(void)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof code / sizeof *code, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		cr_skip_test("no filter is allowed here");
}

/* As emulators do. */
Test(os, pages_that_did_not_go_are_not_believed_to_have_gone)
{
	enum { SIZE = 4 * 4096 };
	char *p = lab_os.map(SIZE, LAB_ACCESS_WRITE);

	pretend_madvise();
	for (unsigned i = 0; i < 3; i++) {
		trace_fill(p, SIZE, i);
		cr_assert_not(lab_os.purge(p, SIZE));
		cr_assert(trace_reads_as(p, SIZE, SIZE, i), "unchanged");
	}
}

/* So of those that were moved, where that is known of the others: they are not moved then, and new ones come by another
 * way. */
Test(os, pages_that_would_not_go_are_not_moved)
{
	enum { SIZE = 4 * 4096 };
	char *p = lab_os.map(SIZE, LAB_ACCESS_WRITE);

	/* something lies behind it: there is no room where it is */
	cr_assert_neq(mmap(p + SIZE, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
	cr_assert(lab_os.purge(p, SIZE));
	pretend_madvise();
	trace_fill(p, SIZE, 1);
	cr_assert_null(lab_os.extend(p, SIZE, 64 * SIZE));
	cr_assert(trace_reads_as(p, SIZE, SIZE, 1));
	cr_assert(lab_os.renew(p + 4096, SIZE / 2));
	cr_assert(trace_reads_as(p, 4096, SIZE, 1));
	cr_assert(trace_is_zero(p + 4096, SIZE / 2));
}

static _Atomic uint32_t gate;

static void *
open_gate(void *of)
{
	usleep(20000);
	gate = 1;
	lab_os_wake(&gate);
	return of;
}

Test(os, a_wait_ends_by_its_time_by_a_wake_or_by_the_value)
{
	pthread_t thread;
	uint64_t start = lab_os.clock_ms();

	lab_os.wait(&gate, 5, 60000);
	lab_os.wait(&gate, 0, 20);
	cr_assert(lab_os.clock_ms() - start >= 15 && lab_os.clock_ms() - start < 10000);
	pthread_create(&thread, NULL, open_gate, NULL);
	while (gate == 0)
		lab_os.wait(&gate, 0, 60000);
	cr_assert_lt(lab_os.clock_ms() - start, 20000);
	pthread_join(thread, NULL);
}

Test(os, threads_of_this_process)
{
	cr_assert(lab_os.has_thread(lab_os_tid()));
	cr_assert_not(lab_os.has_thread(0));
	cr_assert_not(lab_os.has_thread(1), "another process");
	cr_assert_not(lab_os.has_thread(4194303));
}
