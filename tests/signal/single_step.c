/*
 * single_step.c - a handler that allocates, resizes and frees after every single instruction of malloc, calloc, realloc, free,
 * aligned_alloc and memalign in the main program (G2), on every path that the table of scenarios can reach.
 *
 * Each trap runs one or two steps of the handler's own program: blocks that live over several traps, blocks handed over by
 * the main program and to it, every size. All blocks have patterns. On any malloc without this property the program hangs, crashes
 * or reports changed contents within moments; teeth.py sees to it that it does.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stepper.h"
#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* Handlers three deep in two threads, the heaps of some dead ones, and what is parked meanwhile. */
enum { HEAPS_MAX = 64 };

/* ---- the handler's program ---------------------------------------------------------------------------------------------- */

enum { HELD = 61, MAIL = 16 };

static struct block held[HELD];
static struct block mail_to_handler[MAIL], mail_to_main[MAIL];
static uint32_t turn;
static bool handler_is_calm; /* small blocks only */

static size_t
size_for_turn(uint32_t n)
{
	static const uint16_t sizes[] = {16, 40, 64, 100, 24, 200, 512, 1000, 80, 1024, 1500, 8, 3000, 320, 48, 0};

	if (handler_is_calm)
		return sizes[n % 8];
	if (n % 4096 == 1)
		return 5 * MIB;
	if (n % 512 == 2)
		return 300 * KIB;
	if (n % 128 == 3)
		return 40 * KIB + n % 7 * 4096;
	if (n % 64 == 5)
		return 9000 + n % 20 * 1000;
	return sizes[n % 16] + n % 3;
}

/* A block that stays for HELD traps is checked, and freed, resized or replaced. */
static void
turn_over_held(uint32_t n)
{
	struct block *block = &held[n % HELD];
	size_t size = size_for_turn(n);

	if (block->p && n % 3 == 0) {
		reallocated(block, realloc(block->p, size + 1), size + 1);
		return;
	}
	free_block(block);
	if (n % 5 == 0) {
		void *p = calloc(1, size);
		check_zero(p, size);
		*block = block_of(p, size);
	} else if (n % 11 == 0) {
		void *p = aligned_alloc(64, size);
		REQUIRE((uintptr_t)p % 64 == 0);
		*block = block_of(p, size);
	} else {
		*block = new_block(size);
	}
}

/* One block comes from the main program, one goes there. */
static void
exchange_in_handler(uint32_t n)
{
	struct block *from = &mail_to_handler[n % MAIL], *to = &mail_to_main[n % MAIL];

	if (from->p && n % 2 == 0)
		reallocated(from, realloc(from->p, from->size + 50), from->size + 50);
	free_block(from);
	if (!to->p)
		*to = new_block(size_for_turn(n + 7));
}

static void
handler_program(void)
{
	uint32_t n = turn++;
	struct block fleeting = new_block(24 + n % 40);

	turn_over_held(n);
	if (n % 4 == 0)
		exchange_in_handler(n / 4);
	free_block(&fleeting);
}

/* ---- when it runs ------------------------------------------------------------------------------------------------------- */

/*
 * DENSE: at every instruction. After 64 calls that found the same frame inside the heap, the library gives the thread another heap, and
 * the rest of that call is not re-entrant any more; hence
 * SPARSE: at every SPARSE_STEP'th instruction, others each time.
 * SWEEP: at one instruction, another each time, the handler makes more than 64 calls: it gets the thread's heap in the midst of
 * it. After that it runs ten times more.
 * TWO_LEVELS: sparse, and the handler's own calls are stepped as well and interrupted at one instruction, another each time.
 */
static enum mode { DENSE, SPARSE, SWEEP, TWO_LEVELS } mode;

enum { LONG_CALLS = 40, SWEEP_STEP = 13, SWEEP_END = 100 };

static unsigned sweep_target;

