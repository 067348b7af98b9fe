/*
 * backing.c - the reserve's memory: settings, populating and locking and their failures, growth and shrink, the
 * callback, fork. Run without LABYRINTH_RESERVE: the constructor has made the default one, which the tests look at, or
 * replace by one of their own.
 *
 * Clauses: G4.2, G6.5.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/background.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "backing/backing.h"
#include "backing/settings.h"
#include "trace.h"
#include "world.h"

extern const ptrdiff_t __rseq_offset __attribute__((weak)); /* since glibc 2.35, in sys/rseq.h */

enum { ATOMIC_ALL = (int)(LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC), BLOCKS = 4000 };

static void *blocks[BLOCKS];
static size_t count;

/* As the constructor does it, once more: what was installed before is forgotten. */
static void
start_again(void)
{
	lab_reserve = (struct lab_reserve){.installed = false};
	lab_backing_start();
}

static struct lab_reserve_info
info(void)
{
	struct lab_reserve_info now;

	lab_reserve_info(&now);
	return now;
}

static struct lab_reserve_class
class_of(size_t size)
{
	struct lab_reserve_class class;

	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		if (class.size == size)
			return class;
	REQUIRE(false);
	return class;
}

static size_t
take(size_t size, size_t n)
{
	size_t got = 0;

	for (void *p; got < n && (p = lab_alloc(size, (unsigned)ATOMIC_ALL)) != NULL; got++) {
		REQUIRE(count < BLOCKS);
		*(char *)p = 1;
		blocks[count++] = p;
	}
	return got;
}

static size_t
take_everything(void)
{
	size_t got = 0;

	for (size_t size = 32; size <= 65536; size *= 2)
		got += take(size, SIZE_MAX);
	return got;
}

static void
give_everything(void)
{
	while (count > 0)
		lab_free(blocks[--count]);
}

static void
slow_call(void)
{
	lab_free(lab_malloc((size_t)5 << 20));
}

Test(backing, the_default_is_there_from_the_start)
{
	struct lab_reserve_info now = info();

	cr_assert(now.mode == LAB_RESERVE_STRICT || (now.mode == LAB_RESERVE_POPULATED && *now.why));
	cr_assert(now.total > (300 << 10) && now.total < (350 << 10) && now.used == 0 && now.grown == 0);
	cr_assert_eq(now.limit, 4 * now.total);
	cr_assert_eq(class_of(64).slots, 128);
	cr_assert_eq(class_of(65536).slots, 1);
	cr_assert(!lab_reserve_class_get(12, &(struct lab_reserve_class){0}));
}

/* What is written to for the test is there, or copied after a fork: its array, the stack as far down as it may go, and
 * the thread's rseq(2) area, in which the kernel notes that it has taken the processor away. */
static LAB_NOINLINE void
touch_own_pages(void)
{
	volatile char below[64 << 10];

	for (size_t i = 0; i < sizeof below; i += 1024)
		below[i] = 1;
	memset(blocks, 1, sizeof blocks);
	if (&__rseq_offset)
		atomic_fetch_or((_Atomic uint32_t *)((uintptr_t)pthread_self() + (uintptr_t)__rseq_offset), 0);
}

static long
minor_faults(void)
{
	struct rusage usage;

	REQUIRE(getrusage(RUSAGE_SELF, &usage) == 0);
	return usage.ru_minflt;
}

/* G4. The first round is for the test's own pages. */
static void
check_that_nothing_faults(void)
{
	take_everything();
	give_everything();
	long before = minor_faults();
	take_everything();
	give_everything();
	cr_assert_eq(minor_faults(), before);
}

Test(backing, no_slot_faults)
{
	touch_own_pages();
	long before = minor_faults();
	size_t got = take_everything();
	cr_assert_eq(minor_faults(), before, "the first touch of %zu slots", got);
	give_everything();
}

Test(backing, in_the_parent_nothing_faults_after_fork)
{
	memset(blocks, 1, sizeof blocks);
	(void)minor_faults();
	take(64, 1);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	count = 0;
	touch_own_pages();
	long before = minor_faults();
	before = minor_faults();
	size_t got = take_everything();
	long after = minor_faults();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_assert_eq(after, before, "%zu slots", got);
	give_everything();
	check_that_nothing_faults();
}

