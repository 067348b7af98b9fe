/* charge.c - see charge.h. */
#include "page/charge.h"
#include "base/check.h"
#include "page/huge_table.h"
#include "page/space.h"

enum { TRIES = 4 };

_Atomic size_t lab_charge_limit = LAB_CHARGE_UNLIMITED;
static _Atomic uint64_t headroom; /* pages that may be charged before all are counted anew: INV-CHARGE-1 */

void
lab_charge_set_limit(size_t pages)
{
	lab_store_rlx(&lab_charge_limit, pages);
	lab_store_rlx(&headroom, 0);
}

size_t
lab_charge_count_clean(const struct lab_segment *segment, size_t page, size_t count)
{
	size_t end = page + count, clean = 0;

	for (size_t word = page / 64; word * 64 < end; word++) {
		uint64_t dirty = lab_load_rlx(&segment->dirty[word]);
		clean += (size_t)__builtin_popcountll(lab_segment_range_mask(word, page, count) & ~dirty);
	}
	return clean;
}

static size_t
count_segment(const struct lab_segment *segment)
{
	size_t pages = 0;

	for (size_t word = 0; word < lab_segment_words(segment); word++)
		pages += (size_t)__builtin_popcountll(lab_load_rlx(&segment->dirty[word]) &
		                                      lab_segment_word_mask(segment, word));
	return pages;
}

size_t
lab_charge_count(void)
{
	struct lab_segment *segment;
	uint64_t owner;
	size_t pages = lab_huge_charged_pages();

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		pages += count_segment(segment);
	return pages;
}

/* Counts all pages anew, and charges `pages` besides. */
static bool
charge_counted(size_t pages)
{
	bool fits = false;

	for (int try = 0; try < TRIES; try++) {
		uint64_t before = lab_load_acq(&headroom); /* pairs with the CAS of lab_charge: pages are counted */
		size_t limit = lab_load_rlx(&lab_charge_limit), counted = lab_charge_count();
		fits = counted <= limit && pages <= limit - counted;
		uint64_t left = counted < limit ? limit - counted : 0;
		lab_assert(left <= limit);
		/* pairs with the CAS of lab_charge: it fails if others have charged for pages that the count has not
		 * seen */
		if (lab_cas64(&headroom, before, left - (fits ? pages : 0)))
			break;
	}
	return fits;
}

bool
lab_charge(size_t pages, bool seen)
{
	if (!lab_charge_is_limited() || pages == 0)
		return true;
	uint64_t before = lab_load_rlx(&headroom);
	while (before >= pages)
		/* pairs with the acq of charge_counted, by a thread that counts: it sees our pages, or its CAS fails */
		if (atomic_compare_exchange_weak_explicit(&headroom, &before, before - pages, memory_order_release,
		                                          memory_order_relaxed))
			return true;
	return charge_counted(seen ? 0 : pages);
}

bool
lab_charge_pages(struct lab_segment *segment, size_t page, size_t count)
{
	uint64_t were_clean[LAB_SEGMENT_WORDS];

	size_t clean = lab_segment_soil(segment, page, count, were_clean);
	if (lab_likely(clean == 0 || lab_charge(clean, true)))
		return true;
	lab_segment_unsoil(segment, page, count, were_clean);
	return false;
}
