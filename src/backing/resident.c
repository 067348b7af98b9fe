/* resident.c - see resident.h. */
#include "backing/resident.h"
#include "backing/library.h"
#include "backing/settings.h"
#include "os/os.h"
#include "page/map.h"
#include "reserve/reserve.h"

_Atomic(const char *) lab_resident_why_not = "";
static _Atomic bool is_locked; /* all that was there when lab_resident_hold_all looked */

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

static void
visit_all(lab_visit_pages *visit, void *context)
{
	struct lab_share *share;

	visit(context, (struct lab_range){lab_reserve.start, lab_reserve.memory}, true);
	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		visit(context, lab_share_range(share), true);
	lab_library_visit(visit, context);
}

/* ---- what is done with each range ---- */

static void
count_range(void *bytes, struct lab_range range, bool write)
{
	(void)write;
	*(size_t *)bytes += range.size;
}

static void
populate_range(void *is_done, struct lab_range range, bool write)
{
	*(bool *)is_done &= lab_os.populate(range.start, range.size, write);
}

static void
lock_range(void *is_done, struct lab_range range, bool write)
{
	(void)write;
	*(bool *)is_done = *(bool *)is_done && lab_os.lock(range.start, range.size);
}

static void
unlock_range(void *unused, struct lab_range range, bool write)
{
	(void)unused;
	(void)write;
	lab_os.unlock(range.start, range.size);
}

/* ---- locking ---- */

/* Why not so many bytes more may be locked; NULL: they may. */
static const char *
why_not_lock(size_t more)
{
	size_t bytes = more;

	if (lab_backing_settings.lock == LAB_LOCK_NEVER)
		return "LABYRINTH_RESERVE_LOCK=0";
	if (lab_backing_settings.lock == LAB_LOCK_ALWAYS)
		return NULL;
	visit_all(count_range, &bytes);
	return bytes > lab_os_lock_limit() / 4 ? "it is not locked: it takes more than a quarter of RLIMIT_MEMLOCK"
	                                       : NULL;
}

static const char *
lock_all(void)
{
	const char *why = why_not_lock(0);
	bool done = true;

	if (why)
		return why;
	visit_all(lock_range, &done);
	if (done)
		return "";
	visit_all(unlock_range, NULL);
	return "the system refused to lock it";
}

static void
lock_share(struct lab_range slots)
{
	if (!lab_load_rlx(&is_locked))
		return;
	const char *why = why_not_lock(slots.size);
	if (!why && !lab_os.lock(slots.start, slots.size))
		why = "the system refused to lock all of it";
	if (why)
		lab_store_rlx(&lab_resident_why_not, why);
}

void
lab_resident_hold_all(void)
{
	bool populated = true;

	visit_all(populate_range, &populated);
	const char *why = lock_all();
	lab_store_rlx(&is_locked, *why == 0);
	lab_store_rlx(&lab_resident_why_not, populated ? why : "the system refused to make it resident");
	hold_descriptors((struct lab_range){lab_reserve.start, lab_reserve.memory});
	for (unsigned i = 0; lab_share_get(i) != NULL; i++)
		hold_descriptors(lab_share_range(lab_share_get(i)));
}

bool
lab_resident_hold(struct lab_range slots)
{
	if (!lab_os.populate(slots.start, slots.size, true))
		return false;
	lock_share(slots);
	hold_descriptors(slots);
	return true;
}

bool
lab_resident_give_back(struct lab_range slots)
{
	lab_os.unlock(slots.start, slots.size);
	if (lab_os.purge(slots.start, slots.size))
		return true;
	lock_share(slots);
	return false;
}
