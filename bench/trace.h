/*
 * trace.h - the form of a trace of a program's allocations: what record.c writes and play.c reads.
 *
 * The file begins with TRACE_MAGIC. Events follow in the order in which the program made its calls: a byte that says
 * which, and numbers of seven bits a byte, lowest first, whose last byte is below 128. Each event but TRACE_THREAD
 * and TRACE_FREE makes a block, and blocks are numbered from 0 in the order of the file; a block is named by the
 * distance from the number of the block that comes next, so that young ones have short names. A file may end in the
 * middle of an event.
 */
#ifndef LABYRINTH_BENCH_TRACE_H
#define LABYRINTH_BENCH_TRACE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRACE_MAGIC "allocations 1\n"

/* The file that a recorder in this process writes, for a name in which %p is the process id. What snprintf returns. */
static inline int
trace_path(char *path, size_t size, const char *name)
{
	const char *mark = strstr(name, "%p");

	return mark ? snprintf(path, size, "%.*s%d%s", (int)(mark - name), name, (int)getpid(), mark + 2)
	            : snprintf(path, size, "%s", name);
}

enum trace_event {
	TRACE_THREAD,  /* number: the events that follow are this thread's */
	TRACE_MALLOC,  /* size */
	TRACE_CALLOC,  /* size */
	TRACE_ALIGNED, /* base-2 logarithm of the alignment, size */
	TRACE_REALLOC, /* distance, size: the block is gone, and a new one there */
	TRACE_FREE,    /* distance */
	TRACE_EVENTS
};

#endif
