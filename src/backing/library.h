/* library.h - the pages of this library that the atomic tier may touch. */
#ifndef LAB_BACKING_LIBRARY_H
#define LAB_BACKING_LIBRARY_H

#include "reserve/bank.h"

/* Visits them; whether each is to be written too. Nothing in a statically linked program. */
void lab_library_each_range(void (*visit)(struct lab_range range, bool write));

#endif
