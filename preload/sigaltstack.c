/*
 * sigaltstack.c - sigaltstack, which takes note of SS_AUTODISARM: in the handler of such a stack the kernel says that the thread has none, and
 * so the proof that a jump has left a frame (page/frame.h) is given up for good. As libc's otherwise: a system call. Any context.
 *
 * In the static archive, too: there is nothing behind it that would have to be found. The core library has no names of libc: there, and where a
 * program makes the system call itself, what docs/guarantees.md says in its limits holds.
 */
#include "base/compiler.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

void lab_os_note_disarming(void) LAB_HIDDEN; /* os/os.h */

#define DISARMS ((int)(1u << 31)) /* SS_AUTODISARM: not in glibc's headers */

LAB_EXPORT int
sigaltstack(const stack_t *restrict stack, stack_t *restrict old)
{
	if (stack && stack->ss_flags & DISARMS)
		lab_os_note_disarming();
	return (int)syscall(SYS_sigaltstack, stack, old);
}
