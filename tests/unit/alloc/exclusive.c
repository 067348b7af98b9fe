/*
 * exclusive.c - exclusive blocks: whole pages of their own, marks that the kernel confirms (smaps) and that are gone
 * after the free, an owner who alone may free and resize, transfer, death and fork (INV-EXCL-1, INV-EXCL-2).
 *
 * Clauses: G7.2.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/allocate.h"
#include "alloc/config.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "heap/exclusive.h"
#include "heap/rebuild.h"
#include "heap_check.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

#define MISUSE(name) Test(exclusive_misuse, name, .signal = SIGABRT)
#define MIB          ((size_t)1 << 20)
#define ALL          (LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE)

static size_t
live_blocks(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats.blocks;
}

/* Whether the VmFlags of the mapping that holds p contain the two letters. */
static bool
has_flag(const void *p, const char *flag)
{
	static char line[1024];
	FILE *file = fopen("/proc/self/smaps", "r");
	bool inside = false, found = false;
	unsigned long low, high;

	REQUIRE(file);
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
			inside = low <= (uintptr_t)p && (uintptr_t)p < high;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	fclose(file);
	return found;
}

static void *
call(void *(*act)(void *), void *of)
{
	pthread_t thread;
	void *result;

	REQUIRE(pthread_create(&thread, NULL, act, of) == 0 && pthread_join(thread, &result) == 0);
	return result;
}

/* The child's exit status; 0 if `act` came back. */
static int
in_child(void (*act)(void *of), void *of)
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		act(of);
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

/* ---- pages and marks ------------------------------------------------------------------------------------------- */

Test(exclusive, blocks_have_pages_of_their_own)
{
	static const size_t sizes[] = {0, 1, 100, 4096, 4097, 40000, 300000, 4 * MIB, 9 * MIB};
	enum { N = sizeof sizes / sizeof *sizes };
	char *p[N], *small[N];

	for (int i = 0; i < N; i++) {
		p[i] = lab_alloc(sizes[i], LAB_GFP_EXCLUSIVE | LAB_GFP_ZERO);
		small[i] = lab_malloc(1 + sizes[i] / 2);
		cr_assert(p[i] && (uintptr_t)p[i] % 4096 == 0);
		cr_assert_eq(lab_usable_size(p[i]) % 4096, 0);
		cr_assert_geq(lab_usable_size(p[i]), sizes[i]);
		cr_assert(trace_is_zero(p[i], lab_usable_size(p[i])));
		cr_assert(lab_owns(p[i]));
		cr_assert_eq(lab_owner(p[i]), gettid());
		memset(p[i], i, lab_usable_size(p[i]));
		memset(small[i], 0x77, 1 + sizes[i] / 2);
	}
	cr_assert_eq(live_blocks(), 2 * N);
	for (int i = 0; i < N; i++) {
		for (size_t at = 0; at < lab_usable_size(p[i]); at++)
			REQUIRE(p[i][at] == (char)i);
		for (int j = 0; j < N; j++)
			REQUIRE(small[j] < p[i] || small[j] >= p[i] + lab_usable_size(p[i]));
	}
	for (int i = 0; i < N; i++) {
		lab_free(p[i]);
		lab_free(small[i]);
	}
	cr_assert_eq(live_blocks(), 0);
	(void)heap_check(lab_thread.heap);
	char *aligned = lab_alloc_aligned(65536, 100, LAB_GFP_EXCLUSIVE);
	cr_assert(aligned && (uintptr_t)aligned % 65536 == 0);
	lab_free(aligned);
	void *pages = lab_alloc_pages(LAB_GFP_EXCLUSIVE, 3);
	cr_assert_eq(lab_usable_size(pages), 32768);
	lab_free_pages(pages, 3);
}

