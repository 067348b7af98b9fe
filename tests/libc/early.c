/*
 * early.c - allocation outside of main's time: in an ifunc resolver (while the loader relocates), in .preinit_array, in
 * constructors of every priority, in TLS destructors, in atexit handlers and destructors. Blocks live across all of
 * these.
 *
 * The last destructor to run has the last word on the exit status.
 *
 * Clauses: G8.1.
 */
#include "check.h"

#include <pthread.h>
#include <unistd.h>

enum { STAGE_IFUNC, STAGE_PREINIT, STAGE_FIRST_CONSTRUCTOR, STAGE_CONSTRUCTOR, STAGES };
enum { BLOCK = 5000 };

/* What each stage before main allocated. Plain static memory: it must not depend on constructors. */
static unsigned char *early[STAGES];
static bool early_done[STAGES];
static int ended; /* how many stages after main ran */

/* Uses each kind of call; leaves one filled block behind. No stdio, no CHECK: the loader may be at work. */
static void
allocate_early(int stage)
{
	unsigned char *block = malloc(10);
	unsigned char *zeroed = calloc(100, 30);
	void *aligned = NULL;

	block = realloc(block, BLOCK);
	early_done[stage] =
	        block && zeroed && check_zero(zeroed, 3000) && posix_memalign(&aligned, 256, 70000) == 0 && aligned;
	free(zeroed);
	free(aligned);
	if (block)
		check_fill(block, BLOCK, (unsigned)stage);
	early[stage] = block;
}

/* ---- before main ----------------------------------------------------------------------------------------------- */

static int
resolved(void)
{
	return 42;
}

#ifdef __clang__
__attribute__((used))
#endif
static int (*resolve(void))(void)
{
	allocate_early(STAGE_IFUNC);
	return resolved;
}

int through_ifunc(void) __attribute__((ifunc("resolve")));

static void
preinit(int argc, char **argv, char **environment)
{
	(void)argc, (void)argv, (void)environment;
	allocate_early(STAGE_PREINIT);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(int, char **, char **) = preinit;

__attribute__((constructor(101))) static void
first_constructor(void)
{
	allocate_early(STAGE_FIRST_CONSTRUCTOR);
}

__attribute__((constructor)) static void
constructor(void)
{
	allocate_early(STAGE_CONSTRUCTOR);
}

/* ---- after main ------------------------------------------------------------------------------------------------ */

static void *kept; /* handed from each late stage to the next, grown by each */

static void
allocate_late(void)
{
	void *block = malloc(100);

	CHECK(block != NULL);
	check_fill(block, 100, 50);
	CHECK(check_filled(block, 100, 50));
	free(block);
	kept = realloc(kept, 1000 * (size_t)(ended + 2));
	CHECK(kept != NULL && check_filled(kept, 1000, 60));
	ended++;
}

static void
at_exit(void)
{
	allocate_late();
}

__attribute__((destructor)) static void
destructor(void)
{
	allocate_late();
}

__attribute__((destructor(101))) static void
last_destructor(void)
{
	allocate_late();
	free(kept);
	CHECK(ended == 4);
	if (check_failures != 0)
		_exit(1);
}

/* The main thread's TLS destructors (as C++ thread_local registers them) run at the start of exit. */
extern int __cxa_thread_atexit_impl(void (*destructor_function)(void *), void *object, void *dso);
extern void *__dso_handle;

static void
tls_destructor(void *object)
{
	CHECK(check_filled(object, 300, 70));
	free(object);
	allocate_late();
}

int
main(int argc, char **argv)
{
	void *object = malloc(300);

	check_begin(argc, argv);
	CHECK(through_ifunc() == 42);
	for (int stage = 0; stage < STAGES; stage++) {
		CHECK(early_done[stage]);
		if (!CHECK(early[stage] != NULL))
			return check_end();
		CHECK(check_filled(early[stage], BLOCK, (unsigned)stage));
	}
	for (int stage = 0; stage < STAGES; stage++)
		free(early[stage]);

	kept = malloc(1000);
	check_fill(kept, 1000, 60);
	check_fill(object, 300, 70);
	CHECK(__cxa_thread_atexit_impl(tls_destructor, object, &__dso_handle) == 0);
	CHECK(atexit(at_exit) == 0);
	return check_end();
}
