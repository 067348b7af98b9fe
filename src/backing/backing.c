/* backing.c - see backing.h. */
#include "backing/backing.h"
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

static void
make_own(void)
{
	if (!lab_reserve_is_installed())
		return;
	lab_resident_hold_all();
	lab_store_rlx(&is_own, true);
}

/* In a process that has not used the atomic tier, nor asked for it, copies would be made for nothing at each fork. */
void
lab_backing_after_fork(void)
{
	if (lab_load_rlx(&lab_reserve.in_use))
		make_own();
	else
		lab_store_rlx(&is_own, false);
}

void
lab_backing_settle(const struct lab_lease_fork *fork)
{
	(void)fork;
	if (!lab_reserve_is_installed())
		return;
	lab_store_rlx(&is_own, false);
	if (lab_load_rlx(&lab_reserve.in_use))
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
	lab_backing_plan_receive_ring();
	void *memory = lab_reserve_plan_memory(plan) ? map_memory(plan, &why) : NULL;
	if (!memory) {
		lab_store_rlx(&lab_resident_why_not, why);
		return;
	}
	lab_reserve_install(plan, memory);
	if (lab_backing_settings.asked)
		lab_reserve_note_use();
	make_own();
}

LAB_COLD bool
lab_backing_refill(uintptr_t sp)
{
	uint32_t asked = atomic_exchange_explicit(&lab_reserve.refill_pending, 0, memory_order_relaxed);
	struct lab_reserve_figures figures;
	bool grown = false;

	if (!lab_load_rlx(&is_own) && lab_load_rlx(&lab_reserve.in_use)) /* after a fork */
		make_own();
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
	lab_reserve_note_use();
	lab_reserve_ask(LAB_REFILL_LOOK);
	bool grown = lab_backing_tick(sp);
	if (!grown)
		(void)lab_shares_shrink();
	return grown;
}
