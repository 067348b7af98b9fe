/* sites.c - see sites.h. */
#include <string.h>

#include "base/check.h"
#include "insight/sampler.h"
#include "insight/sites.h"
#include "os/os.h"

enum { EMPTY = 0, BEING_WRITTEN = 1, IS_SITE = 2, PROBES = 64 };

static struct lab_site *sites;

bool
lab_sites_start(void)
{
	sites = lab_os.map(LAB_SITES * sizeof *sites, LAB_ACCESS_WRITE);
	if (sites)
		lab_store_rlx(&sites[0].state, IS_SITE); /* INV-SITE-2 */
	return sites != NULL;
}

static uint64_t
hash(const struct lab_stack *stack)
{
	uint64_t h = stack->depth;

	for (uint32_t i = 0; i < stack->depth; i++) {
		h = (h ^ stack->addresses[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return (h & ~UINT64_C(3)) | IS_SITE;
}

static bool
is_same(const struct lab_stack *a, const struct lab_stack *b)
{
	return a->depth == b->depth && memcmp(a->addresses, b->addresses, a->depth * sizeof *a->addresses) == 0;
}

static void
copy(struct lab_stack *to, const struct lab_stack *from)
{
	to->depth = from->depth;
	memcpy(to->addresses, from->addresses, from->depth * sizeof *from->addresses);
}

uint32_t
lab_site_of(const struct lab_stack *stack)
{
	uint64_t h = hash(stack);

	for (uint32_t i = 0; i < PROBES; i++) {
		uint32_t place = (uint32_t)((h >> 20) + i) % (LAB_SITES - 1) + 1;
		struct lab_site *site = &sites[place];
		uint64_t state = lab_load_acq(&site->state); /* pairs with the rel below */
		if (state == h && is_same(&site->stack, stack))
			return place;
		/* the CAS pairs with the acq above: nothing is to be seen but who has won */
		if (state != EMPTY || !lab_cas64(&site->state, EMPTY, BEING_WRITTEN))
			continue;
		copy(&site->stack, stack);
		lab_store_rel(&site->state, h); /* pairs with the acq above, and of lab_site_read */
		return place;
	}
	return 0;
}

void
lab_site_add(uint32_t site, size_t size)
{
	lab_assert(site < LAB_SITES);
	(void)lab_add_rlx(&sites[site].objects, lab_sample_objects(size));
	(void)lab_add_rlx(&sites[site].bytes, lab_sample_bytes(size));
}

void
lab_site_remove(uint32_t site, size_t size)
{
	lab_assert(site < LAB_SITES);
	(void)lab_add_rlx(&sites[site].freed_objects, lab_sample_objects(size));
	(void)lab_add_rlx(&sites[site].freed_bytes, lab_sample_bytes(size));
}

const struct lab_stack *
lab_site_read(uint32_t place, struct lab_site_counts *counts)
{
	struct lab_site *site = &sites[place];

	if (!sites || !(lab_load_acq(&site->state) & IS_SITE)) /* pairs with the rel of lab_site_of */
		return NULL;
	/* what is freed first: a sample that comes and goes in between is in use, and not less than nothing */
	counts->freed_objects = lab_load_rlx(&site->freed_objects);
	counts->freed_bytes = lab_load_rlx(&site->freed_bytes);
	counts->objects = lab_load_rlx(&site->objects);
	counts->bytes = lab_load_rlx(&site->bytes);
	if (counts->freed_objects > counts->objects)
		counts->freed_objects = counts->objects;
	if (counts->freed_bytes > counts->bytes)
		counts->freed_bytes = counts->bytes;
	return &site->stack;
}
