/*
 * geometry.h - how memory is divided. Constants only.
 *
 *   arena    64 GiB of address space (less where that cannot be had), made of
 *   segment  4 MiB, owned by one heap, or part of one huge block; made of
 *   unit     64 KiB, the size of a span of small blocks, described by one struct lab_unit; made of
 *   page     4 KiB, the grain of the buddy bitmap and of larger blocks ("runs").
 */
#ifndef LAB_PAGE_GEOMETRY_H
#define LAB_PAGE_GEOMETRY_H

#include "base/compiler.h"

#define LAB_PAGE_SHIFT    12
#define LAB_UNIT_SHIFT    16
#define LAB_SEGMENT_SHIFT 22

#define LAB_PAGE_SIZE    ((size_t)1 << LAB_PAGE_SHIFT)
#define LAB_UNIT_SIZE    ((size_t)1 << LAB_UNIT_SHIFT)
#define LAB_SEGMENT_SIZE ((size_t)1 << LAB_SEGMENT_SHIFT)

#define LAB_SEGMENT_PAGES (LAB_SEGMENT_SIZE / LAB_PAGE_SIZE) /* 1024 */
#define LAB_SEGMENT_UNITS (LAB_SEGMENT_SIZE / LAB_UNIT_SIZE) /* 64 */
#define LAB_UNIT_PAGES    (LAB_UNIT_SIZE / LAB_PAGE_SIZE)    /* 16 */
#define LAB_SEGMENT_WORDS (LAB_SEGMENT_PAGES / 64)           /* 16 bitmap words */

#define LAB_ORDER_UNIT (LAB_UNIT_SHIFT - LAB_PAGE_SHIFT)    /* 4 */
#define LAB_ORDER_MAX  (LAB_SEGMENT_SHIFT - LAB_PAGE_SHIFT) /* 10: a whole segment */

/* Heaps are this far apart, more than a span is long: see INV-UNIT-1. */
#define LAB_HEAP_STRIDE LAB_UNIT_SIZE

#define LAB_ARENA_SIZE_DEFAULT ((size_t)64 << 30)
#define LAB_ARENA_SIZE_MIN     ((size_t)8 << 20)
#define LAB_ARENA_MAX          64

#endif
