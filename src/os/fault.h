/* fault.h - hearing of a segmentation fault before it ends the process. */
#ifndef LAB_OS_FAULT_H
#define LAB_OS_FAULT_H

#include "base/compiler.h"

struct lab_os_fault {
	uintptr_t address; /* that could not be accessed */
	uintptr_t pc;      /* of the instruction */
	uintptr_t frame;   /* frame pointer there */
};

/*
 * `told` is called with the first fault of the process, in the handler, if SIGSEGV has no handler now; afterwards the
 * signal has its default action, and the instruction is tried again: the process ends as it would have, and there. A
 * program that sets a handler of its own later takes the place of this one. By the first thread.
 */
void lab_os_on_fault(void (*told)(const struct lab_os_fault *fault));

#endif
