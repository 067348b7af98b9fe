/* load.c - see load.h. */
#include "load.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SHELF = 24, CALLS = 150, ERRNO_BEFORE = 7777 };

struct load_count load_count;

static void *(*library_alloc)(size_t size, unsigned gfp);
static void (*library_free)(void *p);

void
load_start(int argc, char **argv, unsigned seconds)
{
	start_test(argc, argv, seconds);
	*(void **)&library_alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	*(void **)&library_free = dlsym(RTLD_DEFAULT, "lab_free");
	REQUIRE(library_stats && library_set && library_alloc && library_free);
}

void
load_errno(void)
{
	errno = ERRNO_BEFORE;
}

void *
load_given(void *p)
{
	if (!p && errno != ENOMEM)
		fail("NULL, and errno is not ENOMEM", (uintptr_t)errno, 0);
	if (p && errno != ERRNO_BEFORE)
		fail("a block, and errno was changed", (uintptr_t)errno, (uintptr_t)p);
	__atomic_add_fetch(p ? &load_count.given : &load_count.refused, 1, __ATOMIC_RELAXED);
	return p;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static size_t
any_size(uint32_t *random, size_t most)
{
	uint32_t n = next_random(random), kind = next_random(random) % 32;
	size_t size = kind < 16   ? 1 + n % 2000
	              : kind < 24 ? 2000 + n % 40000
	              : kind < 31 ? 40000 + n % 1500000
	                          : 4200000 + n % 8000000;

	return size < most ? size : 1 + size % most;
}

static void
keep(struct block *slot, void *p, size_t size)
{
	if (load_given(p))
		*slot = block_of(p, size);
}

static void
call_any(struct block *slot, uint32_t *random, size_t most)
{
	size_t size = any_size(random, most), align = (size_t)64 << next_random(random) % 10;
	void *p = NULL;

	load_errno();
	switch (next_random(random) % 4) {
	case 0:
		keep(slot, malloc(size), size);
		break;
	case 1:
		if (load_given(p = calloc(1, size))) {
			check_zero(p, size);
			*slot = block_of(p, size);
		}
		break;
	case 2:
		keep(slot, aligned_alloc(align, size), size);
		REQUIRE((uintptr_t)slot->p % align == 0);
		break;
	default:
		errno = posix_memalign(&p, align, size) == 0 ? ERRNO_BEFORE : ENOMEM;
		keep(slot, p, size);
	}
}

static void
resize_any(struct block *slot, uint32_t *random, size_t most)
{
	size_t size = next_random(random) % 3 == 0 ? slot->size * 2 : any_size(random, most);
	void *p;

	load_errno();
	if (size > most)
		size = most;
	if (load_given(p = realloc(slot->p, size)))
		reallocated(slot, p, size);
	else
		check_block(slot); /* it stays */
}

static void
step(struct block *shelf, uint32_t *random, size_t most)
{
	struct block *slot = &shelf[next_random(random) % SHELF];

	if (!slot->p)
		call_any(slot, random, most);
	else if (next_random(random) % 3 == 0)
		resize_any(slot, random, most);
	else
		free_block(slot);
}

void
load_blocks_up_to(uint32_t seed, size_t most)
{
	struct block shelf[SHELF] = {{0}};

	for (int i = 0; i < CALLS; i++)
		step(shelf, &seed, most);
	for (int i = 0; i < SHELF; i++)
		free_block(&shelf[i]);
}

void
load_blocks(uint32_t seed)
{
	load_blocks_up_to(seed, SIZE_MAX);
}

/* ---- threads --------------------------------------------------------------------------------------------------- */

enum { AT_ONCE = 4, GENERATIONS = 3, HANDED = 8, STACK_SIZE = 256 << 10 };

static struct block handed[AT_ONCE][HANDED];

static void *
thread_life(void *number)
{
	struct block *mine = handed[(uintptr_t)number];

	for (int i = 0; i < HANDED; i++) {
		free_block(&mine[i]); /* another thread's, which is dead */
		size_t size = i == 0 ? 100000 : 10 + (size_t)i * 300;
		load_errno();
		keep(&mine[i], malloc(size), size);
	}
	load_blocks_up_to((uint32_t)(uintptr_t)number + 7, 300000);
	return NULL;
}

/* The default is RLIMIT_STACK's 8 MiB, all of it resident where everything is locked. */
static int
start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;

	REQUIRE(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0);
	int error = pthread_create(thread, &attributes, body, argument);
	REQUIRE(pthread_attr_destroy(&attributes) == 0);
	return error;
}