/* At every how manieth instruction the handler does something. */
static const unsigned steps[] = {[DENSE] = 1, [SPARSE] = 67, [SWEEP] = 1, [TWO_LEVELS] = 2503};

static unsigned instruction, call, level; /* in the call that is stepped; number of calls; depth of handlers */
static unsigned second_instruction, second_target, second_hits;

static void
begin_call(void)
{
	if (level == 0) {
		instruction = 0;
		call++;
	}
}

static struct block step_new(size_t size);
static void step_free(struct block *block);
static void step_realloc(struct block *block, size_t size);

/* The program of a handler that is itself interrupted. */
static void
interrupted_handler_program(uint32_t n)
{
	level = 1;
	second_instruction = 0;
	struct block *block = &held[n % HELD];
	if (block->p && n % 3 == 0)
		step_realloc(block, size_for_turn(n) + 1);
	step_free(block);
	*block = step_new(size_for_turn(n));
	second_target = second_instruction > second_target ? second_target + 1 : 0;
	level = 0;
}

static bool
run_in_sweep(void)
{
	bool is_target = instruction == sweep_target;

	if (instruction > sweep_target + 10 * SWEEP_STEP)
		step_no_more();
	if (!is_target && (instruction < sweep_target || (instruction - sweep_target) % SWEEP_STEP != 0))
		return false;
	for (int i = 0; i < (is_target ? LONG_CALLS : 1); i++)
		handler_program();
	return true;
}

static bool
hook(void)
{
	if (level == 1) {
		if (second_instruction++ != second_target)
			return false;
		step_no_more();
		second_hits++;
		level = 2;
		handler_program();
		level = 1;
		return true;
	}
	instruction++;
	if (mode == SWEEP)
		return run_in_sweep();
	if ((instruction + call * 5) % steps[mode] != 0)
		return false;
	if (mode == TWO_LEVELS)
		interrupted_handler_program(turn++);
	else
		handler_program();
	return true;
}

/* ---- the main program's steps ------------------------------------------------------------------------------------------- */

/* What a stepped call must not change. */
static void
check_errno(void)
{
	if (errno != EXDEV)
		fail("errno was changed to", (uintptr_t)errno, 0);
}

static void *
step_malloc(size_t size)
{
	errno = EXDEV;
	begin_call();
	step_on();
	void *p = malloc(size);
	step_off();
	check_errno();
	return p;
}

static struct block
step_new(size_t size)
{
	return block_of(step_malloc(size), size);
}

static struct block
step_calloc(size_t count, size_t size)
{
	begin_call();
	step_on();
	void *p = calloc(count, size);
	step_off();
	check_zero(p, count * size);
	return block_of(p, count * size);
}

static void
step_realloc(struct block *block, size_t size)
{
	errno = EXDEV;
	begin_call();
	step_on();
	void *p = realloc(block->p, size);
	step_off();
	check_errno();
	reallocated(block, p, size);
}

static void
step_free(struct block *block)
{
	unsigned char *p = block->p;

	if (!p)
		return;
	check_block(block);
	block->p = NULL;
	errno = EXDEV;
	begin_call();
	step_on();
	free(p);
	step_off();
	check_errno();
}

static struct block
step_aligned(size_t alignment, size_t size, bool as_memalign)
{
	begin_call();
	step_on();
	void *p = as_memalign ? memalign(alignment, size) : aligned_alloc(alignment, size);
	step_off();
	if ((uintptr_t)p % alignment != 0)
		fail("not aligned: block, alignment", (uintptr_t)p, alignment);
	return block_of(p, size);
}

/* Fills what the handler is to free, and frees what it has sent; neither is stepped, the frees of `stepped` blocks are. */
static void
exchange_mail(size_t size)
{
	for (int i = 0; i < MAIL; i++) {
		if (i % 2)
			step_free(&mail_to_main[i]);
		else
			free_block(&mail_to_main[i]);
		if (!mail_to_handler[i].p)
			mail_to_handler[i] = new_block(size + (size_t)i);
	}
}

