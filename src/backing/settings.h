/* settings.h - how large the reserve is and what is in it: the settings `reserve` and its kin (alloc/settings.def).
 * Read once, by the constructor. */
#ifndef LAB_BACKING_SETTINGS_H
#define LAB_BACKING_SETTINGS_H

#include "reserve/reserve.h"

/* Bytes, in the default mix; 0: none. */
void lab_backing_set_size(size_t size);

/* "SIZE:COUNT,…". False: not understood, and nothing is changed. */
bool lab_backing_set_classes(const char *text);

/* Where the program is written in the kernel's style (labyrinth/gfp.h) and no setting asks for another reserve, the
 * reserve is to hold the buffers of one receive ring as well. When the settings have been read. */
void lab_backing_plan_receive_ring(void);

enum lab_lock {
	LAB_LOCK_BY_LIMIT, /* if RLIMIT_MEMLOCK leaves most to the program */
	LAB_LOCK_NEVER,
	LAB_LOCK_ALWAYS,
};

struct lab_backing_settings {
	struct lab_reserve_plan plan;
	bool asked; /* for a reserve, by name */
	enum lab_lock lock;
};
extern struct lab_backing_settings lab_backing_settings;

#endif
