/*
 * stopped_ops.c - see stopped.h: the operations in which the victim is stopped.
 *
 * hand: blocks that the operation will free; each leaves the table before it is freed, so that a torn free loses it.
 * outs: what it has got; each gets its place in one store when the call has returned.
 */
#include "stopped.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stepper.h"

enum { HAND_MAX = 64, DECAY_MS = 10000 };

static struct block hand[HAND_MAX];
static struct {
	void *volatile p;
	size_t size;
} outs[HAND_MAX];
static size_t hands, out_count;
static struct block resized; /* what a realloc's result has to begin with; p is NULL if there is none */
static unsigned char *volatile trap_page;
static void *volatile in_free;

static void *(*alloc_gfp)(size_t size, unsigned gfp);
static bool (*reserve_thread)(size_t size, size_t count);
static bool (*reserve_balance)(void);
static int (*owner_of)(const void *block);

/* ---- small words ----------------------------------------------------------------------------------------------- */

static void
hold(size_t size, size_t count)
{
	while (count-- > 0)
		hand[hands++] = new_block(size);
}

static void *
take_from_hand(void)
{
	void *p = hand[--hands].p;

	hand[hands].p = NULL;
	return p;
}

static void
drop_all(void)
{
	while (hands > 0) {
		in_free = take_from_hand();
		free(in_free);
	}
	in_free = NULL;
}

void
operations_begin_free(void)
{
	if (owner_of && in_free && owner_of(in_free) >= 0)
		free(in_free);
	in_free = NULL;
}

static void
keep(void *p, size_t size)
{
	outs[out_count].size = size;
	outs[out_count++].p = p;
}

static void
get(size_t size, size_t count)
{
	while (count-- > 0)
		keep(malloc(size), size);
}

static void
resize(size_t size)
{
	resized = hand[hands - 1];
	keep(realloc(take_from_hand(), size), size);
}

static void
wait_for_worker(void (*job)(void))
{
	worker_order(0, job);
	worker_await(0);
}

static void
nothing(void)
{
}

#define RUNS(name, ...)                                                                                                \
	static void name(void)                                                                                         \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
	}
#define HAS(name, condition)                                                                                           \
	static bool name(void)                                                                                         \
	{                                                                                                              \
		return condition;                                                                                      \
	}

/* ---- the operations -------------------------------------------------------------------------------------------- */

static void
hold_and_free(size_t size, size_t count)
{
	hold(size, count);
	drop_all();
}

RUNS(free_list_48, hold_and_free(48, 2))
RUNS(malloc_48, get(48, 1))
RUNS(hold_48, hold(48, 1))
RUNS(malloc_3000, get(3000, 24))
RUNS(hold_3000, hold(3000, 44))
RUNS(malloc_100k, get(100 * KIB, 1))
RUNS(hold_100k, hold(100 * KIB, 1))
RUNS(malloc_9m, get(9 * MIB, 1))
RUNS(hold_9m, hold(9 * MIB, 1))
RUNS(hold_two_huge, hold(5 * MIB, 1), hold(9 * MIB, 1))
RUNS(resize_5m, resize(5 * MIB))
RUNS(resize_13m, resize(13 * MIB))
RUNS(resize_21m, resize(21 * MIB))
RUNS(resize_200, resize(200))
RUNS(resize_70k, resize(70 * KIB))
RUNS(resize_130k, resize(130 * KIB))
RUNS(malloc_3m, get(3 * MIB, 2))
RUNS(calloc_48, keep(calloc(6, 8), 48))
RUNS(calloc_100k, keep(calloc(100, KIB), 100 * KIB))
RUNS(memalign_4k, keep(memalign(4096, 100), 100))
RUNS(memalign_64k, keep(memalign(64 * KIB, 70 * KIB), 70 * KIB))
RUNS(trim, malloc_trim(0))

static void
claim_and_release_segments(void)
{
	for (int i = 0; i < 4; i++)
		hand[hands++].p = malloc(3 * MIB);
	drop_all();
}