/* ---- scenarios ---------------------------------------------------------------------------------------------------------- */

/* The very first blocks of several classes, then the same from a span that is there. */
static void
small_first_use(void)
{
	static const size_t sizes[] = {1, 16, 17, 128, 129, 500, 1024, 1025, 2000, 4096, 8000};
	enum { SIZES = sizeof sizes / sizeof *sizes };
	struct block blocks[SIZES][2];

	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < 2; j++)
			blocks[i][j] = step_new(sizes[i]);
	exchange_mail(40);
	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < 2; j++)
			step_free(&blocks[i][j]);
}

/* Spans of one class: carved to the end, exhausted, replaced, reopened by a free, retired. */
static void
span_lives(size_t size)
{
	enum { MAX = 160 };
	static struct block blocks[MAX];
	size_t count = 5 * (64 * KIB / size) / 2 + 1;

	if (count > MAX)
		count = MAX;
	for (size_t i = 0; i < count; i++)
		blocks[i] = step_new(size);
	for (size_t i = 0; i < count; i += 2)
		step_free(&blocks[i]);
	for (size_t i = 0; i < count; i += 4) /* into the holes */
		blocks[i] = step_new(size);
	exchange_mail(size / 2);
	for (size_t i = 0; i < count; i++)
		step_free(&blocks[i]);
}

static void
spans_of_small_blocks(void)
{
	span_lives(1450);
}

static void
spans_of_medium_blocks(void)
{
	span_lives(17 * KIB);
	span_lives(24 * KIB);
	span_lives(32 * KIB);
}

static void
runs_of_pages(void)
{
	static const size_t sizes[] = {33 * KIB, 100 * KIB, 257 * KIB, 1 * MIB, 3 * MIB, 4 * MIB};
	struct block blocks[6];

	for (int i = 0; i < 6; i++)
		blocks[i] = step_new(sizes[i]);
	exchange_mail(50 * KIB);
	for (int i = 0; i < 6; i += 2)
		step_free(&blocks[i]);
	for (int i = 0; i < 6; i += 2)
		blocks[i] = step_new(sizes[5 - i]);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
}

static void
huge_blocks(void)
{
	struct block a = step_new(5 * MIB), b = step_new(20 * MIB);

	step_realloc(&b, 23 * MIB);
	step_realloc(&b, 41 * MIB);
	step_realloc(&b, 9 * MIB);
	step_realloc(&a, 12 * MIB);
	step_free(&a);
	a = step_new(6 * MIB);
	step_free(&b);
	step_realloc(&a, 300 * KIB);
	step_free(&a);
}

static void
realloc_of_small_blocks(void)
{
	struct block block = step_new(10);

	for (size_t size = 20; size < 80 * KIB; size = size * 7 / 4)
		step_realloc(&block, size);
	for (size_t size = 60 * KIB; size > 16; size /= 3)
		step_realloc(&block, size);
	step_free(&block);
}

/* In place while the pages behind are free, by moving when a neighbour is in the way, back to fewer pages. */
static void
realloc_of_runs(void)
{
	struct block a = step_new(100 * KIB), b;

	step_realloc(&a, 180 * KIB);
	step_realloc(&a, 400 * KIB);
	b = step_new(100 * KIB);
	step_realloc(&a, 1500 * KIB);
	step_realloc(&a, 200 * KIB);
	step_realloc(&a, 3 * MIB);
	step_realloc(&a, 7 * MIB);
	step_realloc(&b, 40 * KIB);
	step_free(&a);
	step_free(&b);
}

/* Segments are claimed one after the other, and go back. */
static void
growth_by_segments(void)
{
	enum { COUNT = 14 };
	struct block blocks[COUNT];

	for (int i = 0; i < COUNT; i++)
		blocks[i] = step_new(i % 3 == 0 ? 3 * MIB : 1500 * KIB);
	for (int i = 0; i < COUNT; i++)
		step_free(&blocks[i]);
}

