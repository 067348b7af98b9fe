/*
 * foreign.h - blocks of libc's own heap, for programs whose plug-ins keep RTLD_DEEPBIND (preload/deepbind.c). Any context.
 *
 * Off unless LABYRINTH_DEEPBIND=keep, and until the first dlopen: what is in no segment and no huge block is then a misuse, and reported.
 */
#ifndef LAB_ALLOC_FOREIGN_H
#define LAB_ALLOC_FOREIGN_H

#include "base/compiler.h"

#include <stddef.h>

/* Each pointer is written once or with what it holds, and means itself: no order is needed. */
struct lab_foreign {
	_Atomic bool keep;                /* LABYRINTH_DEEPBIND=keep */
	_Atomic(void (*)(void *)) free;   /* libc's own; NULL until they are looked for, and where there are none */
	_Atomic(size_t (*)(void *)) size; /* libc's malloc_usable_size */
};
extern struct lab_foreign lab_foreign LAB_HIDDEN;

#endif
