/*
 * charge.h - the memory limit: how many pages may be resident for the sake of blocks. Any context; lock-free.
 *
 * A page counts while it may be resident, which is what its dirty bit says: from when a run or a huge block takes it,
 * or blocks are carved from it in a span, until it was given back to the system, free or in a sparse span. Descriptors,
 * the reserve and stacks do not count.
 *
 * INV-CHARGE-1  headroom <= limit - pages that count, but for what threads are just taking. Pages that became clean
 *               since the last count, and pages that were charged and then not taken, are missing from headroom. When
 *               it does not suffice, all pages are counted anew from the bitmaps, and it is set by CAS from its value
 *               before the count.
 *
 * So more than the limit can be taken by threads that take pages while another one counts, each once; and after the
 * limit was lowered, until pages are freed.
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

/* Sets the limit, in pages. It holds for pages that are taken from now on. */
void lab_charge_set_limit(size_t pages);

/*
 * Charges for pages that did not count before. `seen`: the caller has taken them, and a count sees them. False: they
 * would be too many; nothing is charged, and the caller gives the pages back as they were.
 */
bool lab_charge(size_t pages, bool seen);

/* Marks pages of a segment dirty that the caller has taken, and charges for those that were clean. False: they would be
 * too many; nothing has changed. */
bool lab_charge_pages(struct lab_segment *segment, size_t page, size_t count);

/* Pages in [page, page + count) that are clean. */
size_t lab_charge_count_clean(const struct lab_segment *segment, size_t page, size_t count);

/* Counts all pages that count now. O(segments). */
size_t lab_charge_count(void);

#endif
