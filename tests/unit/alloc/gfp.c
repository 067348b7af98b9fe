/*
 * gfp.c - allocation by context: what each kind and modifier gives, refuses and leaves alone, and that NOWAIT and
 * ATOMIC make no system call (a seccomp filter kills the process that makes one).
 *
 * Clauses: G4.4.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap_check.h"
#include "page/map.h"
#include "reserve/reserve.h"
#include "trace.h"
#include "world.h"

#define MISUSE(name) Test(gfp_misuse, name, .signal = SIGABRT)
#define KIB          ((size_t)1 << 10)
#define MIB          ((size_t)1 << 20)

static struct lab_guard outer;

/* The calls that follow are a handler's that interrupted this thread's heap. */
static void
enter_heap(void)
{
	outer.sp = (uintptr_t)__builtin_frame_address(0) + 256;
	REQUIRE(lab_enter(&outer));
}

static bool
is_slot(const void *p)
{
	return p && lab_reserve_contains(p);
}

/* ---- flags ----------------------------------------------------------------------------------------------------- */

Test(gfp, contradictory_and_unknown_flags)
{
	static const unsigned wrong[] = {
	        0x3,
	        0x4,
	        0x8,
	        0x40000,
	        1u << 31,
	        0x200,
	        0x400,
	        0x800,
	        LAB_GFP_EXCLUSIVE | LAB_GFP_NOWAIT,
	        LAB_GFP_LOCKED | LAB_GFP_HIGH,
	        LAB_GFP_NOMERGE | LAB_GFP_MEMALLOC,
	};
	char *p = lab_malloc(10);

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		int expected = wrong[i] & 2 ? 7777 : EINVAL;
		errno = 7777;
		cr_assert_null(lab_alloc(10, wrong[i]), "%x", wrong[i]);
		cr_assert_eq(errno, expected);
		errno = 7777;
		cr_assert_null(lab_alloc_pages(wrong[i], 0));
		cr_assert_eq(errno, expected);
		errno = 7777;
		cr_assert_null(lab_realloc(p, 1000, wrong[i]));
		cr_assert_null(lab_realloc(NULL, 1000, wrong[i]));
		cr_assert_eq(errno, expected);
	}
	errno = 7777;
	cr_assert_null(lab_alloc(10, LAB_GFP_ATOMIC | LAB_GFP_EXCLUSIVE));
	cr_assert_null(lab_alloc(10, LAB_GFP_ATOMIC | 0x40000));
	cr_assert_null(lab_alloc_aligned(3, 10, LAB_GFP_ATOMIC));
	cr_assert_null(lab_alloc_aligned(0, 10, LAB_GFP_ATOMIC));
	cr_assert_eq(errno, 7777, "ATOMIC leaves errno alone");
	cr_assert_null(lab_alloc_aligned(3, 10, LAB_GFP_NOWAIT));
	cr_assert_eq(errno, EINVAL);
	lab_free(p);
}

Test(gfp, zero_of_every_kind_clears_all_that_is_usable)
{
	static const unsigned kinds[] = {LAB_GFP_KERNEL, LAB_GFP_NOWAIT, LAB_GFP_ATOMIC};
	static const size_t sizes[] = {1, 50, 1000, 5000, 33000, 60000, 300000, 6 * MIB};

	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
			for (int round = 0; round < 3; round++) {
				char *p = lab_alloc(sizes[i], kinds[k] | LAB_GFP_ZERO);
				if (!p)
					continue; /* not at hand, or too large */
				REQUIRE(trace_is_zero(p, lab_usable_size(p)));
				memset(p, 1, lab_usable_size(p));
				lab_free(p);
			}
	char *p = lab_alloc(50, LAB_GFP_ATOMIC | LAB_GFP_ZERO);
	cr_assert(is_slot(p));
}

/* ---- ATOMIC ---------------------------------------------------------------------------------------------------- */

