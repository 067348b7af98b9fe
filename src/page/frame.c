/* frame.c - see frame.h. */
#include "page/frame.h"
#include "os/os.h"
#include "page/map.h"

enum { APART_MAX = 1 << 20 };

static bool
is_handed_out(uintptr_t address)
{
	return lab_map_find((const void *)address).kind != LAB_PLACE_FOREIGN || lab_huge_around((const void *)address);
}

/* Whether `low` and sp are on the calling thread's own stack. */
static bool
is_own_stack(uintptr_t low, uintptr_t sp)
{
	uintptr_t top = lab_os_own_stack_top(sp);

	if (sp >= top || ((is_handed_out(low) || is_handed_out(sp)) && !is_handed_out(top)))
		return false;
	return lab_os_stack_reaches(low, top);
}

/* Whether two addresses in blocks of ours are in the same block. */
static bool
are_in_one_block(uintptr_t low, uintptr_t high)
{
	struct lab_place from = lab_map_find((const void *)low), to = lab_map_find((const void *)high);

	if (from.kind == LAB_PLACE_SPAN) {
		for (uintptr_t p = (low | 15) + 1; p <= high && to.unit == from.unit; p += 16)
			if (lab_unit_is_block(from.unit, (const void *)p))
				return false;
		return to.kind == LAB_PLACE_SPAN && to.unit == from.unit;
	}
	for (uintptr_t page = (low | (LAB_PAGE_SIZE - 1)) + 1; page <= high; page += LAB_PAGE_SIZE)
		if (lab_map_find((const void *)page).kind != LAB_PLACE_INTERIOR)
			return false;
	return to.kind == LAB_PLACE_INTERIOR;
}

static bool
are_on_one_other_stack(uintptr_t flag, uintptr_t sp)
{
	if (!lab_os_sees_alternate_stacks() || is_handed_out(flag) != is_handed_out(sp))
		return false;
	return is_handed_out(sp) ? are_in_one_block(flag, sp) : lab_os.is_readable(flag, sp + 1);
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
	return flag <= sp && sp - flag <= APART_MAX && (is_own_stack(flag, sp) || are_on_one_other_stack(flag, sp));
}
