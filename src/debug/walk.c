/* walk.c - see walk.h. */
#include <string.h>

#include "base/format.h"
#include "debug/walk.h"
#include "os/backtrace.h"
#include "os/os.h"
#include "page/map.h"

struct walk {
	bool (*visit)(struct lab_dress *dress, void *context);
	void *context;
};

static bool
visit_raw(const struct walk *walk, char *raw, size_t size)
{
	struct lab_dress *dress = (struct lab_dress *)raw;
	enum lab_dress_state state = size >= sizeof *dress ? lab_dress_state(dress) : LAB_DRESS_NONE;

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

/* Blocks that were allocated in one place. */
struct group {
	const struct lab_dress *first;
	size_t blocks, bytes;
};
enum { GROUPS = 1024, LISTED = 20 };
static struct group groups[GROUPS];
static struct group all;

static bool
are_of_one_place(const struct lab_dress *a, const struct lab_dress *b)
{
	return a->made_frames == b->made_frames &&
	       memcmp(a->sites->made, b->sites->made, a->made_frames * sizeof *a->sites->made) == 0;
}

static uint64_t
hash_place(const struct lab_dress *dress)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < dress->made_frames; i++)
		hash = (hash ^ dress->sites->made[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return hash >> 32;
}

static void
add(struct group *group, const struct lab_dress *dress)
{
	if (!group->first)
		group->first = dress;
	group->blocks++;
	group->bytes += dress->size;
}

/* What finds no room in the table counts in the sum alone. */
static bool
add_left(struct lab_dress *dress, void *context)
{
	(void)context;
	if (lab_dress_state(dress) != LAB_DRESS_LIVE)
		return true;
	add(&all, dress);
	for (uint64_t at = hash_place(dress), tries = 0; tries < GROUPS; at++, tries++) {
		struct group *group = &groups[at % GROUPS];
		if (!group->first || are_of_one_place(group->first, dress)) {
			add(group, dress);
			break;
		}
	}
	return true;
}

static void
write_line(struct lab_text *text)
{
	lab_text_string(text, "\n");
	lab_os_append(NULL, text->buffer, text->length);
	*text = lab_text_start(text->buffer, text->size);
	lab_text_string(text, "labyrinth: ");
}

static void
text_group(struct lab_text *text, const struct group *group)
{
	lab_text_number(text, group->blocks);
	lab_text_string(text, group->blocks == 1 ? " block, " : " blocks, ");
	lab_text_number(text, group->bytes);
	lab_text_string(text, " bytes");
}

static struct group *
largest(void)
{
	struct group *found = &groups[0];

	for (unsigned i = 1; i < GROUPS; i++)
		if (groups[i].bytes > found->bytes || (groups[i].first && !found->first))
			found = &groups[i];
	return found->first ? found : NULL;
}

void
lab_dress_list_leaks(void)
{
	static char buffer[1200], room[LAB_OS_NAME_ROOM];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);
	struct group *group;

	lab_dress_walk(add_left, NULL);
	if (all.blocks == 0)
		return;
	lab_text_string(&text, "labyrinth: not freed: ");
	text_group(&text, &all);
	write_line(&text);
	for (unsigned i = 0; i < LISTED && (group = largest()) != NULL; i++) {
		const struct lab_dress *first = group->first;
		lab_text_string(&text, "  ");
		text_group(&text, group);
		lab_text_string(&text, ", as at ");
		lab_text_hex(&text, (uintptr_t)lab_dress_start(first));
		lab_text_string(&text, ", allocated by");
		write_line(&text);
		for (unsigned frame = 0; frame < first->made_frames; frame++) {
			lab_text_string(&text, "    #");
			lab_text_number(&text, frame);
			lab_text_string(&text, " ");
			lab_os_text_address(&text, first->sites->made[frame] - 1, room);
			write_line(&text);
		}
		*group = (struct group){0};
	}
}
