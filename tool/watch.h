/* watch.h - processes that are looked at again and again, and what changes in them: for `labyrinth top`. */
#ifndef LAB_TOOL_WATCH_H
#define LAB_TOOL_WATCH_H

#include "figures.h"

struct watched {
	pid_t pid;
	char name[64];
	struct census census;
	double at;       /* of the census, in seconds; 0: none yet */
	double interval; /* since the one before; 0: there was none */
	struct figures before;
	bool seen; /* in the last look */
};

struct watch {
	struct watched *processes;
	size_t count;
	pid_t *wanted; /* as told; none: all that can be seen */
	size_t wanted_count;
	pid_t *others; /* that are not on Labyrinth, as was found out some looks ago */
	size_t others_count;
	unsigned looks;
};

/* Looks at all of them. Those that have ended are left out. */
void watch_look(struct watch *watch);
void watch_free(struct watch *watch);

/* What a counter has grown by in a second, from the look before to this one. */
double watch_rate(const struct watched *process, size_t offset);

/* Sorts by the figure at an offset, greatest first; by_rate: by its rate. */
void watch_sort(struct watch *watch, size_t offset, bool by_rate);

#endif
