/* walk.c - see walk.h. */
#include <string.h>

#include "debug/walk.h"
#include "insight/sites.h"
#include "page/map.h"

struct walk {
	bool (*visit)(struct lab_dress *dress, void *context);
	void *context;
};

static bool
visit_raw(const struct walk *walk, char *raw, size_t size)
{
	struct lab_dress *dress = (struct lab_dress *)raw;
	enum lab_dress_state state;

	/* pages that another thread has freed since may be gone */
	if (size < sizeof *dress ||
	    (size > LAB_UNIT_SIZE && !lab_os.is_readable((uintptr_t)raw, (uintptr_t)(dress + 1))))
		return true;
	state = lab_dress_state(dress);
	return (state != LAB_DRESS_LIVE && state != LAB_DRESS_FREED) || walk->visit(dress, walk->context);
}

static bool
visit_span(const struct walk *walk, const struct lab_unit *unit)
{
	uint32_t carved = (uint32_t)lab_peek(&unit->carved);

	for (uint32_t i = 0; i < carved; i++)
		if (!visit_raw(walk, lab_unit_block(unit, i), lab_peek(&unit->size)))
			return false;
	return true;
}

static bool
visit_segment(const struct walk *walk, const struct lab_segment *segment)
{
	for (size_t page = 0; page < lab_segment_pages(segment); page++) {
		const struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		const struct lab_run *run = &segment->runs[page];
		bool go_on = true;
		if (!(lab_load_rlx(&segment->taken[page / 64]) >> (page % 64) & 1))
			continue;
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN) {
			if (page % LAB_UNIT_PAGES == 0)
				go_on = visit_span(walk, unit);
			page |= LAB_UNIT_PAGES - 1;
		} else if (lab_run_kind_of(lab_load_acq(&run->state)) ==
		           LAB_RUN_LIVE) { /* pairs with the rel of heap/take.c */
			go_on = visit_raw(walk, segment->base + page * LAB_PAGE_SIZE,
			                  lab_load_rlx(&run->pages) << LAB_PAGE_SHIFT);
		}
		if (!go_on)
			return false;
	}
	return true;
}

void
lab_dress_walk(bool (*visit)(struct lab_dress *dress, void *context), void *context)
{
	const struct walk walk = {visit, context};
	struct lab_segment *segment;
	struct lab_huge *huge;
	uint64_t owner;

	for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
		if (lab_owner_state(owner) == LAB_SLOT_OWNED && !visit_segment(&walk, segment))
			return;
	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++)
		if (lab_huge_kind(huge) == LAB_HUGE_LIVE &&
		    !visit_raw(&walk, lab_load_rlx(&huge->base), lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT))
			return;
}

/* ---- what is left ----------------------------------------------------------------------------------------------- */

static bool
count(struct lab_dress *dress, void *any)
{
	size_t size = dress->size;
	struct lab_stack stack = {.depth = dress->made_frames};

	memcpy(stack.addresses, dress->sites->made, LAB_DRESS_FRAMES * sizeof *stack.addresses);
	/* pairs with the CAS of lab_dress_free: where another thread frees the block now, what was read is void */
	atomic_thread_fence(memory_order_acquire);
	if (lab_dress_state(dress) != LAB_DRESS_LIVE || stack.depth > LAB_DRESS_FRAMES)
		return true;
	lab_site_add(lab_site_of(&stack), size);
	return *(bool *)any = true;
}

bool
lab_dress_count_left(void)
{
	bool any = false;

	if (lab_sites_start())
		lab_dress_walk(count, &any);
	return any;
}
