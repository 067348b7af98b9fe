/*
 * size_class.h - the sizes of small blocks. Pure functions; any context.
 *
 * 16 to 128 bytes in steps of 16, then eight classes a doubling up to 32 KiB. Eight, where four are usual: the worst
 * internal waste above 128 bytes is then 1/9 (16385 bytes in 18432) instead of 1/5, and a class more costs a heap 24
 * bytes and, since spans are carved page by page, at most a page of memory. Up to 32 KiB, since whole pages waste less
 * than 1/8 only from there on.
 *
 * To add a class: change LAB_CLASS_SIZE, its inverse lab_class_of, LAB_CLASS_COUNT, and what programs were compiled
 * with: lab_kernel_class (include/labyrinth/kernel/block.h), and lab_soversion in meson.build. Sizes are multiples of
 * 16, ascending, at least two to a span; the last is LAB_SMALL_MAX, a power of two. All else loops over
 * LAB_CLASS_COUNT. The asserts below, in heap.h and in alloc/stats.c check the counts, tests heap-size_class, page-unit
 * and kernel-names each size. No test sees what is left over at the end of a span: 64 KiB modulo the size.
 */
#ifndef LAB_HEAP_SIZE_CLASS_H
#define LAB_HEAP_SIZE_CLASS_H

#include "base/bits.h"

#define LAB_CLASS_COUNT  72u
#define LAB_SMALL_MAX    ((size_t)32768) /* the largest small block */
#define LAB_DIRECT_MAX   ((size_t)1024)  /* up to here malloc finds the span by size alone */
#define LAB_DIRECT_SLOTS (LAB_DIRECT_MAX / 16 + 1)

/* Bytes of a block of class c. */
#define LAB_CLASS_SIZE(c) ((c) < 8 ? ((size_t)(c) + 1) * 16 : ((size_t)128 + 16 * (((c)&7) + 1)) << (((c) >> 3) - 1))

static inline size_t
lab_class_size(unsigned c)
{
	return LAB_CLASS_SIZE(c);
}

/* The least class whose blocks hold n bytes. n <= LAB_SMALL_MAX. */
static inline unsigned
lab_class_of(size_t n)
{
	if (n <= 128)
		return (unsigned)((n - (n != 0)) >> 4);
	unsigned group = lab_log2(n - 1) - 7;
	return 8 + 8 * group + ((unsigned)((n - 1) >> (group + 4)) & 7);
}

/* The size to ask for where a small block is to be aligned: the blocks of its class are. For sizes of a class are the
 * multiples of some power of two in a doubling, and either the alignment divides that, or it is one of its multiples,
 * and so is the size. Above LAB_SMALL_MAX: no small block is. */
static inline size_t
lab_aligned_room(size_t size, size_t align)
{
	if (size > LAB_SMALL_MAX || align > LAB_SMALL_MAX)
		return SIZE_MAX;
	return lab_round_up(size + (size == 0), align);
}

/*
 * The length of a run for at least `pages` pages: eight lengths a doubling, as above. A hole that one run leaves then
 * fits another one exactly, and a block that grows has some room.
 */
static inline size_t
lab_run_pages(size_t pages)
{
	if (pages <= 16)
		return pages;
	unsigned shift = lab_log2(pages - 1) - 3;
	return ((pages - 1) >> shift << shift) + ((size_t)1 << shift);
}

/* Lengths that lab_run_pages gives, and none. */
#define LAB_RUN_BINS 65u

/* The number of the greatest such length of at most `pages`, in ascending order; 0: none. pages <= 1024. */
static inline unsigned
lab_run_bin(size_t pages)
{
	if (pages <= 16)
		return (unsigned)pages;
	unsigned log = lab_log2(pages);
	return 16 + 8 * (log - 4) + ((unsigned)(pages >> (log - 3)) & 7);
}

_Static_assert(LAB_CLASS_SIZE(0) == 16 && LAB_CLASS_SIZE(7) == 128 && LAB_CLASS_SIZE(8) == 144, "spacing");
_Static_assert(LAB_CLASS_SIZE(15) == 256 && LAB_CLASS_SIZE(16) == 288 && LAB_CLASS_SIZE(31) == LAB_DIRECT_MAX,
               "spacing");
_Static_assert(LAB_CLASS_SIZE(LAB_CLASS_COUNT - 1) == LAB_SMALL_MAX, "spacing");

#endif
