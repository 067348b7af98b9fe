/* quarantine.c - see quarantine.h. Any context. */
#include "debug/quarantine.h"
#include "os/os.h"

enum { PLACES = 8192, FEW_PLACES = 256, UNCOUNTED = 32 << 10, ADDRESSES_ALONE = 4 };
enum { BYTES_MOST = 64 << 20, FEW_BYTES_MOST = 16 << 20 };

static _Atomic(struct lab_dress *) *ring; /* NULL: no memory was to be had, and nothing waits */
static _Atomic uint64_t head, tail;       /* places that were filled, and emptied, so far */
static _Atomic int64_t bytes;

void
lab_quarantine_start(void)
{
	if (!ring)
		ring = lab_os.map(PLACES * sizeof *ring, LAB_ACCESS_WRITE);
}

/* The places that are used. Where the profile is for use, few blocks wait. */
static size_t
places(void)
{
	return lab_debug_is_all() ? PLACES : FEW_PLACES;
}

static int64_t
bytes_most(void)
{
	return lab_debug_is_all() ? BYTES_MOST : FEW_BYTES_MOST;
}

/* What a block counts. Where few wait: those of less than UNCOUNTED bytes are 8 MiB at the most, and are not counted;
 * those whose pages were given back are only addresses. */
static int64_t
weight(const struct lab_dress *dress)
{
	int64_t size = (int64_t)dress->raw_size;

	if (lab_debug_is_all())
		return size;
	if (size < UNCOUNTED)
		return 0;
	return dress->is_guarded ? size / ADDRESSES_ALONE : size;
}

static void
count(int64_t change)
{
	if (change != 0)
		lab_add_rlx(&bytes, change);
}

static struct lab_dress *
exchange(size_t place, struct lab_dress *dress)
{
	/* pairs with the exchange by which another takes the block out: the record is seen */
	struct lab_dress *old = atomic_exchange_explicit(&ring[place], dress, memory_order_acq_rel);

	if (old)
		count(-weight(old));
	return old;
}

/* Where the profile is for use blocks go in no order that can be foreseen; a turn that two threads have does no harm
 * there, and a locked instruction would cost more than all of the place. */
static size_t
next_place(const struct lab_dress *dress)
{
	if (lab_debug_is_all())
		return lab_add_rlx(&head, 1u) % PLACES;
	uint64_t turn = lab_load_rlx(&head);
	lab_store_rlx(&head, turn + 1);
	return lab_dress_shuffle(turn + ((uintptr_t)dress >> 4)) % FEW_PLACES;
}

struct lab_dress *
lab_quarantine_push(struct lab_dress *dress)
{
	if (lab_unlikely(!ring))
		return dress;
	count(weight(dress));
	return exchange(next_place(dress), dress);
}

/* The next place that is to be emptied, in the order in which they were filled, the newest not; or one after the other,
 * where blocks lie in no order. False: none. */
static bool
next_oldest(size_t *place)
{
	bool in_order = lab_debug_is_all();
	uint64_t first, oldest, end;

	do {
		first = oldest = lab_load_rlx(&tail);
		end = lab_load_rlx(&head);
		if (in_order && first + 1 >= end)
			return false;
		if (in_order && end > PLACES && first < end - PLACES)
			oldest = end - PLACES;
	} while (!lab_cas64(&tail, first, oldest + 1)); /* pairs with itself in another thread: each place is one's */
	*place = oldest % places();
	return true;
}

struct lab_dress *
lab_quarantine_pull(void)
{
	struct lab_dress *dress = NULL;
	size_t place, tries = 0;

	for (; !dress && tries < places() && lab_load_rlx(&bytes) > bytes_most() && next_oldest(&place); tries++) {
		dress = exchange(place, NULL);
		if (dress && weight(dress) == 0) /* that is no help: it waits on */
			dress = exchange(place, dress);
	}
	if (!dress && tries == places()) /* nothing is there: jumps have left in the middle what was counted */
		lab_store_rlx(&bytes, 0);
	return dress;
}

struct lab_dress *
lab_quarantine_take(size_t i, bool *end)
{
	return lab_quarantine_at(i, end) ? exchange(i, NULL) : NULL;
}

struct lab_dress *
lab_quarantine_at(size_t i, bool *end)
{
	*end = !ring || i >= PLACES;
	return *end ? NULL : lab_load_acq(&ring[i]); /* pairs with the exchange that put it there */
}
