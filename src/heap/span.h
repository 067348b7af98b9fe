/*
 * span.h - spans of small blocks: the lists of a bin, freeing, retirement. _owned: by the holder of the heap,
 * inside its guard.
 */
#ifndef LAB_HEAP_SPAN_H
#define LAB_HEAP_SPAN_H

#include "heap/heap.h"

/* The span that is always empty: a bin without a span points to it, so that malloc needs no test for that. */
extern struct lab_unit lab_no_span;

/* Marks the pages dirty in which bytes [first, end) of the span lie, before any is written to. False: the memory limit
 * forbids it, and heap->over_limit says so. */
bool lab_span_charge_owned(struct lab_heap *heap, const struct lab_unit *unit, size_t first, size_t end);

/* Gives back pages of the span (bits) that hold no used block, and none on a list. Those that the system took are clean
 * then; how many they are. By the holder of the heap, or who has its lease. */
size_t lab_span_purge(const struct lab_unit *unit, uint32_t pages);

/* The same of pages that are dirty and behind the carved blocks. */
size_t lab_span_purge_tail_owned(const struct lab_unit *unit);

/* Takes a block from the current span, which has one. */
void *lab_span_pop_owned(struct lab_unit *unit);

/*
 * Forgets the span's free list, whose links are not to be trusted: its blocks are lost until the span is empty and goes
 * back. If all blocks are free already the list is made anew.
 */
void lab_span_cut_owned(struct lab_heap *heap, struct lab_unit *unit);

enum lab_free_result {
	LAB_FREED,
	LAB_FREE_DOUBLE,  /* nothing was changed */
	LAB_FREE_FOREIGN, /* nothing was changed: the span is on its way to another heap, *holder */
};

/* Frees block p of a span that names this heap, in whatever state the span is. A closed one may name a heap that was
 * about to absorb it when it was cut short: its segment says whose it is. */
enum lab_free_result lab_span_free_owned(struct lab_heap *heap, struct lab_unit *unit, void *p,
                                         struct lab_heap **holder);

/* The same by a visitor (visit.h): the block is collected, and a span goes all of whose used blocks were. */
enum lab_free_result lab_span_collect(struct lab_heap *heap, struct lab_unit *unit, void *p, struct lab_heap **holder);

/* The end of a free whose subtraction borrowed (INV-SPAN-2), and of a rebuild that finds a listed span empty.
 * LAB_FREE_DOUBLE: it is the current one, and was empty before. */
enum lab_free_result lab_span_emptied_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Puts a span where INV-HEAP-3 wants it, from its freelist state. */
void lab_span_list_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Makes a span not current, if it is, and lists it. */
void lab_span_demote_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Makes a span that is in no list the current one of its class, after the one before was demoted. */
void lab_span_promote_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Takes a span out of its list, open, with all that is free. */
void lab_span_unlist_owned(struct lab_heap *heap, struct lab_unit *unit);

/* Links the blocks [first, end) of a span, lowest first; the last is the end of a list. */
void lab_span_link_blocks(struct lab_unit *unit, size_t first, size_t end);

/* Ends a change that heap->changing says was cut short: the span is not current, and its count is what its list
 * says. */
void lab_span_repair_owned(struct lab_heap *heap);
#endif
