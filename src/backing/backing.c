/* backing.c - see backing.h. */
#include "backing/backing.h"
#include "backing/library.h"
#include "backing/on_low.h"
#include "backing/resident.h"
#include "backing/settings.h"
#include "backing/shares.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "os/os.h"

/* What is made resident cannot be taken back: so much is asked for before. */
#define ASK_FROM ((size_t)64 << 20)

static _Atomic bool is_own; /* there is a reserve, and its pages are the process's own */

bool
lab_backing_is_own(void)
{
	return lab_load_rlx(&is_own) && !lab_registry_is_forked();
}

/* All slots, and all else that the atomic tier touches. */
void
lab_backing_rearm(void)
{
	struct lab_share *share;

	if (!lab_reserve_is_installed())
		return;
	lab_resident_keep((struct lab_range){lab_reserve.start, lab_reserve.memory}, true);
	lab_resident_keep((struct lab_range){(char *)&lab_reserve, sizeof lab_reserve}, true);
	lab_resident_keep((struct lab_range){(char *)&lab_share_table, sizeof lab_share_table}, true);
	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		lab_resident_keep(lab_share_range(share), true);
	lab_library_keep();
	lab_store_rlx(&is_own, true);
}

void
lab_backing_settle(const struct lab_lease_fork *fork)
{
	(void)fork;
	if (!lab_reserve_is_installed())
		return;
	lab_store_rlx(&is_own, false);
	lab_reserve_ask(LAB_REFILL_LOOK);
}

/* NULL: none is to be had; *why says so. */
static void *
map_memory(const struct lab_reserve_plan *plan, const char **why)
{
	size_t size = lab_reserve_plan_memory(plan);
	void *memory = NULL;

	*why = "the system has not so much memory";
	if (size >= ASK_FROM && !lab_os.may_commit(size))
		return NULL;
	*why = "there is no address space";
	if (size <= lab_os_address_space_limit() / 4 && lab_registry_start())
		memory = lab_os.map(size, LAB_ACCESS_WRITE);
	return memory;
}

void
lab_backing_start(void)
{
	const struct lab_reserve_plan *plan = &lab_backing_settings.plan;
	const char *why = "the settings ask for none, or for too much";

	if (lab_reserve_is_installed())
		return;
	void *memory = lab_reserve_plan_memory(plan) ? map_memory(plan, &why) : NULL;
	if (!memory) {
		lab_store_rlx(&lab_resident_why_not, why);
		return;
	}
	lab_reserve_install(plan, memory);
	if (!lab_backing_settings.lock)
		lab_store_rlx(&lab_resident_why_not, "LABYRINTH_RESERVE_LOCK=0");
	lab_backing_rearm();
}

LAB_COLD bool
lab_backing_refill(uintptr_t sp)
{
	uint32_t asked = atomic_exchange_explicit(&lab_reserve.refill_pending, 0, memory_order_relaxed);
	struct lab_reserve_figures figures;
	bool grown = false;

	if (!lab_load_rlx(&is_own)) /* fork's child, or a jump has left it */
		lab_backing_rearm();
	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++) {
		bool was_low = asked >> c & 1;
		if (was_low)
			grown |= lab_shares_grow(c);
		(void)lab_reserve_figures(c, &figures);
		lab_low_note(c, was_low, figures.plain == 0);
	}
	lab_low_deliver(sp);
	return grown;
}

bool
lab_backing_balance(uintptr_t sp)
{
	lab_reserve_ask(LAB_REFILL_LOOK);
	bool grown = lab_backing_tick(sp);
	if (!grown)
		(void)lab_shares_shrink();
	return grown;
}
