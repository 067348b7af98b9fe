/* arguments.h - sizes and flags at and beyond their bounds, for the tests that call everything with them. */
#ifndef LAB_TESTS_UNIT_ARGUMENTS_H
#define LAB_TESTS_UNIT_ARGUMENTS_H

#include <errno.h>
#include <labyrinth/labyrinth.h>
#include <limits.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

enum { SECONDS = 600 };

static const size_t sizes[] = {
        0,
        1,
        15,
        16,
        17,
        4095,
        4096,
        4097,
        MIB,
        4 * MIB,
        4 * MIB + 1,
        16 * MIB,
        16 * MIB + 1,
        (size_t)1 << 40,
        (size_t)1 << 46,
        (size_t)1 << 47,
        SIZE_MAX / 2,
        SIZE_MAX / 2 + 1,
        (size_t)1 << 63,
        SIZE_MAX - 4096,
        SIZE_MAX - 15,
        SIZE_MAX - 1,
        SIZE_MAX,
};
__attribute__((unused)) static const unsigned flags[] = {
        LAB_GFP_KERNEL,
        LAB_GFP_KERNEL | LAB_GFP_ZERO,
        LAB_GFP_KERNEL | LAB_GFP_HIGH,
        LAB_GFP_KERNEL | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN,
        LAB_GFP_NOWAIT,
        LAB_GFP_NOWAIT | LAB_GFP_ZERO,
        LAB_GFP_ATOMIC | LAB_GFP_NOWARN,
        LAB_GFP_ATOMIC | LAB_GFP_ZERO | LAB_GFP_NOWARN,
        LAB_GFP_EXCLUSIVE,
        LAB_GFP_NOFORK,
        LAB_GFP_NOMERGE | LAB_GFP_ZERO,
        /* what contradicts itself, or is unknown */
        3,
        LAB_GFP_ATOMIC | LAB_GFP_NOWAIT,
        LAB_GFP_ATOMIC | LAB_GFP_EXCLUSIVE,
        LAB_GFP_NOWAIT | LAB_GFP_LOCKED,
        LAB_GFP_EXCLUSIVE | LAB_GFP_HIGH,
        LAB_GFP_LOCKED & ~LAB_GFP_EXCLUSIVE,
        0x4,
        LAB_GFP_NORETRY,
        LAB_GFP_NOWAIT | LAB_GFP_NORECLAIM,
        LAB_GFP_NOIO,
        0x20000,
        0x40000,
        0x80000000,
        UINT_MAX,
};

#define EACH(array, i) (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

static inline bool
is_sound(unsigned gfp)
{
	const unsigned known = 3 | LAB_GFP_HIGH | LAB_GFP_MEMALLOC | LAB_GFP_ZERO | LAB_GFP_NOWARN | LAB_GFP_NORECLAIM |
	                       LAB_GFP_NOIO | LAB_GFP_NOFAIL | LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE;
	const unsigned exclusive = (LAB_GFP_LOCKED | LAB_GFP_NOFORK | LAB_GFP_NOMERGE);

	if (gfp & ~known || (gfp & 3) == 3)
		return false;
	return !(gfp & exclusive) || (gfp & LAB_GFP_EXCLUSIVE && !(gfp & (3 | LAB_GFP_HIGH | LAB_GFP_MEMALLOC)));
}

/* Nothing that asks for more than there is may take what there is: a child of the kernel's out-of-memory killer would
 * not say why. */
static inline size_t
faulted(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (size_t)usage.ru_minflt * 4096;
}

static inline void
begin(void)
{
	errno = EXDEV;
}

#endif
