/* target.h - where heap profiles are written; lab_profile_dump of the public header is the function that does it. */
#ifndef LAB_INSIGHT_TARGET_H
#define LAB_INSIGHT_TARGET_H

#include "base/compiler.h"

/* Where dumps go by default: a path in which %p is the process id and %n the number of the dump. Kept, not copied. */
void lab_profile_set_file(const char *pattern);

/* To that file; what goes wrong is said in a line on stderr. Where the core library runs under the drop-in, the
 * drop-in's profile. Any context. */
void lab_profile_dump_by_default(void);

#endif