static void
be_a_child(void)
{
	REQUIRE(info().mode == LAB_RESERVE_COPIED);
	REQUIRE(take(64, 1) == 1);
	REQUIRE(info().mode == LAB_RESERVE_COPIED);
	slow_call();
	REQUIRE(info().mode != LAB_RESERVE_COPIED);
	long before = minor_faults();
	before = minor_faults();
	take(4096, 8);
	REQUIRE(minor_faults() == before);
}

static void
check_child(void (*call)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		call();
		_exit(0);
	}
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
use_and_call_slowly(void)
{
	long before;

	touch_own_pages();
	slow_call();
	before = minor_faults();
	before = minor_faults();
	take(4096, 8);
	REQUIRE(minor_faults() == before);
}

Test(backing, a_child_makes_its_copies_in_its_first_slow_call)
{
	take(64, 1);
	check_child(be_a_child);
	check_child(use_and_call_slowly);
}

Test(backing, a_child_that_begins_to_use_the_reserve_makes_its_copies_in_the_next_slow_call)
{
	check_child(be_a_child);
}

enum { FEW_FAULTS = 50 }; /* the slots of the reserve are 81 pages */

static void
do_not_use(void)
{
	long before = minor_faults();

	slow_call();
	slow_call();
	REQUIRE(minor_faults() - before < FEW_FAULTS);
}

Test(backing, where_the_reserve_is_not_in_use_forks_copy_nothing)
{
	check_child(do_not_use);
	long before = minor_faults();
	for (int i = 0; i < 4; i++) {
		check_child(do_not_use);
		slow_call();
	}
	long faults = minor_faults() - before;
	cr_assert_lt(faults, 4 * FEW_FAULTS);
	take(64, 1);
	slow_call();
	check_that_nothing_faults();
	cr_assert_neq(info().mode, LAB_RESERVE_COPIED);
}

static size_t
locked_bytes(void)
{
	char buffer[4096] = "";
	size_t kib = 0;

	(void)lab_os.read_file("/proc/self/status", buffer, sizeof buffer);
	const char *line = strstr(buffer, "VmLck:");
	REQUIRE(line && sscanf(line, "VmLck: %zu", &kib) == 1);
	return kib << 10;
}

static void
limit_locks(size_t bytes)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	limit.rlim_cur = bytes;
	REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

/* RLIMIT_MEMLOCK is the program's. */
Test(backing, at_most_a_quarter_of_the_limit_is_locked)
{
	static const size_t limits[] = {0, 64 << 10, 512 << 10, 1024 << 10, 1200 << 10, 2 << 20, 4 << 20};
	struct rlimit limit;
	bool was_locked = false;

	REQUIRE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	for (unsigned i = 0; i < sizeof limits / sizeof *limits && limits[i] <= limit.rlim_max; i++) {
		REQUIRE(munlockall() == 0);
		world_install();
		limit_locks(limits[i]);
		start_again();
		size_t locked = locked_bytes();
		cr_assert_leq(locked, limits[i] / 4);
		cr_assert_eq(locked == 0, world.locks == 0, "what is not to be locked is not tried");
		cr_assert_eq(info().mode, locked > 0 ? LAB_RESERVE_STRICT : LAB_RESERVE_POPULATED);
		cr_assert(locked > 0 || strstr(info().why, "RLIMIT_MEMLOCK"));
		check_that_nothing_faults();
		cr_assert(!was_locked || locked > 0);
		was_locked = locked > 0;
	}
	cr_assert(was_locked || limit.rlim_max < limits[6]);
}

Test(backing, what_is_not_locked_as_a_whole_is_not_locked)
{
	lab_backing_settings.lock = LAB_LOCK_ALWAYS;
	for (size_t left = 0; left < 2; left++) {
		REQUIRE(munlockall() == 0);
		world_install();
		world.locks_left = left;
		start_again();
		cr_assert_eq(locked_bytes(), 0);
		cr_assert_gt(world.locks, left);
		cr_assert_eq(info().mode, LAB_RESERVE_POPULATED);
	}
}

