/* huge.c - mapping, unmapping and resizing huge blocks: see huge.h. */
#include "page/huge.h"
#include "base/check.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/huge_table.h"
#include "page/purge.h"
#include "page/space.h"

enum { SPARE_PAGES = 256 }; /* that a block may keep mapped behind itself */

/* ---- mapping and unmapping ----------------------------------------------------------------------------------------------------------- */

/* Address space at a multiple of `align`; *size: what is mapped from there on, more than was wanted if the system does not take back the rest. */
static char *
map_aligned(size_t *size, size_t align)
{
	size_t slack = align > LAB_PAGE_SIZE ? align - LAB_PAGE_SIZE : 0;
	char *start = lab_os.map(*size + slack, LAB_ACCESS_CHARGED);

	if (!start || slack == 0)
		return start;
	char *base = (char *)lab_round_up((uintptr_t)start, align), *end = base + *size;
	size_t before = (size_t)(base - start), behind = slack - before;
	if (before != 0)
		(void)lab_os.unmap(start, before); /* refused: so much address space is lost, untouched */
	if (behind != 0 && !lab_os.unmap(end, behind))
		*size += behind;
	return base;
}

static struct lab_huge *
map_and_hold(size_t pages, size_t align, struct lab_huge_hand *hand)
{
	size_t size = pages << LAB_PAGE_SHIFT;
	char *base = map_aligned(&size, align);

	if (!base)
		return NULL;
	lab_space_apply_huge_pages(base, size);
	struct lab_huge *huge = lab_huge_win_entry(base, size >> LAB_PAGE_SHIFT);
	uint64_t held = lab_huge_next_state(lab_load_rlx(&huge->run.state), LAB_HUGE_HELD);
	lab_huge_note(hand, huge, held);
	lab_store_rel(&huge->run.state, held);
	return huge;
}

struct lab_huge *
lab_huge_map(size_t pages, size_t align, struct lab_huge_hand *hand)
{
	uint64_t signals = lab_os_hold_signals();
	struct lab_huge *huge = NULL;

	if (lab_huge_count_in()) {
		huge = map_and_hold(pages, align, hand);
		if (!huge)
			lab_huge_count_out();
	}
	lab_os_release_signals(signals);
	return huge;
}

bool
lab_huge_unmap(struct lab_huge *huge, struct lab_huge_hand *hand)
{
	uint64_t signals = lab_os_hold_signals();
	bool done;

	lab_huge_set_state(huge, LAB_HUGE_UNMAPPING);
	lab_huge_let_go(hand);
	done = lab_os.unmap(lab_load_rlx(&huge->base), lab_load_rlx(&huge->mapped) << LAB_PAGE_SHIFT);
	lab_store_rlx(&lab_huge_unmap_is_refused, !done);
	if (done)
		lab_huge_give_entry_back(huge);
	else
		lab_huge_cache(huge);
	lab_os_release_signals(signals);
	return done;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------------------------- */

/* What lies behind a block's pages is given back if it is much, or counts. */
static void
purge_behind(struct lab_huge *huge, size_t pages, bool all)
{
	size_t dirty = lab_load_rlx(&huge->dirty), rest = dirty > pages ? dirty - pages : 0;
	bool much = rest > SPARE_PAGES && !lab_load_rlx(&lab_purge_is_held);

	if ((much || (all && rest > 0)) &&
	    lab_os.purge(lab_load_rlx(&huge->base) + (pages << LAB_PAGE_SHIFT), rest << LAB_PAGE_SHIFT))
		lab_store_rlx(&huge->dirty, pages);
}

void *
lab_huge_publish(struct lab_huge *huge, size_t pages, struct lab_huge_hand *hand)
{
	void *base = lab_load_rlx(&huge->base);

	lab_assert(lab_huge_kind(huge) == LAB_HUGE_HELD && pages <= lab_load_rlx(&huge->mapped));
	purge_behind(huge, pages, lab_charge_is_limited());
	lab_store_rlx(&huge->run.pages, pages);
	lab_store_rel(&huge->run.state, lab_huge_next_state(lab_load_rlx(&huge->run.state), LAB_HUGE_LIVE));
	lab_huge_let_go(hand);
	return base;
}

static void
soil(struct lab_huge *huge, size_t pages)
{
	if (lab_load_rlx(&huge->dirty) < pages)
		lab_store_rlx(&huge->dirty, pages);
}

void
lab_huge_free(struct lab_huge *huge)
{
	lab_assert(lab_huge_kind(huge) == LAB_HUGE_FREEING);
	soil(huge, lab_load_rlx(&huge->run.pages));
	lab_huge_cache(huge);
	lab_purge_note();
}

/* The system has it unmapped before anybody can hear of it: what is written before is what the block has afterwards, or if it fails, again. */
static void
unmap_tail(struct lab_huge *huge, size_t pages)
{
	size_t mapped = lab_load_rlx(&huge->mapped), dirty = lab_load_rlx(&huge->dirty);
	uint64_t signals = lab_os_hold_signals();

	lab_store_rlx(&huge->mapped, pages);
	if (dirty > pages)
		lab_store_rlx(&huge->dirty, pages);
	lab_compiler_barrier();
	if (!lab_os.unmap(lab_load_rlx(&huge->base) + (pages << LAB_PAGE_SHIFT), (mapped - pages) << LAB_PAGE_SHIFT)) {
		lab_store_rlx(&huge->dirty, dirty);
		lab_store_rlx(&huge->mapped, mapped);
		purge_behind(huge, pages, true);
	}
	lab_os_release_signals(signals);
}

void
lab_huge_shrink(struct lab_huge *huge, size_t pages)
{
	soil(huge, lab_load_rlx(&huge->run.pages));
	lab_store_rlx(&huge->run.pages, pages);
	if (lab_load_rlx(&huge->mapped) - pages > SPARE_PAGES)
		unmap_tail(huge, pages);
}

/* Its address has changed: its state is another entry's. */
static struct lab_huge *
enter_anew(struct lab_huge *old, char *base, size_t mapped)
{
	struct lab_huge *huge = lab_huge_win_entry(base, mapped);

	lab_store_rlx(&huge->dirty, lab_load_rlx(&old->dirty));
	lab_huge_give_entry_back(old);
	return huge;
}

static void *
extend_mapping(struct lab_huge *huge, size_t pages)
{
	char *base = lab_load_rlx(&huge->base);
	size_t old = lab_load_rlx(&huge->mapped);

	lab_huge_set_state(huge, LAB_HUGE_MOVING);
	char *now = lab_os.extend(base, old << LAB_PAGE_SHIFT, pages << LAB_PAGE_SHIFT);
	if (now && now != base)
		huge = enter_anew(huge, now, pages);
	else if (now)
		lab_store_rlx(&huge->mapped, pages);
	if (now)
		lab_store_rlx(&huge->run.pages, pages);
	lab_huge_set_state(huge, LAB_HUGE_LIVE);
	return now;
}

void *
lab_huge_extend(struct lab_huge *huge, size_t pages)
{
	void *p = NULL;

	soil(huge, lab_load_rlx(&huge->run.pages));
	if (pages <= lab_load_rlx(&huge->mapped)) {
		lab_store_rel(&huge->run.pages, pages);
		return lab_load_rlx(&huge->base);
	}
	uint64_t signals = lab_os_hold_signals();
	if (lab_huge_count_in()) { /* for the entry of another address */
		p = extend_mapping(huge, pages);
		if (!p || p == lab_load_rlx(&huge->base))
			lab_huge_count_out();
	}
	lab_os_release_signals(signals);
	return p;
}
