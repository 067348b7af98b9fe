/* stack.c - see stack.h. */
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "insight/stack.h"
#include "os/backtrace.h"
#include "os/os.h"

enum {
	PLAUSIBLE = 4096, /* no code lies below */
	OWN_FRAMES = 12,  /* of this library, inside the call */
};

/* libc's, weak: static programs need not have them. */
extern int backtrace(void **addresses, int count) __attribute__((weak));

static _Atomic bool can_unwind;

static bool
is_libc_of_2_35(void)
{
	const char *version = gnu_get_libc_version(); /* "2.36" */

	return version[0] > '2' || (version[0] == '2' && strlen(version) >= 4 && atoi(version + 2) >= 35);
}

void
lab_stack_prepare(void)
{
	void *address;

	/* from glibc 2.35 on the unwinder finds its tables without a lock (_dl_find_object) */
	if (backtrace && is_libc_of_2_35() && backtrace(&address, 1) > 0)
		lab_store_rlx(&can_unwind, true);
}

static uintptr_t
word_at(uintptr_t address)
{
	return *(const volatile uintptr_t *)address;
}

/* The frame pointer that the caller of the library had: saved by the frame whose return address is at sp, which is
 * found from this library's innermost one. 0: it is not there. */
static uintptr_t
caller_frame(uintptr_t fp, uintptr_t sp)
{
	for (int i = 0; i < OWN_FRAMES && fp % sizeof fp == 0 && fp < sp; i++) {
		if (fp + sizeof fp == sp)
			return word_at(fp);
		uintptr_t next = word_at(fp);
		if (next <= fp)
			return 0;
		fp = next;
	}
	return 0;
}

/* By the unwinder, whose list begins with this library's own frames. */
static LAB_NOINLINE void
unwind(struct lab_stack *stack)
{
	void *found[LAB_STACK_MAX + OWN_FRAMES];
	int count = backtrace(found, LAB_STACK_MAX + OWN_FRAMES), first = 0;

	while (first < count && (uintptr_t)found[first] != stack->addresses[0])
		first++;
	if ((uint32_t)(count - first) <= stack->depth)
		return;
	stack->depth = 0;
	for (int i = first; i < count && stack->depth < LAB_STACK_MAX; i++)
		if ((uintptr_t)found[i] >= PLAUSIBLE)
			stack->addresses[stack->depth++] = (uintptr_t)found[i];
}

LAB_NOINLINE void
lab_stack_take(struct lab_stack *stack, uintptr_t sp, enum lab_stack_effort effort)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	bool is_whole = false;

	stack->depth = 1;
	stack->addresses[0] = word_at(sp);
	if (effort == LAB_STACK_CALLER)
		return;
	uintptr_t caller = caller_frame(frame, sp);
	if (caller > sp)
		stack->depth +=
		        lab_os_backtrace((const void *)caller, stack->addresses + 1, LAB_STACK_MAX - 1, &is_whole);
	if (!is_whole && effort == LAB_STACK_UNWIND && lab_load_rlx(&can_unwind) && lab_os_is_on_own_stack(sp))
		unwind(stack);
}
