/* failure.h - the first atomic allocation that failed is told in one line, by a call that may write. */
#ifndef LAB_ALLOC_FAILURE_H
#define LAB_ALLOC_FAILURE_H

#include <stddef.h>

/* For the next KERNEL slow path to tell: the first one only, unless gfp has LAB_GFP_NOWARN. Any context. */
void lab_note_atomic_failure(size_t size, unsigned gfp);

/* Says in one line that an ATOMIC call has failed, if one has and it was not said yet. KERNEL contexts. */
void lab_tell_atomic_failure(void);

#endif
