/*
 * backtrace.h - who called: return addresses by frame pointers, and what an address is in a file. Async-signal-safe:
 * nothing is allocated, no lock is taken, libc's loader is not asked, and nothing is read that may not be there.
 */
#ifndef LAB_OS_BACKTRACE_H
#define LAB_OS_BACKTRACE_H

#include "base/format.h"

/*
 * Return addresses, the innermost first, of the frames from the one on whose frame pointer is `frame`; frames of this
 * library at the front are left out, where it is a shared one. Returns how many; at most `most`. The chain ends where
 * a caller keeps no frame pointer: the first address, the caller of the library, is right in any case. Where frames can
 * be read is asked once for the calling thread's own stack, of any other but the alternate one (a coroutine's) once a
 * page, for at most 256 KiB. *is_whole, unless it is NULL: the outermost frame was reached, or there are `most`.
 */
unsigned lab_os_backtrace(const void *frame, uintptr_t *trace, unsigned most, bool *is_whole);

/* Whether sp is on the stack that the system or libc gave to the calling thread. */
bool lab_os_is_on_own_stack(uintptr_t sp);

/* What is known of an address: "FILE+0xOFFSET", as addr2line takes them, or the bare address. `room` is for the work:
 * the file's name has to fit. Opens /proc/self/maps. */
enum { LAB_OS_NAME_ROOM = 1024 };
void lab_os_text_address(struct lab_text *text, uintptr_t address, char room[LAB_OS_NAME_ROOM]);

/* The caller's frame pointer. The library is compiled so that all but leaves have one. */
#define LAB_FRAME_HERE __builtin_frame_address(0)

#endif
