/*
 * fork_early.c - forks in .preinit_array, before the library's constructor has told libc about its fork hooks, and in a constructor: the child
 * goes on through the rest of the start, and both run main.
 */
#include "boot.h"

static char *before[2];
static pid_t children[2];

static void
fork_at(int stage)
{
	before[stage] = boot_allocate();
	children[stage] = fork();
	CHECK(children[stage] >= 0);
	if (children[stage] == 0)
		children[0] = 0; /* a sibling, for the child of the second fork */
	boot_free(boot_allocate());
}

static void
preinit(void)
{
	fork_at(0);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;

__attribute__((constructor)) static void
constructor(void)
{
	fork_at(1);
}

int
main(void)
{
	CHECK(lab_owns && lab_owns(before[0]) && lab_owns(before[1]));
	boot_free(before[0]);
	boot_free(before[1]);
	boot_free(boot_allocate());
	for (int stage = 1; stage >= 0; stage--)
		CHECK(children[stage] == 0 || boot_child_succeeded(children[stage]));
	return 0;
}
