/* stack.c - see stack.h. */
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "insight/stack.h"
#include "os/os.h"

enum {
	PLAUSIBLE = 4096,       /* no code lies below */
	OWN_FRAMES = 12,        /* of this library, inside the call */
	FRAME_MAX = 1 << 20,    /* bytes of a frame */
	FOREIGN_MAX = 256 << 10 /* bytes that are looked at of a stack that nobody knows, a coroutine's */
};

#define OWN_MAX ((size_t)64 << 20) /* bytes of the stack that the system or libc gave to a thread */

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

/* A stack that is walked upwards. */
struct walk {
	uintptr_t at;    /* all frames to come lie above */
	uintptr_t top;   /* and below this */
	uintptr_t known; /* the page that was found readable */
};

/* Whether a frame may be there: its saved frame pointer and its return address. */
static bool
is_frame(struct walk *walk, uintptr_t fp)
{
	if (fp % sizeof fp != 0 || fp <= walk->at || fp - walk->at > FRAME_MAX || fp > walk->top - 2 * sizeof fp)
		return false;
	uintptr_t last = fp + sizeof fp;
	if (last / LAB_OS_PAGE_SIZE != walk->known) {
		if (!lab_os.is_readable(fp, last + sizeof fp))
			return false;
		walk->known = last / LAB_OS_PAGE_SIZE;
	}
	return true;
}

static uintptr_t
word_at(uintptr_t address)
{
	return *(const volatile uintptr_t *)address;
}

/* An address that no frame of the stack lies above. *is_own: the system or libc gave the stack to the thread. */
static uintptr_t
find_top(uintptr_t sp, bool *is_own)
{
	struct lab_os_stack alternate;
	uintptr_t top = lab_os_own_stack_top(sp);

	*is_own = false;
	if (lab_os_alternate_stack(&alternate) && alternate.size != 0 && sp - alternate.low < alternate.size)
		return alternate.low + alternate.size;
	if (sp < top && top - sp <= OWN_MAX) {
		*is_own = true;
		return top;
	}
	return sp + FOREIGN_MAX;
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

/* True: up to the outermost frame, which says so by a frame pointer of 0. */
static bool
walk_frames(struct lab_stack *stack, struct walk *walk, uintptr_t fp)
{
	while (stack->depth < LAB_STACK_MAX) {
		if (fp == 0)
			return stack->depth > 1;
		if (!is_frame(walk, fp))
			return false;
		uintptr_t address = word_at(fp + sizeof fp);
		if (address < PLAUSIBLE)
			return false;
		stack->addresses[stack->depth++] = address;
		walk->at = fp;
		fp = word_at(fp);
	}
	return true;
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
	bool is_own;

	stack->depth = 1;
	stack->addresses[0] = word_at(sp);
	if (effort == LAB_STACK_CALLER)
		return;
	struct walk walk = {.at = sp, .top = find_top(sp, &is_own), .known = sp / LAB_OS_PAGE_SIZE};
	bool is_complete = walk_frames(stack, &walk, caller_frame(frame, sp));
	if (!is_complete && effort == LAB_STACK_UNWIND && is_own && lab_load_rlx(&can_unwind))
		unwind(stack);
}
