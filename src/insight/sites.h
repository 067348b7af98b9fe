/*
 * sites.h - what was sampled, by the stack that asked for it: counters that only grow, in a table that only fills.
 * Lock-free, any context.
 *
 * INV-SITE-1  A place of the table is empty (0), being written (1), or a site for good: its stack does not change any
 *             more. Who finds a place being written goes on to the next one, and waits for nobody: so a stack may have
 *             two sites, which readers take for one. A frame that is cut short there has used up a place.
 * INV-SITE-2  Place 0 is for what finds no other: its stack is empty.
 */
#ifndef LAB_INSIGHT_SITES_H
#define LAB_INSIGHT_SITES_H

#include "base/atomic.h"
#include "insight/stack.h"

/* Objects are in 1 / LAB_SAMPLE_ONE. What is in use is the difference. */
struct lab_site_counts {
	uint64_t objects, bytes;             /* allocated ever */
	uint64_t freed_objects, freed_bytes; /* of these */
};

struct lab_site {
	_Atomic uint64_t state; /* 0, 1, or the hash of the stack with bit 1 set */
	_Atomic uint64_t objects, bytes, freed_objects, freed_bytes;
	struct lab_stack stack;
};

enum { LAB_SITES = 16384 };

/* Maps the table. False: no memory. Once, before all else. */
bool lab_sites_start(void);

/* The number of the site of a stack, made if it is new. O(1). */
uint32_t lab_site_of(const struct lab_stack *stack);

/* A sample of so many bytes comes to the site, and goes. */
void lab_site_add(uint32_t site, size_t size);
void lab_site_remove(uint32_t site, size_t size);

/* The stack of a site and what was counted; NULL: the place has none, or there is no profile. */
const struct lab_stack *lab_site_read(uint32_t site, struct lab_site_counts *counts);

#endif