void
load_threads(void)
{
	pthread_t threads[AT_ONCE];

	for (int generation = 0; generation < GENERATIONS; generation++) {
		uintptr_t made = 0;
		while (made < AT_ONCE && start(&threads[made], thread_life, (void *)made) == 0)
			made++;
		while (made-- > 0)
			REQUIRE(pthread_join(threads[made], NULL) == 0);
	}
	for (int i = 0; i < AT_ONCE * HANDED; i++)
		free_block(&handed[i / HANDED][i % HANDED]);
}

/* ---- children -------------------------------------------------------------------------------------------------- */

static _Noreturn void
live_as_child(struct block inherited[HANDED])
{
	pthread_t thread;

	alarm(500);
	load_blocks_up_to(11, 6000000);
	for (int i = 0; i < HANDED; i++)
		free_block(&inherited[i]);
	if (start(&thread, thread_life, NULL) == 0)
		REQUIRE(pthread_join(thread, NULL) == 0);
	load_blocks_up_to(12, 100000);
	_exit(0);
}

void
load_fork(void)
{
	struct block blocks[HANDED] = {{0}};
	int status;

	for (size_t i = 0; i < HANDED; i++) {
		size_t size = i == 0 ? 5000000 : 40 + i * i * i * 1000;
		load_errno();
		keep(&blocks[i], malloc(size), size);
	}
	pid_t child = fork();
	if (child == 0)
		live_as_child(blocks);
	if (child > 0) {
		REQUIRE(waitpid(child, &status, 0) == child);
		if (status != 0)
			fail("a child's status", (uintptr_t)status, 0);
	}
	for (int i = 0; i < HANDED; i++)
		free_block(&blocks[i]);
}

/* ---- handlers -------------------------------------------------------------------------------------------------- */

enum { SIGNALS = 60, JUMP_EACH = 6, TICK_NS = 150000 };

static sigjmp_buf way_out;
static volatile sig_atomic_t signals, may_jump;

static void
on_tick(int number)
{
	int saved = errno;
	uint32_t random = (uint32_t)signals;
	struct block block = {0};

	(void)number;
	signals = signals + 1;
	size_t size = any_size(&random, 200000);
	load_errno();
	keep(&block, malloc(size), size);
	free_block(&block);
	errno = saved;
	if (may_jump && signals % JUMP_EACH == 0)
		siglongjmp(way_out, 1);
}

/* Until so many signals have come; at each jump the block in hand is lost, and is not looked for. */
static void
be_interrupted(bool jump)
{
	static uint32_t random;

	signals = 0;
	random = 5;
	(void)sigsetjmp(way_out, 1);
	may_jump = jump;
	while (signals < SIGNALS) {
		size_t size = any_size(&random, 60000);
		void *volatile p = malloc(size);
		void *volatile q = calloc(1, size);
		may_jump = false;
		if (p)
			memset(p, 1, size);
		if (q)
			check_zero(q, size);
		may_jump = jump;
		free(p);
		free(q);
	}
	may_jump = false;
}

