/*
 * dump.c - the profile as a file: profile.proto of pprof, gzipped (github.com/google/pprof, proto/profile.proto), with
 * the addresses of code, and which build of which file they lie in. Names are found from outside, later. No
 * allocation but mappings of its own. Any context.
 */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "insight/dump.h"
#include "insight/maps.h"
#include "insight/profile.h"
#include "insight/proto.h"
#include "insight/sites.h"
#include "os/os.h"

/* Fields, as profile.proto numbers them. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME = 9,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_TYPE = 14,
	VALUE_TYPE_TYPE = 1,
	VALUE_TYPE_UNIT = 2,
	SAMPLE_LOCATION = 1,
	SAMPLE_VALUE = 2,
	MAPPING_ID = 1,
	MAPPING_START = 2,
	MAPPING_LIMIT = 3,
	MAPPING_OFFSET = 4,
	MAPPING_FILE = 5,
	MAPPING_BUILD_ID = 6,
	LOCATION_ID = 1,
	LOCATION_MAPPING = 2,
	LOCATION_ADDRESS = 3,
	LOCATION_LINE = 4,
	LINE_FUNCTION = 1,
	FUNCTION_ID = 1,
	FUNCTION_NAME = 2,
};

/* The string table. What follows it are two of each mapping, its file and its build. */
enum {
	TEXT_NONE,
	TEXT_ALLOCATED,
	TEXT_ALLOCATED_SPACE,
	TEXT_IN_USE,
	TEXT_IN_USE_SPACE,
	TEXT_COUNT,
	TEXT_BYTES,
	TEXT_SPACE,
	TEXT_OTHERS,
	TEXT_VERSION,
	TEXT_LOST,
	TEXTS
};
static const char *const texts[] = {
        "",
        "alloc_objects",
        "alloc_space",
        "inuse_objects",
        "inuse_space",
        "count",
        "bytes",
        "space",
        "[stacks for which there was no room]",
};

/* The location of what was counted at no stack. */
enum { OTHERS = 1, VALUES = 4 };

/* The addresses that occur, each with its number. */
struct location {
	uintptr_t address; /* 0: none here */
	uint64_t id;
};

struct dump {
	struct lab_out out;
	const struct lab_maps *maps;
	struct location *locations;
	size_t places; /* of them: a power of two */
	uint64_t last_id;
};

/* ---- locations ---- */

/* The place of an address, or the empty one where it would be: there are more places than addresses. */
static struct location *
find_location(struct dump *dump, uintptr_t address)
{
	size_t at = (size_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 20);

	while (dump->locations[at & (dump->places - 1)].address != address &&
	       dump->locations[at & (dump->places - 1)].address != 0)
		at++;
	return &dump->locations[at & (dump->places - 1)];
}

static void
write_location(struct dump *dump, uint64_t id, uintptr_t address)
{
	const struct lab_code_map *map = lab_maps_find(dump->maps, address);
	uint64_t mapping = map ? (uint64_t)(map - dump->maps->maps) + 1 : 0;

	lab_out_head(&dump->out, PROFILE_LOCATION,
	             lab_number_size(id) + lab_number_size(mapping) + lab_number_size(address));
	lab_out_number(&dump->out, LOCATION_ID, id);
	lab_out_number(&dump->out, LOCATION_MAPPING, mapping);
	lab_out_number(&dump->out, LOCATION_ADDRESS, address);
}

/* How much of a stack is code: where frame pointers led astray, the rest of it is none. */
static uint32_t
code_depth(const struct lab_maps *maps, const struct lab_stack *stack)
{
	uint32_t depth = 0;

	while (depth < stack->depth && lab_maps_find(maps, lab_call_of(stack->addresses[depth])))
		depth++;
	return depth;
}

static uint64_t
location_of(struct dump *dump, uintptr_t address)
{
	struct location *location = find_location(dump, address);

	if (location->address == 0) {
		*location = (struct location){address, ++dump->last_id};
		write_location(dump, location->id, address);
	}
	return location->id;
}