Test(backing, a_share_beyond_the_quarter_is_not_locked)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	if (limit.rlim_max < (size_t)4 << 20)
		cr_skip_test("RLIMIT_MEMLOCK");
	REQUIRE(munlockall() == 0);
	limit_locks((size_t)4 << 20);
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_STRICT);
	size_t before = locked_bytes();
	cr_assert(lab_reserve_thread(4096, 16));
	cr_assert_eq(info().mode, LAB_RESERVE_STRICT);
	cr_assert_geq(locked_bytes(), before + 16 * 4096);
	cr_assert(lab_reserve_thread(4096, 512));
	cr_assert_eq(info().mode, LAB_RESERVE_POPULATED);
	cr_assert_leq(locked_bytes(), (size_t)1 << 20);
	check_that_nothing_faults();
}

Test(backing, what_cannot_be_locked_is_reported)
{
	world_install();
	world.lock_fails = true;
	lab_backing_settings.lock = LAB_LOCK_ALWAYS; /* whatever the limit is */
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_POPULATED);
	cr_assert(strstr(info().why, "lock"));
	cr_assert_gt(world.locks, 0);
	check_that_nothing_faults();
}

Test(backing, what_cannot_be_populated_is_reported)
{
	world_install();
	world.populate_fails = true;
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_POPULATED);
	cr_assert(strstr(info().why, "resident"));
	cr_assert_gt(take_everything(), 400);
}

Test(backing, without_address_space_there_is_no_growth_or_no_reserve)
{
	world_install();
	start_again();
	size_t maps = world.maps;
	world.maps_left = 0;
	take_everything();
	cr_assert(!lab_reserve_balance() && info().grown == 0 && info().mode != LAB_RESERVE_NONE);
	cr_assert_gt(world.maps, maps);
	give_everything();
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_NONE);
	cr_assert(*info().why);
	cr_assert_null(lab_alloc(10, LAB_GFP_ATOMIC));
	world_install();
	struct rlimit limit;
	REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
	limit.rlim_cur = (size_t)1 << 20; /* a quarter of it is less than the reserve */
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	start_again();
	cr_assert(info().mode == LAB_RESERVE_NONE && world.maps == 0);
}

Test(backing, settings)
{
	cr_assert(lab_backing_set_classes("64:1000,4K:3,65536:2"));
	start_again();
	cr_assert_eq(class_of(64).slots, 1000);
	cr_assert_eq(class_of(4096).slots, 3);
	cr_assert_eq(class_of(65536).slots, 2);
	cr_assert_eq(class_of(128).slots, 0);
	cr_assert_geq(take(64, 1000), 1000);
	give_everything();
	lab_backing_set_size((size_t)4 << 20);
	lab_backing_settings.plan.limit = (size_t)5 << 20;
	start_again();
	cr_assert(info().total > (3900 << 10) && info().total < (4500 << 10), "%zu", info().total);
	cr_assert_eq(info().limit, (size_t)5 << 20);
	lab_backing_settings.lock = LAB_LOCK_NEVER;
	start_again();
	cr_assert_str_eq(info().why, "LABYRINTH_RESERVE_LOCK=0");
	lab_backing_set_size(0);
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_NONE);
	world_install();
	cr_assert_null(lab_alloc(10, LAB_GFP_ATOMIC));
	slow_call();
	cr_assert(world.populates == 0 && world.locks == 0, "there is nothing to hold");
}

/* What the documents call the default is what asking for it gives. */
Test(backing, default_size)
{
	const struct lab_reserve_plan *plan = &lab_backing_settings.plan, unasked = *plan;

	lab_backing_set_size((size_t)324 << 10);
	cr_assert_eq(memcmp(&unasked, plan, sizeof unasked), 0);
	cr_assert_eq(lab_reserve_plan_slots(plan), (size_t)324 << 10);
	for (size_t size = 64; size <= (size_t)1 << 20; size += 64) { /* KiB */
		lab_backing_set_size(size << 10);
		cr_assert_leq(lab_reserve_plan_slots(plan), (size << 10) + (size << 6), "%zu KiB", size);
	}
}

