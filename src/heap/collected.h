/*
 * collected.h - the blocks of a span that a visitor has found, until its holder puts them on the free list: INV-SPAN-3.
 */
#ifndef LAB_HEAP_COLLECTED_H
#define LAB_HEAP_COLLECTED_H

#include "heap/heap.h"

/* By who has the heap's lease (visit.h). False: a double free; nothing was changed. */
bool lab_collected_add(struct lab_unit *unit, uint16_t number, void *block);

/* What the span's lists are with its collected blocks on the free list, whose last link this writes. If links are not
 * to be trusted these blocks are lost until the span is empty; that is noted. */
uint64_t lab_collected_join(struct lab_heap *heap, const struct lab_unit *unit, union lab_unit_lists lists);

/* Puts them on the free list. By the holder. */
void lab_collected_free_owned(struct lab_heap *heap, struct lab_unit *unit);

#endif