/* ---- samples ---- */

static void
write_sample(struct dump *dump, const struct lab_stack *stack, const struct lab_site_counts *counts)
{
	const uint64_t values[VALUES] = {
	        lab_sample_whole(counts->objects),
	        counts->bytes,
	        lab_sample_whole(counts->objects - counts->freed_objects),
	        counts->bytes - counts->freed_bytes,
	};
	uint64_t ids[LAB_STACK_MAX] = {OTHERS};
	uint32_t depth = code_depth(dump->maps, stack);
	size_t ids_size = 0, values_size = 0;

	for (uint32_t i = 0; i < depth; i++)
		ids[i] = location_of(dump, lab_call_of(stack->addresses[i]));
	if (depth == 0)
		depth = 1;
	for (uint32_t i = 0; i < depth; i++)
		ids_size += lab_varint_size(ids[i]);
	for (unsigned i = 0; i < VALUES; i++)
		values_size += lab_varint_size(values[i]);
	lab_out_head(&dump->out, PROFILE_SAMPLE,
	             1 + lab_varint_size(ids_size) + ids_size + 1 + lab_varint_size(values_size) + values_size);
	lab_out_head(&dump->out, SAMPLE_LOCATION, ids_size);
	for (uint32_t i = 0; i < depth; i++)
		lab_out_varint(&dump->out, ids[i]);
	lab_out_head(&dump->out, SAMPLE_VALUE, values_size);
	for (unsigned i = 0; i < VALUES; i++)
		lab_out_varint(&dump->out, values[i]);
}

static void
write_samples(struct dump *dump)
{
	struct lab_site_counts counts;

	for (uint32_t site = 0; site < LAB_SITES; site++) {
		const struct lab_stack *stack = lab_site_read(site, &counts);
		if (stack && counts.objects != 0)
			write_sample(dump, stack, &counts);
	}
}

/* ---- what is said once ---- */

static void
write_type(struct dump *dump, unsigned field, unsigned type, unsigned unit)
{
	lab_out_head(&dump->out, field, lab_number_size(type) + lab_number_size(unit));
	lab_out_number(&dump->out, VALUE_TYPE_TYPE, type);
	lab_out_number(&dump->out, VALUE_TYPE_UNIT, unit);
}

static void
write_string(struct dump *dump, const char *string)
{
	lab_out_bytes(&dump->out, PROFILE_STRING, string, strlen(string));
}

static void
write_texts(struct dump *dump)
{
	char buffer[64];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	for (unsigned i = 0; i < TEXT_VERSION; i++)
		write_string(dump, texts[i]);
	lab_text_string(&text, "labyrinth ");
	lab_text_string(&text, LAB_VERSION_TEXT);
	write_string(dump, buffer);
	text = lab_text_start(buffer, sizeof buffer);
	lab_text_string(&text, "samples for which there was no room: ");
	lab_text_number(&text, lab_profile_lost());
	write_string(dump, buffer);
}

static void
write_mapping(struct dump *dump, uint32_t index)
{
	static const char digits[] = "0123456789abcdef";
	const struct lab_code_map *map = &dump->maps->maps[index];
	uint64_t id = index + 1, file = TEXTS + 2 * (uint64_t)index, build = file + 1;
	char hex[2 * LAB_BUILD_ID_MAX + 1];

	lab_out_head(&dump->out, PROFILE_MAPPING,
	             lab_number_size(id) + lab_number_size(map->start) + lab_number_size(map->end) +
	                     lab_number_size(map->offset) + lab_number_size(file) + lab_number_size(build));
	lab_out_number(&dump->out, MAPPING_ID, id);
	lab_out_number(&dump->out, MAPPING_START, map->start);
	lab_out_number(&dump->out, MAPPING_LIMIT, map->end);
	lab_out_number(&dump->out, MAPPING_OFFSET, map->offset);
	lab_out_number(&dump->out, MAPPING_FILE, file);
	lab_out_number(&dump->out, MAPPING_BUILD_ID, build);
	write_string(dump, dump->maps->names + map->name);
	for (uint32_t i = 0; i < map->build_id_length; i++) {
		hex[2 * i] = digits[map->build_id[i] >> 4];
		hex[2 * i + 1] = digits[map->build_id[i] & 15];
	}
	lab_out_bytes(&dump->out, PROFILE_STRING, hex, (size_t)2 * map->build_id_length);
}

