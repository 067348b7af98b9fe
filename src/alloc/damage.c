/* damage.c - see damage.h. */
#include "alloc/damage.h"
#include "alloc/checks.h"
#include "base/check.h"
#include "debug/quarantine.h"
#include "debug/walk.h"
#include "os/os.h"
#include "page/pending.h"

struct damage {
	const char *call, *reason;
	const void *p;
};

/* Twice, as another thread may be freeing the block. */
static bool
look(struct lab_dress *dress, void *context)
{
	struct damage *found = context;
	const void *at = NULL;
	enum lab_dress_state state = lab_dress_state(dress);
	const char *reason = NULL;

	if (state == LAB_DRESS_LIVE)
		reason = lab_dress_damage(dress, &at);
	else if (state == LAB_DRESS_FREED && (at = lab_dress_written(dress)) != NULL)
		reason = "the block was freed before";
	if (!reason || lab_dress_state(dress) != state)
		return true;
	*found = (struct damage){state == LAB_DRESS_LIVE ? "lab_check" : "write", reason, at};
	return false;
}

/* What a frame that frees a block has not filled yet is not in the ring: so of freed ones those that wait there. */
static bool
look_live(struct lab_dress *dress, void *context)
{
	return lab_dress_state(dress) != LAB_DRESS_LIVE || look(dress, context);
}

static void
look_at_freed(struct damage *found)
{
	bool end = false;

	for (size_t i = 0; !end && !found->reason; i++) {
		struct lab_dress *dress = lab_quarantine_at(i, &end);
		if (dress)
			(void)look(dress, found);
	}
}

static bool
look_at_all(struct damage *found)
{
	lab_dress_walk(look_live, found);
	if (!found->reason)
		look_at_freed(found);
	return found->reason != NULL;
}

LAB_EXPORT void
lab_check(const void *block)
{
	struct damage found = {0};

	if (!lab_debug_is_on())
		return;
	if (block) {
		(void)lab_checked_find(block, "lab_check");
		return;
	}
	if (look_at_all(&found))
		lab_report_misuse(found.call, found.p, found.reason);
}

void
lab_damage_look_at_end(void)
{
	struct damage found = {0}, again = {0};

	if (!lab_debug_is_all())
		return;
	/* Other threads may run on: what they free from here on stays mapped, also for the list of leaks. */
	lab_store_rlx(&lab_purge_is_held, true);
	if (!look_at_all(&found))
		return;
	lab_os_sleep_ms(1); /* one of them may just be making the block shorter */
	if (look_at_all(&again))
		lab_report_misuse("exit", again.p, again.reason);
}
