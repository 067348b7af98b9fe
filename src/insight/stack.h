/*
 * stack.h - who called: the return addresses of the calls that led to an allocation.
 *
 * The way up is by frame pointers (os/backtrace.h). A caller that was built without them ends it: its own return
 * address is known still, as that is where the stack pointer of the call pointed to. Then the unwinder of the
 * compiler's runtime is asked, where it takes no lock.
 */
#ifndef LAB_INSIGHT_STACK_H
#define LAB_INSIGHT_STACK_H

#include "base/compiler.h"

enum { LAB_STACK_MAX = 64 };

struct lab_stack {
	uint32_t depth;
	uintptr_t addresses[LAB_STACK_MAX]; /* return addresses, the innermost first */
};

/* The call, not what it returns to: that may be another line, or function. */
static inline uintptr_t
lab_call_of(uintptr_t return_address)
{
	return return_address - 1;
}

/* What may be done to find out. */
enum lab_stack_effort {
	LAB_STACK_CALLER, /* nothing that calls the system: the caller alone */
	LAB_STACK_FRAMES, /* by frame pointers: in handlers that interrupted this library */
	LAB_STACK_UNWIND, /* and by the unwinder */
};

/* Before the first use, outside of every heap: loads the unwinder, which allocates. Without it, or if it would take
 * locks (glibc before 2.35), only frame pointers are gone by. */
void lab_stack_prepare(void);

/*
 * The stack above the function whose entry's stack pointer is sp (LAB_ENTRY_STACK_POINTER): that called the library.
 * The unwinder, which takes some 3,000 instructions a call, is asked for the first `most`.
 * Outside of every heap. Any context; O(depth), a system call for each page of it.
 */
void lab_stack_take(struct lab_stack *stack, uintptr_t sp, enum lab_stack_effort effort, unsigned most);

#endif
