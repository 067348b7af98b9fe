/* target.h - where heap profiles are written. */
#ifndef LAB_INSIGHT_TARGET_H
#define LAB_INSIGHT_TARGET_H

#include "base/compiler.h"

/* Where dumps go by default: a path in which %p is the process id and %n the number of the dump. Kept, not copied. */
void lab_profile_set_file(const char *pattern);
const char *lab_profile_file(void);

/* Writes the profile to such a path. 0, or the system's error; EINVAL: there is no profile. Any context. */
int lab_profile_write(const char *pattern);

#endif