void
load_handlers(void)
{
	const struct itimerspec often = {{0, TICK_NS}, {0, TICK_NS}}, never = {{0, 0}, {0, 0}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	timer_t timer;

	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
		return;
	for (int jump = 0; jump < 2; jump++) {
		REQUIRE(timer_settime(timer, 0, &often, NULL) == 0);
		be_interrupted(jump);
		REQUIRE(timer_settime(timer, 0, &never, NULL) == 0);
	}
	REQUIRE(timer_delete(timer) == 0);
}

/* ---- huge ones ------------------------------------------------------------------------------------------------- */

void
load_moves(void)
{
	enum { MIB = 1 << 20, BLOCKS = 3 };
	struct block blocks[BLOCKS] = {{0}};

	for (int i = 0; i < BLOCKS; i++) {
		load_errno();
		keep(&blocks[i], malloc(5 * MIB), 5 * MIB);
	}
	for (size_t size = 9 * MIB; size <= 17 * MIB; size += 4 * MIB) {
		struct block *block = &blocks[size / MIB % 2]; /* the next one is in its way */
		void *p;
		load_errno();
		if (block->p && load_given(p = realloc(block->p, size)))
			reallocated(block, p, size);
		else if (block->p)
			check_block(block);
	}
	for (int i = 0; i < BLOCKS; i++)
		free_block(&blocks[i]);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void
try_kind(unsigned gfp, size_t size)
{
	load_errno();
	unsigned char *p = library_alloc(size, gfp);

	REQUIRE(p || gfp == LAB_GFP_ATOMIC || errno == ENOMEM);
	if (!p)
		return;
	struct block block = block_of(p, size);
	check_block(&block);
	library_free(p);
}

void
load_rest(void)
{
	struct lab_stats stats;

	for (size_t size = 100; size < 10000000; size *= 9) {
		try_kind(LAB_GFP_EXCLUSIVE, size);
		try_kind(LAB_GFP_LOCKED, size);
		try_kind(LAB_GFP_NOFORK, size);
		try_kind(LAB_GFP_NOMERGE, size);
		try_kind(LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE, size);
		if (size <= 65536) /* more is never there, and it would be said */
			try_kind(LAB_GFP_ATOMIC, size);
		try_kind(LAB_GFP_NOWAIT, size);
	}
	library_set(LAB_PARAM_WAIT_MS, 3);
	library_set(LAB_PARAM_LIMIT, (size_t)48 << 20);
	(void)load_until_null(300000, (size_t)64 << 20);
	library_set(LAB_PARAM_LIMIT, SIZE_MAX);
	(void)malloc_trim(0);
	library_stats(&stats);
	(void)mallinfo2();
}

void
load_all(void)
{
	load_blocks(1);
	load_moves();
	load_trim();
	load_rest();
	load_threads();
	load_handlers();
	load_fork();
	load_blocks(2);
}

void
load_trim(void)
{
	static const size_t sizes[] = {3000, 90000, 6000000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct block kept = {0};
		load_errno();
		keep(&kept, malloc(sizes[i]), sizes[i]);
		unsigned char *p = malloc(sizes[i]);
		if (p)
			memset(p, 0x77, sizes[i]);
		free(p);
		(void)malloc_trim(0);
		load_errno();
		if (load_given(p = calloc(1, sizes[i])))
			check_zero(p, sizes[i]);
		free(p);
		free_block(&kept);
	}
}

void
load_must_work(void)
{
	unsigned long refused = load_count.refused;

	load_blocks(3);
	load_threads();
	load_fork();
	if (load_count.refused != refused)
		fail("refused although the limit is gone", load_count.refused - refused, 0);
}

size_t
load_until_null(size_t size, size_t most)
{
	void **all = NULL, **p;
	size_t count = 0;

	for (; count * size < most; count++) {
		load_errno();
		if (!(p = load_given(malloc(size))))
			break;
		memset(p, 0x5a, size < 64 ? size : 64);
		*p = all;
		all = p;
	}
	for (; all; all = p) {
		p = *all;
		free(all);
	}
	return count;
}

static void *
until_null(void *most)
{
	(void)load_until_null(20000, (size_t)(uintptr_t)most);
	(void)load_until_null(700, (size_t)(uintptr_t)most);
	return NULL;
}

void
load_threads_until_null(size_t most)
{
	pthread_t threads[AT_ONCE];
	int made = 0;

	while (made < AT_ONCE && start(&threads[made], until_null, (void *)(uintptr_t)(most / AT_ONCE)) == 0)
		made++;
	while (made-- > 0)
		REQUIRE(pthread_join(threads[made], NULL) == 0);
}
