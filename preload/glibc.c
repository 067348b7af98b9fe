/*
 * glibc.c - what glibc's malloc.o exports beyond the standards: the __libc_ names, tuning, and figures.
 *
 * The __libc_ names may be called from any context in which the plain names may. The others are called by threads, not
 * by signal handlers: malloc_stats and malloc_info write through stdio.
 *
 * `nm -D libc.so.6` of glibc 2.36 was read for the list. Left out on purpose:
 * - __malloc_hook, __free_hook, __realloc_hook, __memalign_hook, __malloc_initialize_hook, __after_morecore_hook,
 *   __morecore, __default_morecore: since 2.34 these are compat symbols that nothing reads; a definition here would
 *   promise that something does. Old binaries that store to them still bind to libc's.
 * - malloc_get_state, malloc_set_state: since 2.34 only in libc_malloc_debug.so.
 * - mcheck, mcheck_check_all, mcheck_pedantic, mprobe, mtrace, muntrace, mallwatch: debugging of glibc's own heap, in
 *   other objects than malloc.o, and stubs since 2.34. They neither allocate nor look at a block.
 * - __libc_freeres: frees glibc's caches through free, and therefore through ours, for leak checkers.
 * - __libc_reallocarray (GLIBC_PRIVATE), obstack_*, open_memstream, strdup and the like: users of malloc; they reach it
 *   by its name.
 * - __malloc, __free, __malloc_info and their like: hidden in the shared libc.
 * __posix_memalign is the other way round: older than 2.26 exported it, and other replacements still define it.
 */
#include "base/compiler.h"
#include "labyrinth/labyrinth.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the __libc_ names: for programs that wrap malloc and call the real one by these --------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
int __posix_memalign(void **block, size_t alignment, size_t size);
int __libc_mallopt(int parameter, int value);
struct mallinfo __libc_mallinfo(void);

LAB_EXPORT void *
__libc_malloc(size_t size)
{
	return lab_malloc(size);
}

LAB_EXPORT void *
__libc_calloc(size_t count, size_t size)
{
	return lab_calloc(count, size);
}

LAB_EXPORT void *
__libc_realloc(void *block, size_t size)
{
	return lab_realloc(block, size, LAB_GFP_KERNEL);
}

LAB_EXPORT void
__libc_free(void *block)
{
	lab_free(block);
}

