/* pprof.h - a profile file in memory: pprof's profile.proto, gzipped or not, of any program that writes it. */
#ifndef LAB_TOOL_PPROF_H
#define LAB_TOOL_PPROF_H

#include <stddef.h>
#include <stdint.h>

struct value_type {
	uint64_t type, unit; /* strings */
};

struct file_mapping {
	uint64_t id, start, limit, offset;
	uint64_t file, build_id; /* strings */
};

struct location {
	uint64_t id, mapping, address, function; /* ids; 0: none */
	const char *name;                        /* what symbols.h has found; never NULL after it */
	char *source;                            /* FILE:LINE, or NULL */
	size_t row;                              /* of the table of functions, from 1 on; 0: not looked for yet */
};

struct function {
	uint64_t id, name; /* name: a string */
};

struct sample {
	size_t depth;
	struct location **stack; /* the innermost first */
	int64_t *values;
};

struct profile {
	char **strings;
	struct value_type *types;
	struct file_mapping *mappings;
	struct location *locations;
	struct function *functions;
	struct sample *samples;
	size_t string_count, type_count, mapping_count, location_count, function_count, sample_count;
	uint64_t period;
	uint64_t default_type; /* a string */
};

/* NULL: *why says what is wrong with the file. */
struct profile *profile_read(const char *path, const char **why);

/* By their ids or indices; NULL, or "" for strings: there is none. */
const struct file_mapping *profile_mapping(const struct profile *profile, uint64_t id);
const char *profile_string(const struct profile *profile, uint64_t index);

#endif
