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

	lab_stack_take(&stack, sp, effort, LAB_STACK_MAX);
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

struct lab_profile_sample
lab_profile_begin_move(const void *block)
{
	struct lab_profile_sample sample;

	return lab_live_take(block, &sample.site, &sample.size) ? sample : (struct lab_profile_sample){0};
}

void
lab_profile_end_move(const void *block, struct lab_profile_sample sample, bool resized)
{
	uint32_t old_site;
	size_t old_size; /* 0: the block is there, so no other was put where it lies */

	if (sample.size == 0)
		return;
	if (!resized && lab_live_put(block, sample.site, sample.size, &old_site, &old_size))
		return;
	if (!resized)
		lab_profile_lose();
	lab_site_remove(sample.site, sample.size);
	LAB_PROBE1(otel_memory, free, block);
}

void
lab_profile_remove(const void *block)
{
	lab_profile_end_move(block, lab_profile_begin_move(block), true);
}
