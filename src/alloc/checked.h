/* checked.h - dressed blocks (checks.h): when it begins and ends, and operator new and delete. */
#ifndef LAB_ALLOC_CHECKED_H
#define LAB_ALLOC_CHECKED_H

#include "alloc/checks.h"

/* A fault is reported if it is an access to a dressed block that is not to be made. When the library starts. */
void lab_checked_start(void);

/* ---- for preload/cxx.c: operator new and delete where blocks are dressed ---- */

void *lab_new_checked(size_t size, size_t align, enum lab_maker maker) LAB_HIDDEN;
void lab_delete_checked(void *p, const struct lab_release_how *how) LAB_HIDDEN;
/* A block that the C++ runtime's operator new has got for one of ours. */
void lab_new_note(void *p, enum lab_maker maker) LAB_HIDDEN;

#endif
