/* leaks.c - see leaks.h. */
#include "insight/leaks.h"
#include "base/format.h"
#include "insight/maps.h"
#include "insight/sampler.h"
#include "insight/sites.h"

enum { LEAKS = 20, LEAK_FRAMES = 16 };

static void
tell_frame(const struct lab_maps *maps, uintptr_t address, void (*write_line)(void *context, const char *line),
           void *context)
{
	char buffer[288];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);
	const struct lab_code_map *map = lab_maps_find(maps, address);

	if (!map)
		return;
	lab_text_string(&text, "    ");
	lab_text_string(&text, map->name ? maps->names + map->name : "[code without a file]");
	lab_text_string(&text, "+");
	lab_text_hex(&text, address - map->base);
	write_line(context, buffer);
}

static void
tell_amount(const char *what, uint64_t bytes, uint64_t objects, void (*write_line)(void *context, const char *line),
            void *context)
{
	char buffer[128];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, what);
	lab_text_number(&text, bytes);
	lab_text_string(&text, " bytes in ");
	lab_text_number(&text, objects);
	lab_text_string(&text, objects == 1 ? " block" : " blocks");
	write_line(context, buffer);
}

/* The site with most bytes in use behind (bytes, site), in the order of falling bytes and rising numbers. False:
 * none. */
static bool
next_leak(uint64_t *bytes, uint32_t *site)
{
	uint64_t best = 0;
	uint32_t best_site = 0;

	for (uint32_t i = 0; i < LAB_SITES; i++) {
		struct lab_site_counts counts;
		if (!lab_site_read(i, &counts))
			continue;
		uint64_t used = counts.bytes - counts.freed_bytes;
		bool is_behind = used < *bytes || (used == *bytes && i > *site);
		if (is_behind && used > best) {
			best = used;
			best_site = i;
		}
	}
	*bytes = best;
	*site = best_site;
	return best != 0;
}

void
lab_leaks_report(void (*write_line)(void *context, const char *line), void *context)
{
	uint64_t bytes = 0, objects = 0, at = UINT64_MAX;
	uint32_t site = 0;
	struct lab_site_counts counts;
	struct lab_maps *maps = lab_maps_read();
	bool is_exact = lab_load_rlx(&lab_sample_distance) <= 1;

	for (uint32_t i = 0; i < LAB_SITES; i++) {
		if (!lab_site_read(i, &counts))
			continue;
		bytes += counts.bytes - counts.freed_bytes;
		objects += counts.objects - counts.freed_objects;
	}
	tell_amount(is_exact ? "in use at exit: " : "in use at exit, estimated from samples: ", bytes,
	            lab_sample_whole(objects), write_line, context);
	for (int i = 0; i < LEAKS && next_leak(&at, &site); i++) {
		const struct lab_stack *stack = lab_site_read(site, &counts);
		tell_amount("  ", counts.bytes - counts.freed_bytes,
		            lab_sample_whole(counts.objects - counts.freed_objects), write_line, context);
		for (uint32_t f = 0; maps && f < stack->depth && f < LEAK_FRAMES; f++)
			tell_frame(maps, lab_call_of(stack->addresses[f]), write_line, context);
	}
	lab_maps_drop(maps);
}
