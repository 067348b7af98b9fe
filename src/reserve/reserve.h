/*
 * reserve.h - the emergency reserve: fixed slots, claimed and released by one atomic read-modify-write each.
 *
 * Today it is the last resort of a re-entrant call for which the system has no memory; ordinary allocation never draws on it.
 * Every function is async-signal-safe and wait-free: no lock, no system call, no loop that another thread can prolong beyond
 * its bound.
 *
 * INV-RES-1  A bit (1 = free) goes 1→0 for one claimer and 0→1 by the holder of the slot. A stale word only picks a candidate
 *            that the read-modify-write validates: there is no ABA.
 */
#ifndef LAB_RESERVE_RESERVE_H
#define LAB_RESERVE_RESERVE_H

#include "base/compiler.h"

/* How far down a class's slots a claim may go: the watermarks, by flags (docs/guarantees.md, G6). */
enum lab_reserve_depth {
	LAB_DEPTH_MIN = 0, /* stops at `min`: re-entrant malloc */
	LAB_DEPTH_HIGH,    /* at `high`: LAB_GFP_HIGH, ATOMIC */
	LAB_DEPTH_ALL,     /* takes the last slot: LAB_GFP_MEMALLOC */
};

/* A slot of at least `size` bytes at a multiple of `align` (at most 4096), or NULL: every slot that fits was seen taken, or 64 claims of a
 * word were lost to others. Contents are indeterminate. */
void *lab_reserve_claim_sig(size_t size, size_t align, enum lab_reserve_depth depth);

enum lab_reserve_release {
	LAB_RESERVE_RELEASED,
	LAB_RESERVE_NOT_A_SLOT, /* in the reserve, but not the start of a slot */
	LAB_RESERVE_WAS_FREE,   /* a double free */
};

/* p must be in the reserve. */
enum lab_reserve_release lab_reserve_release_sig(void *p);

/* Whether p points into the reserve. */
bool lab_reserve_contains(const void *p);

/* Bytes of the slot that starts at p and is taken; 0 if p is no such. */
size_t lab_reserve_slot_size(const void *p);

/* Bytes in all slots, and in those that are taken. */
size_t lab_reserve_total(void);
size_t lab_reserve_used(void);

#endif
