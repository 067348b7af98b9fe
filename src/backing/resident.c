/* resident.c - see resident.h. */
#include "backing/resident.h"
#include "backing/settings.h"
#include "os/os.h"
#include "page/map.h"

_Atomic(const char *) lab_resident_why_not = "";

static void
lock(struct lab_range range)
{
	if (!lab_backing_settings.lock || lab_os.lock(range.start, range.size))
		return;
	lab_store_rlx(&lab_resident_why_not, lab_os_lock_limit() < ((size_t)1 << 30) ? "RLIMIT_MEMLOCK does not allow to lock it"
	                                                                             : "the system refused to lock it");
}

void
lab_resident_hold(struct lab_range range, bool write)
{
	if (!lab_os.populate(range.start, range.size, write))
		lab_store_rlx(&lab_resident_why_not, "the system refused to make it resident");
	lock(range);
}

void
lab_resident_copy(struct lab_range range, bool write)
{
	(void)lab_os.populate(range.start, range.size, write);
}

/* Zero pages, one for 4 MiB. */
void
lab_resident_hold_descriptors(struct lab_range slots)
{
	uintptr_t at = (uintptr_t)slots.start & ~(LAB_UNIT_SIZE - 1), end = (uintptr_t)slots.start + slots.size;
	uintptr_t last = 0;

	for (; at < end; at += LAB_UNIT_SIZE) {
		uintptr_t page = (uintptr_t)lab_map_unit((const void *)at) & ~(LAB_OS_PAGE_SIZE - 1);
		if (page != last)
			(void)lab_os.populate((void *)page, LAB_OS_PAGE_SIZE, false);
		last = page;
	}
}

bool
lab_resident_fill(struct lab_range slots)
{
	if (!lab_os.populate(slots.start, slots.size, true))
		return false;
	lock(slots);
	lab_resident_hold_descriptors(slots);
	return true;
}

bool
lab_resident_give_back(struct lab_range slots)
{
	lab_os.unlock(slots.start, slots.size);
	if (lab_os.purge(slots.start, slots.size))
		return true;
	lock(slots);
	return false;
}