Test(backing, wrong_settings_change_nothing)
{
	static const char *const classes[] = {
	        "", "64", "64:", ":3", "64:3,", "63:1", "16:1", "128K:1", "64:3;", "64:99999999999", "64:3x"};
	const struct lab_backing_settings before = lab_backing_settings;

	for (unsigned i = 0; i < sizeof classes / sizeof *classes; i++)
		cr_assert(!lab_backing_set_classes(classes[i]), "%s", classes[i]);
	cr_assert_eq(memcmp(&before, &lab_backing_settings, sizeof before), 0);
	lab_backing_set_size((size_t)8000000 << 30);
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_NONE, "more than there can be");
	lab_backing_set_size((size_t)400 << 30); /* more than this machine has: nothing is made resident */
	start_again();
	cr_assert_eq(info().mode, LAB_RESERVE_NONE);
	cr_assert_str_eq(info().why, "the system has not so much memory");
}

/* ---- growth ---- */

Test(backing, a_slow_call_grows_what_is_low_and_balance_gives_it_back)
{
	struct lab_reserve_class class = class_of(1024);
	size_t before = info().total;

	take(1024, class.slots - class.low);
	slow_call();
	cr_assert_eq(info().grown, 0, "not yet low");
	take(1024, 1);
	cr_assert_eq(info().grown, 0, "an ATOMIC call grows nothing");
	errno = 77;
	slow_call();
	cr_assert_eq(errno, 77);
	cr_assert(info().grown > 0 && info().total == before + info().grown);
	cr_assert_geq(take(1024, 30), 30);
	check_that_nothing_faults();
	size_t grown = info().grown;
	cr_assert_gt(grown, 0);
	world_install();
	world.purge_fails = true;
	slow_call();
	grown = info().grown;
	(void)lab_reserve_balance();
	cr_assert_eq(info().grown, grown, "memory that is not given back stays in use");
	world.purge_fails = false;
	while (lab_reserve_balance())
		;
	cr_assert_eq(info().grown, 0);
	cr_assert(world.unlocks > 0 && world.purged >= grown);
	cr_assert_eq(info().total, before);
}

Test(backing, growth_ends_at_the_limit_and_without_memory)
{
	world_install();
	world.maps_left = 0;
	take_everything();
	cr_assert(!lab_reserve_balance());
	cr_assert_eq(info().grown, 0);
	world.maps_left = SIZE_MAX;
	world.populate_fails = true;
	take(64, 1);
	cr_assert(!lab_reserve_balance());
	cr_assert_eq(info().grown, 0);
	world.populate_fails = false;
	do
		take_everything();
	while (lab_reserve_balance());
	cr_assert(info().grown > 0 && info().total <= info().limit);
	cr_assert_eq(info().used, info().total);
	give_everything();
	cr_assert(lab_trim(0));
	cr_assert_eq(info().grown, 0);
}

/* ---- the callback ---- */

static size_t calls, last_size;

static void
count_call(void *context, size_t size)
{
	REQUIRE(context == &calls);
	calls++;
	last_size = size;
	errno = 5;
	take(512, 20); /* another class gets low while the call for another is made */
	slow_call();   /* and this is no call in a call */
}

Test(backing, the_callback_is_made_once_for_each_fall)
{
	lab_backing_settings.plan.limit = 1; /* no growth */
	start_again();
	struct lab_reserve_class class = class_of(256);
	lab_reserve_on_low(count_call, &calls);
	take(256, class.slots - class.low + 1);
	cr_assert_eq(calls, 0, "not by an ATOMIC call");
	errno = 77;
	slow_call();
	cr_assert_eq(errno, 77);
	cr_assert_eq(calls, 2, "256, and 512 after it");
	cr_assert_eq(last_size, 512);
	take(256, 3);
	slow_call();
	slow_call();
	cr_assert_eq(calls, 2, "still low");
	give_everything();
	slow_call(); /* its rise is seen */
	take(256, class.slots - class.low + 1);
	lab_reserve_on_low(NULL, NULL);
	slow_call();
	cr_assert_eq(calls, 2, "taken away");
	give_everything();
	slow_call();
	lab_reserve_on_low(count_call, &calls);
	take(256, class.slots - class.low + 1);
	slow_call();
	cr_assert_eq(calls, 4);
}

