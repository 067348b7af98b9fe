/*
 * quarantine.h - where freed blocks wait before their memory is used again: the longer, the more writes to freed blocks
 * are found. Any context; lock-free.
 *
 * A ring of places, each taken and left by an exchange. A frame that is cut short between two steps loses the block in
 * its hand.
 */
#ifndef LAB_DEBUG_QUARANTINE_H
#define LAB_DEBUG_QUARANTINE_H

#include "debug/dress.h"

/* Maps the places. By one thread, before the first block is freed; again is nothing. */
void lab_quarantine_start(void);

/* Puts a FREED block in; what has to go for it, or NULL. */
struct lab_dress *lab_quarantine_push(struct lab_dress *dress);

/* Another block that has to go, as there are more bytes than may wait; NULL: none. */
struct lab_dress *lab_quarantine_pull(void);

/* Takes the i-th place's block out, as lab_quarantine_at finds it. */
struct lab_dress *lab_quarantine_take(size_t i, bool *end);

/* The i-th place's block, whatever place that is; *end: there are not so many places. For walks. */
struct lab_dress *lab_quarantine_at(size_t i, bool *end);

#endif