Test(gfp, atomic_comes_from_the_reserve_and_leaves_errno)
{
	errno = 7777;
	for (size_t size = 1; size <= 64 * KIB; size += 1 + size / 3) {
		char *p = lab_alloc(size, LAB_GFP_ATOMIC);
		cr_assert(is_slot(p));
		cr_assert_geq(lab_usable_size(p), size);
		memset(p, 1, size);
		lab_free(p);
	}
	for (size_t size = 16; size <= 4 * KIB; size *= 2) {
		char *p = lab_alloc(size, LAB_GFP_ATOMIC);
		cr_assert(is_slot(p) && (uintptr_t)p % size == 0, "aligned to its size");
		lab_free(p);
	}
	cr_assert_null(lab_alloc(64 * KIB + 1, LAB_GFP_ATOMIC | LAB_GFP_NOWARN));
	cr_assert_null(lab_alloc(SIZE_MAX, LAB_GFP_ATOMIC | LAB_GFP_NOWARN));
	cr_assert_null(lab_alloc_pages(LAB_GFP_ATOMIC | LAB_GFP_NOWARN, 5));
	cr_assert_null(lab_alloc_pages(LAB_GFP_ATOMIC | LAB_GFP_NOWARN, UINT32_MAX));
	cr_assert_eq(errno, 7777);
	cr_assert_eq(lab_reserve_bytes().used, 0);
}

static char heard[4096];

