/* reserve.c - see reserve.h. Bitmap slots in a static, untouched pool: it costs no memory until it is used. */
#include "reserve/reserve.h"
#include "base/atomic.h"
#include "base/bits.h"

enum {
	CLASSES = 6,
	TRIES = 64,
	POOL_ALIGN = 4096, /* more would make the loader place .bss apart, which tools do not expect */
	POOL_SIZE = 64 * 1024 * 4 + 16 * 1024 * 8 + 4096 * 32 + 1024 * 64 + 256 * 64 + 64 * 64,
};

/* Largest first, so that every slot is aligned to its size, up to POOL_ALIGN. At most one bitmap word a class. */
static const struct slot_class {
	uint32_t size, count, offset;
} classes[CLASSES] = {
        {65536, 4, 0},      {16384, 8, 65536 * 4},     {4096, 32, 65536 * 4 + 16384 * 8},
        {1024, 64, 524288}, {256, 64, 524288 + 65536}, {64, 64, 524288 + 65536 + 16384},
};
_Static_assert(65536 * 4 + 16384 * 8 + 4096 * 32 == 524288, "offset of the class of 1024");
_Static_assert(524288 + 65536 + 16384 + 4096 == POOL_SIZE, "size of the pool");

static LAB_ALIGNED(POOL_ALIGN) char pool[POOL_SIZE];

/* Bits of slots that are *taken*, so that the initial state is zero: a claim sets, a release clears. */
static _Atomic uint64_t taken[CLASSES];

static void *
claim_in(unsigned c)
{
	uint64_t all = lab_mask(classes[c].count);

	for (int try = 0; try < TRIES; try++) {
		uint64_t free = ~lab_load_rlx(&taken[c]) & all;
		if (!free)
			return NULL;
		unsigned slot = lab_ctz(free);
		/* acq pairs with the rel of the release: the slot's last holder is done with it. */
		uint64_t before = lab_or_acq_rel(&taken[c], UINT64_C(1) << slot);
		if (!(before >> slot & 1))
			return pool + classes[c].offset + (size_t)slot * classes[c].size;
	}
	return NULL;
}

void *
lab_reserve_claim_sig(size_t size, size_t align, enum lab_reserve_depth depth)
{
	(void)depth;
	for (unsigned c = CLASSES; c-- > 0;) {
		if (classes[c].size < size || classes[c].size % align != 0 || align > POOL_ALIGN)
			continue;
		void *slot = claim_in(c);
		if (slot)
			return slot;
	}
	return NULL;
}

/* The class whose slots lie around p, which is in the pool. */
static unsigned
class_at(const void *p)
{
	size_t offset = (size_t)((const char *)p - pool);
	unsigned c = CLASSES - 1;

	while (offset < classes[c].offset)
		c--;
	return c;
}

bool
lab_reserve_contains(const void *p)
{
	return (uintptr_t)p - (uintptr_t)pool < POOL_SIZE;
}

enum lab_reserve_release
lab_reserve_release_sig(void *p)
{
	unsigned c = class_at(p);
	size_t offset = (size_t)((char *)p - pool) - classes[c].offset;

	if (offset % classes[c].size != 0)
		return LAB_RESERVE_NOT_A_SLOT;
	uint64_t bit = UINT64_C(1) << (offset / classes[c].size);
	return lab_and_acq_rel(&taken[c], ~bit) & bit ? LAB_RESERVE_RELEASED : LAB_RESERVE_WAS_FREE;
}

size_t
lab_reserve_slot_size(const void *p)
{
	if (!lab_reserve_contains(p))
		return 0;
	unsigned c = class_at(p);
	size_t offset = (size_t)((const char *)p - pool) - classes[c].offset;
	bool is_taken = offset % classes[c].size == 0 && lab_load_rlx(&taken[c]) >> (offset / classes[c].size) & 1;
	return is_taken ? classes[c].size : 0;
}

size_t
lab_reserve_total(void)
{
	return POOL_SIZE;
}

size_t
lab_reserve_used(void)
{
	size_t used = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		used += (size_t)__builtin_popcountll(lab_load_rlx(&taken[c])) * classes[c].size;
	return used;
}
