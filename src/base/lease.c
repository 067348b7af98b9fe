/* lease.c - see lease.h. Any context. */
#include "base/lease.h"

uint64_t
lab_lease_new(uint32_t tid, unsigned tag)
{
	static _Atomic uint32_t last;

	return lab_lease_make(lab_add_rlx(&last, 1), tid, tag);
}
