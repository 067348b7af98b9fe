/*
 * record.c - a library to be preloaded that writes a trace of a program's allocations (trace.h).
 *
 * TRACE_FILE names the file; %p in it is the process id, so that each program that a program starts has its own. The
 * calls go on to the malloc that comes next: libc's, or one that is preloaded behind. A lock keeps the order, and a
 * table finds a block's number by its address. Frees are written before they are made and allocations after, so that
 * an address is never in the table twice. A child of fork writes nothing until it executes a program. Not for signal
 * handlers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "trace.h"

#define EXPORT     __attribute__((visibility("default")))
#define PLACES_LOG 23 /* of the table: up to half as many blocks live at once */
#define PLACES     ((size_t)1 << PLACES_LOG)

/* A block that is live. address == 0: nobody. */
struct place {
	uintptr_t address;
	uint64_t number;
};

static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_memalign)(size_t, size_t);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *table;
static uint64_t made, live; /* blocks */
static unsigned threads, last_thread = UINT_MAX;
static unsigned char buffer[1 << 20];
static size_t used;
static int file = -1;
static pid_t recorded; /* this process, while it is recorded; else 0 */

static _Thread_local unsigned thread_number __attribute__((tls_model("initial-exec"))); /* from 1 on */

/* ---- what dlsym allocates, before the next malloc is known ---- */

static _Alignas(16) char early[16384];
static size_t early_used;

static void *
early_calloc(size_t size)
{
	void *block = &early[early_used];
	early_used += (size + 15) & ~(size_t)15;
	if (early_used > sizeof(early))
		abort();
	return block;
}

static bool
is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static void
find_next(void)
{
	static bool looking;
	if (next_malloc || looking)
		return;
	looking = true;
	*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	*(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next_memalign = dlsym(RTLD_NEXT, "memalign");
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
	looking = false;
}

/* ---- the file ---- */

/* With the lock held: stdio may allocate, and wait for the lock. */
static void
stop(const char *why)
{
	static const char name[] = "labyrinth trace: ";
	const struct iovec line[] = {{(void *)(uintptr_t)name, sizeof name - 1},
	                             {(void *)(uintptr_t)why, strlen(why)},
	                             {(void *)(uintptr_t) "\n", 1}};

	if (recorded && writev(STDERR_FILENO, line, 3) < 0)
		errno = 0; /* nobody is to be told then */
	recorded = 0;
}

static void
flush(void)
{
	for (size_t at = 0; at < used;) {
		ssize_t count = write(file, buffer + at, used - at);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			stop("the trace cannot be written");
			break;
		}
		at += (size_t)count;
	}
	used = 0;
}

static void
put_byte(unsigned byte)
{
	buffer[used++] = (unsigned char)byte;
}

static void
put_number(uint64_t number)
{
	for (; number >= 128; number >>= 7)
		put_byte((unsigned)(number & 127) | 128);
	put_byte((unsigned)number);
}

static void
put_event(enum trace_event event)
{
	if (used > sizeof(buffer) - 64)
		flush();
	if (!thread_number)
		thread_number = ++threads;
	if (thread_number != last_thread) {
		put_byte(TRACE_THREAD);
		put_number(thread_number - 1);
		last_thread = thread_number;
	}
	put_byte(event);
}

/* ---- the table: linear probing, without gravestones ---- */

static size_t
home_of(uintptr_t address)
{
	return (size_t)((uint64_t)address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - PLACES_LOG));
}

static void
add(void *p)
{
	size_t at = home_of((uintptr_t)p);
	while (table[at].address)
		at = (at + 1) % PLACES;
	table[at] = (struct place){(uintptr_t)p, made++};
	if (++live > PLACES / 2) {
		flush();
		stop("too many blocks are live: the trace ends here");
	}
}

