/* pprof.c - see pprof.h. Source: protobuf.dev's "Encoding", and pprof's profile.proto. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "pprof.h"
#include "tool.h"

enum { SIZE_LIMIT = 1 << 30 };

/* ---- the wire format ---- */

struct message {
	const unsigned char *at, *end;
	bool is_bad;
};

struct field {
	unsigned number;
	uint64_t value;       /* of a number */
	struct message bytes; /* of all else */
};

static uint64_t
read_varint(struct message *message)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
		unsigned char byte = *message->at++;
		value |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return value;
	}
	message->is_bad = true;
	return 0;
}

static bool
next_field(struct message *message, struct field *field)
{
	if (message->is_bad || message->at >= message->end)
		return false;
	uint64_t key = read_varint(message), length;
	*field = (struct field){.number = (unsigned)(key >> 3)};
	switch (key & 7) {
	case 0:
		field->value = read_varint(message);
		return !message->is_bad;
	case 1:
		length = 8;
		break;
	case 2:
		length = read_varint(message);
		break;
	case 5:
		length = 4;
		break;
	default:
		message->is_bad = true;
		return false;
	}
	if (message->is_bad || length > (size_t)(message->end - message->at)) {
		message->is_bad = true;
		return false;
	}
	field->bytes = (struct message){.at = message->at, .end = message->at + length};
	message->at += length;
	return true;
}

/* The numbers of a repeated field, packed or one by one. */
static void
add_numbers(uint64_t **numbers, size_t *count, struct field *field)
{
	if (!field->bytes.at)
		*APPEND(*numbers, *count) = field->value;
	while (field->bytes.at && field->bytes.at < field->bytes.end && !field->bytes.is_bad) {
		uint64_t value = read_varint(&field->bytes);
		*APPEND(*numbers, *count) = value;
	}
}

/* The numbers of a message, by field; those above are skipped. */
static void
read_numbers(struct message message, uint64_t *fields, unsigned count)
{
	struct field field;

	while (next_field(&message, &field))
		if (field.number < count && !field.bytes.at)
			fields[field.number] = field.value;
}

/* ---- the messages ---- */

/* Samples as they are read: stacks are of ids until all locations are known. */
struct raw_sample {
	uint64_t *ids, *values;
	size_t depth, values_count;
};

struct reader {
	struct profile *profile;
	struct raw_sample *samples;
	size_t sample_count;
};

static void
read_sample(struct reader *reader, struct message message)
{
	struct raw_sample *sample = APPEND(reader->samples, reader->sample_count);
	struct field field;

	*sample = (struct raw_sample){0};
	while (next_field(&message, &field)) {
		if (field.number == 1)
			add_numbers(&sample->ids, &sample->depth, &field);
		else if (field.number == 2)
			add_numbers(&sample->values, &sample->values_count, &field);
	}
}

static void
read_location(struct profile *profile, struct message message)
{
	struct location *location = APPEND(profile->locations, profile->location_count);
	struct field field;

	*location = (struct location){0};
	while (next_field(&message, &field)) {
		uint64_t line[3] = {0};
		switch (field.number) {
		case 1:
			location->id = field.value;
			break;
		case 2:
			location->mapping = field.value;
			break;
		case 3:
			location->address = field.value;
			break;
		case 4: /* the first line is the innermost of inlined ones */
			read_numbers(field.bytes, line, 3);
			if (location->function == 0)
				location->function = line[1];
		}
	}
}

