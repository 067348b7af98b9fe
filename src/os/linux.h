/* linux.h - parts of the table lab_os that are not in linux.c. Private to src/os; the contracts are os.h's. */
#ifndef LAB_OS_LINUX_H
#define LAB_OS_LINUX_H

#include "base/compiler.h"

bool lab_linux_thread_is_dead(uint32_t tid);
bool lab_linux_has_thread(uint32_t tid);
void lab_linux_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms);

#endif
