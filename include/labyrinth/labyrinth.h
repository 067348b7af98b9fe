/*
 * labyrinth.h - the public interface of the Labyrinth allocator.
 *
 * Two libraries provide it: liblabyrinth.so (the drop-in, which also defines malloc and its family) and
 * liblabyrinth_core.so (this interface alone). A program linked with core and run under the drop-in has one heap:
 * blocks from malloc and from lab_malloc are interchangeable there.
 *
 * Terms: a *block* is what an allocation function returns. "Any context" means: any thread, signal handlers that
 * interrupted this library at any instruction included, before main and after the last destructor included.
 *
 * Unless a function says otherwise: sizes are bytes; failure is NULL with errno = ENOMEM; success leaves errno as it was;
 * the functions are thread-safe and async-signal-safe, take no lock and wait for nobody; cost is O(1) on the
 * fast path, and O(what must be mapped, cleared or copied) beyond it.
 */
#ifndef LABYRINTH_LABYRINTH_H
#define LABYRINTH_LABYRINTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAB_VERSION_MAJOR 0
#define LAB_VERSION_MINOR 1
#define LAB_VERSION_PATCH 0

/* No object is larger than this: larger requests fail with ENOMEM from every entry point. */
#define LAB_SIZE_MAX ((size_t)PTRDIFF_MAX)

/* ---- allocation ------------------------------------------------------------------------------------------------ */

/* A block of at least `size` bytes, aligned to 16. size 0 gives a unique block. Contents are indeterminate. */
void *lab_malloc(size_t size);

/* A zeroed block for `count` elements of `size` bytes. Fails if the product overflows. */
void *lab_calloc(size_t count, size_t size);

/* Resizes a block, keeping min(old, new) bytes; may move it. NULL behaves as lab_malloc(size). size 0 frees the block and returns
 * NULL with errno unchanged, as glibc does. On failure the old block stays as it was. */
void *lab_realloc(void *block, size_t size);

/* lab_realloc(block, count * size), failing with ENOMEM if the product overflows. */
void *lab_reallocarray(void *block, size_t count, size_t size);

/* A block aligned to `alignment`, a power of two (else NULL, EINVAL) of any size that the address space allows. */
void *lab_aligned_alloc(size_t alignment, size_t size);

/* POSIX form: the result goes to *block; returns 0, EINVAL (not a power of two multiple of sizeof(void *)) or ENOMEM, and leaves
 * errno alone. On failure *block is not written. */
int lab_posix_memalign(void **block, size_t alignment, size_t size);

/* Gives a block back. NULL is allowed. errno is unchanged. Any thread may free any block. A pointer that is not the start of a
 * live block is reported in one line on stderr and the process aborts, where this is cheap to see (docs/guarantees.md, G9). */
void lab_free(void *block);

/* C23: as lab_free; `size` is what was asked for. A size that the block cannot have had is reported, and the process aborts. */
void lab_free_sized(void *block, size_t size);
void lab_free_aligned_sized(void *block, size_t alignment, size_t size);

/* The bytes that may be used in a block, at least what was asked for; 0 for NULL. */
size_t lab_usable_size(const void *block);

/* Whether p is the start of a block of this allocator. Any pointer value is allowed; never crashes. A small block that was freed while
 * others of its span live still counts as one: to tell would cost a walk. */
bool lab_owns(const void *p);

/* ---- memory and figures ------------------------------------------------------------------------------------------ */

/* Gives free pages back to the system now, keeping about `keep` bytes of them. True if anything was given back. */
bool lab_trim(size_t keep);

/* Settings that can change at run time. Values out of range are refused (false) and change nothing. */
enum lab_param {
	LAB_PARAM_TRIM_THRESHOLD, /* bytes of free dirty pages kept before they go back at once; SIZE_MAX: never at once */
	LAB_PARAM_DECAY_MS,       /* how long free pages stay before they go back to the system; milliseconds */
	LAB_PARAM_PERTURB,        /* byte: new blocks are filled with its complement, freed ones with it; 0: off */
	LAB_PARAM_HUGE_THRESHOLD, /* bytes: requests from here on are given whole segments of 4 MiB; at least 1 MiB; 0: default */
};
bool lab_set_param(enum lab_param param, size_t value);

/* What the allocator holds. A snapshot taken while other threads run: each figure was true at some instant. */
struct lab_stats {
	size_t reserved;      /* bytes of address space reserved for arenas */
	size_t committed;     /* bytes made accessible */
	size_t in_use;        /* bytes in live blocks, rounded up to their size class */
	size_t blocks;        /* live blocks */
	size_t free_in_spans; /* bytes of free blocks in spans that are partly used */
	size_t dirty;         /* bytes of free pages that were used before and are not yet given back */
	size_t purged;        /* bytes given back to the system so far */
	size_t huge;          /* bytes in live blocks that have segments of their own */
	size_t huge_blocks;   /* the number of those blocks */
	size_t segments;      /* segments owned by heaps or huge blocks */
	size_t heaps;         /* heaps made so far */
	size_t remote_frees;  /* blocks freed by a thread other than their heap's, so far */
	size_t reentrant;     /* calls that found their thread's heap busy (signal handlers), so far */
	size_t adopted;       /* heaps taken over from dead threads, so far */
	size_t reserve_total; /* bytes of the emergency reserve */
	size_t reserve_used;  /* bytes of it in use */
};
void lab_stats_get(struct lab_stats *stats);

/* Figures of one size class; index 0 … until it returns false. Counts of allocations are kept only with LABYRINTH_STATS=1. */
struct lab_class_stats {
	size_t size;        /* bytes of a block */
	size_t live;        /* blocks in use */
	size_t carved;      /* blocks made so far in the spans of now */
	size_t spans;       /* spans of this class */
	size_t allocations; /* allocations so far, if counted */
};
bool lab_class_stats_get(size_t index, struct lab_class_stats *stats);

/* Writes the figures as text through `write_line`, a line a call. Allocates nothing. */
void lab_stats_print(void (*write_line)(void *context, const char *line), void *context);

/* "major.minor.patch" of the library in use. */
const char *lab_version(void);

#ifdef __cplusplus
}
#endif
#endif
