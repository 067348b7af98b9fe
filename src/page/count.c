/* count.c - see count.h. */
#include "page/count.h"

struct lab_counts lab_counts;

void
lab_count(int64_t used, int64_t dirty)
{
	if (used != 0)
		lab_add_rlx(&lab_counts.used, used);
	if (dirty != 0)
		lab_add_rlx(&lab_counts.dirty, dirty);
}

static bool
is_much(int32_t pages)
{
	return pages >= LAB_COUNT_STEP || pages <= -LAB_COUNT_STEP;
}

void
lab_count_owned(struct lab_count_delta *delta, int64_t used, int64_t dirty)
{
	struct lab_count_delta now = {delta->used + (int32_t)used, delta->dirty + (int32_t)dirty};
	bool publish = is_much(now.used) || is_much(now.dirty);

	lab_poke(&delta->used, publish ? 0 : now.used);
	lab_poke(&delta->dirty, publish ? 0 : now.dirty);
	if (publish)
		lab_count(now.used, now.dirty);
}

void
lab_count_given_back(size_t pages)
{
	if (pages == 0)
		return;
	lab_count(0, -(int64_t)pages);
	lab_add_rlx(&lab_counts.given_back, (int64_t)pages);
}

void
lab_count_given_back_in_use(size_t pages)
{
	if (pages != 0)
		lab_add_rlx(&lab_counts.given_back, (int64_t)pages);
}

/* A count may be below zero for a moment: who gave the pages has not published them yet. */
static size_t
positive(int64_t pages)
{
	return pages > 0 ? (size_t)pages : 0;
}

size_t
lab_count_dirty(const struct lab_count_delta *delta)
{
	return positive(lab_load_rlx(&lab_counts.dirty) + (delta ? lab_peek(&delta->dirty) : 0));
}

size_t
lab_count_used(void)
{
	return positive(lab_load_rlx(&lab_counts.used));
}

void
lab_count_set(size_t used, size_t dirty)
{
	lab_store_rlx(&lab_counts.used, (int64_t)used);
	lab_store_rlx(&lab_counts.dirty, (int64_t)dirty);
}
