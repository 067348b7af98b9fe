/*
 * charge.h - the memory limit: how many pages may be resident for the sake of blocks. Any context; lock-free.
 *
 * A page counts while it is taken or dirty: by spans (whole, though they are carved by and by), runs, huge blocks, and as a free page that was
 * not given back. Descriptors, the reserve and stacks do not count.
 *
 * INV-CHARGE-1  headroom <= limit - pages that count, but for what is under way: pages that became clean since the last count add to the
 *               latter only. When headroom does not suffice, all is counted anew, from the words that are the truth, and headroom
 *               is set by CAS from the value it had before the count.
 * So more than the limit can be taken only by threads that take pages while another counts: each once, and by what it is taking; and by
 * whoever lowers the limit, until pages are freed.
 */
#ifndef LAB_PAGE_CHARGE_H
#define LAB_PAGE_CHARGE_H

#include "page/segment.h"

#define LAB_CHARGE_UNLIMITED SIZE_MAX

extern _Atomic size_t lab_charge_limit; /* pages */

static inline bool
lab_charge_is_limited(void)
{
	return lab_unlikely(lab_load_rlx(&lab_charge_limit) != LAB_CHARGE_UNLIMITED);
}

/* Sets the limit. It holds from the next taking of pages on. */
void lab_charge_set_limit(size_t pages);

/*
 * Charges for pages that did not count before. `seen`: they are taken already, so that a count sees them. False: they would be too many; nothing
 * is charged, and the caller gives them back as they were.
 */
bool lab_charge(size_t pages, bool seen);

/* The same for pages of a segment that the caller has taken: those that were clean. */
bool lab_charge_taken(const struct lab_segment *segment, size_t page, size_t count);

/* Pages in [page, page + count) that are clean. */
size_t lab_charge_count_clean(const struct lab_segment *segment, size_t page, size_t count);

/* All pages that count now, counted. O(segments). */
size_t lab_charge_count(void);

#endif
