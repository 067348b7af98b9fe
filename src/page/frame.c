/* frame.c - see frame.h. */
#include "page/frame.h"
#include "os/os.h"
#include "page/map.h"

enum { APART_MAX = 1 << 20 };

static bool
is_in_arena(uintptr_t address)
{
	return lab_map_find_arena((const void *)address) != NULL;
}

/* Whether all from `low` on is the calling thread's own stack, on which it is at sp. */
static bool
is_own_stack(uintptr_t low, uintptr_t sp)
{
	uintptr_t top = lab_os_own_stack_top(sp);

	if (sp >= top || ((is_in_arena(low) || is_in_arena(sp)) && !is_in_arena(top)))
		return false;
	return lab_os_stack_reaches(low, top);
}

bool
lab_frame_is_dead(uintptr_t flag, uintptr_t sp, uint32_t tid)
{
	struct lab_os_stack alternate;

	if (tid == LAB_OS_TID_UNKNOWN || tid != lab_os_tid() || !lab_os_alternate_stack(&alternate))
		return false;
	bool flag_is_there = flag - alternate.low < alternate.size, sp_is_there = sp - alternate.low < alternate.size;
	if (alternate.running)
		return flag_is_there && sp_is_there && flag <= sp;
	if (flag_is_there)
		return is_own_stack(sp, sp);
	return flag <= sp && sp - flag <= APART_MAX && is_own_stack(flag, sp);
}
