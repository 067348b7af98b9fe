/*
 * shares.h - where shares get their memory, by which classes grow and threads have slots of their own, and what becomes
 * of it. KERNEL contexts.
 */
#ifndef LAB_BACKING_SHARES_H
#define LAB_BACKING_SHARES_H

#include "base/compiler.h"

/* Opens what a class that is low needs, within the limit. True if it has grown. */
bool lab_shares_grow(unsigned c);

/* lab_reserve_thread. */
bool lab_shares_of_thread(size_t size, size_t count);

/* Gives back the memory of growth that is not needed, and of shares of ended threads. True if any was. */
bool lab_shares_shrink(void);

/* Bytes in threads' shares. */
size_t lab_shares_bytes(void);

#endif