static void
write_others(struct dump *dump)
{
	const size_t line = lab_number_size(OTHERS);

	lab_out_head(&dump->out, PROFILE_FUNCTION, lab_number_size(OTHERS) + lab_number_size(TEXT_OTHERS));
	lab_out_number(&dump->out, FUNCTION_ID, OTHERS);
	lab_out_number(&dump->out, FUNCTION_NAME, TEXT_OTHERS);
	lab_out_head(&dump->out, PROFILE_LOCATION, lab_number_size(OTHERS) + 2 + line);
	lab_out_number(&dump->out, LOCATION_ID, OTHERS);
	lab_out_head(&dump->out, LOCATION_LINE, line);
	lab_out_number(&dump->out, LINE_FUNCTION, OTHERS);
	dump->last_id = OTHERS;
}

static void
write_profile(struct dump *dump)
{
	write_texts(dump);
	write_type(dump, PROFILE_SAMPLE_TYPE, TEXT_ALLOCATED, TEXT_COUNT);
	write_type(dump, PROFILE_SAMPLE_TYPE, TEXT_ALLOCATED_SPACE, TEXT_BYTES);
	write_type(dump, PROFILE_SAMPLE_TYPE, TEXT_IN_USE, TEXT_COUNT);
	write_type(dump, PROFILE_SAMPLE_TYPE, TEXT_IN_USE_SPACE, TEXT_BYTES);
	write_type(dump, PROFILE_PERIOD_TYPE, TEXT_SPACE, TEXT_BYTES);
	lab_out_number(&dump->out, PROFILE_PERIOD, lab_load_rlx(&lab_sample_distance));
	lab_out_number(&dump->out, PROFILE_TIME, lab_os_real_time_ns());
	lab_out_number(&dump->out, PROFILE_DEFAULT_TYPE, TEXT_IN_USE_SPACE);
	lab_out_number(&dump->out, PROFILE_COMMENT, TEXT_VERSION);
	lab_out_number(&dump->out, PROFILE_COMMENT, TEXT_LOST);
	write_others(dump);
	for (uint32_t i = 0; i < dump->maps->count; i++)
		write_mapping(dump, i);
	write_samples(dump);
}

/* ---- the file ---- */

/* Twice as many places as there are frames now, and some for what comes until they are written. */
static size_t
count_places(void)
{
	struct lab_site_counts counts;
	size_t frames = 0, places = 4096;

	for (uint32_t site = 0; site < LAB_SITES; site++) {
		const struct lab_stack *stack = lab_site_read(site, &counts);
		frames += stack ? stack->depth : LAB_STACK_MAX / 8;
	}
	while (places < 2 * frames)
		places *= 2;
	return places;
}

int
lab_dump_write(int file)
{
	struct dump *dump = lab_os.map(sizeof *dump, LAB_ACCESS_WRITE);
	struct lab_maps *maps = lab_maps_read();
	size_t places = count_places();
	struct location *locations = lab_os.map(places * sizeof *locations, LAB_ACCESS_WRITE);
	int error = ENOMEM;

	if (dump && maps && locations) {
		dump->maps = maps;
		dump->locations = locations;
		dump->places = places;
		lab_out_begin(&dump->out, file);
		write_profile(dump);
		lab_out_end(&dump->out);
		error = dump->out.error;
	}
	if (locations)
		(void)lab_os.unmap(locations, places * sizeof *locations);
	lab_maps_drop(maps);
	if (dump)
		(void)lab_os.unmap(dump, sizeof *dump);
	return error;
}