/* What `act` and the calls after it write on stderr, by one write at most each. */
static size_t
listen_to(void (*act)(void))
{
	int ends[2], kept = dup(2);

	REQUIRE(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
	act();
	REQUIRE(dup2(kept, 2) == 2);
	close(ends[1]);
	ssize_t length = read(ends[0], heard, sizeof heard - 1);
	heard[length > 0 ? length : 0] = 0;
	close(ends[0]);
	return strlen(heard);
}

static void
slow_path(void)
{
	lab_free(lab_malloc(100 * KIB));
}

static void
fail_without_warning(void)
{
	REQUIRE(!lab_alloc(70000, LAB_GFP_ATOMIC | LAB_GFP_NOWARN));
	slow_path();
}

static void
fail(void)
{
	REQUIRE(!lab_alloc(70001, LAB_GFP_ATOMIC));
	REQUIRE(!lab_alloc(70002, LAB_GFP_ATOMIC));
}

Test(gfp, the_first_failure_is_told_later_and_once)
{
	slow_path();
	cr_assert_eq(listen_to(fail_without_warning), 0);
	cr_assert_eq(listen_to(fail), 0, "never by the ATOMIC call");
	enter_heap();
	cr_assert_eq(listen_to(slow_path), 0, "nor by a handler's");
	lab_leave(&outer);
	cr_assert_gt(listen_to(slow_path), 0);
	cr_assert_str_eq(heard, "labyrinth: atomic allocation of 70001 bytes failed; the reserve had no slot for it "
	                        "(LABYRINTH_RESERVE)\n");
	cr_assert_eq(listen_to(fail), 0);
	cr_assert_eq(listen_to(slow_path), 0);
}

/* ---- how deep each reaches ------------------------------------------------------------------------------------- */

Test(gfp, modifiers_reach_the_reserve_when_the_tier_has_none)
{
	world_install();
	lab_free(lab_malloc(10));
	world.map_limit = 0;
	world.protects_left = 0;
	while (lab_malloc(30000))
		;
	while (lab_malloc(1000))
		;
	errno = 0;
	cr_assert_null(lab_alloc(1000, LAB_GFP_KERNEL));
	cr_assert_null(lab_alloc(1000, LAB_GFP_NOWAIT));
	cr_assert_null(lab_alloc(1000, LAB_GFP_NOWARN));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(lab_reserve_bytes().used, 0);
	char *p = lab_alloc(1000, LAB_GFP_HIGH), *q = lab_alloc(1000, LAB_GFP_MEMALLOC | LAB_GFP_ZERO);
	cr_assert(is_slot(p) && is_slot(q) && trace_is_zero(q, 1000));
	char *r = lab_alloc(1000, LAB_GFP_NOWAIT | LAB_GFP_HIGH),
	     *s = lab_alloc_aligned(256, 200, LAB_GFP_NOWAIT | LAB_GFP_MEMALLOC);
	cr_assert(is_slot(r) && is_slot(s) && (uintptr_t)s % 256 == 0);
	lab_free(p);
	lab_free(q);
	lab_free(r);
	lab_free(s);
	cr_assert_eq(lab_reserve_bytes().used, 0);
}

Test(gfp, reentrant_plain_calls_reach_it_too_and_nowait_does_not)
{
	world_install();
	enter_heap();
	world.maps_left = world.protects_left = 0;
	char *p = lab_alloc(1000, LAB_GFP_KERNEL);
	cr_assert(is_slot(p));
	cr_assert_null(lab_alloc(1000, LAB_GFP_NOWAIT), "never in a handler that interrupted the heap");
	char *q = lab_alloc(1000, LAB_GFP_NOWAIT | LAB_GFP_HIGH);
	cr_assert(is_slot(q));
	cr_assert_null(lab_alloc(1000, LAB_GFP_EXCLUSIVE), "the reserve has nothing exclusive");
	lab_free(p);
	lab_free(q);
	world.maps_left = world.protects_left = SIZE_MAX;
	lab_leave(&outer);
}

/* ---- pages ----------------------------------------------------------------------------------------------------- */

Test(gfp, pages_of_every_order)
{
	void *p[LAB_ORDER_MAX_ALLOC + 1];

	for (unsigned order = 0; order <= LAB_ORDER_MAX_ALLOC; order++) {
		size_t size = 4096u << order;
		p[order] = lab_alloc_pages(LAB_GFP_KERNEL | LAB_GFP_ZERO, order);
		cr_assert(p[order] && (uintptr_t)p[order] % size == 0);
		cr_assert_eq(lab_usable_size(p[order]), size);
		cr_assert(trace_is_zero(p[order], size));
		memset(p[order], 1, size);
	}
	for (unsigned order = 0; order <= LAB_ORDER_MAX_ALLOC; order++)
		lab_free_pages(p[order], order);
	lab_free_pages(NULL, 3);
	errno = 0;
	cr_assert_null(lab_alloc_pages(LAB_GFP_KERNEL, LAB_ORDER_MAX_ALLOC + 1));
	cr_assert_eq(errno, ENOMEM);
	void *slot = lab_alloc_pages(LAB_GFP_ATOMIC, 0);
	cr_assert(is_slot(slot) && (uintptr_t)slot % 4096 == 0);
	lab_free_pages(slot, 0);
}

Test(gfp, exact_pages)
{
	for (size_t size = 1; size < 9 * MIB; size += 1 + size / 2) {
		size_t least = (size + 4095) & ~(size_t)4095;
		char *p = lab_alloc_pages_exact(size, LAB_GFP_KERNEL);
		cr_assert(p && (uintptr_t)p % 4096 == 0);
		cr_assert_geq(lab_usable_size(p), least);
		cr_assert_leq(lab_usable_size(p), least + least / 8, "no power of two");
		memset(p, 1, least);
		lab_free_pages_exact(p, size);
	}
	lab_free_pages_exact(NULL, 5);
	lab_free_pages_exact(lab_alloc_pages_exact(0, LAB_GFP_KERNEL), 0);
	cr_assert_null(lab_alloc_pages_exact(SIZE_MAX, LAB_GFP_KERNEL));
	cr_assert_eq(heap_check(lab_thread.heap).used, 0);
}

MISUSE(free_pages_of_too_low_an_order)
{
	lab_free_pages(lab_alloc_pages(LAB_GFP_KERNEL, 5), 4);
}

MISUSE(free_pages_of_too_high_an_order)
{
	lab_free_pages(lab_alloc_pages(LAB_GFP_KERNEL, 2), 3);
}

MISUSE(free_pages_of_no_order)
{
	lab_free_pages(lab_alloc_pages(LAB_GFP_KERNEL, 2), 77);
}

MISUSE(free_pages_of_a_slot_that_is_smaller)
{
	lab_free_pages(lab_alloc_pages(LAB_GFP_ATOMIC, 0), 3);
}

MISUSE(free_pages_exact_of_more_than_there_is)
{
	lab_free_pages_exact(lab_alloc_pages_exact(8192, LAB_GFP_KERNEL), 8193);
}

/* ---- realloc --------------------------------------------------------------------------------------------------- */

Test(gfp, atomic_realloc_stays_or_goes_to_the_reserve)
{
	static const size_t sizes[] = {20, 1000, 40000, 5 * MIB};

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = lab_malloc(sizes[i]);
		size_t usable = lab_usable_size(p);
		trace_fill(p, sizes[i], 3);
		cr_assert_eq(lab_realloc(p, usable, LAB_GFP_ATOMIC), p);
		cr_assert_eq(lab_realloc(p, 1, LAB_GFP_ATOMIC), p, "whatever it takes up");
		errno = 7777;
		char *q = lab_realloc(p, usable + 1, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
		cr_assert_eq(errno, 7777);
		cr_assert_eq(q != NULL, usable + 1 <= 64 * KIB);
		cr_assert(!q || is_slot(q));
		cr_assert(trace_reads_as(q ? q : p, sizes[i], sizes[i], 3));
		cr_assert_null(lab_realloc(q ? q : p, 0, LAB_GFP_ATOMIC));
	}
	cr_assert_eq(lab_reserve_bytes().used, 0);
	(void)lab_trim(0); /* what was given back quietly is taken */
	cr_assert_eq(heap_check(lab_thread.heap).used, 0);
	cr_assert_eq(heap_check(lab_thread.heap).runs, 0);
	struct lab_stats stats;
	lab_stats_get(&stats);
	cr_assert_eq(stats.blocks, 0);
}

Test(gfp, nowait_realloc)
{
	char *p = lab_malloc(100), *other = lab_malloc(200);

	trace_fill(p, 100, 5);
	char *q = lab_realloc(p, 200, LAB_GFP_NOWAIT);
	cr_assert(q && q != p && trace_reads_as(q, 100, 100, 5));
	world_install();
	world.protects_left = 0;
	errno = 0;
	cr_assert_null(lab_realloc(q, 8 * MIB, LAB_GFP_NOWAIT));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(lab_realloc(q, 3, LAB_GFP_NOWAIT), q);
	lab_free(q);
	lab_free(other);
}

Test(gfp, zero_realloc_is_exact_up_and_down)
{
	static const unsigned kinds[] = {LAB_GFP_KERNEL, LAB_GFP_ATOMIC, LAB_GFP_NOWAIT};
	struct trace_random random = {77};

	for (int round = 0; round < 2000; round++) {
		unsigned kind = kinds[round % 3] | LAB_GFP_ZERO | LAB_GFP_NOWARN;
		size_t size = 1 + trace_below(&random, 3000);
		char *p = lab_alloc(size, kind);
		if (!p)
			continue;
		for (int i = 0; i < 6; i++) {
			size_t next = 1 + trace_below(&random, round % 10 ? 5000 : 200000);
			memset(p, 0xee, size); /* all that is the program's */
			char *q = lab_realloc(p, next, kind);
			if (!q)
				break;
			for (size_t at = 0; at < next; at++)
				REQUIRE(q[at] == (char)(at < size ? 0xee : 0));
			p = q;
			size = next;
		}
		lab_free(p);
	}
}

/* ---- NOWAIT ---------------------------------------------------------------------------------------------------- */

Test(gfp, nowait_gives_what_the_heap_holds_and_asks_nobody)
{
	size_t blocks = 0, runs = 0;

	world_install();
	lab_free(lab_malloc(10));
	lab_free(lab_malloc(3 * MIB));              /* it keeps a segment of 4 MiB */
	world = (struct world){.real = world.real}; /* every hook fails, and counts */
	while (blocks < 1000 && lab_alloc(100, LAB_GFP_NOWAIT))
		blocks++;
	while (lab_alloc(60000, LAB_GFP_NOWAIT))
		runs++;
	cr_assert_geq(runs, 60, "the rest of the segment");
	cr_assert_eq(blocks, 1000);
	cr_assert_null(lab_alloc(8 * MIB, LAB_GFP_NOWAIT));
	cr_assert_eq(world.maps + world.protects + world.purges + world.probes, 0);
	(void)heap_check(lab_thread.heap);
}

static size_t clock_reads;

static void
count_clock(void)
{
	clock_reads++;
}

Test(gfp, nowait_takes_what_others_have_freed)
{
	enum { N = 2000 };
	static char *p[N];

	world_install();
	char *run = lab_malloc(2 * MIB);
	for (int i = 0; i < N; i++)
		REQUIRE(p[i] = lab_malloc(2000));
	struct lab_heap *heap = lab_thread.heap;
	for (int i = 0; i < N; i++)
		(void)lab_remote_push(heap, p[i], p[i], 0); /* whole spans are retired by the drain */
	struct lab_guard guard = LAB_GUARD_HERE;
	struct lab_place place = lab_map_find(run);
	lab_release_nowait(&guard, &place, run, "realloc");
	world.on_clock = count_clock;
	world.protects_left = world.maps_left = 0;
	size_t probes = world.probes;
	cr_assert_not_null(lab_alloc(2 * MIB, LAB_GFP_NOWAIT));
	cr_assert_eq(lab_load_rlx(&heap->remote) & ~(uintptr_t)1, 0);
	cr_assert_eq(clock_reads, 0);
	cr_assert_eq(world.probes, probes);
	lab_free(lab_malloc(100 * KIB));
	cr_assert_gt(clock_reads, 0, "the next frame is an ordinary one");
}

Test(gfp, nowait_leaves_a_segment_that_a_purger_has_marked_stale)
{
	world_install();
	char *p = lab_malloc(60000);
	struct lab_place place = lab_map_find(p);
	while (lab_alloc(60000, LAB_GFP_NOWAIT))
		;
	lab_store_rlx(&place.segment->purge, lab_lease_make(5, 12345, LAB_PURGE_GIVES_BACK));
	lab_segment_mark_stale(place.segment, LAB_MAY_HAVE_ORPHANS);
	world.probes = 0;
	cr_assert_null(lab_alloc(60000, LAB_GFP_NOWAIT));
	cr_assert_eq(world.probes, 0);
	cr_assert_not_null(lab_alloc(60000, LAB_GFP_KERNEL));
	cr_assert_gt(world.probes, 0, "KERNEL asks whether the purger lives");
}

Test(gfp, nowait_does_not_enter_where_there_is_something_to_repair)
{
	cr_assert_null(lab_alloc(5000, LAB_GFP_NOWAIT), "no heap yet");
	lab_free(lab_malloc(10));
	lab_thread.heap->whole = 0;
	cr_assert_null(lab_alloc(60000, LAB_GFP_NOWAIT));
	lab_thread.heap->whole = 1;
	lab_registry_note_fork();
	cr_assert_null(lab_alloc(60000, LAB_GFP_NOWAIT));
	lab_free(lab_malloc(60000));
	uintptr_t word = lab_thread.word;
	cr_assert_not_null(lab_alloc(60000, LAB_GFP_NOWAIT));
	cr_assert_eq(lab_thread.word, word);
}

/* ---- no system call ---------------------------------------------------------------------------------------------- */

static void
allow_only_write_and_exit(void)
{
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	struct sock_filter filter[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        ALLOW(write),
	        ALLOW(exit_group),
	        ALLOW(exit),
	        ALLOW(rt_sigreturn),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* The status with which a child ends that does nothing else than `act` under the filter, after `prepare`. */
static int
run_filtered(void (*prepare)(void), void (*act)(void))
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		prepare();
		allow_only_write_and_exit();
		act();
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

static char *blocks[600], *larger;

static void
make_work(void)
{
	for (int i = 0; i < 600; i++)
		blocks[i] = lab_malloc(30000);
	larger = lab_malloc(6 * MIB);
	for (int i = 0; i < 300; i++)
		(void)lab_remote_push(lab_thread.heap, blocks[i], blocks[i], 0);
	/* what would be asked: is the purger alive? */
	struct lab_place place = lab_map_find(blocks[500]);
	lab_store_rlx(&place.segment->purge, lab_lease_make(5, 12345, LAB_PURGE_GIVES_BACK));
	lab_segment_mark_stale(place.segment, LAB_MAY_HAVE_ORPHANS);
}

static void
ask_for_everything(void)
{
	static const unsigned kinds[] = {LAB_GFP_NOWAIT, LAB_GFP_ATOMIC, LAB_GFP_NOWAIT | LAB_GFP_MEMALLOC};

	for (unsigned k = 0; k < 3; k++)
		for (size_t size = 8; size < 16 * MIB; size *= 2)
			for (int i = 0; i < 300 && lab_alloc(size, kinds[k] | LAB_GFP_ZERO); i++)
				;
	for (int i = 300; i < 600; i++)
		(void)!lab_realloc(blocks[i], i % 2 ? 60000 : 0, i % 3 ? LAB_GFP_ATOMIC : LAB_GFP_NOWAIT);
	(void)!lab_realloc(larger, 0, LAB_GFP_ATOMIC);
	void *slot = lab_alloc(64, LAB_GFP_ATOMIC);
	lab_free(slot);
}

static void
ask_kernel(void)
{
	for (int i = 0; i < 300; i++)
		(void)!lab_alloc(60000, LAB_GFP_KERNEL);
}

Test(gfp, nowait_and_atomic_make_no_system_call)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer makes system calls of its own");
#endif
	int status = run_filtered(make_work, ask_kernel);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "the filter has teeth");
	status = run_filtered(make_work, ask_for_everything);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}
