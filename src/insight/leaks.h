/* leaks.h - what is in use, told by who asked for it. */
#ifndef LAB_INSIGHT_LEAKS_H
#define LAB_INSIGHT_LEAKS_H

#include "base/compiler.h"

/* Tells of what is in use by site, line by line, the most first: the twenty largest. Where there is a profile. Any
 * context; O(sites). */
void lab_leaks_report(void (*write_line)(void *context, const char *line), void *context);

#endif
