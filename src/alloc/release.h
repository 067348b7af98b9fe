/* release.h - freeing, and what is known of a block: what the fast path of free leaves. Any context. */
#ifndef LAB_ALLOC_RELEASE_H
#define LAB_ALLOC_RELEASE_H

#include "heap/thread.h"
#include "page/map.h"

/* free, as the fast path leaves it. */
void lab_free_slow(void *p) LAB_HIDDEN;

/* Frees p, whatever it is (NULL is nothing), or reports it as a misuse of the function `call`. */
void lab_release(struct lab_guard *guard, void *p, const char *call);

/* The same of an address within the reserve: a slot, or not the start of one. */
void lab_release_slot(void *p, const char *call);

/* The same, of p whose place is known. */
void lab_release_place(struct lab_guard *guard, const struct lab_place *place, void *p, const char *call);

/* The same without a system call, for the ATOMIC and NOWAIT kinds: blocks of spans and runs go to the remote stack of
 * their heap, also where that is the caller's own. Lock-free. Exclusive blocks are freed as by lab_release_place. */
void lab_release_nowait(struct lab_guard *guard, const struct lab_place *place, void *p, const char *call);

/* The bytes of the live block p. If p is none: reports a misuse of `call`, or returns 0 if call is NULL. The second
 * tells its place as well. */
size_t lab_block_size(const void *p, const char *call);
struct lab_place lab_block_find(const void *p, size_t *size, const char *call);

#endif
