/* frame.h - the proof that a jump has left a frame. Any context. */
#ifndef LAB_PAGE_FRAME_H
#define LAB_PAGE_FRAME_H

#include "base/compiler.h"

/*
 * Whether the frame with stack pointer `flag`, of a call that thread `tid` made, is certainly gone. The caller's stack
 * pointer is `sp`: the frame lies below sp on the same stack, or on the alternate stack, which is not in use. False is
 * always safe. True takes all of this:
 *
 *   - the caller is that thread: no child that shares its memory, none of fork that was not settled;
 *   - no thread ever had an alternate stack with SS_AUTODISARM on its own stack;
 *   - on the registered alternate stack are both, and sp is not below `flag`; or only `flag`, and sp is on the thread's
 *     own stack;
 *   - else no alternate stack is in use, `flag` is at most 1 MiB below sp, and both are on one stack.
 *
 * The one stack is the thread's own if all pages up to its end can be read, and `flag` and sp are not in blocks of ours
 * unless the stack's end is. Where the drop-in stands before sigaltstack, and has seen no SS_AUTODISARM, it may be a
 * coroutine's: `flag` and sp are in one block of ours, or in other memory with no page between them that cannot be
 * read. For then a call that is on no alternate stack, and has interrupted a frame, is below that frame on the same
 * stack. Handlers that switch from one stack to another are beyond all of this.
 *
 * The answer takes a system call or two, and one for each page up to the stack's end, 8 MiB at most. If both are on one
 * stack and sp is below `flag`, it is false without those for pages.
 */
bool lab_frame_is_dead(uintptr_t flag, uintptr_t sp, uint32_t tid);

#endif
