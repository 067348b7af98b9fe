/*
 * maps.h - what code is mapped where, and which build of a file it is: /proc/self/maps and the notes in memory. No
 * allocation but one mapping of its own. Any context; O(mappings).
 */
#ifndef LAB_INSIGHT_MAPS_H
#define LAB_INSIGHT_MAPS_H

#include "base/compiler.h"

enum { LAB_MAPS = 1024, LAB_BUILD_ID_MAX = 20, LAB_MAPS_NAMES = 128 << 10 };

struct lab_code_map {
	uintptr_t start, end, offset;
	uintptr_t base; /* what is to be taken from an address for that in the file, as addr2line wants it */
	uint32_t name;  /* in names */
	uint32_t build_id_length;
	uint8_t build_id[LAB_BUILD_ID_MAX];
};

struct lab_maps {
	uint32_t count;        /* executable mappings, by address; those beyond LAB_MAPS are left out */
	uint32_t names_length; /* names[0] is the empty one */
	struct lab_code_map maps[LAB_MAPS];
	char names[LAB_MAPS_NAMES];
};

/* NULL: no memory, or /proc is not there. */
struct lab_maps *lab_maps_read(void);
void lab_maps_drop(struct lab_maps *maps);

/* The mapping that an address of code lies in; NULL: none. */
const struct lab_code_map *lab_maps_find(const struct lab_maps *maps, uintptr_t address);

#endif