Test(exclusive, the_kernel_has_the_marks_and_loses_them)
{
	static const struct {
		unsigned gfp;
		const char *flag;
	} marks[] = {{LAB_GFP_LOCKED, " lo"}, {LAB_GFP_NOFORK, " wf"}, {LAB_GFP_NOMERGE, " nh"}};

	for (size_t size = 5000; size < 6 * MIB; size *= 1000)
		for (int i = 0; i < 3; i++) {
			char *p = lab_alloc(size, marks[i].gfp), *plain = lab_alloc(size, LAB_GFP_EXCLUSIVE);
			cr_assert_not_null(p);
			for (int j = 0; j < 3; j++) {
				cr_assert_eq(has_flag(p, marks[j].flag), i == j, "%s", marks[j].flag);
				cr_assert_not(has_flag(plain, marks[j].flag));
			}
			memset(p, 0xaa, size);
			lab_free(p);
			cr_assert_not(has_flag(p, marks[i].flag), "undone");
			cr_assert(trace_is_zero(p, size), "and nothing of a secret is left");
			lab_free(plain);
		}
	char *p = lab_alloc(5000, ALL);
	for (int i = 0; i < 3; i++)
		cr_assert(has_flag(p, marks[i].flag));
	lab_free(p);
	(void)heap_check(lab_thread.heap);
}

Test(exclusive, locked_pages_are_resident)
{
	unsigned char resident[25] = {0};
	char *p = lab_alloc(100000, LAB_GFP_LOCKED);

	REQUIRE(mincore(p, 100000, resident) == 0);
	for (int i = 0; i < 25; i++)
		cr_assert(resident[i] & 1);
	lab_free(p);
}

static void
reads_as_zero(void *of)
{
	char *const *p = of;

	if (!trace_is_zero(p[0], 5000) || p[1][0] != 1 || lab_owner(p[0]) != gettid())
		_exit(3);
	memset(p[0], 2, 5000);
	lab_free(p[0]);
	lab_free(p[1]);
	char *again = lab_alloc(5000, LAB_GFP_NOFORK);
	memset(again, 3, 5000);
	lab_free(again);
}

Test(exclusive, nofork_reads_as_zero_in_the_child)
{
	char *p[2] = {lab_alloc(5000, LAB_GFP_NOFORK), lab_alloc(5000, LAB_GFP_EXCLUSIVE)};

	memset(p[0], 1, 5000);
	memset(p[1], 1, 5000);
	cr_assert_eq(in_child(reads_as_zero, p), 0);
	cr_assert_eq(p[0][4999], 1, "the parent's is as it was");
	lab_free(p[0]);
	lab_free(p[1]);
}

Test(exclusive, pages_of_a_segment_of_huge_pages_are_marked_so_again)
{
	lab_space_set_huge_pages(LAB_HUGE_ALWAYS);
	if (!has_flag(lab_malloc(5000), " hg"))
		cr_skip_test("not run: this kernel has no huge pages");
	char *p = lab_alloc(5000, ALL);
	cr_assert(has_flag(p, " nh"));
	lab_free(p);
	cr_assert_not(has_flag(p, " nh"));
	cr_assert(has_flag(p, " hg"));
}

Test(exclusive, a_refused_mark_fails_the_allocation_and_is_undone)
{
	lab_free(lab_alloc(5000, LAB_GFP_EXCLUSIVE));
	world_install();
	world.mark_fails = true;
	for (size_t size = 5000; size < 6 * MIB; size *= 1000) {
		size_t renewals = world.renewals;
		errno = 0;
		cr_assert_null(lab_alloc(size, ALL));
		cr_assert_eq(errno, ENOMEM);
		cr_assert_eq(world.renewals, renewals + 1);
		cr_assert_eq(live_blocks(), 0);
		char *p = lab_alloc(size, LAB_GFP_EXCLUSIVE);
		cr_assert(p, "no marks, nothing to refuse");
		cr_assert_not(has_flag(p, " lo") || has_flag(p, " wf"));
		lab_free(p);
	}
	(void)heap_check(lab_thread.heap);
}

Test(exclusive, pages_whose_marks_stay_are_used_no_more)
{
	world_install();
	char *p = lab_alloc(50000, LAB_GFP_NOFORK);
	world.renew_fails = true;
	lab_free(p);
	cr_assert_eq(world.renewals, 1);
	for (int i = 0; i < 2000; i++) {
		char *q = lab_malloc(40000);
		REQUIRE(q && (q + 40000 <= p || q >= p + 50000));
	}
	(void)lab_trim(0);
	lab_heap_rebuild_owned(lab_thread.heap);
	char *q = lab_malloc(50000);
	cr_assert(q + 50000 <= p || q >= p + 50000, "nor after a repair");
}