static void
zeroed_blocks(void)
{
	static const size_t sizes[] = {1, 64, 1000, 2000, 20 * KIB, 100 * KIB, 700 * KIB, 5 * MIB};
	struct block block;

	for (int round = 0; round < 2; round++) { /* the second time on pages that were used before */
		for (int i = 0; i < 8; i++) {
			block = step_calloc(1, sizes[i]);
			step_free(&block);
			block = step_calloc(sizes[i], 1);
			memset(block.p, 0xff, block.size < MIB ? block.size : MIB);
			free(block.p);
		}
	}
}

static void
aligned_blocks(void)
{
	static const size_t alignments[] = {16, 64, 256, 4096, 16 * KIB, 32 * KIB, 64 * KIB, 1 * MIB, 8 * MIB};
	static const size_t sizes[] = {1, 100, 5000, 100 * KIB};
	struct block blocks[9];

	for (int s = 0; s < 4; s++) {
		for (int i = 0; i < 9; i++)
			blocks[i] = step_aligned(alignments[i], sizes[s], i % 2);
		for (int i = 0; i < 9; i++)
			step_free(&blocks[i]);
	}
}

/* ---- other threads ------------------------------------------------------------------------------------------------------ */

enum { REMOTE_BLOCKS = 150 };

struct exchange {
	struct block mine[REMOTE_BLOCKS], theirs[REMOTE_BLOCKS];
	size_t sizes;
};

static size_t
remote_size(size_t sizes, int i)
{
	return sizes == 0 ? 16 + (size_t)i % 60 * 16 : i % 10 ? sizes : 60 * KIB;
}

/* Frees the main thread's blocks, and leaves it some of its own. */
static void *
free_and_allocate(void *argument)
{
	struct exchange *exchange = argument;

	for (int i = 0; i < REMOTE_BLOCKS; i++) {
		free_block(&exchange->mine[i]);
		exchange->theirs[i] = new_block(remote_size(exchange->sizes, i));
	}
	return NULL;
}

/* SIGTRAP is not blocked in any thread; only the main one is stepped. */
static void
run_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, function, argument) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

/* Another thread frees the main one's blocks: they are drained under the stepper, and the dead thread's heap is taken over. */
static void
remote_frees(void)
{
	static struct exchange exchange;

	for (int round = 0; round < 4; round++) {
		exchange.sizes = round % 2 ? 3000 : 0;
		for (int i = 0; i < REMOTE_BLOCKS; i++)
			exchange.mine[i] = new_block(remote_size(exchange.sizes, i));
		run_thread(free_and_allocate, &exchange);
		for (int i = 0; i < 12; i++)
			exchange.mine[i] = step_new(remote_size(exchange.sizes, i));
		struct block run = step_new(70 * KIB); /* a slow path: drains */
		step_free(&run);
		for (int i = 0; i < REMOTE_BLOCKS; i++) {
			if (i < 80)
				step_free(&exchange.theirs[i]);
			else
				free_block(&exchange.theirs[i]);
			free_block(&exchange.mine[i]);
		}
	}
}

static struct exchange background;
static bool background_stops;

static void *
free_all_the_time(void *unused)
{
	while (!__atomic_load_n(&background_stops, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < REMOTE_BLOCKS; i++) {
			unsigned char *p = __atomic_load_n(&background.mine[i].p, __ATOMIC_ACQUIRE);
			if (!p)
				continue;
			check_block(&background.mine[i]);
			__atomic_store_n(&background.mine[i].p, NULL, __ATOMIC_RELEASE);
			free(p);
			struct block own = new_block(200);
			free_block(&own);
		}
		sched_yield();
	}
	return unused;
}

