/* dump.h - the profile as a file of pprof's. */
#ifndef LAB_INSIGHT_DUMP_H
#define LAB_INSIGHT_DUMP_H

#include "base/compiler.h"

/* Writes the profile to a file that is open. 0, or the system's error. Any context; O(stacks · depth). */
int lab_dump_write(int file);

#endif
