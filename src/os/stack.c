/* stack.c - the stacks of the calling thread: see os.h. Any context. */
#include <sys/auxv.h>

#include "base/atomic.h"
#include "os/linux.h"
#include "os/os.h"

static _Atomic bool disarms;           /* some thread has, or had, an alternate stack that disarms itself */
static _Atomic uintptr_t main_pointer; /* the main thread's thread pointer; 0: not known */

void
lab_os_note_disarming(void)
{
	lab_store_rlx(&disarms, true);
}

bool
lab_os_alternate_stack(struct lab_os_stack *stack)
{
	return !lab_load_rlx(&disarms) && lab_os.alternate_stack(stack) && !lab_load_rlx(&disarms);
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
	return low < top && top - low <= LAB_OS_STACK_MAX && lab_os_is_readable(low, top);
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
