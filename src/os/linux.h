/* linux.h - parts of the table lab_os that are not in linux.c. Private to src/os; the contracts are os.h's. */
#ifndef LAB_OS_LINUX_H
#define LAB_OS_LINUX_H

#include "base/compiler.h"

/* Compares a word, at any address, with a value; it neither waits nor faults. */
enum lab_compared {
	LAB_WORD_IS_EQUAL,
	LAB_WORD_DIFFERS,
	LAB_WORD_IS_NOT_THERE, /* it cannot be read */
	LAB_WORD_UNKNOWN,      /* a filter forbids to ask */
};
enum lab_compared lab_linux_compare(const void *word, uint32_t value);
bool lab_linux_is_readable(uintptr_t low, uintptr_t high);
bool lab_linux_fence(void);

/* By libc's functions, if lab_os_use_libc says so. lab_linux_mremap: `to` with MREMAP_FIXED; NULL: refused. */
bool lab_linux_munmap(void *start, size_t size);
bool lab_linux_advise_away(void *start, size_t size);
void *lab_linux_mremap(void *start, size_t old_size, size_t size, int flags, void *to);

uint64_t lab_linux_clock_ms(void);
bool lab_linux_thread_is_dead(uint32_t tid);
bool lab_linux_has_thread(uint32_t tid);
void lab_linux_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms);

/* Remembers the calling thread as the main one if it is on the stack that the system gave the program. */
void lab_linux_note_main_stack(void);

#endif
