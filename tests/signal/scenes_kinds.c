/* scenes_kinds.c - allocation by context, the reserve used up and grown, shares, resizing between kinds: see
 * scenes_kinds.h. */
#include "scenes_kinds.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "calls.h"
#include "handler.h"

enum { SLOTS_MAX = 1 << 14, SIZE_LEAST = 32, SIZE_MOST = 65536 };

#define QUIETLY (LAB_GFP_ATOMIC | LAB_GFP_NOWARN)

bool memory_is_short;

bool
find_kinds(void)
{
	if (!dlsym(RTLD_DEFAULT, "lab_alloc"))
		return false;
	find_tier();
	return true;
}

/* ---- what handlers do ------------------------------------------------------------------------------------------ */

/* A block of a kind that may have none: checked, resized as that kind or another, and freed. */
static void
try_kind(size_t size, unsigned gfp, unsigned gfp_after)
{
	unsigned char *p = tier.alloc(size, gfp), *q;

	if (!p)
		return;
	REQUIRE(tier.usable_size(p) >= size);
	if (gfp & LAB_GFP_ZERO)
		check_zero(p, size);
	struct block block = block_of(p, size);
	if ((q = tier.realloc(p, size + size / 2 + 1, gfp_after)) != NULL)
		reallocated(&block, q, size + size / 2 + 1);
	check_block(&block);
	tier.release(block.p);
}

void
handler_atomic(void)
{
	static _Atomic unsigned turns;
	static const size_t sizes[] = {24, 64, 100, 500, 3000, 40};
	unsigned n = turns++;

	try_kind(sizes[n % 6], QUIETLY | (n % 3 ? 0 : LAB_GFP_ZERO) | (n % 5 ? 0 : LAB_GFP_MEMALLOC), QUIETLY);
}

void
handler_frugal(void)
{
	static _Atomic unsigned turns;
	unsigned n = turns++;

	handler_atomic();
	try_kind(30 + n % 300, LAB_GFP_KERNEL, LAB_GFP_KERNEL);
	if (n % 4 == 0)
		try_kind(3000 + n % 9 * 7000, LAB_GFP_NOWAIT, QUIETLY);
}

/* ---- single blocks --------------------------------------------------------------------------------------------- */

