/* resident.c - see resident.h. */
#include "backing/resident.h"
#include "backing/settings.h"
#include "os/os.h"
#include "page/map.h"

_Atomic(const char *) lab_resident_why_not = "";

static const char *
why_no_lock(void)
{
	return lab_os_lock_limit() < ((size_t)1 << 30) ? "RLIMIT_MEMLOCK does not allow to lock it"
	                                               : "the system refused to lock it";
}

static void
lock(struct lab_range range)
{
	if (lab_backing_settings.lock && !lab_os.lock(range.start, range.size))
		lab_store_rlx(&lab_resident_why_not, why_no_lock());
}

/* Zero pages, one for 4 MiB. */
static void
hold_descriptors(struct lab_range range)
{
	uintptr_t at = (uintptr_t)range.start & ~(LAB_UNIT_SIZE - 1), end = (uintptr_t)range.start + range.size;
	uintptr_t last = 0;

	for (; at < end; at += LAB_UNIT_SIZE) {
		uintptr_t page = (uintptr_t)lab_map_unit((const void *)at) & ~(LAB_OS_PAGE_SIZE - 1);
		if (page != last)
			(void)lab_os.populate((void *)page, LAB_OS_PAGE_SIZE, false);
		last = page;
	}
}

bool
lab_resident_hold(struct lab_range range, bool write)
{
	if (!lab_os.populate(range.start, range.size, write))
		return false;
	lock(range);
	hold_descriptors(range);
	return true;
}

void
lab_resident_keep(struct lab_range range, bool write)
{
	if (!lab_resident_hold(range, write))
		lab_store_rlx(&lab_resident_why_not, "the system refused to make it resident");
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
