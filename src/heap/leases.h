/* leases.h - what a child of fork does with all leases of the process that it was copied from (base/lease.h). Any
 * context. */
#ifndef LAB_HEAP_LEASES_H
#define LAB_HEAP_LEASES_H

#include "heap/current.h"

/*
 * In a child of fork, before anything that reads thread ids: what its first guard does. All leases are settled
 * (base/lease.h), in one pass, by the child's leader. Nothing elsewhere. is_leader: the caller is known to be that,
 * also if the system does not say so.
 */
void lab_thread_settle_fork(bool is_leader);

/* Adds a kind of leases of a layer above, or what else is to be done then; LAB_KINDS_ABOVE at most. Before there are
 * threads. */
enum { LAB_KINDS_ABOVE = 4 };
void lab_thread_add_leases(lab_lease_kind *kind);

/* The thread id, as the registry knows it; asked of the kernel if need be. Outside of guards as well: a child of fork
 * settles its leases first. */
uint32_t lab_thread_tid(void);

#endif