static void
read_field(struct reader *reader, struct field *field)
{
	struct profile *profile = reader->profile;
	uint64_t n[8] = {0};
	char **string;

	switch (field->number) {
	case 1:
		read_numbers(field->bytes, n, 3);
		*APPEND(profile->types, profile->type_count) = (struct value_type){n[1], n[2]};
		break;
	case 2:
		read_sample(reader, field->bytes);
		break;
	case 3:
		read_numbers(field->bytes, n, 7);
		*APPEND(profile->mappings, profile->mapping_count) =
		        (struct file_mapping){n[1], n[2], n[3], n[4], n[5], n[6]};
		break;
	case 4:
		read_location(profile, field->bytes);
		break;
	case 5:
		read_numbers(field->bytes, n, 3);
		*APPEND(profile->functions, profile->function_count) = (struct function){n[1], n[2]};
		break;
	case 6: {
		size_t length = (size_t)(field->bytes.end - field->bytes.at);
		string = APPEND(profile->strings, profile->string_count);
		*string = allocate(length + 1);
		if (length != 0)
			memcpy(*string, field->bytes.at, length);
		(*string)[length] = 0;
		break;
	}
	case 12:
		profile->period = field->value;
		break;
	case 14:
		profile->default_type = field->value;
	}
}

/* ---- what refers to what ---- */

static int
compare_locations(const void *a, const void *b)
{
	const struct location *one = a, *other = b;

	return one->id < other->id ? -1 : one->id > other->id;
}

static struct location *
find_location(const struct profile *profile, uint64_t id)
{
	const struct location key = {.id = id};

	return profile->locations
	               ? bsearch(&key, profile->locations, profile->location_count, sizeof key, compare_locations)
	               : NULL;
}

const struct file_mapping *
profile_mapping(const struct profile *profile, uint64_t id)
{
	for (size_t i = 0; i < profile->mapping_count; i++)
		if (id != 0 && profile->mappings[i].id == id)
			return &profile->mappings[i];
	return NULL;
}

const char *
profile_string(const struct profile *profile, uint64_t index)
{
	return index < profile->string_count ? profile->strings[index] : "";
}

/* False: a sample names a location that is not there, or has another number of values. */
static bool
resolve(struct reader *reader)
{
	struct profile *profile = reader->profile;

	if (profile->locations)
		qsort(profile->locations, profile->location_count, sizeof *profile->locations, compare_locations);
	for (size_t i = 0; i < reader->sample_count; i++) {
		const struct raw_sample *raw = &reader->samples[i];
		struct sample *sample = APPEND(profile->samples, profile->sample_count);
		*sample = (struct sample){0};
		if (raw->values_count != profile->type_count)
			return false;
		*sample = (struct sample){raw->depth, allocate(raw->depth * sizeof(struct location *)),
		                          (int64_t *)raw->values};
		for (size_t k = 0; k < raw->depth; k++) {
			sample->stack[k] = find_location(profile, raw->ids[k]);
			if (!sample->stack[k])
				return false;
		}
	}
	return true;
}

/* All of a file, without its compression. NULL: it cannot be read. */
static unsigned char *
read_all(const char *path, size_t *length)
{
	gzFile file = gzopen(path, "rb");
	unsigned char *bytes = NULL;
	size_t room = 0;
	int done = 0;

	*length = 0;
	if (!file)
		return NULL;
	do {
		if (*length == room) {
			room = room ? 2 * room : 1 << 16;
			bytes = reallocate(bytes, room);
		}
		done = gzread(file, bytes + *length, (unsigned)(room - *length));
		*length += done > 0 ? (size_t)done : 0;
	} while (done > 0 && *length < SIZE_LIMIT);
	if (gzclose(file) != Z_OK || done != 0) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

struct profile *
profile_read(const char *path, const char **why)
{
	size_t length;
	unsigned char *bytes = read_all(path, &length);
	struct profile *profile = memset(allocate(sizeof *profile), 0, sizeof *profile);
	struct reader reader = {.profile = profile};
	struct field field;

	*why = "it cannot be read, or is damaged";
	if (!bytes)
		return NULL;
	struct message message = {.at = bytes, .end = bytes + length};
	while (next_field(&message, &field))
		read_field(&reader, &field);
	free(bytes);
	*why = "it is no profile of pprof's";
	if (message.is_bad || profile->type_count == 0 || !resolve(&reader))
		return NULL;
	for (size_t i = 0; i < reader.sample_count; i++)
		free(reader.samples[i].ids);
	free(reader.samples);
	return profile;
}
