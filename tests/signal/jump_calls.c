/* jump_calls.c - see jump_calls.h. */
#include "jump_calls.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel_functions.h"

/* ---- the live set ---------------------------------------------------------------------------------------------- */

enum { LIVE = 300 };

static struct block live[LIVE];
uint32_t random_state = 1;

static void
check_overlap(const struct block *new)
{
	for (int i = 0; i < LIVE; i++) {
		const struct block *old = &live[i];
		if (old->p && new->p < old->p + old->size && old->p < new->p + new->size)
			fail("two live blocks overlap", (uintptr_t) new->p, (uintptr_t)old->p);
	}
}

static size_t
random_size(void)
{
	uint32_t n = next_random(&random_state);

	if (n % 97 == 0)
		return 40 * KIB + n % 60 * KIB;
	if (n % 13 == 0)
		return 1100 + n % 20000;
	return 1 + n % 1000;
}

/* Some blocks of the live set are checked, freed and replaced. */
void
go_on_allocating(int steps)
{
	for (int i = 0; i < steps; i++) {
		struct block *at = &live[next_random(&random_state) % LIVE];
		size_t size = random_size();
		free_block(at);
		struct block block = {.p = malloc(size), .size = size};
		if (!block.p)
			fail("NULL while there is memory: size", size, 0);
		check_overlap(&block);
		*at = block_of(block.p, size);
	}
}

/* The same in a frame that is far below the caller's. */
__attribute__((noinline)) void
go_on_deeper(int steps)
{
	volatile char below[16 * 1024];

	below[0] = 0;
	go_on_allocating(steps);
	below[1] = below[0];
}

size_t
live_bytes(void)
{
	size_t bytes = 0;

	for (int i = 0; i < LIVE; i++)
		bytes += live[i].p ? live[i].size : 0;
	return bytes;
}

/* ---- another thread, which frees this one's blocks and allocates for it ---------------------------------------- */

enum { SHARED = 24, SPARSE = 64 };

static void *to_free[SHARED];
static void *allocated[SHARED];
static sem_t wanted, done;

static void *
helper(void *unused)
{
	for (;;) {
		while (sem_wait(&wanted) != 0)
			;
		for (int i = 0; i < SHARED; i++) {
			free(to_free[i]);
			to_free[i] = NULL;
			if (!allocated[i])
				allocated[i] = malloc(300);
		}
		sem_post(&done);
	}
	return unused;
}

static void
ask_helper(void)
{
	sem_post(&wanted);
	while (sem_wait(&done) != 0)
		;
}

/* ---- the calls that are interrupted ---------------------------------------------------------------------------- */

void *in_hand;
void *volatile result;

static void
nothing(void)
{
}

static void
prepare_small(void)
{
	in_hand = malloc(100);
}

static void
prepare_medium(void)
{
	in_hand = malloc(20 * KIB);
}

static void
prepare_run(void)
{
	in_hand = malloc(100 * KIB);
}

static void
prepare_huge(void)
{
	in_hand = malloc(5 * MIB);
}

/* Of another thread's heap: its free goes into a batch. */
static void
prepare_foreign(void)
{
	for (int i = 0; i < SHARED; i++) {
		in_hand = allocated[i];
		if (in_hand) {
			allocated[i] = NULL;
			return;
		}
	}
	ask_helper();
	prepare_foreign();
}

/* The other thread frees some of ours, which the next slow path drains. */
static void
prepare_drain(void)
{
	for (int i = 0; i < SHARED; i++)
		to_free[i] = malloc(i % 8 ? 700 : 50 * KIB);
	ask_helper();
}

