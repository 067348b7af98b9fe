/* library.h - where liblabyrinth.so is, and the benchmarks: beside this tool, as they were built or installed. */
#ifndef LAB_TOOL_LIBRARY_H
#define LAB_TOOL_LIBRARY_H

#include <stdio.h>

/* Its absolute path, or NULL: it is nowhere. To be freed. */
char *library_find(void);

/* What a library says on standard error when it is preloaded into a program that does nothing, as a stream, as by
 * popen: for pclose. NULL: that program cannot be run. */
FILE *library_run(const char *library);

/* That of a file of the benchmarks, a program or a script; or NULL, after a line. To be freed. */
char *library_find_bench(const char *name);

/* That of an installed library: in /usr/local/lib, where libc is, or in /usr/lib; or NULL. To be freed. */
char *library_find_system(const char *soname);

#endif
