/* flame.h - a flame graph: a picture of where a sum of stacks comes from, in one SVG file that needs nothing else. */
#ifndef LAB_TOOL_FLAME_H
#define LAB_TOOL_FLAME_H

#include <stdio.h>

#include "pprof.h"

/* Of the samples' values number `type`, which is called so, in `unit`. Source: Gregg, "The Flame Graph", CACM 59(6),
 * 2016. */
void flame_write(FILE *file, const struct profile *profile, size_t type, const char *title, const char *unit);

#endif
