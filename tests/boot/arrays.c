/*
 * arrays.c - allocation in .preinit_array, in .init_array by priorities and without, and in .fini_array. Built as a
 * dynamic PIE, and with liblabyrinth.a as a static one and as a static-pie, where there is no loader that set anything
 * up.
 *
 * WITH_IFUNC adds a resolver that allocates. Not in static programs: resolvers run before there is TLS there, and
 * glibc's malloc crashes in one as well.
 *
 * Clauses: G8.3.
 */
#include "boot.h"

enum { STAGES = 8 };

static char *early[STAGES];
static int stages;
static int ended;

static void
stage(void)
{
	early[stages++] = boot_allocate();
}

#ifdef WITH_IFUNC
static int
resolved(void)
{
	return 42;
}

__attribute__((used)) static int (*resolve(void))(void)
{
	early[STAGES - 1] = malloc(1000);
	memset(early[STAGES - 1], 'k', 1000);
	return resolved;
}

int through_ifunc(void) __attribute__((ifunc("resolve")));
#endif

__attribute__((constructor)) static void
plain(void)
{
	CHECK(stages >= 3);
	stage();
}

__attribute__((constructor(65535))) static void
last_priority(void)
{
	stage();
}

__attribute__((constructor(102))) static void
second(void)
{
	CHECK(stages == 2);
	stage();
}

__attribute__((constructor(101))) static void
first(void)
{
	CHECK(stages == 1);
	stage();
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = stage;

__attribute__((destructor)) static void
destructor(void)
{
	boot_free(boot_allocate());
	ended++;
}

__attribute__((destructor(101))) static void
last_destructor(void)
{
	CHECK(++ended == 3);
	boot_free(boot_allocate());
}

static void
at_exit(void)
{
	boot_free(boot_allocate());
	ended++;
}

int
main(void)
{
	CHECK(lab_owns != NULL);
	CHECK(stages == 5);
#ifdef WITH_IFUNC
	CHECK(through_ifunc() == 42 && lab_owns(early[STAGES - 1]));
	boot_free(early[STAGES - 1]);
#endif
	for (int i = 0; i < stages; i++) {
		CHECK(lab_owns(early[i]));
		boot_free(early[i]);
	}
	CHECK(atexit(at_exit) == 0);
	return 0;
}
