/* quarantine.c - see quarantine.h. Any context. */
#include "debug/quarantine.h"

enum { PLACES = 8192, FEW_PLACES = 256, BYTES_MOST = 64 << 20 };

static _Atomic(struct lab_dress *) ring[PLACES];
static _Atomic uint64_t head, tail; /* places that were filled, and emptied, so far */
static _Atomic int64_t bytes;

static struct lab_dress *
exchange(size_t place, struct lab_dress *dress)
{
	/* pairs with the exchange by which another takes the block out: the record is seen */
	struct lab_dress *old = atomic_exchange_explicit(&ring[place], dress, memory_order_acq_rel);

	if (old)
		lab_add_rlx(&bytes, -(int64_t)old->raw_size);
	return old;
}

/* Where the profile is for use, few blocks wait, and go in no order that can be foreseen. */
static size_t
place_for(uint64_t turn, const struct lab_dress *dress)
{
	if (lab_debug_has(LAB_DEBUG_SITES))
		return turn % PLACES;
	return lab_dress_shuffle(turn + ((uintptr_t)dress >> 4)) % FEW_PLACES;
}

struct lab_dress *
lab_quarantine_push(struct lab_dress *dress)
{
	lab_add_rlx(&bytes, (int64_t)dress->raw_size);
	return exchange(place_for(lab_add_rlx(&head, 1u), dress), dress);
}

struct lab_dress *
lab_quarantine_pull(void)
{
	struct lab_dress *dress = NULL;

	while (!dress && lab_load_rlx(&bytes) > BYTES_MOST) {
		uint64_t first = lab_load_rlx(&tail), end = lab_load_rlx(&head);
		if (first + 1 >= end) /* the newest stays, however large it is */
			return NULL;
		uint64_t oldest = end > PLACES && first < end - PLACES ? end - PLACES : first;
		if (lab_cas64(&tail, first, oldest + 1)) /* pairs with itself in another thread: each place is one's */
			dress = exchange(oldest % PLACES, NULL);
	}
	return dress;
}

struct lab_dress *
lab_quarantine_at(size_t i, bool *end)
{
	*end = i >= PLACES;
	return *end ? NULL : lab_load_acq(&ring[i]); /* pairs with the exchange that put it there */
}
