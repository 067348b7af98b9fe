/*
 * live.h - the sampled blocks that are in use: which site each came from, by its address. Lock-free, any context; O(1).
 *
 * INV-LIVE-1  A place belongs to one address from the CAS that puts the address there to the store that takes it out.
 *             Only who has just allocated the block, or could not resize it, puts it there, and only who has just won
 *             its free, or is about to resize it, takes it out: no two frames write one place's `what`.
 * INV-LIVE-2  `what` is not 0 exactly while the site counts the block as in use. A frame that is cut short in between
 *             leaves one sample that is counted so for good.
 */
#ifndef LAB_INSIGHT_LIVE_H
#define LAB_INSIGHT_LIVE_H

#include "base/atomic.h"

enum { LAB_LIVE_SAMPLES = 1 << 18 };

/* Maps the table. False: no memory. Once, before all else. */
bool lab_live_start(void);

/* Puts a block there. False: there is no room where it belongs. If a block is there that lay at the same address, whose
 * free was cut short, that one's *old_site and *old_size are given, else *old_size is 0. */
bool lab_live_put(const void *block, uint32_t site, size_t size, uint32_t *old_site, size_t *old_size);

/* The size with which it was put there; 0: it is no sample. */
size_t lab_live_size(const void *block);

/* Takes it out. False: it is no sample. */
bool lab_live_take(const void *block, uint32_t *site, size_t *size);

#endif
