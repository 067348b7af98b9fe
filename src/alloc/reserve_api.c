/* reserve_api.c - the API's functions for the reserve. Figures are snapshots, by which nothing is decided, and for any
 * context. */
#include "alloc/reserve_api.h"
#include "backing/backing.h"
#include "backing/on_low.h"
#include "backing/resident.h"
#include "backing/settings.h"
#include "backing/shares.h"
#include "base/format.h"
#include "os/os.h"

static enum lab_reserve_mode
mode_now(const char **why)
{
	*why = lab_load_rlx(&lab_resident_why_not);
	if (!lab_reserve_is_installed())
		return LAB_RESERVE_NONE;
	if (!lab_backing_is_own()) {
		*why = "forked";
		return LAB_RESERVE_COPIED;
	}
	return **why ? LAB_RESERVE_POPULATED : LAB_RESERVE_STRICT;
}

LAB_EXPORT void
lab_reserve_info(struct lab_reserve_info *info)
{
	struct lab_reserve_bytes bytes = lab_reserve_bytes();

	lab_reserve_note_use();
	*info = (struct lab_reserve_info){.total = bytes.total, .grown = bytes.grown, .used = bytes.used};
	info->mode = mode_now(&info->why);
	info->limit = lab_reserve.limit;
	info->shares = lab_shares_bytes();
	info->failures = lab_load_rlx(&lab_reserve.failures);
	info->lost_races = lab_load_rlx(&lab_reserve.lost_races);
}

const char *
lab_reserve_mode_name(enum lab_reserve_mode mode)
{
	static const char *const names[] = {"none", "populated only", "strict", "copied by fork"};

	return names[mode];
}

void
lab_reserve_report(void)
{
	const char *why;
	enum lab_reserve_mode mode = mode_now(&why);
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer - 1);

	if (!lab_backing_settings.asked || mode == LAB_RESERVE_STRICT)
		return;
	lab_text_string(&text, "labyrinth: reserve: ");
	lab_text_string(&text, lab_reserve_mode_name(mode));
	lab_text_string(&text, ": ");
	lab_text_string(&text, why);
	buffer[text.length++] = '\n';
	lab_os_write(buffer, text.length);
}

LAB_EXPORT bool
lab_reserve_class_get(size_t index, struct lab_reserve_class *info)
{
	struct lab_reserve_figures figures;

	if (index >= LAB_RESERVE_CLASSES || !lab_reserve_figures((unsigned)index, &figures))
		return false;
	*info = (struct lab_reserve_class){
	        .size = figures.size,
	        .slots = figures.slots,
	        .overflow = figures.overflow,
	        .used = figures.used,
	        .min = figures.min,
	        .high = figures.high,
	        .low = figures.low,
	};
	return true;
}

LAB_EXPORT bool
lab_reserve_balance(void)
{
	return lab_backing_balance(LAB_ENTRY_STACK_POINTER);
}

LAB_EXPORT bool
lab_reserve_thread(size_t size, size_t count)
{
	return lab_shares_of_thread(size, count);
}

/* Never freed, so that who reads it needs no protection: a program sets few. */
LAB_EXPORT void
lab_reserve_on_low(void (*call)(void *context, size_t size), void *context)
{
	struct lab_low_callback *callback = call ? lab_malloc(sizeof *callback) : NULL;

	lab_reserve_note_use();
	if (callback)
		*callback = (struct lab_low_callback){call, context};
	if (callback || !call)
		lab_low_set(callback);
}