static _Atomic pid_t calling;
static _Atomic bool may_end;

static void
stay_in_call(void *context, size_t size)
{
	(void)context;
	(void)size;
	calls++;
	if (calling != 0)
		return; /* in the child */
	for (calling = getpid(); !may_end;)
		usleep(100);
}

static void *
call_slowly(void *unused)
{
	slow_call();
	return unused;
}

Test(backing, a_child_of_fork_has_its_calls_though_another_thread_was_calling)
{
	struct lab_reserve_class class = class_of(256);
	pthread_t thread;
	int status;

	lab_reserve_on_low(stay_in_call, NULL);
	take(256, class.slots - class.low + 1);
	REQUIRE(pthread_create(&thread, NULL, call_slowly, NULL) == 0);
	while (calling == 0)
		usleep(100);
	pid_t child = fork();
	if (child == 0) {
		slow_call();
		take(1024, class_of(1024).slots);
		slow_call();
		_exit(calls == 2 ? 0 : 1);
	}
	waitpid(child, &status, 0);
	may_end = true;
	pthread_join(thread, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static jmp_buf where_calls_go;
static bool is_to_leave;

/* While it runs it is the only one; its own slow calls, which lie below it, do not take it for one that was left. */
static void
leave_call(void *context, size_t size)
{
	(void)context;
	(void)size;
	calls++;
	take(512, class_of(512).slots);
	slow_call();
	if (is_to_leave)
		longjmp(where_calls_go, 1);
}

static LAB_NOINLINE void
call_from_below(void)
{
	volatile char below[4096];

	below[0] = 0;
	slow_call();
	below[1] = below[0];
}

Test(backing, a_call_that_was_left_is_not_the_last)
{
	lab_backing_settings.plan.limit = 1; /* no growth */
	start_again();
	lab_reserve_on_low(leave_call, NULL);
	is_to_leave = true;
	take(256, class_of(256).slots);
	if (setjmp(where_calls_go) == 0)
		call_from_below();
	cr_assert_eq(calls, 1);
	is_to_leave = false;
	slow_call();
	cr_assert_eq(calls, 2, "512, which got low meanwhile");
	take(1024, class_of(1024).slots);
	slow_call();
	cr_assert_eq(calls, 3);
}

/* A jump out of a handler that interrupted it: the request is gone, the copies are not made. */
Test(backing, copies_that_were_cut_short_are_made_by_the_next_look)
{
	lab_backing_settle(NULL);
	(void)atomic_exchange(&lab_reserve.refill_pending, 0);
	cr_assert_eq(info().mode, LAB_RESERVE_COPIED);
	(void)lab_reserve_balance();
	cr_assert_neq(info().mode, LAB_RESERVE_COPIED);
}

Test(backing, a_reentrant_call_neither_grows_nor_calls)
{
	struct lab_guard outer = {.sp = (uintptr_t)__builtin_frame_address(0) + 256};

	lab_reserve_on_low(count_call, &calls);
	lab_free(lab_malloc(10));
	take(256, class_of(256).slots);
	REQUIRE(lab_enter(&outer));
	slow_call();
	cr_assert(calls == 0 && info().grown == 0);
	lab_leave(&outer);
	slow_call();
	cr_assert(calls > 0 && info().grown > 0);
}

/* ---- the background thread ---- */

static bool
grows_by_itself(void)
{
	take(2048, class_of(2048).slots);
	for (int i = 0; i < 20000 && info().grown == 0; i++)
		usleep(5000);
	return info().grown > 0;
}

Test(backing, the_background_thread_grows_in_an_idle_process_and_in_forks_child)
{
	int status;

	lab_settings.background = true;
	pid_t child = fork();
	if (child == 0)
		_exit(grows_by_itself() ? 0 : 1);
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	lab_background_start();
	cr_assert(grows_by_itself());
}
