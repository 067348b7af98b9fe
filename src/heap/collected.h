/*
 * collected.h - the blocks of a span that a visitor has found, until its holder puts them on the free list: INV-SPAN-3.
 */
#ifndef LAB_HEAP_COLLECTED_H
#define LAB_HEAP_COLLECTED_H

#include "heap/heap.h"

/* By who has the heap's lease (visit.h). False: a double free; nothing was changed. */
bool lab_collected_add(struct lab_unit *unit, uint16_t number, void *block);

/* Puts them on the free list. If their links are not to be trusted they are lost until the span is empty; that is
 * noted. By the holder. */
void lab_collected_free_owned(struct lab_heap *heap, struct lab_unit *unit);

#endif
