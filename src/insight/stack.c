/* stack.c - see stack.h. */
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "insight/maps.h"
#include "insight/stack.h"
#include "os/backtrace.h"
#include "os/os.h"

enum {
	PLAUSIBLE = 4096, /* no code lies below */
	OWN_FRAMES = 16,  /* of this library, inside the call */
};

/* libc's, weak: static programs need not have them. */
extern int backtrace(void **addresses, int count) __attribute__((weak));

static _Atomic bool can_unwind;
static uintptr_t unwinder_start, unwinder_end; /* before can_unwind is set */

static bool
is_libc_of_2_35(void)
{
	const char *version = gnu_get_libc_version(); /* "2.36" */

	return version[0] > '2' || (version[0] == '2' && strlen(version) >= 4 && atoi(version + 2) >= 35);
}

static void
find_unwinder(void)
{
	struct lab_maps *maps = lab_maps_read();

	for (uint32_t i = 0; maps && i < maps->count; i++)
		if (strstr(maps->names + maps->maps[i].name, "/libgcc_s.so")) {
			unwinder_start = maps->maps[i].start;
			unwinder_end = maps->maps[i].end;
		}
	lab_maps_drop(maps);
}

void
lab_stack_prepare(void)
{
	void *address;

	/* from glibc 2.35 on the unwinder finds its tables without a lock (_dl_find_object) */
	if (!backtrace || !is_libc_of_2_35() || backtrace(&address, 1) <= 0)
		return;
	find_unwinder();
	lab_store_rel(&can_unwind, true); /* pairs with the acq of lab_stack_take */
}

/* The unwinder itself asks for memory: under a lock of its own, where a program has registered tables, as JITs do. */
static bool
is_unwinder(uintptr_t caller)
{
	return caller - unwinder_start < unwinder_end - unwinder_start;
}

/* What a walk that began in this library has found, from the caller of the library on. */
static void
keep_callers(struct lab_stack *stack, const uintptr_t *found, unsigned count)
{
	unsigned first = 0;

	while (first < count && found[first] != stack->addresses[0])
		first++;
	if (count - first <= stack->depth)
		return;
	stack->depth = 0;
	for (unsigned i = first; i < count && stack->depth < LAB_STACK_MAX; i++)
		if (found[i] >= PLAUSIBLE)
			stack->addresses[stack->depth++] = found[i];
}

static LAB_NOINLINE void
unwind(struct lab_stack *stack, unsigned most)
{
	uintptr_t found[LAB_STACK_MAX + OWN_FRAMES];
	int count = backtrace((void **)found, (int)(most + OWN_FRAMES));

	keep_callers(stack, found, count > 0 ? (unsigned)count : 0);
}

/* By frame pointers. True: up to the outermost frame, which says so by a frame pointer of 0. */
static LAB_NOINLINE bool
walk_frames(struct lab_stack *stack)
{
	uintptr_t found[LAB_STACK_MAX + OWN_FRAMES];
	bool is_whole;
	unsigned count = lab_os_backtrace(LAB_FRAME_HERE, found, LAB_STACK_MAX + OWN_FRAMES, &is_whole);

	keep_callers(stack, found, count);
	return is_whole && stack->depth > 1;
}

LAB_NOINLINE void
lab_stack_take(struct lab_stack *stack, uintptr_t sp, enum lab_stack_effort effort, unsigned most)
{
	stack->depth = 1;
	stack->addresses[0] = *(const uintptr_t *)sp;
	if (effort == LAB_STACK_CALLER)
		return;
	uintptr_t caller = stack->addresses[0];
	/* pairs with the rel of lab_stack_prepare */
	if (!walk_frames(stack) && effort == LAB_STACK_UNWIND && lab_load_acq(&can_unwind) && !is_unwinder(caller) &&
	    lab_os_is_on_own_stack(sp))
		unwind(stack, most);
}
