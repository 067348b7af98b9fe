/* profile.c - see profile.h. */
#include "insight/profile.h"
#include "base/probe.h"
#include "insight/live.h"
#include "insight/sites.h"
#include "os/os.h"

static _Atomic uint64_t lost;

bool
lab_profile_start(size_t distance)
{
	if (lab_profile_is_on() || distance == 0 || !lab_sites_start() || !lab_live_start())
		return false;
	lab_sampler_seed(lab_os_seed());
	lab_stack_prepare();
	lab_store_rel(&lab_sample_distance,
	              distance); /* pairs with the acq of lab_profile_is_on: the tables are there */
	return true;
}

void
lab_profile_lose(void)
{
	(void)lab_add_rlx(&lost, 1);
}

uint64_t
lab_profile_lost(void)
{
	return lab_load_rlx(&lost);
}

void
lab_profile_add(const void *block, size_t size, uintptr_t sp, enum lab_stack_effort effort)
{
	struct lab_stack stack;
	uint32_t old_site;
	size_t old_size;

	lab_stack_take(&stack, sp, effort);
	uint32_t site = lab_site_of(&stack);
	if (!lab_live_put(block, site, size, &old_site, &old_size)) {
		lab_profile_lose();
		return;
	}
	if (old_size != 0)
		lab_site_remove(old_site, old_size);
	lab_site_add(site, size);
	LAB_PROBE3(otel_memory, alloc, block, size, lab_sample_bytes(size));
}

void
lab_profile_remove(const void *block)
{
	uint32_t site;
	size_t size;

	if (!lab_live_take(block, &site, &size))
		return;
	lab_site_remove(site, size);
	LAB_PROBE1(otel_memory, free, block);
}