/* ---- the owner ------------------------------------------------------------------------------------------------- */

static void *
free_it(void *p)
{
	lab_free(p);
	return NULL;
}

static void *
resize_it(void *p)
{
	errno = 0;
	void *q = lab_realloc(p, 100000, LAB_GFP_KERNEL);

	REQUIRE(!q && errno == ENOMEM);
	REQUIRE(!lab_realloc(p, 0, LAB_GFP_KERNEL));
	REQUIRE(!lab_realloc(p, 1, LAB_GFP_ATOMIC) && !lab_realloc(p, 1, LAB_GFP_NOWAIT));
	REQUIRE(!lab_realloc(p, 1, LAB_GFP_EXCLUSIVE));
	return q;
}

static void *
allocate_it(void *size)
{
	return lab_alloc((size_t)size, LAB_GFP_NOMERGE);
}

MISUSE(free_by_another_thread)
{
	call(free_it, lab_alloc(100, LAB_GFP_EXCLUSIVE));
}

MISUSE(realloc_by_another_thread)
{
	call(resize_it, lab_alloc(100, LAB_GFP_EXCLUSIVE));
}

MISUSE(double_free)
{
	char *p = lab_alloc(100, LAB_GFP_LOCKED);

	lab_free(p);
	lab_free(p);
}

MISUSE(double_free_of_one_that_was_lost)
{
	char *p = lab_alloc(100, LAB_GFP_LOCKED);

	world_install();
	world.renew_fails = true;
	lab_free(p);
	lab_free(p);
}

