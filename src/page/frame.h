/* frame.h - the proof that a jump has left a frame. Any context. */
#ifndef LAB_PAGE_FRAME_H
#define LAB_PAGE_FRAME_H

#include "base/compiler.h"

/*
 * Whether the frame with stack pointer `flag`, which a thread `tid` had, is certainly gone, judged from an entry at `sp`: it lies below sp on
 * the same stack, or on the alternate one, which nobody is on. False is always safe. True takes all of this:
 *
 *   - the caller is that thread: no child that shares its memory, none of fork that was not settled;
 *   - no thread ever had an alternate stack with SS_AUTODISARM;
 *   - on the registered alternate stack: both are, and sp is not below `flag`; or `flag` is, and sp is on the thread's own;
 *   - else: none is running, sp is on the thread's own stack, and `flag` on the same, at most 1 MiB below.
 *
 * "On the thread's own stack" means that all pages up to that stack's end can be read, and that it is not memory of an arena, unless the
 * stack's end is. So nothing is proved on coroutines' stacks. Handlers that switch from one stack to another are beyond it.
 *
 * It costs a system call for each page up to the stack's end, 8 MiB at most, where it is not false at once: an entry below `flag`.
 */
bool lab_frame_is_dead(uintptr_t flag, uintptr_t sp, uint32_t tid);

#endif
