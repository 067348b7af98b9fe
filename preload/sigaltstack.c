/*
 * sigaltstack.c - sigaltstack, which takes note of SS_AUTODISARM: in the handler of such a stack the kernel says that
 * the thread has none, and so the proof that a jump has left a frame (page/frame.h) is stricter from then on. As libc's
 * otherwise: a system call. Any context.
 *
 * In the static archive, too: there is nothing behind it that would have to be found. The core library has no names of
 * libc: there, and where a program makes the system call itself, what docs/guarantees.md says in its limits holds.
 */
#include "base/compiler.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* os/os.h */
void lab_os_note_disarming(const void *low) LAB_HIDDEN;
void lab_os_note_sigaltstack(void) LAB_HIDDEN;

#define DISARMS ((int)(1u << 31)) /* SS_AUTODISARM: not in glibc's headers */

__attribute__((constructor)) static void
begin(void)
{
	lab_os_note_sigaltstack();
}

LAB_EXPORT int
sigaltstack(const stack_t *restrict stack, stack_t *restrict old)
{
	if (stack && stack->ss_flags & DISARMS)
		lab_os_note_disarming(stack->ss_sp);
	return (int)syscall(SYS_sigaltstack, stack, old);
}