Test(exclusive, logged_the_block_stays_with_its_owner)
{
	char heard[512] = {0}, expected[128];
	int ends[2], kept = dup(2);

	lab_store_rlx(&lab_settings.log_exclusive, true);
	for (size_t size = 5000; size < 6 * MIB; size *= 1000) {
		char *p = lab_alloc(size, LAB_GFP_LOCKED);
		trace_fill(p, size, 4);
		REQUIRE(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
		call(free_it, p);
		REQUIRE(dup2(kept, 2) == 2);
		REQUIRE(read(ends[0], heard, sizeof heard - 1) > 0);
		(void)snprintf(expected, sizeof expected, "labyrinth: free(0x%lx): exclusive block of another thread\n",
		               (unsigned long)p);
		cr_assert_str_eq(heard, expected);
		call(resize_it, p);
		cr_assert_eq(lab_owner(p), gettid());
		cr_assert(trace_reads_as(p, size, size, 4));
		cr_assert(has_flag(p, " lo"));
		cr_assert_eq(live_blocks(), 1);
		lab_free(p);
		cr_assert_eq(live_blocks(), 0);
	}
}

Test(exclusive, a_dead_owners_block_is_anybodys)
{
	for (size_t size = 5000; size < 6 * MIB; size *= 1000) {
		char *p = call(allocate_it, (void *)size);
		uint32_t owner = (uint32_t)lab_owner(p);
		cr_assert_neq((pid_t)owner, gettid());
		for (int i = 0; i < 100000 && !lab_os.thread_is_dead(owner); i++)
			usleep(1000);
		memset(p, 1, size);
		char *q = lab_realloc(p, size * 2, LAB_GFP_KERNEL);
		cr_assert(q && has_flag(q, " nh"), "and its heir has the marks");
		cr_assert_eq(lab_owner(q), gettid());
		lab_free(q);
		lab_free(call(allocate_it, (void *)size));
	}
	(void)lab_trim(0);
	cr_assert_eq(live_blocks(), 0);
}

/* ---- transfer -------------------------------------------------------------------------------------------------- */

struct relay {
	pthread_barrier_t barrier;
	_Atomic int tid;
	char *p;
};

static void *
receive(void *of)
{
	struct relay *relay = of;

	relay->tid = gettid();
	pthread_barrier_wait(&relay->barrier);
	REQUIRE(!lab_transfer(relay->p, gettid()));
	pthread_barrier_wait(&relay->barrier);
	pthread_barrier_wait(&relay->barrier);
	REQUIRE(lab_owner(relay->p) == gettid());
	REQUIRE(has_flag(relay->p, " lo"));
	relay->p = lab_realloc(relay->p, 50000, LAB_GFP_KERNEL);
	REQUIRE(relay->p && relay->p[4999] == 9);
	lab_free(relay->p);
	return NULL;
}

Test(exclusive, transfer)
{
	struct relay relay = {.p = lab_alloc(5000, LAB_GFP_LOCKED)};
	pthread_t thread;
	char *plain = lab_malloc(50000);

	memset(relay.p, 9, 5000);
	REQUIRE(pthread_barrier_init(&relay.barrier, NULL, 2) == 0);
	REQUIRE(pthread_create(&thread, NULL, receive, &relay) == 0);
	pthread_barrier_wait(&relay.barrier);
	pthread_barrier_wait(&relay.barrier);
	cr_assert_not(lab_transfer(plain, relay.tid), "not exclusive");
	cr_assert_not(lab_transfer(relay.p + 4096, relay.tid), "not a block");
	cr_assert_not(lab_transfer(NULL, relay.tid));
	cr_assert_not(lab_transfer(relay.p, 0));
	cr_assert_not(lab_transfer(relay.p, -1));
	cr_assert_not(lab_transfer(relay.p, 1), "a thread of another process");
	cr_assert_not(lab_transfer(relay.p, 4194303), "no thread");
	cr_assert(lab_transfer(relay.p, gettid()), "to itself");
	cr_assert(lab_transfer(relay.p, relay.tid));
	cr_assert_eq(lab_owner(relay.p), relay.tid);
	cr_assert_not(lab_transfer(relay.p, gettid()), "it is not ours any more");
	pthread_barrier_wait(&relay.barrier);
	pthread_join(thread, NULL);
	lab_free(plain);
}

/* ---- fork ------------------------------------------------------------------------------------------------------ */

static void
grandchild(void *of)
{
	char *const *p = of;

	if (lab_owner(p[0]) != gettid() || p[0][0] != 6)
		_exit(4);
	lab_free(p[0]);
}

static void
child(void *of)
{
	char *const *p = of;

	if (lab_owner(p[0]) != gettid() || lab_owner(p[1]) != 0)
		_exit(5);
	lab_free(p[1]); /* of a thread that this process has not */
	if (in_child(grandchild, of) != 0)
		_exit(6);
	char *q = lab_realloc(p[0], 60000, LAB_GFP_KERNEL);
	if (!q || q[0] != 6 || lab_owner(q) != gettid())
		_exit(7);
	lab_free(q);
}

static void *
hold(void *of)
{
	struct relay *relay = of;

	relay->p = lab_alloc(6 * MIB, LAB_GFP_EXCLUSIVE);
	pthread_barrier_wait(&relay->barrier);
	pthread_barrier_wait(&relay->barrier);
	lab_free(relay->p);
	return NULL;
}

Test(exclusive, in_the_child_the_leader_owns_what_was_the_forking_threads)
{
	struct relay relay = {0};
	pthread_t thread;
	char *p[2] = {lab_alloc(5000, LAB_GFP_NOMERGE)};

	memset(p[0], 6, 5000);
	REQUIRE(pthread_barrier_init(&relay.barrier, NULL, 2) == 0);
	REQUIRE(pthread_create(&thread, NULL, hold, &relay) == 0);
	pthread_barrier_wait(&relay.barrier);
	p[1] = relay.p;
	cr_assert_eq(in_child(child, p), 0);
	pthread_barrier_wait(&relay.barrier);
	pthread_join(thread, NULL);
	lab_free(p[0]);
	cr_assert_eq(live_blocks(), 0);
}

/* ---- realloc --------------------------------------------------------------------------------------------------- */

Test(exclusive, realloc_keeps_what_a_block_is)
{
	char *p = lab_alloc(5000, LAB_GFP_NOFORK);

	trace_fill(p, 5000, 2);
	cr_assert_eq(lab_realloc(p, 8192, LAB_GFP_KERNEL), p, "its pages are the same");
	cr_assert_eq(lab_realloc(p, 5000, LAB_GFP_ATOMIC), p);
	errno = 7777;
	cr_assert_null(lab_realloc(p, 9000, LAB_GFP_ATOMIC));
	cr_assert_eq(errno, 7777);
	cr_assert_null(lab_realloc(p, 9000, LAB_GFP_NOWAIT));
	cr_assert_eq(errno, EINVAL);
	static const size_t sizes[] = {9000, 100, 3 * MIB, 9 * MIB, 20 * MIB, 5 * MIB, 5000};
	size_t kept = 5000;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *q = lab_realloc(p, sizes[i], LAB_GFP_KERNEL | LAB_GFP_ZERO);
		cr_assert(q && q != p);
		kept = sizes[i] < kept ? sizes[i] : kept;
		cr_assert(trace_reads_as(q, kept, 5000, 2));
		cr_assert(trace_is_zero(q + kept, lab_usable_size(q) - kept));
		cr_assert(has_flag(q, " wf"));
		cr_assert_not(has_flag(p, " wf"));
		cr_assert_eq(lab_owner(q), gettid());
		cr_assert_eq(live_blocks(), 1);
		p = q;
	}
	p = lab_realloc(p, 5000, LAB_GFP_LOCKED);
	cr_assert(has_flag(p, " wf") && has_flag(p, " lo"), "marks are added");
	lab_free(p);
	p = lab_realloc(lab_malloc(100), 100, LAB_GFP_NOMERGE);
	cr_assert(has_flag(p, " nh"), "an ordinary block becomes one");
	world_install();
	world.mark_fails = true;
	cr_assert_null(lab_realloc(p, 100, LAB_GFP_LOCKED), "what is asked for cannot be had");
	cr_assert_eq(lab_realloc(p, 10, LAB_GFP_KERNEL), p);
	cr_assert_null(lab_realloc(p, 10000, LAB_GFP_KERNEL));
	cr_assert_eq(lab_owner(p), gettid());
	lab_free(p);
	cr_assert_eq(live_blocks(), 0);
}

