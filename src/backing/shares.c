/* shares.c - see shares.h. */
#include "backing/shares.h"
#include "backing/resident.h"
#include "base/check.h"
#include "heap/leases.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "os/os.h"
#include "reserve/reserve.h"

/* A closed one, with its memory. The memory of one may have been given back, and may not be had again: then another is
 * tried before one more is made, as there is no end to those otherwise. */
static struct lab_share *
reuse(unsigned shift, size_t slots, bool is_growth)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++) {
		bool fits = is_growth ? share->bank.slots <= slots : share->bank.slots == slots;
		if (share->bank.shift != shift || share->is_growth != is_growth || !fits ||
		    lab_share_is_everybodys(share))
			continue;
		if (!lab_share_take(share, lab_thread_tid(), lab_os.thread_is_dead))
			continue;
		if (lab_resident_hold(lab_share_memory(share)))
			return share;
		lab_share_let_go(share);
	}
	return NULL;
}

static struct lab_share *
make(unsigned shift, size_t slots, bool is_growth)
{
	size_t size = lab_share_bytes(shift, slots);
	/* all of it is to be resident: what the system would not let a program have is not tried */
	char *memory = size && lab_os.may_commit(size) ? lab_os.map(size, LAB_ACCESS_WRITE) : NULL;
	struct lab_share *share = NULL;

	if (!memory)
		return NULL;
	if (lab_resident_hold((struct lab_range){memory, size}))
		share = lab_share_make(memory, shift, slots, lab_thread_tid(), is_growth);
	if (!share) {
		lab_os.unmap(memory, size);
		return NULL;
	}
	if (is_growth)
		lab_share_link(&lab_reserve.pools[shift - LAB_RESERVE_MIN_SHIFT].growth, share);
	return share;
}

/* A closed share with its memory, whose lease is the caller's: of so many slots, or of fewer for growth. NULL: no
 * memory, or too many shares. */
static struct lab_share *
have(unsigned shift, size_t slots, bool is_growth)
{
	struct lab_share *share = reuse(shift, slots, is_growth);

	return share ? share : make(shift, slots, is_growth);
}

/* ---- growth ---------------------------------------------------------------------------------------------------- */

/* Half of what there is above the low mark. */
static bool
is_enough(const struct lab_reserve_figures *figures)
{
	size_t half = (figures->slots - figures->low + 1) / 2;

	return figures->plain >= (half ? half : 1);
}

/* As much again as the class has, a page at least: so the number of shares is small. */
static size_t
next_slots(const struct lab_reserve_figures *figures)
{
	size_t total = lab_reserve_bytes().total, left = total < lab_reserve.limit ? lab_reserve.limit - total : 0;
	size_t least = figures->size < LAB_OS_PAGE_SIZE ? LAB_OS_PAGE_SIZE / figures->size : 1;
	size_t slots = figures->slots + figures->overflow + figures->grown, most = left / figures->size / least * least;

	slots = slots > least ? slots : least;
	return slots < most ? slots : most;
}

bool
lab_shares_grow(unsigned c)
{
	struct lab_reserve_figures figures;
	bool grown = false;

	for (int i = 0; i < (int)LAB_SHARE_MAX && lab_reserve_figures(c, &figures) && !is_enough(&figures); i++) {
		size_t slots = next_slots(&figures);
		struct lab_share *share = slots ? have(c + LAB_RESERVE_MIN_SHIFT, slots, true) : NULL;
		if (!share)
			break;
		lab_share_open(share, LAB_SHARE_EVERYBODY);
		lab_share_let_go(share);
		grown = true;
	}
	return grown;
}

/* ---- and back -------------------------------------------------------------------------------------------------- */

/* Without it there is as much as there was before any growth. */
static bool
is_needed(const struct lab_share *share)
{
	struct lab_reserve_figures figures;

	return lab_share_is_everybodys(share) &&
	       lab_reserve_figures(share->bank.shift - LAB_RESERVE_MIN_SHIFT, &figures) &&
	       figures.plain < figures.slots - figures.low + share->bank.slots;
}

/* By the holder of its lease. */
static bool
give_back(const struct lab_share *share)
{
	lab_assert(lab_bank_is_closed(&share->bank)); /* INV-SHARE-2 */
	return lab_resident_give_back(lab_share_memory(share));
}

static bool
shrink(struct lab_share *share)
{
	if ((lab_share_tid(share) == 0 && !lab_share_is_everybodys(share)) || is_needed(share) ||
	    !lab_share_take(share, lab_thread_tid(), lab_os.thread_is_dead))
		return false;
	bool given = give_back(share);
	if (!given && share->is_growth)
		lab_share_open(share, LAB_SHARE_EVERYBODY);
	lab_share_let_go(share);
	return given;
}

bool
lab_shares_shrink(void)
{
	struct lab_share *share;
	bool shrunk = false;

	lab_thread_settle_fork(false);
	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		shrunk |= shrink(share);
	return shrunk;
}

/* ---- threads' shares ------------------------------------------------------------------------------------------- */

static void
give_all_back(unsigned shift)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++) {
		if (share->bank.shift != shift || lab_share_tid(share) != lab_thread_tid() ||
		    lab_load_rlx(&share->owner) != lab_thread_pointer())
			continue;
		lab_share_detach(&lab_thread.share, share);
		if (lab_bank_close(&share->bank))
			(void)give_back(share);
		lab_share_let_go(share);
	}
}

bool
lab_shares_of_thread(size_t size, size_t count)
{
	if (size > (size_t)1 << LAB_RESERVE_MAX_SHIFT)
		return false;
	unsigned shift = lab_bank_shift_for(size, 1);
	lab_reserve_note_use();
	lab_thread_settle_fork(false);
	if (count == 0) {
		give_all_back(shift);
		return true;
	}
	struct lab_share *share = lab_registry_start() ? have(shift, count, false) : NULL;
	if (!share)
		return false;
	lab_share_open(share, lab_thread_pointer());
	lab_share_link(&lab_thread.share, share);
	return true;
}

size_t
lab_shares_bytes(void)
{
	const struct lab_share *share;
	size_t bytes = 0;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		if (!share->is_growth && lab_share_tid(share) != 0)
			bytes += lab_bank_bytes(&share->bank);
	return bytes;
}
