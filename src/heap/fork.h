/* fork.h - what the forking thread does with heaps around a fork; what its child does with leases is leases.h. Any
 * context. */
#ifndef LAB_HEAP_FORK_H
#define LAB_HEAP_FORK_H

#include "heap/heap.h"

/*
 * Around a fork, by the forking thread, inside its heap. Before: what the heap has for others is sent, the dead are
 * absorbed into it, what others have freed into it is taken, and idle heaps that hold memory are HELD by this thread:
 * what it holds while it forks is whole in the child. After, on both sides: they are idle again, and in the child
 * listed spans are cold (bin.h). Where a fork, or this, is left by a jump they stay HELD until this thread forks again,
 * or ends.
 */
void lab_thread_before_fork_owned(struct lab_heap *heap);
void lab_thread_after_fork_owned(bool in_child);

#endif