static const size_t sizes[] = {0, 1, 32, 33, 100, 128, 1000, 1024, 3000, 4096, 20000, 60000, 65536};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Every modifier; every second time by a function that is not lab_alloc. */
static void
scene_atomic(void)
{
	static const unsigned modifiers[] = {0, LAB_GFP_ZERO, LAB_GFP_MEMALLOC, LAB_GFP_NOWARN,
	                                     LAB_GFP_ZERO | LAB_GFP_MEMALLOC};
	void *p;

	for (int m = 0; m < 5; m++)
		for (int i = 0; i < SIZES; i++)
			try_kind(sizes[i], LAB_GFP_ATOMIC | LAB_GFP_NOWARN | modifiers[m],
			         LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	for (unsigned order = 0; order < 5; order++)
		if ((p = tier.alloc_pages(QUIETLY, order)) != NULL)
			tier.free_pages(p, order);
	for (size_t align = 16; align <= SIZE_MOST; align *= 4)
		if ((p = tier.alloc_aligned(align, 50, QUIETLY)) != NULL) {
			REQUIRE((uintptr_t)p % align == 0);
			free(p);
		}
	REQUIRE(tier.alloc(SIZE_MOST + 1, QUIETLY) == NULL && tier.alloc(100, QUIETLY | 0x40000) == NULL);
}

/* From what the heap holds: spans and runs are there, and are used up; frees by NOWAIT and ATOMIC make no system
 * call. */
static void
scene_nowait(void)
{
	static const size_t more[] = {40 * KIB, 100 * KIB, 900 * KIB, 5 * MIB};
	static struct block blocks[120];

	for (int i = 0; i < SIZES; i++) {
		struct block warm = new_block(sizes[i] + 1);
		try_kind(sizes[i], LAB_GFP_NOWAIT, LAB_GFP_NOWAIT);
		try_kind(sizes[i], LAB_GFP_NOWAIT | LAB_GFP_ZERO, LAB_GFP_KERNEL);
		try_kind(sizes[i], LAB_GFP_NOWAIT | LAB_GFP_HIGH, LAB_GFP_NOWAIT | LAB_GFP_ZERO);
		free_block(&warm);
	}
	for (int i = 0; i < 120; i++) {
		void *p = tier.alloc(900, LAB_GFP_NOWAIT);
		blocks[i] = p ? block_of(p, 900) : new_block(900);
	}
	for (int i = 0; i < 120; i++) {
		check_block(&blocks[i]);
		REQUIRE(tier.realloc(blocks[i].p, 0, i % 2 ? LAB_GFP_NOWAIT : LAB_GFP_ATOMIC) == NULL);
	}
	for (int i = 0; i < 4; i++) {
		struct block block = new_block(more[i]);
		try_kind(more[i], LAB_GFP_NOWAIT, LAB_GFP_NOWAIT);
		REQUIRE(tier.realloc(block.p, 0, i % 2 ? LAB_GFP_ATOMIC : LAB_GFP_NOWAIT) == NULL);
	}
	REQUIRE(tier.alloc(SIZE_MAX, LAB_GFP_NOWAIT) == NULL && tier.alloc(8, 0x3) == NULL);
}

/* From each kind to each other, to more and to less. */
static void
scene_realloc_between_kinds(void)
{
	static const unsigned kinds[] = {LAB_GFP_KERNEL, LAB_GFP_KERNEL | LAB_GFP_ZERO, LAB_GFP_NOWAIT, QUIETLY,
	                                 LAB_GFP_EXCLUSIVE};
	static const size_t from_to[] = {100, 5000,   30000,   30000,   90,       60000,
	                                 300, 200000, 9000000, 6000000, 20000000, 40};

	for (int from = 0; from < 5; from++)
		for (int to = 0; to < 5; to++) {
			void *p = tier.realloc(NULL, from_to[0], kinds[from]), *q;
			struct block block = p ? block_of(p, from_to[0]) : new_block(from_to[0]);
			for (int i = 1; i < 12; i++) {
				unsigned gfp = kinds[i % 2 ? to : from];
				if ((q = tier.realloc(block.p, from_to[i], gfp)) != NULL)
					reallocated(&block, q, from_to[i]);
				REQUIRE(tier.usable_size(block.p) >= block.size);
			}
			check_block(&block);
			tier.realloc(block.p, 0, to % 2 ? LAB_GFP_KERNEL : LAB_GFP_ZERO);
		}
}

/* ---- the reserve ----------------------------------------------------------------------------------------------- */

static size_t *slots[SLOTS_MAX];
static size_t slot_count, low_calls;

/* In a KERNEL context: it may allocate. */
static void
on_low(void *context, size_t size)
{
	struct block block = new_block(2000);

	REQUIRE(context == &low_calls && size >= SIZE_LEAST && size <= SIZE_MOST);
	low_calls++;
	free_block(&block);
}

static void
take_all_of(size_t size, unsigned gfp)
{
	size_t *slot;

	while (slot_count < SLOTS_MAX && (slot = tier.alloc(size, gfp)) != NULL) {
		REQUIRE(tier.usable_size(slot) >= size);
		*slot = slot_count;
		slots[slot_count++] = slot;
	}
}

/* Nobody else has written where our slots are. */
static void
release_slots(void)
{
	while (slot_count > 0) {
		size_t *slot = slots[--slot_count];
		if (*slot != slot_count)
			fail("a slot in use was given out: slot, index", (uintptr_t)slot, slot_count);
		(slot_count % 2 ? free : tier.release)(slot);
	}
}

/* A slow call grows what is low and calls back. */
static void
slow_call(void)
{
	struct block block = new_block(90 * KIB);

	free_block(&block);
}

/* Taken to the end, grown, taken again, until it grows no further; all given back, what was grown included. */
static void
scene_reserve_used_up(void)
{
	size_t calls_before = low_calls;

	handler_is_calm = true;
	tier.reserve_on_low(on_low, &low_calls);
	for (int round = 0; round < 4; round++) {
		for (size_t size = SIZE_LEAST; size <= SIZE_MOST; size *= 2)
			take_all_of(round % 2 ? SIZE_MOST / size * SIZE_LEAST : size,
			            QUIETLY | (round / 2 ? LAB_GFP_MEMALLOC : 0));
		slow_call();
	}
	take_all_of(SIZE_LEAST, QUIETLY | LAB_GFP_MEMALLOC);
	tier.reserve_on_low(NULL, NULL);
	release_slots();
	slow_call();
	(void)tier.reserve_balance();
	(void)tier.reserve_balance();
	handler_is_calm = false;
	REQUIRE(low_calls > calls_before);
}

/* In a child, as a process says it once. Its first slow call is the one that says it. */
static void
tell_a_failure(int output)
{
	alarm(200);
	REQUIRE(dup2(output, STDERR_FILENO) == STDERR_FILENO);
	REQUIRE(tier.alloc(SIZE_MOST + 1, LAB_GFP_ATOMIC) == NULL);
	slow_call();
	slow_call();
	_exit(0);
}

static void
scene_failure_is_told(void)
{
	static const char line[] = "labyrinth: atomic allocation of 65537 bytes failed;";

	for (int i = 0; i < 30; i++) {
		char text[400] = "";
		int ends[2], status;
		REQUIRE(pipe(ends) == 0);
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0)
			tell_a_failure(ends[1]);
		close(ends[1]);
		while (waitpid(child, &status, 0) < 0)
			REQUIRE(errno == EINTR);
		ssize_t length = read(ends[0], text, sizeof text - 1);
		close(ends[0]);
		if (status != 0 || length <= 0 || strncmp(text, line, sizeof line - 1) != 0) {
			fprintf(stderr, "the child wrote: %s\n", text);
			fail("an atomic failure was not told: status, length", (uintptr_t)status, (uintptr_t)length);
		}
		if (strchr(strchr(text, '\n') + 1, '\n'))
			fail("an atomic failure was told twice: length", (uintptr_t)length, 0);
	}
}

