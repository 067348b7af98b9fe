/* reserve_info.c - figures of the reserve. Snapshots, by which nothing is decided. Any context. */
#include "alloc/alloc.h"
#include "alloc/provision.h"
#include "base/format.h"
#include "os/os.h"

static size_t
bytes_in_shares(void)
{
	const struct lab_share *share;
	size_t bytes = 0;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		if (lab_share_tid(share) != 0)
			bytes += (size_t)share->slots << share->shift;
	return bytes;
}

LAB_EXPORT void
lab_reserve_info(struct lab_reserve_info *info)
{
	struct lab_reserve_figures figures;

	*info = (struct lab_reserve_info){0};
	info->mode = lab_provision_mode(&info->why);
	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++) {
		info->total += (figures.slots + figures.overflow + figures.grown) * figures.size;
		info->used += figures.used * figures.size;
		info->grown += figures.grown * figures.size;
	}
	info->limit = lab_reserve_limit();
	info->shares = bytes_in_shares();
	info->failures = lab_reserve_failures();
	info->lost_races = lab_reserve_lost_races();
}

const char *
lab_reserve_mode_name(enum lab_reserve_mode mode)
{
	static const char *const names[] = {"none", "populated only", "strict", "copied by fork"};

	return names[mode];
}

void
lab_provision_report(void)
{
	const char *why;
	enum lab_reserve_mode mode = lab_provision_mode(&why);
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer - 1);

	if (!lab_provision_settings.asked || mode == LAB_RESERVE_STRICT)
		return;
	lab_text_string(&text, "labyrinth: reserve: ");
	lab_text_string(&text, lab_reserve_mode_name(mode));
	lab_text_string(&text, ": ");
	lab_text_string(&text, why);
	buffer[text.length++] = '\n';
	lab_os_write(NULL, buffer, text.length);
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