LAB_EXPORT void *
__libc_memalign(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

LAB_EXPORT void *
__libc_valloc(size_t size)
{
	return valloc(size);
}

LAB_EXPORT void *
__libc_pvalloc(size_t size)
{
	return pvalloc(size);
}

LAB_EXPORT int
__posix_memalign(void **block, size_t alignment, size_t size)
{
	return lab_posix_memalign(block, alignment, size);
}

/* ---- tuning ---------------------------------------------------------------------------------------------------- */

/* M_MXFAST is the one parameter that glibc refuses values of: above 80 * sizeof(size_t) / 4. */
#define MXFAST_MAX ((int)(80 * sizeof(size_t) / 4))

/*
 * Returns what glibc returns: 1, except 0 for an M_MXFAST out of range; unknown parameters give 1 there too. (The
 * manual page promises 0 for errors, but names none.) All of them are hints: a value that the core refuses leaves the
 * setting as it was.
 *
 * M_TRIM_THRESHOLD  honoured: bytes of free pages that are kept when memory is freed; 0: none; negative: nothing is
 *                   given back, and nothing unmapped, but by malloc_trim, as long as this stands. Without it pages go
 *                   back by decay alone
 * M_MMAP_THRESHOLD  honoured: from this size on, a block has segments of its own; 0: the default
 * M_PERTURB         honoured: freed memory is filled with this byte, new memory with its complement; 0: off
 * M_ARENA_MAX, M_ARENA_TEST
 *                   accepted: heaps belong to threads here, and their number follows the threads
 * M_TOP_PAD         accepted: memory is not asked for ahead, and what a threshold lets go is all above it
 * M_MMAP_MAX        accepted: a block that has segments of its own leaves them among the free pages, as others do
 * M_MXFAST, M_CHECK_ACTION, M_GRAIN, M_NLBLKS, M_KEEP
 *                   accepted: they tune structures that glibc has
 */
LAB_EXPORT int
mallopt(int parameter, int value)
{
	switch (parameter) {
	case M_TRIM_THRESHOLD:
		(void)lab_set_param(LAB_PARAM_TRIM_THRESHOLD, value < 0 ? SIZE_MAX : (size_t)value);
		return 1;
	case M_MMAP_THRESHOLD:
		(void)lab_set_param(LAB_PARAM_HUGE_THRESHOLD, (size_t)value);
		return 1;
	case M_PERTURB:
		(void)lab_set_param(LAB_PARAM_PERTURB, (size_t)(value & 0xff));
		return 1;
	case M_MXFAST:
		return value >= 0 && value <= MXFAST_MAX;
	default:
		return 1;
	}
}

LAB_EXPORT int
__libc_mallopt(int parameter, int value)
{
	return mallopt(parameter, value);
}

LAB_EXPORT int
malloc_trim(size_t pad)
{
	return lab_trim(pad) ? 1 : 0;
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

static inline size_t
less(size_t from, size_t what)
{
	return from > what ? from - what : 0; /* figures of one snapshot need not agree to the byte */
}

static inline size_t
free_blocks_of(const struct lab_class_stats *class)
{
	return less(class->carved, class->live);
}

/*
 * glibc's fields, filled with what they mean here. "Ordinary" memory is what glibc has in arenas, "mapped" what it maps
 * for one block: here, blocks that have segments of their own.
 *   arena                     ordinary memory made accessible = uordblks + fordblks, as there
 *   ordblks                   free blocks in spans that are partly used
 *   hblks, hblkhd             mapped blocks, and their bytes
 *   uordblks                  bytes of ordinary memory in use
 *   fordblks                  the other bytes of ordinary memory
 *   keepcost                  what malloc_trim could give back
 *   smblks, usmblks, fsmblks  0: there are no fast bins
 */
LAB_EXPORT struct mallinfo2
mallinfo2(void)
{
	struct mallinfo2 info = {0};
	struct lab_stats stats;
	struct lab_class_stats classes[LAB_CLASSES_MAX];
	size_t count = lab_class_stats_get(classes, LAB_CLASSES_MAX, &stats);

	for (size_t i = 0; i < count; i++)
		info.ordblks += free_blocks_of(&classes[i]);
	info.hblks = stats.huge_blocks;
	info.hblkhd = stats.huge;
	info.uordblks = less(stats.in_use, stats.huge);
	info.fordblks = less(less(stats.committed, stats.huge), info.uordblks);
	info.arena = info.uordblks + info.fordblks;
	info.keepcost = stats.dirty;
	return info;
}

static inline int
clamped(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

/* The same in ints: a figure that does not fit is INT_MAX (glibc's wraps around). */
static struct mallinfo
narrow_mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();

	return (struct mallinfo){
	        .arena = clamped(wide.arena),
	        .ordblks = clamped(wide.ordblks),
	        .hblks = clamped(wide.hblks),
	        .hblkhd = clamped(wide.hblkhd),
	        .uordblks = clamped(wide.uordblks),
	        .fordblks = clamped(wide.fordblks),
	        .keepcost = clamped(wide.keepcost),
	};
}

LAB_EXPORT struct mallinfo
mallinfo(void)
{
	return narrow_mallinfo();
}

LAB_EXPORT struct mallinfo
__libc_mallinfo(void)
{
	return narrow_mallinfo();
}

static void
write_line(void *stream, const char *line)
{
	size_t length = strlen(line);

	fputs(line, stream);
	if (length == 0 || line[length - 1] != '\n')
		putc('\n', stream);
}

LAB_EXPORT void
malloc_stats(void)
{
	flockfile(stderr);
	lab_stats_print(write_line, stderr);
	funlockfile(stderr);
}

/* <sizes>: as in glibc, the free blocks by size. Returns their number and adds up their bytes. */
static size_t
write_free_sizes(FILE *stream, const struct lab_class_stats *classes, size_t class_count, size_t *bytes)
{
	size_t count = 0;
	size_t from = 1;

	fputs("<sizes>\n", stream);
	for (const struct lab_class_stats *class = classes; class < classes + class_count; class ++) {
		size_t free_blocks = free_blocks_of(class);

		if (free_blocks != 0)
			fprintf(stream, "  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n", from,
			        class->size, free_blocks * class->size, free_blocks);
		count += free_blocks;
		*bytes += free_blocks * class->size;
		from = class->size + 1;
	}
	fputs("</sizes>\n", stream);
	return count;
}

/* What only this allocator has, in an element that a reader of glibc's format will skip. */
static void
write_own_figures(FILE *stream, const struct lab_stats *stats, const struct lab_class_stats *classes,
                  size_t class_count)
{
	fprintf(stream, "<labyrinth version=\"%s\">\n", lab_version());
	for (const struct lab_class_stats *class = classes; class < classes + class_count; class ++)
		if (class->carved != 0)
			fprintf(stream,
			        "  <class size=\"%zu\" live=\"%zu\" carved=\"%zu\" spans=\"%zu\" "
			        "allocations=\"%zu\"/>\n",
			        class->size, class->live, class->carved, class->spans, class->allocations);
	fprintf(stream, "  <blocks count=\"%zu\" size=\"%zu\"/>\n", stats->blocks, stats->in_use);
	fprintf(stream, "  <pages dirty=\"%zu\" purged=\"%zu\"/>\n", stats->dirty, stats->purged);
	fprintf(stream, "  <heaps count=\"%zu\" segments=\"%zu\" adopted=\"%zu\"/>\n", stats->heaps, stats->segments,
	        stats->adopted);
	fprintf(stream, "  <calls remote-free=\"%zu\" reentrant=\"%zu\"/>\n", stats->remote_frees, stats->reentrant);
	fprintf(stream, "  <reserve total=\"%zu\" used=\"%zu\"/>\n", stats->reserve_total, stats->reserve_used);
	fputs("</labyrinth>\n", stream);
}

/*
 * XML in glibc's format, version 1, with all heaps as one; <system type="max"> is left out, as no peak is kept, and so
 * is <unsorted>, as there is no such list. Errors of the stream are the stream's, as in glibc.
 */
LAB_EXPORT int
malloc_info(int options, FILE *stream)
{
	struct lab_stats stats;
	struct lab_class_stats classes[LAB_CLASSES_MAX];
	size_t free_count;
	size_t free_bytes = 0;

	if (options != 0)
		return EINVAL;
	size_t class_count = lab_class_stats_get(classes, LAB_CLASSES_MAX, &stats);
	flockfile(stream);
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", stream);
	free_count = write_free_sizes(stream, classes, class_count, &free_bytes);
	for (int total = 0; total < 2; total++) { /* of the heap, then of all heaps: the same here */
		fputs(total ? "</heap>\n" : "", stream);
		fputs("<total type=\"fast\" count=\"0\" size=\"0\"/>\n", stream);
		fprintf(stream, "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n", free_count, free_bytes);
		if (total)
			fprintf(stream, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", stats.huge_blocks,
			        stats.huge);
		fprintf(stream, "<system type=\"current\" size=\"%zu\"/>\n", stats.committed);
		fprintf(stream, "<aspace type=\"total\" size=\"%zu\"/>\n", stats.reserved);
		fprintf(stream, "<aspace type=\"mprotect\" size=\"%zu\"/>\n", stats.committed);
	}
	write_own_figures(stream, &stats, classes, class_count);
	fputs("</malloc>\n", stream);
	funlockfile(stream);
	return 0;
}
