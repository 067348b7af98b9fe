/* stack.c - the stacks of the calling thread: see os.h. Any context. */
#include <sys/auxv.h>

#include "base/atomic.h"
#include "os/linux.h"
#include "os/os.h"

static _Atomic bool disarms;           /* a thread has, or had, an alternate stack with SS_AUTODISARM */
static _Atomic bool disarms_in_frame;  /* the same on its own stack */
static _Atomic bool sees_all;          /* sigaltstack is ours */
static _Atomic uintptr_t main_pointer; /* the main thread's thread pointer; 0: not known */

void
lab_os_note_sigaltstack(void)
{
	lab_store_rlx(&sees_all, true);
}

bool
lab_os_sees_alternate_stacks(void)
{
	return lab_load_rlx(&sees_all) && !lab_load_rlx(&disarms);
}

bool
lab_os_alternate_stack(struct lab_os_stack *stack)
{
	return lab_os.alternate_stack(stack) && !lab_load_rlx(&disarms_in_frame);
}

uintptr_t
lab_os_main_stack_top(void)
{
	/* The kernel puts these bytes above the first frame, with the environment's strings. */
	return (uintptr_t)getauxval(AT_RANDOM);
}

bool
lab_os_stack_reaches(uintptr_t low, uintptr_t top)
{
	return low < top && top - low <= LAB_OS_STACK_MAX && lab_os.is_readable(low, top);
}

void
lab_linux_note_main_stack(void)
{
	if (lab_load_rlx(&main_pointer) == 0 && lab_os_stack_reaches(LAB_ENTRY_STACK_POINTER, lab_os_main_stack_top()))
		lab_store_rlx(&main_pointer, lab_thread_pointer());
}

uintptr_t
lab_os_own_stack_top(uintptr_t sp)
{
	uintptr_t self = lab_thread_pointer(), known = lab_load_rlx(&main_pointer);
	bool is_main = known != 0 ? self == known : sp >= self;

	return is_main ? lab_os_main_stack_top() : self;
}

void
lab_os_note_disarming(const void *low)
{
	uintptr_t sp = LAB_ENTRY_STACK_POINTER;

	if (lab_os_stack_reaches((uintptr_t)low, lab_os_own_stack_top(sp)))
		lab_store_rlx(&disarms_in_frame, true);
	lab_store_rlx(&disarms, true);
}
