/* frame.h - the proof that a jump has left a frame. Any context. */
#ifndef LAB_PAGE_FRAME_H
#define LAB_PAGE_FRAME_H

#include "base/compiler.h"

/*
 * Whether the frame with stack pointer `flag`, which a thread `tid` had, is certainly gone, judged from an entry at `sp`: it lies below sp on
 * the same stack, or on the alternate one, which nobody is on. False is always safe. True takes all of this:
 *
 *   - the caller is that thread: no child that shares its memory, none of fork that was not settled;
 *   - no thread ever had an alternate stack with SS_AUTODISARM on its own stack;
 *   - on the registered alternate stack: both are, and sp is not below `flag`; or `flag` is, and sp is on the thread's own;
 *   - else: none is running, `flag` is at most 1 MiB below sp, and they are on one stack.
 *
 * That is the thread's own if all pages up to its end can be read, and they are not in blocks of ours unless the stack's end is. Where the
 * drop-in stands before sigaltstack, and has seen no SS_AUTODISARM, a coroutine's will do: they are in one block of ours, or
 * in other memory with no page between them that cannot be read. For then a call that is on no alternate stack, and has interrupted a
 * frame, is below it on the same stack. Handlers that switch from one stack to another are beyond all of this.
 *
 * It costs a system call for each page up to the stack's end, 8 MiB at most, where it is not false at once: an entry below `flag`.
 */
bool lab_frame_is_dead(uintptr_t flag, uintptr_t sp, uint32_t tid);

#endif
