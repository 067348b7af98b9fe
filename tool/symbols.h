/* symbols.h - the names of a profile's addresses, from the files that were mapped and what is known of them for
 * debugging (libdw; debuginfod, where DEBUGINFOD_URLS is set). */
#ifndef LAB_TOOL_SYMBOLS_H
#define LAB_TOOL_SYMBOLS_H

#include "pprof.h"

/* Gives each location a name, that of its address at worst. A file whose build is another one than that of the profile
 * is not used; a line on stderr says so. */
void symbols_find(struct profile *profile);

#endif