/* Takes the block out. False: it was made before the recording began. */
static bool
take(void *p, uint64_t *number)
{
	size_t at = home_of((uintptr_t)p);
	while (table[at].address != (uintptr_t)p) {
		if (!table[at].address)
			return false;
		at = (at + 1) % PLACES;
	}
	*number = table[at].number;
	live--;
	for (size_t hole = at;;) { /* those behind that may not be found over the hole move up */
		at = (at + 1) % PLACES;
		if (!table[at].address) {
			table[hole].address = 0;
			return true;
		}
		if ((at - home_of(table[at].address)) % PLACES >= (at - hole) % PLACES) {
			table[hole] = table[at];
			hole = at;
		}
	}
}

/* True with the lock held, if this process is recorded. */
static bool
begin(void)
{
	int error = errno;
	if (!recorded)
		return false;
	pthread_mutex_lock(&lock);
	if (recorded)
		return true;
	pthread_mutex_unlock(&lock);
	errno = error;
	return false;
}

static void
end(int error)
{
	pthread_mutex_unlock(&lock);
	errno = error;
}

static void *
record(enum trace_event event, unsigned align_log, size_t size, void *p)
{
	int error = errno;
	if (p && begin()) {
		put_event(event);
		if (event == TRACE_ALIGNED)
			put_byte(align_log);
		put_number(size);
		add(p);
		end(error);
	}
	return p;
}

static void
in_child(void)
{
	recorded = 0;
	used = 0;
}

__attribute__((constructor)) static void
start(void)
{
	const char *name = getenv("TRACE_FILE");
	char path[PATH_MAX];
	find_next();
	if (!name)
		return;
	(void)trace_path(path, sizeof(path), name);
	table = mmap(NULL, PLACES * sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	             -1, 0);
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (table == MAP_FAILED || file < 0 || pthread_atfork(NULL, NULL, in_child) != 0) {
		dprintf(STDERR_FILENO, "labyrinth trace: %s: %s\n", path, strerror(errno));
		return;
	}
	memcpy(buffer, TRACE_MAGIC, used = strlen(TRACE_MAGIC));
	recorded = getpid();
}

__attribute__((destructor)) static void
finish(void)
{
	if (begin()) {
		flush();
		recorded = 0;
		pthread_mutex_unlock(&lock);
	}
}

/* ---- libc's names ---- */

EXPORT void *
malloc(size_t size)
{
	find_next();
	return next_malloc ? record(TRACE_MALLOC, 0, size, next_malloc(size)) : early_calloc(size);
}

EXPORT void *
calloc(size_t count, size_t size)
{
	find_next();
	return next_malloc ? record(TRACE_CALLOC, 0, count * size, next_calloc(count, size))
	                   : early_calloc(count * size);
}

EXPORT void
free(void *p)
{
	int error = errno;
	uint64_t number;
	if (!p || is_early(p))
		return;
	if (begin()) {
		if (take(p, &number)) {
			put_event(TRACE_FREE);
			put_number(made - number);
		}
		end(error);
	}
	next_free(p);
}

EXPORT void *
realloc(void *p, size_t size)
{
	uint64_t number = 0;
	bool known = false;
	int error = errno;
	if (!p || is_early(p)) {
		void *copy = malloc(size);
		if (p && copy)
			memcpy(copy, p, size < 64 ? size : 64);
		return copy;
	}
	if (size == 0) {
		free(p);
		return NULL;
	}
	if (begin()) {
		known = take(p, &number);
		end(error);
	}
	void *block = next_realloc(p, size);
	error = errno;
	if ((block || known) && begin()) {
		if (known)
			put_event(TRACE_REALLOC);
		else
			put_event(TRACE_MALLOC);
		if (known)
			put_number(made - number);
		put_number(size);
		add(block ? block : p); /* where it failed the old one goes on, under a new number */
		end(error);
	}
	return block;
}

EXPORT void *
memalign(size_t align, size_t size)
{
	find_next();
	return record(TRACE_ALIGNED, (unsigned)__builtin_ctzl(align | (size_t)1 << 30), size,
	              next_memalign(align, size));
}

EXPORT void *
aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

EXPORT int
posix_memalign(void **p, size_t align, size_t size)
{
	int error = errno;
	if (align < sizeof(void *) || (align & (align - 1)) != 0)
		return EINVAL;
	void *block = memalign(align, size);
	errno = error;
	if (!block)
		return ENOMEM;
	*p = block;
	return 0;
}