/* The same at the same time: drains meet pushes. */
static void
remote_frees_at_the_same_time(void)
{
	pthread_t thread;

	background_stops = false;
	REQUIRE(pthread_create(&thread, NULL, free_all_the_time, NULL) == 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < REMOTE_BLOCKS; i += 3) {
			if (__atomic_load_n(&background.mine[i].p, __ATOMIC_ACQUIRE))
				continue;
			struct block block = i % 9 ? new_block(remote_size(0, i)) : step_new(i % 2 ? 900 : 50 * KIB);
			background.mine[i].size = block.size;
			background.mine[i].seed = block.seed;
			__atomic_store_n(&background.mine[i].p, block.p, __ATOMIC_RELEASE);
		}
	}
	__atomic_store_n(&background_stops, true, __ATOMIC_RELEASE);
	REQUIRE(pthread_join(thread, NULL) == 0);
	for (int i = 0; i < REMOTE_BLOCKS; i++)
		free_block(&background.mine[i]);
}

static void *
first_call_of_thread(void *argument)
{
	size_t size = *(size_t *)argument;
	struct block block = step_new(size);

	step_free(&block);
	block = step_calloc(1, size);
	step_free(&block);
	return NULL;
}

static void *
first_free_of_thread(void *argument)
{
	step_free(argument);
	struct block block = step_new(100);
	step_free(&block);
	return NULL;
}

/* The first calls of a thread: its heap is made, or taken over from a dead thread. */
static void
births(void)
{
	size_t sizes[] = {100, 100, 20 * KIB, 200 * KIB, 5 * MIB};

	for (int i = 0; i < 5; i++)
		run_thread(first_call_of_thread, &sizes[i]);
	for (int i = 0; i < 3; i++) {
		struct block block = new_block(sizes[i + 1]);
		run_thread(first_free_of_thread, &block);
	}
}

static void *
die_with_blocks(void *argument)
{
	struct exchange *exchange = argument;

	for (int i = 0; i < REMOTE_BLOCKS; i++)
		exchange->theirs[i] = new_block(i % 30 == 0 ? 200 * KIB : remote_size(0, i));
	return NULL;
}

/* Slow paths that take over the heaps of several dead threads, which hold live blocks. */
static void
dead_threads(void)
{
	enum { THREADS = 4 };
	static struct exchange exchanges[THREADS];
	struct block blocks[6];

	for (int i = 0; i < THREADS; i++)
		run_thread(die_with_blocks, &exchanges[i]);
	for (int i = 0; i < 6; i++)
		blocks[i] = step_new(3 * MIB);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < REMOTE_BLOCKS; j++)
			(j % 8 ? free_block : step_free)(&exchanges[i].theirs[j]);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------------- */

/* Every free looks for pages to give back, and gives them back. */
static void
purges(void)
{
	struct block blocks[6];

	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 0));
	for (int i = 0; i < 6; i++)
		blocks[i] = new_block(i % 2 ? 900 * KIB : 300 * KIB);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
	blocks[0] = step_calloc(1, 800 * KIB);
	step_free(&blocks[0]);
	begin_call();
	step_on();
	(void)malloc_trim(0);
	step_off();
	if (library_set)
		REQUIRE(library_set(LAB_PARAM_DECAY_MS, 1000));
}

static void
failures(void)
{
	volatile size_t too_much = SIZE_MAX / 2 + 1;

	handler_is_calm = true;
	begin_call();
	step_on();
	void *p = malloc(too_much);
	void *q = calloc(too_much, 4);
	void *r = aligned_alloc(64, too_much - 1);
	step_off();
	REQUIRE(p == NULL && q == NULL && r == NULL && errno == ENOMEM);
	handler_is_calm = false;
}

/* ---- long handlers ------------------------------------------------------------------------------------------------------- */