/* Blocks of a worker's heap for the victim to free; and some of the victim's, freed by the worker. */
RUNS(give_run, hold(100 * KIB, 1))
RUNS(give_small, hold(64, 40))
RUNS(foreign_run, wait_for_worker(give_run))
RUNS(foreign_small, wait_for_worker(give_small))

static void
freed_by_another(void)
{
	hold(208, 20);
	hold(100 * KIB, 2);
	wait_for_worker(drop_all);
	foreign_small();
	while (hands > 8) /* the last eight wait in a batch */
		free(take_from_hand());
}

static void *
leave_a_heap(void *argument)
{
	hold(208, 30);
	hold(100 * KIB, 3);
	return argument;
}

static void
see_one_die(void)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, leave_a_heap, NULL) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

RUNS(dead_heap, wait_for_worker(see_one_die))
RUNS(dirty_pages, hold_and_free(200 * KIB, 6))

static void
decay_now(void)
{
	hold(200 * KIB, 2);
	library_set(LAB_PARAM_DECAY_MS, 0);
}

/* ---- re-entrant calls: malloc stops inside its heap, at the next free block, whose page is not readable ---------- */

static void (*in_handler)(void);

void
operations_untrap(void)
{
	if (trap_page)
		REQUIRE(mprotect(trap_page, 4096, PROT_READ | PROT_WRITE) == 0);
	trap_page = NULL;
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (!trap_page || (uintptr_t)info->si_addr - (uintptr_t)trap_page >= 4096)
		fail("crash: signal, address", (uintptr_t)number, (uintptr_t)info->si_addr);
	watch_on();
	in_handler();
	watch_off();
	operations_untrap();
}

static void
set_trap(void)
{
	void *p[3];

	for (size_t i = 0; i < 3; i++)
		p[i] = malloc(4096);
	for (size_t i = 0; i < 3; i++)
		free(p[i]);
	if ((uintptr_t)p[2] % 4096 == 0 && mprotect(p[2], 4096, PROT_NONE) == 0)
		trap_page = p[2];
}

static void
run_into_trap(void (*what)(void))
{
	in_handler = what;
	get(4096, 1);
}

static void
borrowing(void)
{
	get(48, 1);
	get(100 * KIB, 1);
	drop_all();
}

/* Often enough for the thread's own heap to be parked: that, and what comes next, is stepped. */
static void
overstaying(void)
{
	watch_off();
	for (int i = 0; i < 62; i++)
		free(malloc(40000));
	watch_on();
	for (int i = 0; i < 4; i++)
		free(malloc(40000));
}

RUNS(set_trap_and_hold, hold(48, 2), hold(100 * KIB, 1), set_trap())
RUNS(borrow, run_into_trap(borrowing))
RUNS(overstay, run_into_trap(overstaying))

/* ---- the atomic tier ------------------------------------------------------------------------------------------- */

static void
hold_slot(void)
{
	void *p = alloc_gfp(200, LAB_GFP_ATOMIC);

	if (p)
		hand[hands++] = block_of(p, 200);
}

RUNS(claim_slot, keep(alloc_gfp(200, LAB_GFP_ATOMIC), 200))
RUNS(claim_pages, keep(alloc_gfp(4096, LAB_GFP_ATOMIC | LAB_GFP_ZERO), 4096))
RUNS(share, (void)reserve_thread(256, 4), claim_slot(), (void)reserve_thread(256, 0))
RUNS(balance, (void)reserve_balance())