/* ---- shares ------------------------------------------------------------------------------------------------------ */

enum { SHARED = 40, SHARED_SIZE = 500 };

static void *
release_all(void *unused)
{
	release_slots();
	return unused;
}

/* A share's slots first; half are freed by the thread, half by another, some after the share is given back. */
static void
use_share(bool elsewhere)
{
	pthread_t other;

	REQUIRE(tier.reserve_thread(SHARED_SIZE, SHARED) && tier.reserve_thread(20000, 2));
	for (int i = 0; i < SHARED + 4; i++) {
		size_t *slot = tier.alloc(SHARED_SIZE, QUIETLY);
		if (!slot)
			continue;
		REQUIRE(tier.usable_size(slot) >= SHARED_SIZE);
		*slot = slot_count;
		slots[slot_count++] = slot;
	}
	for (int i = 0; i < 6; i++) {
		try_kind(SHARED_SIZE - 100, QUIETLY | (i % 2 ? LAB_GFP_ZERO : 0), QUIETLY);
		try_kind(17000, QUIETLY, LAB_GFP_NOWAIT);
	}
	if (elsewhere) {
		REQUIRE(pthread_create(&other, NULL, release_all, NULL) == 0);
		REQUIRE(pthread_join(other, NULL) == 0);
	} else {
		release_slots();
	}
	REQUIRE(tier.reserve_thread(SHARED_SIZE, 0));
}

/* Its share of 20000 bytes a slot is left to the dead. */
static void *
share_of_thread(void *argument)
{
	use_share(argument != NULL);
	return NULL;
}

void
scene_shares(void)
{
	pthread_t thread;

	for (int i = 0; i < 3; i++) {
		REQUIRE(pthread_create(&thread, NULL, share_of_thread, i % 2 ? &thread : NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
	}
	use_share(false);
	use_share(true);
	(void)tier.reserve_balance();
	REQUIRE(tier.reserve_thread(20000, 0) && !tier.reserve_thread(SIZE_MOST + 1, 1));
}

const struct scene kind_scenes[] = {
        {"kinds: atomic", scene_atomic},
        {"kinds: nowait", scene_nowait},
        {"kinds: resized", scene_realloc_between_kinds},
        {"kinds: the reserve used up", scene_reserve_used_up},
        {"kinds: a failure is told", scene_failure_is_told},
        {"kinds: shares", scene_shares},
        {"kinds: exclusive", scene_exclusive_blocks},
        {"kinds: exclusive, other threads", scene_exclusive_blocks_of_others},
        {"kinds: exclusive, fork", scene_exclusive_blocks_and_fork},
        {"kinds: caches", scene_caches},
        {"blocks of threads that a fork has left", scene_blocks_of_threads_left_by_fork},
        {"handlers that fork", scene_handlers_fork},
        {"misuse", scene_misuse},
        {"others' mappings", scene_strangers},
        {"many huge blocks", scene_many_huge_blocks},
        {"settings of pages", scene_settings_of_pages},
};

const size_t kind_scene_count = sizeof kind_scenes / sizeof *kind_scenes;
