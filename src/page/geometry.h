/*
 * geometry.h - how memory is divided. Constants only.
 *
 *   window   64 GiB or more of addresses, of which nothing is reserved (space.h), made of
 *   slot     128 KiB of it; one, or 2, 4 … 32 of them, aligned, are
 *   segment  mapped as a whole, owned by one heap; made of
 *   unit     64 KiB, the size of a span of small blocks, described by one struct lab_unit; made of
 *   page     4 KiB, the grain of the buddy bitmap and of larger blocks ("runs").
 */
#ifndef LAB_PAGE_GEOMETRY_H
#define LAB_PAGE_GEOMETRY_H

#include "base/compiler.h"

#define LAB_PAGE_SHIFT    12
#define LAB_UNIT_SHIFT    16
#define LAB_SLOT_SHIFT    17
#define LAB_SEGMENT_SHIFT 22 /* of the largest */

#define LAB_PAGE_SIZE    ((size_t)1 << LAB_PAGE_SHIFT)
#define LAB_UNIT_SIZE    ((size_t)1 << LAB_UNIT_SHIFT)
#define LAB_SLOT_SIZE    ((size_t)1 << LAB_SLOT_SHIFT)
#define LAB_SEGMENT_SIZE ((size_t)1 << LAB_SEGMENT_SHIFT)

#define LAB_SLOT_PAGES    (LAB_SLOT_SIZE / LAB_PAGE_SIZE)    /* 32 */
#define LAB_UNIT_PAGES    (LAB_UNIT_SIZE / LAB_PAGE_SIZE)    /* 16 */
#define LAB_SEGMENT_PAGES (LAB_SEGMENT_SIZE / LAB_PAGE_SIZE) /* 1024 */
#define LAB_SEGMENT_WORDS (LAB_SEGMENT_PAGES / 64)           /* 16 bitmap words */

#define LAB_ORDER_MAX     (LAB_SEGMENT_SHIFT - LAB_PAGE_SHIFT) /* 10: a whole segment of the largest */
#define LAB_SLOT_ORDER    (LAB_SLOT_SHIFT - LAB_PAGE_SHIFT)    /* 5: the same of the smallest */
#define LAB_SLOTS_LOG_MAX (LAB_SEGMENT_SHIFT - LAB_SLOT_SHIFT) /* 5: a segment has up to 32 slots */

/* Heaps are this far apart, more than a span is long: see INV-UNIT-1. */
#define LAB_HEAP_STRIDE LAB_UNIT_SIZE
#define LAB_HEAP_MAX    32768u /* heaps: 2 GiB of addresses */

#endif
