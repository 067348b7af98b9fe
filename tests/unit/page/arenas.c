/*
 * arenas.c - arenas come and go while threads claim segments of them, look pointers up, and walk all there is: nobody's memory is another's, and
 * nobody reads what is not there. A plain program, as TSan and Criterion do not go together. The single steps are in page/retire.c.
 *
 * 'walks' is run by a second program too, which is built without the grace period (LAB_GRACE=0 in page/walk.c). That one has to die of it: the
 * pattern 'unprotected' is that child.
 *
 * Clauses: G10.5.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crowd.h"
#include "page/charge.h"
#include "page/purge.h"
#include "page/retire.h"
#include "page/walk.h"

#if defined(LAB_THREAD_SANITIZER)
enum { ROUNDS = 700 };
#else
enum { ROUNDS = 5000 };
#endif

enum { CLAIMERS = 2, WALKERS = 2, HELD = 3, PAGES = 5 };

static struct lab_os_table real;
static _Atomic size_t came, went;
static _Atomic bool stop;

/* Who is given addresses that another has unmapped comes after him: TSan does not know it of the kernel. */
static _Atomic unsigned unmapped;

static void *
map_little(size_t size, enum lab_access access)
{
	void *p = size > 40 << 20 ? NULL : real.map(size, access);

	(void)atomic_load_explicit(&unmapped, memory_order_acquire);
	return p;
}

static void
unmap(void *p, size_t size)
{
	atomic_fetch_add_explicit(&unmapped, 1, memory_order_release);
	real.unmap(p, size);
}

/* The first arena is full: it stays, and is of no use here. */
static void
start(void)
{
	real = lab_os;
	lab_os.map = map_little; /* arenas of 32 MiB */
	lab_os.unmap = unmap;
	lab_walk_note_process(lab_os_pid());
	REQUIRE(lab_map_start());
	struct lab_arena *first = lab_map_arena(0);
	REQUIRE(lab_arena_claim_at(first, LAB_SEGMENT_SMALL, 100, 0, lab_arena_segment_count(first)));
}

struct held {
	struct lab_arena *arena;
	size_t index, count;
	char *payload;
};

static void
check_held(const struct held *held, size_t number)
{
	REQUIRE(lab_map_find_arena(held->payload) == held->arena);
	for (size_t i = 0; i < held->count; i++) {
		struct lab_place place = lab_map_find(held->payload + i * LAB_SEGMENT_SIZE);
		REQUIRE(place.arena == held->arena && place.index == held->index + i && place.heap_id == number);
		REQUIRE(lab_arena_segment(held->arena, held->index + i)->base == held->payload + i * LAB_SEGMENT_SIZE);
		REQUIRE(*(size_t *)(held->payload + i * LAB_SEGMENT_SIZE) == number);
	}
}

/* Segments of any arena; or one more arena. */
static bool
claim(struct held *held, size_t number, size_t count)
{
	struct lab_arena *arena;

	for (size_t i = 1; (arena = lab_map_arena(i)) != NULL; i++) {
		long index = lab_arena_claim(arena, LAB_SEGMENT_SMALL, (uint32_t)number, count, LAB_SEGMENT_SIZE);
		if (index < 0)
			continue;
		*held = (struct held){arena, (size_t)index, count, lab_arena_payload(arena, (size_t)index)};
		for (size_t k = 0; k < count; k++) {
			struct lab_segment *segment = lab_arena_segment(arena, (size_t)index + k);
			while (!lab_segment_take_at(segment, 0, PAGES)) /* a purger has them */
				sched_yield();
			if (lab_segment_is_fresh(segment, 0, PAGES))
				REQUIRE(*(size_t *)(held->payload + k * LAB_SEGMENT_SIZE) == 0);
			*(size_t *)(held->payload + k * LAB_SEGMENT_SIZE) = number;
		}
		return true;
	}
	came += lab_map_grow(0);
	return false;
}

static void
release(const struct held *held, size_t number)
{
	check_held(held, number);
	for (size_t i = 0; i < held->count; i++) {
		lab_segment_give(lab_arena_segment(held->arena, held->index + i), 0, PAGES, PAGES);
		uint64_t owner = lab_load_rlx(&held->arena->owners[held->index + i]);
		REQUIRE(lab_owner_heap(owner) == number && lab_arena_release(held->arena, held->index + i, owner));
	}
}

static void
claim_and_retire(size_t number)
{
	struct trace_random random = {++number};
	struct held held[HELD];
	size_t live = 0;

	while (went < 2 * ROUNDS) {
		if (live < HELD && trace_below(&random, 2))
			live += claim(&held[live], number, 1 + trace_below(&random, 8));
		else if (live > 0)
			release(&held[--live], number);
		if (trace_below(&random, 2))
			went += lab_arenas_retire(0, 0) != 0;
	}
	while (live-- > 0)
		release(&held[live], number);
}

static void
walk(size_t number)
{
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | (number + 50)};

	while (!stop) {
		(void)lab_purge_dirty_pages();
		(void)lab_charge_count();
		(void)lab_purge_all(&record, &lab_purge_everything);
	}
}

/* Nothing is mapped any more that was not at the start: no arena was lost. */
static void
check_all_gone(void)
{
	struct lab_arena *arena;

	(void)lab_arenas_retire(0, 0);
	(void)lab_arenas_retire(0, 0);
	for (size_t i = 1; (arena = lab_map_arena(i)) != NULL; i++) {
		REQUIRE(lab_load_rlx(&arena->where) == 0);
		for (size_t index = 0; index < arena->capacity; index++)
			REQUIRE(lab_owner_kind(lab_load_rlx(&arena->owners[index])) == LAB_SEGMENT_FREE);
	}
}

static void
run(size_t walkers)
{
	struct crowd_member members[WALKERS];

	start();
	for (size_t i = 0; i < walkers; i++)
		crowd_begin(&members[i], walk, i);
	crowd_run(claim_and_retire, CLAIMERS);
	stop = true;
	for (size_t i = 0; i < walkers; i++)
		crowd_join(&members[i]);
	check_all_gone();
	printf("%zu arenas came, %zu were retired\n", came, went);
}

static void
run_claims(void)
{
	run(0);
}

static void
run_walks(void)
{
	run(WALKERS);
}

/* The same in a child, of which the right build comes back and the other does not. */
static void
run_unprotected(void)
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		run_walks();
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS));
}

int
main(int argc, char **argv)
{
	static const struct crowd_pattern patterns[] = {
	        {"claims", run_claims}, {"walks", run_walks}, {"unprotected", run_unprotected}};

	if (argc < 2)
		return 2;
	return crowd_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