/* A few calls, each with a long handler at its k-th instruction, for all k. */
static void
sweep_calls(size_t size, unsigned step)
{
	unsigned longest = 1;

	for (sweep_target = 1; sweep_target <= longest && sweep_target <= SWEEP_END; sweep_target += step) {
		struct block blocks[3];
		longest = 0;
		for (int i = 0; i < 3; i++) {
			blocks[i] = step_new(size);
			longest = instruction > longest ? instruction : longest;
		}
		step_realloc(&blocks[1], size + size / 8);
		for (int i = 0; i < 3; i++)
			step_free(&blocks[i]);
	}
}

static void
long_handlers(void)
{
	enum mode before = mode;

	if (mode != SPARSE) /* once */
		return;
	mode = SWEEP;
	sweep_calls(2000, 1);
	sweep_calls(30000, 1);
	sweep_calls(70000, 1);
	mode = before;
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

static const struct scenario {
	const char *name;
	void (*run)(void);
} scenarios[] = {
        {"small blocks, first use", small_first_use},
        {"births of threads", births},
        {"spans of small blocks", spans_of_small_blocks},
        {"spans of 17 to 32 KiB blocks", spans_of_medium_blocks},
        {"runs of pages", runs_of_pages},
        {"huge blocks", huge_blocks},
        {"realloc of small blocks", realloc_of_small_blocks},
        {"realloc of runs", realloc_of_runs},
        {"growth by segments", growth_by_segments},
        {"calloc", zeroed_blocks},
        {"aligned blocks", aligned_blocks},
        {"remote frees", remote_frees},
        {"remote frees at the same time", remote_frees_at_the_same_time},
        {"dead threads", dead_threads},
        {"purges", purges},
        {"failures", failures},
        {"long handlers", long_handlers},
};

/* Nothing of the reserve is in use while there is memory, and heaps do not grow with the number of handlers. Gives their number. */
static size_t
check_figures(void)
{
	struct lab_stats stats;

	if (!library_stats)
		return 0;
	library_stats(&stats);
	if (stats.reserve_used != 0)
		fail("the reserve was used while there was memory", stats.reserve_used, 0);
	if (stats.heaps > HEAPS_MAX)
		fail("heaps grow with the handlers", stats.heaps, HEAPS_MAX);
	return stats.heaps;
}

static void
run_scenario(const struct scenario *scenario)
{
	size_t traps = step_figures().traps;
	uint64_t start = now_ms();

	current_scenario = scenario->name;
	scenario->run();
	for (int i = 0; i < HELD; i++)
		if (held[i].p)
			check_block(&held[i]);
	size_t heaps = check_figures();
	printf("%-36s %8zu traps %6llu ms %3zu heaps\n", scenario->name, step_figures().traps - traps,
	       (unsigned long long)(now_ms() - start), heaps);
}

static const struct mode_name {
	enum mode mode;
	const char *name;
} modes[] = {
        {DENSE, "the handler runs at every instruction"},
        {SPARSE, "the handler runs at some instructions"},
        {TWO_LEVELS, "the handler is interrupted in turn"},
};

static void
run_mode(const struct mode_name *wanted)
{
	printf("%s:\n", wanted->name);
	mode = wanted->mode;
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (strstr(scenarios[i].name, only))
			run_scenario(&scenarios[i]);
	struct step_figures figures = step_figures();
	printf("%zu instructions stepped so far, %zu distinct ones of the library interrupted\n", figures.traps, figures.distinct);
}

int
main(int argc, char **argv)
{
	const char *mode_text = getenv("SIGNAL_TEST_MODE"); /* part of a name: only those modes */

	if (!mode_text)
		mode_text = "";
	start_test(argc, argv, 120);
	step_start(hook, SA_NODEFER);
	for (unsigned round = 0; round < scale; round++) {
		for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
			if (strstr(modes[i].name, mode_text))
				run_mode(&modes[i]);
	}
	printf("%u calls, %u handlers interrupted by handlers\n", call, second_hits);
	step_write_coverage();
	return end_test();
}