/* ---- what others see ------------------------------------------------------------------------------------------- */

static void *
owner_of(void *p)
{
	return (void *)(intptr_t)lab_owner(p);
}

Test(exclusive, owners_of_all_kinds_of_blocks)
{
	char *blocks[] = {lab_malloc(10), lab_malloc(100000), lab_malloc(9 * MIB), lab_alloc(10, LAB_GFP_EXCLUSIVE)};

	for (int i = 0; i < 4; i++) {
		pid_t owner = i == 2 ? 0 : gettid(); /* a huge block is no heap's */
		cr_assert_eq(lab_owner(blocks[i]), owner);
		cr_assert_eq((pid_t)(intptr_t)call(owner_of, blocks[i]), owner);
		cr_assert_eq(lab_owner(blocks[i] + 8), -1);
	}
	cr_assert_eq(lab_owner(&blocks), -1);
	cr_assert_eq(lab_owner(NULL), -1);
	void *slot = lab_alloc(10, LAB_GFP_ATOMIC);
	cr_assert_eq(lab_owner(slot), 0);
	lab_free(slot);
	for (int i = 0; i < 4; i++)
		lab_free(blocks[i]);
	cr_assert_eq(lab_owner(blocks[1]), -1);
	cr_assert_eq(lab_owner(blocks[3]), -1);
}

Test(exclusive, the_environment)
{
	static const struct {
		const char *value;
		bool log;
	} settings[] = {{"log", true}, {"perhaps", true}, {"abort", false}};

	for (int i = 0; i < 3; i++) {
		setenv("LABYRINTH_EXCLUSIVE", settings[i].value, 1);
		lab_config_read();
		cr_assert_eq(lab_load_rlx(&lab_settings.log_exclusive), settings[i].log);
	}
}

/* INV-EXCL-2: cut short before the pages were marked, or after, the block is live with all its marks in its state. */
Test(exclusive, a_repair_takes_an_exclusive_run_for_what_it_is)
{
	char *p = lab_alloc(50000, LAB_GFP_NOMERGE), *q = lab_alloc(9 * MIB, LAB_GFP_NOMERGE);

	memset(p, 1, 50000);
	lab_heap_rebuild_owned(lab_thread.heap);
	cr_assert_eq(live_blocks(), 2);
	cr_assert_eq(heap_check(lab_thread.heap).runs, 1);
	cr_assert_eq(lab_owner(p), gettid());
	lab_free(p);
	lab_free(q);
	cr_assert_not(has_flag(p, " nh"));
	cr_assert_eq(live_blocks(), 0);
}