/* Spans of which few blocks are used. */
static void
prepare_sparse(void)
{
	static void *blocks[SPARSE];

	for (int i = 0; i < SPARSE; i++)
		if (!blocks[i])
			blocks[i] = malloc(4000);
	for (int i = 0; i < SPARSE; i++) {
		if (i % 8 == 0)
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

static void
prepare_purged(void)
{
	prepare_sparse();
	(void)malloc_trim(0);
}

static void
call_malloc_4000(void)
{
	result = malloc(4000);
}

static void
call_malloc_small(void)
{
	result = malloc(100);
}

static void
call_malloc_medium(void)
{
	result = malloc(20 * KIB);
}

static void
call_malloc_run(void)
{
	result = malloc(100 * KIB);
}

static void
call_malloc_huge(void)
{
	result = malloc(5 * MIB);
}

static void
call_calloc(void)
{
	result = calloc(1, 3000);
}

static void
call_memalign(void)
{
	result = memalign(4096, 10 * KIB);
}

static void
call_free(void)
{
	free(in_hand);
}

static void
call_realloc_more(void)
{
	result = realloc(in_hand, 150 * KIB);
}

static void
call_realloc_small(void)
{
	result = realloc(in_hand, 250);
}

static void
call_realloc_huge(void)
{
	result = realloc(in_hand, 14 * MIB);
}

static void
call_realloc_less(void)
{
	result = realloc(in_hand, 40);
}

static void
prepare_aligned(void)
{
	in_hand = memalign(64 * KIB, 3 * MIB);
}

static void
call_trim(void)
{
	(void)malloc_trim(0);
}

static void
call_posix_memalign(void)
{
	void *p = NULL;

	result = posix_memalign(&p, 128 * KIB, 200 * KIB) == 0 ? p : NULL;
}

static bool has_kernel;

static void
prepare_kernel(void)
{
	has_kernel = find_kernel_functions();
}

/* Two pages, shared for a while, then given back one by one. */
static void
call_pages(void)
{
	char *pages = has_kernel ? kernel.alloc_pages(LAB_GFP_KERNEL, 1) : NULL;

	if (!pages)
		return;
	REQUIRE(kernel.get(pages) && !kernel.put(pages) && kernel.split(pages, 1));
	REQUIRE(kernel.put(pages + 4096) && kernel.put(pages));
}

static void
call_percpu(void)
{
	void *instance = has_kernel ? kernel.percpu_alloc(40, 8, LAB_GFP_KERNEL) : NULL;

	if (instance)
		kernel.percpu_free(instance);
}

const struct call calls[CALLS] = {
        {"malloc, small", nothing, call_malloc_small, 112, 8},
        {"free, small", prepare_small, call_free, 112, 8},
        {"malloc, 20 KiB", nothing, call_malloc_medium, 64 * KIB, 4},
        {"free, 20 KiB", prepare_medium, call_free, 20 * KIB, 4},
        {"malloc, run", nothing, call_malloc_run, 100 * KIB, 4},
        {"free, run", prepare_run, call_free, 100 * KIB, 4},
        {"malloc, huge", nothing, call_malloc_huge, 8 * MIB, 1},
        {"free, huge", prepare_huge, call_free, 8 * MIB, 1},
        {"calloc, 3000", nothing, call_calloc, 4096, 8},
        {"memalign, 10 KiB", nothing, call_memalign, 16 * KIB, 4},
        {"posix_memalign, a run", nothing, call_posix_memalign, 260 * KIB, 2},
        {"realloc, small to run", prepare_small, call_realloc_more, 160 * KIB, 4},
        {"realloc, run grows", prepare_run, call_realloc_more, 260 * KIB, 4},
        {"realloc, run to small", prepare_run, call_realloc_less, 110 * KIB, 4},
        {"realloc, huge grows", prepare_huge, call_realloc_huge, 24 * MIB, 1},
        {"free, an aligned run", prepare_aligned, call_free, 4 * MIB, 1},
        {"free, another thread's", prepare_foreign, call_free, 32 * 320, 8},
        {"malloc that drains", prepare_drain, call_malloc_run, 160 * KIB, 4},
        {"small malloc that drains", prepare_drain, call_malloc_medium, 110 * KIB, 4},
        {"malloc_trim", prepare_drain, call_trim, 110 * KIB, 1},
        {"malloc_trim of sparse spans", prepare_sparse, call_trim, 110 * KIB, 1},
        {"malloc from a sparse span", prepare_purged, call_malloc_4000, 8 * KIB, 2},
        {"realloc, small to small", prepare_small, call_realloc_small, 400, 4},
        {"pages, split", prepare_kernel, call_pages, 8 * KIB, 2},
        {"an instance for each processor", prepare_kernel, call_percpu, 8 * KIB, 2},
};

void
finish_call(const struct call *call)
{
	if (call->run == call_free)
		in_hand = NULL;
	free(result);
	result = NULL;
}

void
fill_live_set(void)
{
	go_on_allocating(LIVE * 3);
}

void
start_helper(void)
{
	pthread_t thread;

	REQUIRE(sem_init(&wanted, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
	REQUIRE(pthread_create(&thread, NULL, helper, NULL) == 0);
	REQUIRE(pthread_detach(thread) == 0);
}