HAS(has_library, library_set != NULL)
HAS(has_atomic, alloc_gfp != NULL)
HAS(has_share, alloc_gfp &&reserve_thread)
HAS(has_balance, reserve_balance != NULL)
/* clang-format off */
const struct operation operations[] = {
	{"malloc, free list", free_list_48, malloc_48, 0, false, NULL, false},
	{"free, own block", hold_48, drop_all, 64, false, NULL, false},
	{"refill and carve", nothing, malloc_3000, 0, false, NULL, false},
	{"retire spans", hold_3000, drop_all, 3 * KIB, false, NULL, false},
	{"malloc of a run", nothing, malloc_100k, 0, false, NULL, false},
	{"free of a run", hold_100k, drop_all, 100 * KIB, false, NULL, false},
	{"remote push of a run", foreign_run, drop_all, 100 * KIB, false, NULL, false},
	{"batch of remote frees", foreign_small, drop_all, 4 * KIB, false, NULL, false},
	{"flush and drain", freed_by_another, malloc_100k, 100 * KIB, false, NULL, false},
	{"birth", NULL, malloc_48, 0, false, NULL, false},
	{"adoption", dead_heap, malloc_3m, 3 * MIB, false, NULL, false},
	{"trim", dirty_pages, trim, 0, false, NULL, false},
	{"decay", decay_now, drop_all, 200 * KIB, false, has_library, false},
	{"segments", nothing, claim_and_release_segments, 3 * MIB, false, NULL, false},
	{"calloc", nothing, calloc_48, 0, false, NULL, false},
	{"calloc of a run", nothing, calloc_100k, 0, false, NULL, false},
	{"realloc, copied", hold_48, resize_200, 64, false, NULL, false},
	{"realloc, run grows", hold_100k, resize_130k, 200 * KIB, false, NULL, false},
	{"realloc, run shrinks", hold_100k, resize_70k, 100 * KIB, false, NULL, false},
	{"memalign", nothing, memalign_4k, 0, false, NULL, false},
	{"memalign of a run", nothing, memalign_64k, 0, false, NULL, false},
	{"re-entrant calls", set_trap_and_hold, borrow, 100 * KIB, true, has_library, false},
	{"overstaying handler", set_trap, overstay, 40 * KIB, true, has_library, false},
	{"ATOMIC claim", nothing, claim_slot, 0, false, has_atomic, false},
	{"ATOMIC claim, zeroed", nothing, claim_pages, 0, false, has_atomic, false},
	{"release of a slot", hold_slot, drop_all, 0, false, has_atomic, false},
	{"share of the reserve", nothing, share, 64 * KIB, false, has_share, false},
	{"balance of the reserve", nothing, balance, 0, false, has_balance, false},
	{"malloc of a huge block", nothing, malloc_9m, 0, false, NULL, false},
	{"free of a huge block", hold_9m, drop_all, 12 * MIB, false, NULL, true},
	{"huge block grows", hold_9m, resize_13m, 16 * MIB, false, NULL, false},
	{"huge block shrinks", hold_9m, resize_5m, 12 * MIB, false, NULL, false},
	{"huge block moves", hold_two_huge, resize_21m, 36 * MIB, false, NULL, false},
};
/* clang-format on */
const size_t operation_count = sizeof operations / sizeof *operations;

/* ---- before and after ------------------------------------------------------------------------------------------ */

void
operations_start(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	*(void **)&alloc_gfp = dlsym(RTLD_DEFAULT, "lab_alloc");
	*(void **)&reserve_thread = dlsym(RTLD_DEFAULT, "lab_reserve_thread");
	*(void **)&reserve_balance = dlsym(RTLD_DEFAULT, "lab_reserve_balance");
	*(void **)&owner_of = dlsym(RTLD_DEFAULT, "lab_owner");
	REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
}

void
operations_clear(void)
{
	operations_untrap();
	if (library_set)
		library_set(LAB_PARAM_DECAY_MS, DECAY_MS);
	if (resized.p && outs[0].p) {
		resized.p = outs[0].p;
		check_block_part(&resized, resized.size < outs[0].size ? resized.size : outs[0].size);
	}
	for (size_t i = 0; i < HAND_MAX;
	     i++) { /* the last word on a block handed out twice: it is written, then the others look */
		struct block block = outs[i].p ? block_of(outs[i].p, outs[i].size) : (struct block){0};
		outs[i].p = NULL;
		free_block(&block);
		block = hand[i];
		hand[i].p = NULL;
		if (block.seed) /* 0: never filled */
			free_block(&block);
		else
			free(block.p);
	}
	memset(hand, 0, sizeof hand);
	resized.p = NULL;
	hands = out_count = 0;
}
