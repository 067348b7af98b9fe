/* live.c - see live.h. */
#include "insight/live.h"
#include "base/check.h"
#include "os/os.h"

enum { PROBES = 32, SITE_SHIFT = 48 };

struct place {
	_Atomic uint64_t address; /* 0: empty */
	_Atomic uint64_t what;    /* {site: 16, size: 48}; 0: not counted. INV-LIVE-2 */
};

static struct place *places;

bool
lab_live_start(void)
{
	places = lab_os.map(LAB_LIVE_SAMPLES * sizeof *places, LAB_ACCESS_WRITE);
	return places != NULL;
}

static struct place *
place_of(uint64_t address, unsigned i)
{
	/* sampled blocks begin with a page: the bits above count */
	uint64_t h = (address >> LAB_OS_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	return &places[((h >> 40) + i) % LAB_LIVE_SAMPLES];
}

static struct place *
find(uint64_t address)
{
	for (unsigned i = 0; i < PROBES; i++)
		if (lab_load_rlx(&place_of(address, i)->address) == address)
			return place_of(address, i);
	return NULL;
}

/* What the place said, which it does not say any more. */
static void
clear(struct place *place, uint32_t *site, size_t *size)
{
	uint64_t what = lab_load_rlx(&place->what);

	lab_store_rlx(&place->what, 0);
	*site = (uint32_t)(what >> SITE_SHIFT);
	*size = what & ((UINT64_C(1) << SITE_SHIFT) - 1);
}

bool
lab_live_put(const void *block, uint32_t site, size_t size, uint32_t *old_site, size_t *old_size)
{
	uint64_t address = (uintptr_t)block;
	struct place *place = find(address);

	lab_assert(size >> SITE_SHIFT == 0);
	*old_size = 0;
	if (lab_unlikely(place != NULL))
		clear(place, old_site, old_size);
	for (unsigned i = 0; i < PROBES && !place; i++)
		/* pairs with the rel of lab_live_take: what the last one wrote to `what` comes before */
		if (lab_load_rlx(&place_of(address, i)->address) == 0 &&
		    lab_cas64(&place_of(address, i)->address, 0, address))
			place = place_of(address, i);
	if (place)
		lab_store_rlx(&place->what, (uint64_t)site << SITE_SHIFT | size);
	return place != NULL;
}

size_t
lab_live_size(const void *block)
{
	const struct place *place = find((uintptr_t)block);

	return place ? lab_load_rlx(&place->what) & ((UINT64_C(1) << SITE_SHIFT) - 1) : 0;
}

bool
lab_live_take(const void *block, uint32_t *site, size_t *size)
{
	struct place *place = find((uintptr_t)block);

	if (lab_likely(!place))
		return false;
	clear(place, site, size);
	lab_store_rel(&place->address, 0); /* pairs with the CAS of lab_live_put */
	return *size != 0;
}
