/* linux.h - parts of the table lab_os that are not in linux.c. Private to src/os; the contracts are os.h's. */
#ifndef LAB_OS_LINUX_H
#define LAB_OS_LINUX_H

#include "base/compiler.h"

bool lab_linux_thread_is_dead(uint32_t tid);
bool lab_linux_has_thread(uint32_t tid);

/* Remembers the calling thread as the main one if it is on the stack that the system gave the program. */
void lab_linux_note_main_stack(void);

#endif
