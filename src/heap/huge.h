/*
 * huge.h - huge blocks as blocks: page/huge.h keeps their mappings. They are no heap's: whoever has one resizes and
 * frees it, outside of every heap.
 */
#ifndef LAB_HEAP_HUGE_H
#define LAB_HEAP_HUGE_H

#include "heap/heap.h"

/* A block of `size` bytes at a multiple of `align`, by the holder inside its guard: cut short, its repair finds the
 * mapping. *fresh: it reads as zero. */
void *lab_huge_alloc_owned(struct lab_heap *heap, size_t size, size_t align, bool *fresh);
/* Makes the caller's LIVE block as long as that, where it lies or elsewhere; its address. NULL: it is as it was. */
void *lab_huge_resize(struct lab_huge *huge, size_t size);
/* Frees the blocks that dead threads were freeing, wherever they were in that. Any context; cut short, it is done again
 * when we are dead. */
void lab_huge_finish_frees(void);

#endif
